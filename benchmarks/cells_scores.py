"""Scores and effects of DRVI of both libraries on the same cells, for `benchmarks.cells`.

Both train on the same simulated cells with their defaults, from several seeds, and are compared by how well latents
match the types of cells, by the loss of cells that were held out, and, for the same parameters, by the effects of
latents on genes. Ours trains from several starts:

- own: as a user trains it
- theirs: from the parameters that scvi-tools starts from with the same seed; inputs of the encoder are ours, which are
  log(1 + count) less that of the gene's mean
- same: from these parameters, and with their inputs, log(1 + count), so that a step on the same cells with the same
  noise is the same, which `same_steps` checks
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

BATCH = 128
SCORES = ("LMS-SMI", "MSAS-SMI", "MSGS-SMI", "LMS-SPN", "MSAS-SPN", "MSGS-SPN")
TERMS = {"loss": "held-out loss", "reconstruction": "held-out reconstruction"}
"""Names of the terms of the loss of held-out cells among the scores."""
KINDS: dict[str, dict[str, Any]] = {"drvi": {}, "vae": {"splits": 1, "splitting": "mask"}}
"""Flags of `jaxvae train drvi`: at its defaults, and with one split, which is a VAE like SCVI."""
Start: TypeAlias = Literal["own", "theirs", "same"]
Terms: TypeAlias = Callable[[Any], dict[str, float]]
"""Function from parameters to the terms of a loss by name."""
STEPS = 50
"""Number of steps of `same_steps`."""


def converted(weights: Mapping[str, np.ndarray], means: np.ndarray, *, centred: bool = True) -> dict[str, Any]:
    """Parameters of ours from those of scvi-tools.

    Args:
      weights: State of a DRVIModule with one hidden layer, "split_map", shared weights and a dispersion per gene, or of
        the VAE of SCVI with the same networks.
      means: Means of the genes [G]. log(mean + 0.001) is added to the outputs of our decoder, which is undone in its
        biases.
      centred: Whether the encoder subtracts log(1 + mean) from its inputs, as ours does; this is undone in its biases.
    """

    def dense(name: str) -> dict[str, np.ndarray]:
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    splits = "decoder.split_transform.weight" in weights
    first = dense("z_encoder.encoder.fc_layers.Layer 0.0")
    last = dense("decoder.px_scale_decoder" if splits else "decoder.px_scale_decoder.0")
    if centred:
        first["bias"] = first["bias"] + np.log1p(means) @ first["kernel"]
    last["bias"] = last["bias"] - np.log(means + 1e-3)
    mean, logvar = dense("z_encoder.mean_encoder"), dense("z_encoder.var_encoder")
    decoder: dict[str, Any] = {"network": {"Dense_0": dense("decoder.px_decoder.fc_layers.Layer 0.0"), "Dense_1": last}}
    if splits:
        decoder["maps"] = weights["decoder.split_transform.weight"].swapaxes(1, 2)
    return {
        "encoder": {"Dense_0": first, "mean": mean, "logvar": logvar},
        "decoder": {"decoder": decoder, "likelihood": weights["px_r"]},
    }


def with_their_inputs(method: Any, means: np.ndarray) -> Any:
    """The method with log(1 + count) as inputs of its encoder, without subtracting log(1 + mean) of the gene."""
    import jax.numpy as jnp

    encoder, scale = method.networks["encoder"], jnp.asarray(1 + means[None], jnp.float32)

    def apply(params: Any, x: Any, *more: Any) -> Any:
        # log(1 + y) - log(1 + mean) = log(1 + x)
        return encoder.apply(params, (1 + x) * scale - 1, *more)

    return method._replace(networks={**method.networks, "encoder": encoder._replace(apply=apply)})


def write_cells(folder: Path, cells: int, held_out: int, genes: int) -> None:
    """Writes counts [N, G], batches and types of the cells for training, cells.npz, and of others, held_out.npz."""
    from jaxvae.data import cells as simulated

    table = simulated(cells=cells + held_out, genes=genes)
    counts, factors = np.asarray(table.pixels), np.asarray(table.factors)
    seen = counts[:cells].sum(axis=0) > 0  # for both, the same genes
    of = {name: factors[:, table.factor_names.index(name)] for name in ("batch", "type")}
    for name, part in {"cells": slice(cells), "held_out": slice(cells, None)}.items():
        parts = {key: values[part] for key, values in of.items()}
        np.savez(folder / f"{name}.npz", counts=counts[part][:, seen], **parts)


def cells_of(folder: Path, name: str) -> Any:
    """AnnData object of what `write_cells` has written."""
    import anndata

    saved = np.load(folder / f"{name}.npz")
    adata = anndata.AnnData(saved["counts"].astype(np.float32))
    for column in ("batch", "type"):
        adata.obs[column] = saved[column].astype(str)
    return adata


def built(folder: Path, kind: str = "drvi", **flags: Any) -> tuple[Any, Any, Terms]:
    """Cells of a folder as a user of jaxvae trains on them.

    Args:
      folder: Folder of `write_cells`.
      kind: Key of `KINDS`.
      flags: Further flags of `jaxvae train drvi`.

    Returns:
      The examples, the method, and the function from parameters to the terms of the loss of the held-out cells.
    """
    from jaxvae.data.anndata_object import anndata_object
    from jaxvae.runs.build import build_parts
    from jaxvae.runs.config import default_config
    from jaxvae.schema import schema_of

    adata = cells_of(folder, "cells")
    columns = {"label_columns": ("type", "batch"), "covariates": ("batch",)}
    config = default_config("drvi").with_flags(data="anndata:adata", batch_size=BATCH, **columns, **flags)
    config = config.with_flags(**KINDS[kind])
    roles = config.source.of_table
    parts, method = build_parts(config, opened=lambda schema: anndata_object(adata, columns=roles, schema=schema))
    others = anndata_object(cells_of(folder, "held_out"), columns=roles, schema=schema_of(parts.training))
    return parts.training, method, held_out_terms(method, config.batches.wrap(others, "drvi"))


def held_out_terms(method: Any, source: Any) -> Terms:
    """Returns the function from parameters to the terms of the loss of all examples, after the warmup and without
    dropout.
    """
    import jax
    import jax.numpy as jnp

    from jaxvae.method import END, Context, Nets
    from jaxvae.training.dropout import without_dropout

    loss_of, batch = without_dropout(method).objectives[0].loss, source.at(jnp.arange(source.size))

    @jax.jit
    def terms(params: Any) -> dict[str, jax.Array]:
        ctx = Context(jax.random.key(0), method.hyperparameters, jnp.int32(END), source.size)
        loss, found = loss_of(Nets(method.networks, params), batch, ctx)
        return {"loss": loss, "reconstruction": found["reconstruction"]}

    return lambda params: {name: float(value) for name, value in terms(params).items()}


def our_scores(folder: Path, seeds: int, steps: int, starts: Sequence[Start]) -> dict[str, dict[str, list[float]]]:
    """Trains ours; returns the scores of each seed by the start, and writes the codes [S, N, K] of each start."""
    import jax
    import jax.numpy as jnp

    from jaxvae.data.source import on_device
    from jaxvae.method import Nets
    from jaxvae.training import make_train_step, tune_allocator
    from jaxvae.training.steps import draw_batch

    tune_allocator()
    source, method, terms = built(folder, steps=steps)
    means, types, source = means_of(source), np.load(folder / "cells.npz")["type"], on_device(source)
    scores: dict[str, dict[str, list[float]]] = {}
    for centred in (True, False):
        one = method if centred else with_their_inputs(method, means)
        init, update = make_train_step(one, dataset_size=source.size)

        def step(state: Any, source: Any, one: Any = one, update: Any = update) -> Any:
            return update(state, draw_batch(one, source, BATCH, state))[0]

        def encode(params: Any, x: Any, one: Any = one) -> Any:
            return one.encode(Nets(one.networks, params), {"x": x}).mean

        # The same programs for all seeds, and for both starts with our inputs.
        step, encode, init = jax.jit(step, donate_argnums=0), jax.jit(encode), jax.jit(init)
        for start in (each for each in starts if (each != "same") == centred):
            codes, found = [], []
            for seed in range(seeds):
                state = init(jax.random.key(seed))
                if start != "own":
                    weights = np.load(folder / f"start-{seed}.npz")
                    state = state._replace(params=jax.tree.map(jnp.float32, converted(weights, means, centred=centred)))
                for _ in range(steps):
                    state = step(state, source)
                codes.append(np.asarray(encode(state.params, source.at(jnp.arange(source.size))["x"])))
                # The held-out loss has our inputs, and the parameters of `centred` mean the same there.
                params = state.params if centred else with_our_inputs(state.params, means)
                of_others = {TERMS[name]: value for name, value in terms(params).items()}
                found.append({**scores_of(codes[-1], types), **of_others})
                print(json.dumps({f"jaxvae, start {start}, seed": seed, **found[-1]}), flush=True)
            np.save(folder / f"codes-{start}.npy", np.stack(codes))
            scores[start] = {name: [one[name] for one in found] for name in found[0]}
    return scores


def means_of(source: Any) -> np.ndarray:
    """Means of the genes [G]."""
    return np.array([column.mean for column in source.schema.used])


def with_our_inputs(params: Mapping[str, Any], means: np.ndarray) -> dict[str, Any]:
    """Parameters for inputs from which log(1 + mean) is subtracted, from those for inputs as they are."""
    first = params["encoder"]["Dense_0"]
    moved = {**first, "bias": first["bias"] + np.log1p(means).astype(np.float32) @ first["kernel"]}
    return {**params, "encoder": {**params["encoder"], "Dense_0": moved}}


def their_scores(folder: Path, kind: str, terms: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Scores of each seed from the codes [S, N, K] that scvi-tools has written, and the terms of held-out cells."""
    types = np.load(folder / "cells.npz")["type"]
    found = [scores_of(one, types) for one in np.load(folder / f"codes-{kind}.npy")]
    of_others = {shown: list(terms[name]) for name, shown in TERMS.items()}
    return {name: [one[name] for one in found] for name in found[0]} | of_others


