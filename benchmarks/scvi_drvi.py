"""Models of scvi-tools and drvi-py for the benchmark of cells: losses with given noise, steps, training and scores.

It runs in their environment, and needs neither jaxvae nor JAX.
"""

import json
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scvi
import torch

from benchmarks.turns import Curve

warnings.filterwarnings("ignore")
KINDS = ("drvi", "scvi", "drvi-py")


def model_of(folder: Path, threads: int, kind: str = "drvi", seed: int = 0) -> Any:
    """A new model of the cells in a folder.

    Args:
      folder: Folder with cells.npz.
      threads: Number of threads of PyTorch.
      kind: "drvi" is DRVI of scvi-tools at its defaults, "drvi-py" that of drvi-py with the same networks, and "scvi"
        is SCVI with the encoder, the latents, the hidden units and the likelihood of DRVI.
      seed: Seed of the parameters and of all that follows.
    """
    torch.set_num_threads(threads)
    saved = np.load(folder / "cells.npz")
    adata = anndata.AnnData(saved["counts"].astype(np.float32))
    adata.obs["batch"] = saved["batch"].astype(str)
    made, flags = class_of(kind)
    made.setup_anndata(adata, batch_key="batch")
    scvi.settings.seed = seed
    return made(adata, **flags)


def class_of(kind: str) -> tuple[Any, dict[str, Any]]:
    """The class of a kind of models, and the arguments that give it the networks of DRVI of scvi-tools."""
    if kind == "drvi":
        return scvi.external.DRVI, {}
    if kind == "drvi-py":
        import drvi.model

        made = drvi.model.DRVI
        own = not issubclass(made, scvi.external.DRVI)
        # The code of drvi-py itself has two hidden layers by default; later versions have the class of scvi-tools.
        return made, {"encoder_dims": [128], "decoder_dims": [128]} if own else {}
    elu = {"activation_fn": torch.nn.ELU}
    same = {
        "use_batch_norm": "none",
        "use_layer_norm": "both",
        "extra_encoder_kwargs": elu,
        "extra_decoder_kwargs": elu,
    }
    return scvi.model.SCVI, {"n_latent": 32, "gene_likelihood": "nb", **same}


