"""Time of training to the same validation loss, for `benchmarks.cells`.

Each peer trains on the same cells for the same epochs, in a process of its own and in turns, and computes the loss of
the same validation cells after each epoch, with the full weight of the KL and without dropout. The clock starts when
training is called, so that compilation counts, and stands still during validation.

The loss that both of two peers reach is the worst of the lowest losses of their runs. Its time is that of the first
epoch whose loss is as low.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.turns import Curve

PAIRS = {
    "DRVI, against scvi-tools": ("jaxvae, drvi", "scvi-tools, drvi"),
    "DRVI, against drvi-py": ("jaxvae, drvi", "drvi-py, drvi"),
    "VAE, against SCVI of scvi-tools": ("jaxvae, vae", "scvi-tools, scvi"),
}
"""Peers that are compared: ours, and the other one."""
Run: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds, CPU seconds and terms of the validation loss after each epoch, see `Curve.to_json`."""


def our_curve(folder: Path, kind: str, seed: int, epochs: int) -> dict[str, list[float]]:
    """Trains ours on the cells of a folder, each of which comes once per epoch."""
    import jax
    import numpy as np

    from benchmarks.cells_scores import BATCH, built
    from jaxvae.training import train, tune_allocator
    from jaxvae.training.observers import Observation, Observer

    tune_allocator()
    per_epoch = -(-len(np.load(folder / "cells.npz")["counts"]) // BATCH)
    source, method, terms = built(folder, kind, steps=epochs * per_epoch, sampling="epochs")
    curve = Curve(terms)

    def observe(state: Any) -> Observation:
        jax.block_until_ready(state.params)
        curve.note(state.params)
        return Observation()

    observer = Observer(per_epoch, observe)
    train(method, source, steps=epochs * per_epoch, batch_size=BATCH, seed=seed, observers=[observer])
    return curve.to_json()


def compared(runs: Mapping[str, Sequence[Run]]) -> tuple[list[dict[str, Any]], dict[str, float], dict[str, float]]:
    """Compares the runs of peers.

    Args:
      runs: Runs of each peer.

    Returns:
      A row for each peer; speeds of ours against those of others by time per epoch and by time to the same loss; and
      the losses that both reach, in nats.
    """
    rows = {}
    for peer, mine in runs.items():
        rows[peer] = {
            "peer": peer,
            "first_epoch_seconds": _median([run["seconds"][0] for run in mine]),
            "epoch_seconds": _median([_per_epoch(run["seconds"]) for run in mine]),
            "epoch_cpu_seconds": _median([_per_epoch(run["cpu_seconds"]) for run in mine]),
            "best_loss": _median([min(run["loss"]) for run in mine]),
            "best_reconstruction": _median([min(run["reconstruction"]) for run in mine]),
        }
    speeds, targets = {}, {}
    for name, pair in PAIRS.items():
        if any(peer not in runs for peer in pair):
            continue
        ours, theirs = pair
        target = max(min(run["loss"]) for peer in pair for run in runs[peer])
        targets[name] = round(target, 3)
        seconds = {peer: _median([seconds_to(run, target) for run in runs[peer]]) for peer in pair}
        for peer in pair:
            rows[peer][f"seconds_to_loss, {name}"] = seconds[peer]
        speeds[f"{name}, time per epoch"] = rows[theirs]["epoch_seconds"] / rows[ours]["epoch_seconds"]
        speeds[f"{name}, CPU time per epoch"] = rows[theirs]["epoch_cpu_seconds"] / rows[ours]["epoch_cpu_seconds"]
        speeds[f"{name}, time to the same validation loss"] = seconds[theirs] / seconds[ours]
    return list(rows.values()), speeds, targets


def seconds_to(run: Run, target: float) -> float:
    """Seconds of training until a loss is as low as the target.

    Raises:
      ValueError: None is.
    """
    for seconds, loss in zip(run["seconds"], run["loss"], strict=True):
        if loss <= target:
            return seconds
    raise ValueError(f"the lowest loss is {min(run['loss'])}, and {target} was to be reached")


def _per_epoch(seconds: Sequence[float]) -> float:
    """Median of the times of the epochs after the first; of one epoch, its time."""
    return statistics.median(b - a for a, b in itertools.pairwise(seconds)) if seconds[1:] else seconds[0]


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)