def write_steps(folder: Path, cells: int) -> None:
    """Writes the numbers of the cells [T, B] and the noise [T, B, K] of the steps of `same_steps`."""
    import jax

    from jaxvae.runs.config import default_config

    rng = np.random.default_rng(0)
    rows = np.stack([rng.choice(cells, min(BATCH, cells), replace=False) for _ in range(STEPS)])
    latents = (default_config("drvi").networks.latents,)
    noise = [
        jax.vmap(lambda row, key=jax.random.key(step): jax.random.normal(jax.random.fold_in(key, row), latents))(
            np.arange(rows.shape[1])
        )
        for step in range(STEPS)
    ]
    np.savez(folder / "steps.npz", rows=rows, noise=np.stack(noise))


def same_steps(folder: Path, losses: Sequence[float]) -> dict[str, float]:
    """Does the steps of `write_steps` with ours and its optimizer, from the parameters and with the inputs of
    scvi-tools, without dropout.

    Args:
      folder: Folder with the parameters of scvi-tools before and after these steps.
      losses: Its loss in each step [T].

    Returns:
      Largest differences of the losses, relative to the loss, and of the parameters at the end, relative to the largest
      change of a parameter.
    """
    import jax
    import jax.numpy as jnp

    from jaxvae.method import Context, Nets
    from jaxvae.methods.drvi import adam

    source, method, _ = built(folder, dropout=0.0)
    means = means_of(source)
    start, end = (np.load(folder / f"steps-{name}.npz") for name in ("start", "end"))
    given = np.load(folder / "steps.npz")
    method = with_their_inputs(method, means)
    hyperparameters = method.hyperparameters._replace(warmup=float(STEPS))
    params = jax.tree.map(jnp.float32, converted(start, means, centred=False))
    optimizer = adam(hyperparameters.learning_rate)

    @jax.jit
    def step(params: Any, state: Any, rows: Any, number: Any) -> Any:
        ctx = Context(jax.random.key(number), hyperparameters, number, source.size)

        def loss_of(params: Any) -> Any:
            return method.objectives[0].loss(Nets(method.networks, params), source.at(rows), ctx)[0]

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state, loss

    first, state, ours = params, optimizer.init(params), []
    for number, rows in enumerate(given["rows"]):
        params, state, loss = step(params, state, rows, number)
        ours.append(float(loss))
    wanted = converted(end, means, centred=False)
    change = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), wanted, first)
    gap = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), wanted, params)
    relative = np.abs(np.array(ours) / np.array(losses) - 1).max()
    return {
        "losses": float(relative),
        "parameters": float(max(jax.tree.leaves(gap)) / max(jax.tree.leaves(change))),
    }


