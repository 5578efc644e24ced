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


def train_speed(folder: Path, threads: int) -> dict[str, float]:
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
    return {"cells_per_second": 2 * cells / (seconds[1] - seconds[0]), "version": scvi.__version__}


def answer(what: dict[str, Any]) -> None:
    """Prints a result as the last line."""
    print(json.dumps(what), flush=True)
