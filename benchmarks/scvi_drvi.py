"""DRVI of scvi-tools for the benchmark: its loss with given noise, and its training steps. It needs scvi-tools only."""

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scvi
import torch

warnings.filterwarnings("ignore")


def model_of(folder: Path, threads: int) -> Any:
    """A model of the cells in a folder, with the defaults of scvi-tools."""
    torch.set_num_threads(threads)
    scvi.settings.seed = 0
    saved = np.load(folder / "cells.npz")
    adata = anndata.AnnData(saved["counts"].astype(np.float32))
    adata.obs["batch"] = saved["batch"].astype(str)
    scvi.external.DRVI.setup_anndata(adata, batch_key="batch")
    return scvi.external.DRVI(adata)


def batch_of(folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The first cells, as many as there are rows of noise."""
    saved = np.load(folder / "cells.npz")
    rows = len(saved["noise"])
    batch = torch.tensor(saved["batch"][:rows, None].astype(np.int64))
    return {"X": torch.tensor(saved["counts"][:rows], dtype=dtype), "batch": batch, "labels": torch.zeros_like(batch)}


def loss(folder: Path) -> dict[str, float]:
    """Writes the parameters of a new model to weights.npz, and returns the terms of its loss, in float64."""
    module = model_of(folder, 2).module.eval()
    np.savez(folder / "weights.npz", **{name: value.numpy() for name, value in module.state_dict().items()})
    module = module.double()
    tensors, noise = batch_of(folder, torch.float64), torch.tensor(np.load(folder / "cells.npz")["noise"]).double()
    with torch.no_grad():
        inferred = module.inference(x=tensors["X"], batch_index=tensors["batch"])
        z = inferred["qz"].loc + inferred["qz"].scale * noise
        generated = module.generative(z=z, library=inferred["library"], batch_index=tensors["batch"])
        found = module.loss(tensors, inferred, generated, kl_weight=1.0)
    reconstruction = float(found.reconstruction_loss["reconstruction_loss"].mean())
    return {"loss": float(found.loss), "reconstruction": reconstruction}


def training(folder: Path, threads: int) -> Callable[[int], None]:
    """`run(n)` does n steps with a batch that is in memory."""
    module, tensors = model_of(folder, threads).module.train(), batch_of(folder)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            _, _, found = module(tensors, loss_kwargs={"kl_weight": 0.5})
            found.loss.backward()
            optimizer.step()

    return run


def train_speed(folder: Path, threads: int) -> dict[str, Any]:
    """Cells per second of `model.train`, without what comes before the first epoch and after the last."""
    cells = len(np.load(folder / "cells.npz")["counts"])
    seconds = []
    for epochs in (1, 3):
        model = model_of(folder, threads)
        start = time.perf_counter()
        model.train(
            max_epochs=epochs, train_size=1.0, accelerator="cpu", enable_progress_bar=False, early_stopping=False
        )
        seconds.append(time.perf_counter() - start)
    return {
        "cells_per_second": 2 * cells / (seconds[1] - seconds[0]),
        "version": scvi.__version__,
        "torch": torch.__version__,
    }


def scores(folder: Path, seeds: int, epochs: int, threads: int) -> dict[str, Any]:
    """Trains a model from each seed; writes their codes [S, N, K], and parameters and effects of the first."""
    codes, losses = [], []
    for seed in range(seeds):
        model = model_of(folder, threads)
        scvi.settings.seed = seed
        model = scvi.external.DRVI(model.adata)
        model.train(
            max_epochs=epochs, train_size=1.0, accelerator="cpu", enable_progress_bar=False, early_stopping=False
        )
        codes.append(model.get_latent_representation())
        losses.append(held_out_loss(folder, model.module.eval()))
        if not seed:
            weights = {name: value.numpy() for name, value in model.module.state_dict().items()}
            np.savez(folder / "trained.npz", **weights)
            np.savez(folder / "effects.npz", codes=codes[0], **effects(model, codes[0]))
    np.save(folder / "codes.npy", np.stack(codes))
    return {"held-out loss": losses}


def held_out_loss(folder: Path, module: Any) -> float:
    """Loss of the cells in held_out.npz, with the full weight of the KL."""
    saved = np.load(folder / "held_out.npz")
    batch = torch.tensor(saved["batch"][:, None].astype(np.int64))
    x = torch.tensor(saved["counts"].astype(np.float32))
    with torch.no_grad():
        tensors = {"X": x, "batch": batch, "labels": torch.zeros_like(batch)}
        return float(module(tensors, loss_kwargs={"kl_weight": 1.0})[2].loss)


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