def scores_of(codes: np.ndarray, types: Any) -> dict[str, float]:
    """How well the latents match the types."""
    from jaxvae.metrics import class_matching

    scores = class_matching(codes, np.asarray(types)).scores
    return {name: float(scores[name]) for name in SCORES}


def compared(scores: Mapping[str, Mapping[str, list[float]]], others: str = "scvi-tools") -> dict[str, dict[str, Any]]:
    """Mean and half width of the 95% interval of the mean (Student's t) of each score and each kind of models, and
    Welch's p-value of the difference of each of them from `others`.
    """
    from scipy import stats

    def interval(values: list[float]) -> list[float]:
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        return [round(float(np.mean(values)), 4), round(float(half), 4)]

    found: dict[str, dict[str, Any]] = {}
    for name, theirs in scores[others].items():
        found[name] = {peer: interval(values[name]) for peer, values in scores.items()}
        for peer, values in scores.items():
            if peer != others:
                p = stats.ttest_ind(theirs, values[name], equal_var=False).pvalue
                found[name][f"p, {peer}"] = round(float(p), 3)
    return found


def effects(folder: Path) -> dict[str, float]:
    """Largest differences from the effects that scvi-tools has written, relative to the largest effect.

    Covariates of the decoder are set to each batch in turn, as there; `split_effects_of` sets them to their centre.
    """
    import jax
    import jax.numpy as jnp

    from jaxvae.analysis import split_effects
    from jaxvae.data.anndata_object import anndata_object
    from jaxvae.runs.config import default_config

    theirs, weights = np.load(folder / "effects.npz"), dict(np.load(folder / "trained.npz"))
    config = default_config("drvi").with_flags(data="anndata:adata", label_columns=("batch",), covariates=("batch",))
    table = anndata_object(cells_of(folder, "cells"), columns=config.source.of_table)
    means = np.array([column.mean for column in table.schema.used])
    decoder = config.networks.split_decoder(config.batches.wrap(table, "drvi"))
    params = jax.tree.map(jnp.float32, converted(weights, means))["decoder"]["decoder"]
    parts_of = jax.jit(decoder.parts)
    batch, codes = np.load(folder / "cells.npz")["batch"], theirs["codes"]
    found = []
    for value in np.unique(batch):

        def parts(z: np.ndarray, value: Any = value) -> np.ndarray:
            one_hot = jnp.broadcast_to(jax.nn.one_hot(value, decoder.covariates), (len(z), decoder.covariates))
            return np.asarray(parts_of(params, jnp.asarray(z, jnp.float32), one_hot)) + np.log(means + 1e-3)

        of_batch = split_effects(parts, codes[batch == value], examples=int((batch == value).sum()))
        all_cells = split_effects(parts, codes, examples=1)
        found.append((of_batch.in_data * (batch == value).mean(), all_cells.most, all_cells.least, all_cells.combined))
    in_data = sum(one[0] for one in found)
    most, least, combined = (np.mean([one[place] for one in found], axis=0) for place in (1, 2, 3))
    ours = {"in_data": in_data, "most": most, "least": least, "combined": combined, "size": in_data.sum(axis=1)}
    return {
        name: float(np.abs(value - theirs[name]).max() / np.abs(theirs[name]).max()) for name, value in ours.items()
    }