def versions() -> dict[str, str | None]:
    """Versions of the packages, None for one that is missing, and which class of models drvi-py has."""
    found: dict[str, str | None] = {}
    for package in ("scvi-tools", "drvi-py", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if found["drvi-py"] is not None:
        made, _ = class_of("drvi-py")
        found["class of drvi-py"] = f"{made.__module__}.{made.__qualname__}"
    return found


def batch_of(folder: Path, rows: np.ndarray | None = None, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Cells of a folder: those with these numbers, by default the first ones, as many as there are rows of noise."""
    saved = np.load(folder / "cells.npz")
    rows = np.arange(len(saved["noise"])) if rows is None else rows
    return tensors_of(saved["counts"][rows], saved["batch"][rows], dtype)


def tensors_of(counts: np.ndarray, batch: np.ndarray, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Counts [N, G] and batches [N] as a module takes them."""
    number = torch.tensor(batch[:, None].astype(np.int64))
    return {"X": torch.tensor(counts, dtype=dtype), "batch": number, "labels": torch.zeros_like(number)}


def state_of(module: Any) -> dict[str, np.ndarray]:
    """Copies of the parameters of a module."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def loss_of(module: Any, tensors: dict[str, Any], noise: torch.Tensor, weight: float) -> Any:
    """What the module computes for the loss of cells, with given noise [B, K]."""
    inferred = module.inference(x=tensors["X"], batch_index=tensors["batch"])
    z = inferred["qz"].loc + inferred["qz"].scale * noise
    generated = module.generative(z=z, library=inferred["library"], batch_index=tensors["batch"])
    return module.loss(tensors, inferred, generated, kl_weight=weight)


def loss(folder: Path, kind: str) -> dict[str, float]:
    """Writes the parameters of a new model to weights-KIND.npz, and returns the terms of its loss, in float64."""
    module = model_of(folder, 2, kind).module.eval()
    np.savez(folder / f"weights-{kind}.npz", **state_of(module))
    noise = torch.tensor(np.load(folder / "cells.npz")["noise"]).double()
    with torch.no_grad():
        found = loss_of(module.double(), batch_of(folder, dtype=torch.float64), noise, 1.0)
    return terms_of(found)


def terms_of(found: Any) -> dict[str, float]:
    """The loss, and the mean of the reconstruction over the cells."""
    reconstruction = sum(part.mean() for part in found.reconstruction_loss.values())
    return {"loss": float(found.loss), "reconstruction": float(reconstruction)}


def adam(module: Any) -> torch.optim.Optimizer:
    """The optimizer of the training plan of scvi-tools."""
    return torch.optim.Adam(module.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6)


def training(folder: Path, threads: int, kind: str) -> Callable[[int], None]:
    """`run(n)` does n steps with a batch that is in memory."""
    module, tensors = model_of(folder, threads, kind).module.train(), batch_of(folder)
    optimizer = adam(module)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            _, _, found = module(tensors, loss_kwargs={"kl_weight": 0.5})
            found.loss.backward()
            optimizer.step()

    return run


def same_steps(folder: Path) -> dict[str, Any]:
    """Trains DRVI on the batches and with the noise in steps.npz, without dropout; writes start and end of it.

    Returns:
      The loss of each step.
    """
    given, losses = np.load(folder / "steps.npz"), []
    module = model_of(folder, 2).module.eval()  # evaluation has no dropout, and the same gradients otherwise
    np.savez(folder / "steps-start.npz", **state_of(module))
    module, optimizer, steps = module.double(), None, len(given["rows"])
    optimizer = adam(module)
    for step, (rows, noise) in enumerate(zip(given["rows"], given["noise"], strict=True)):
        optimizer.zero_grad()
        tensors = batch_of(folder, rows, torch.float64)
        found = loss_of(module, tensors, torch.tensor(noise).double(), step / steps)
        found.loss.backward()
        optimizer.step()
        losses.append(float(found.loss.detach()))
    np.savez(folder / "steps-end.npz", **state_of(module))
    return {"losses": losses}


def train(model: Any, kind: str, epochs: int, **more: Any) -> None:
    """`model.train` on all cells; the weight of the KL grows over the whole run, as the default of DRVI is."""
    plan = {} if kind == "drvi" else {"plan_kwargs": {"n_epochs_kl_warmup": epochs}}
    quiet = {"enable_progress_bar": False, "early_stopping": False}
    model.train(max_epochs=epochs, train_size=1.0, accelerator="cpu", batch_size=128, **quiet, **plan, **more)


def train_speed(folder: Path, threads: int) -> dict[str, Any]:
    """Cells per second of `model.train`, without what comes before the first epoch and after the last."""
    cells = len(np.load(folder / "cells.npz")["counts"])
    seconds = []
    for epochs in (1, 3):
        model = model_of(folder, threads)
        start = time.perf_counter()
        train(model, "drvi", epochs)
        seconds.append(time.perf_counter() - start)
    return {"cells_per_second": 2 * cells / (seconds[1] - seconds[0]), **versions()}


def curve(folder: Path, threads: int, kind: str, seed: int, epochs: int) -> dict[str, Any]:
    """Seconds of `model.train` and the loss of held-out cells after each epoch."""
    import lightning.pytorch as lightning

    model = model_of(folder, threads, kind, seed)
    held_out = np.load(folder / "held_out.npz")
    tensors = tensors_of(held_out["counts"], held_out["batch"])
    found = Curve(lambda: held_out_terms(model.module, tensors))

    class AfterEpochs(lightning.Callback):
        """Notes the time and the loss."""

        def on_train_epoch_end(self, trainer: Any, plan: Any) -> None:
            """The time of the validation itself does not count."""
            found.note()

    found.start()
    train(model, kind, epochs, callbacks=[AfterEpochs()])
    return found.to_json()


def held_out_terms(module: Any, tensors: dict[str, Any]) -> dict[str, float]:
    """Terms of the loss of cells with the full weight of the KL and always the same noise, without dropout."""
    was_training = module.training
    module.eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        terms = terms_of(module(tensors, loss_kwargs={"kl_weight": 1.0})[2])
    module.train(was_training)
    return terms


def scores(folder: Path, seeds: int, epochs: int, threads: int, kind: str) -> dict[str, Any]:
    """Trains a model from each seed; writes their codes [S, N, K] and, for DRVI of scvi-tools, the parameters at the
    start, and parameters and effects of the first.
    """
    codes, terms = [], []
    held_out = np.load(folder / "held_out.npz")
    for seed in range(seeds):
        model = model_of(folder, threads, kind, seed)
        if kind == "drvi":
            np.savez(folder / f"start-{seed}.npz", **state_of(model.module))
        train(model, kind, epochs)
        codes.append(model.get_latent_representation())
        terms.append(held_out_terms(model.module.eval(), tensors_of(held_out["counts"], held_out["batch"])))
        if kind == "drvi" and not seed:
            np.savez(folder / "trained.npz", **state_of(model.module))
            np.savez(folder / "effects.npz", codes=codes[0], **effects(model, codes[0]))
    np.save(folder / f"codes-{kind}.npy", np.stack(codes))
    return {name: [each[name] for each in terms] for name in terms[0]} | {"versions": versions()}


def effects(model: Any, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Effects of latents on genes by the public functions of the model, with the names of `split_effects`."""
    embed = anndata.AnnData(codes)
    model.set_latent_dimension_stats(embed)
    found = model.calculate_interpretability_scores(embed, methods="OOD", inplace=False)
    names = {"most": "max_possible", "least": "min_possible", "combined": "combined"}
    along = {
        ours: np.stack([found[f"OOD_{theirs}_{sign}"] for sign in ("positive", "negative")])
        for ours, theirs in names.items()
    }
    parts = model.iterate_on_effect_of_splits_within_distribution(directional=False)
    total = sum(effect.double().sum(dim=0).numpy() for effect, _ in parts)
    size = model.get_reconstruction_effect_of_each_split()
    return {**along, "in_data": total / len(codes), "size": size / len(codes)}


def answer(what: dict[str, Any]) -> None:
    """Prints a result as the last line."""
    print(json.dumps(what), flush=True)
