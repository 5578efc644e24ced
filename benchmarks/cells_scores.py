"""Scores and effects of DRVI of both libraries on the same cells, for `benchmarks.cells`.

Both train on the same simulated cells with their defaults, from several seeds, and are compared by how well latents
match the types of cells, by the loss of cells that were held out, and, for the same parameters, by the effects of
latents on genes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128
SCORES = ("LMS-SMI", "MSAS-SMI", "MSGS-SMI", "LMS-SPN", "MSAS-SPN", "MSGS-SPN")
HELD_OUT = "held-out loss"


def converted(weights: dict[str, np.ndarray], means: np.ndarray) -> dict[str, Any]:
    """Parameters of ours from those of scvi-tools.

    Args:
      weights: State of a DRVIModule with one hidden layer, "split_map", shared weights and a dispersion per gene.
      means: Means of the genes [G]. Our encoder subtracts log(1 + mean) from its inputs, and log(mean + 0.001) is added
        to the outputs of our decoder; both are undone in the biases.
    """

    def dense(name: str) -> dict[str, np.ndarray]:
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    first, last = dense("z_encoder.encoder.fc_layers.Layer 0.0"), dense("decoder.px_scale_decoder")
    first["bias"] = first["bias"] + np.log1p(means) @ first["kernel"]
    last["bias"] = last["bias"] - np.log(means + 1e-3)
    mean, logvar = dense("z_encoder.mean_encoder"), dense("z_encoder.var_encoder")
    network = {"Dense_0": dense("decoder.px_decoder.fc_layers.Layer 0.0"), "Dense_1": last}
    decoder = {"network": network, "maps": weights["decoder.split_transform.weight"].swapaxes(1, 2)}
    return {
        "encoder": {"Dense_0": first, "mean": mean, "logvar": logvar},
        "decoder": {"decoder": decoder, "likelihood": weights["px_r"]},
    }


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


def our_scores(folder: Path, seeds: int, steps: int) -> dict[str, list[float]]:
    """Trains ours as a user does; returns the scores of each seed."""
    import jax
    import jax.numpy as jnp

    from jaxvae.anndata import train
    from jaxvae.data.anndata_object import anndata_object
    from jaxvae.method import Context, Nets
    from jaxvae.schema import schema_of
    from jaxvae.training import tune_allocator

    tune_allocator()
    adata, others = cells_of(folder, "cells"), cells_of(folder, "held_out")
    found: list[dict[str, float]] = []
    for seed in range(seeds):
        run = train(adata, "drvi", batch="batch", labels=["type"], steps=steps, batch_size=BATCH, seed=seed)
        columns = run.config.source.of_table
        table = anndata_object(others, columns=columns, schema=schema_of(run.source))
        source = run.config.batches.wrap(table, "drvi")

        @jax.jit
        def loss(params: Any, batch: Any, run: Any = run) -> jax.Array:
            ctx = Context(jax.random.key(0), run.method.hyperparameters, jnp.int32(2**30), len(others))
            return run.method.objectives[0].loss(Nets(run.method.networks, params), batch, ctx)[0]

        value = float(loss(run.state.params, source.at(jnp.arange(source.size))))
        found.append({**scores_of(adata.obsm["X_jaxvae"], adata.obs["type"]), HELD_OUT: value})
        print(json.dumps({"jaxvae, seed": seed, **found[-1]}), flush=True)
        jax.clear_caches()
    return {name: [one[name] for one in found] for name in found[0]}


def their_scores(folder: Path, losses: Sequence[float]) -> dict[str, list[float]]:
    """Scores of each seed from the codes [S, N, K] that scvi-tools has written, and the losses of held-out cells."""
    types = np.load(folder / "cells.npz")["type"]
    codes = np.load(folder / "codes.npy")
    found = [{**scores_of(one, types), HELD_OUT: loss} for one, loss in zip(codes, losses, strict=True)]
    return {name: [one[name] for one in found] for name in found[0]}


def scores_of(codes: np.ndarray, types: Any) -> dict[str, float]:
    """How well the latents match the types."""
    from jaxvae.metrics import class_matching

    scores = class_matching(codes, np.asarray(types)).scores
    return {name: float(scores[name]) for name in SCORES}


def compared(theirs: dict[str, list[float]], ours: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Mean, half width of the 95% interval of the mean (Student's t), and Welch's p-value of each score."""
    from scipy import stats

    def interval(values: list[float]) -> list[float]:
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        return [round(float(np.mean(values)), 4), round(float(half), 4)]

    return {
        name: {
            "scvi-tools": interval(theirs[name]),
            "jaxvae": interval(ours[name]),
            "p": round(float(stats.ttest_ind(theirs[name], ours[name], equal_var=False).pvalue), 3),
        }
        for name in ours
    }


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
