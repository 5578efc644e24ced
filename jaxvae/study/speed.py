"""How fast this device trains the models of the published grid, to say what all of them would take."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae.runs.build import build
from jaxvae.study.grid import GRIDS, Grid, config_of
from jaxvae.training import train

UPDATES, ROWS = 20, 4
"""A row of metrics per so many updates; the first, in which programs are compiled, is left out."""
GREY = ("sprites", "smallnorb:smallnorb")
"""Data sets of one channel; the others have three."""


class Speed(NamedTuple):
    """What was measured."""

    device: str
    updates_per_second: dict[str, float]
    """By method and channels, "beta-vae, 1"; one model at a time."""
    hours: float
    """Of this device, for all updates of the published grid, scores not counted."""


def measure_speed(progress: Callable[[str], None] = print) -> Speed:
    """Trains a model of each method for some updates on sprites in black and white, and in colour.

    Networks, batches and images are those of `full`. Data sets of as many channels are taken to be as fast.
    """
    grid = GRIDS["full"]
    found: dict[str, float] = {}
    for number, sweep in enumerate(grid.sweeps):
        for channels, data in ((1, "sprites"), (3, "color-sprites")):
            rows: list[Mapping[str, float]] = []
            config = config_of(grid, number * len(sweep.values) * grid.seeds).with_flags(data=data)
            source, method = build(config)
            train(
                method,
                source,
                steps=UPDATES * ROWS,
                batch_size=config.training.batch_size,
                log_every=UPDATES,
                writers=[lambda step, row, rows=rows: rows.append(row)],
            )
            speed = float(np.median([row["steps_per_second"] for row in rows[1:]]))
            found[f"{sweep.method}, {channels}"] = speed
            progress(f"{sweep.method}, {channels} channels: {speed:.1f} updates/s")
    return Speed(jax.devices()[0].device_kind, found, hours(grid, found))


def hours(grid: Grid, updates_per_second: Mapping[str, float]) -> float:
    """That all models of a grid take, each with the updates that its settings name, one after another."""
    total = 0.0
    _, methods, strengths, seeds = grid.shape
    for place, data in enumerate(grid.data):
        for number, sweep in enumerate(grid.sweeps):
            config = config_of(grid, (place * methods + number) * strengths * seeds)
            speed = updates_per_second[f"{sweep.method}, {1 if data in GREY else 3}"]
            total += strengths * seeds * config.training.steps / speed
    return total / 3600


def speed_of(noted: Mapping[str, Any]) -> Speed:
    """The inverse of `Speed._asdict`. ValueError for what is none."""
    try:
        return Speed(str(noted["device"]), dict(noted["updates_per_second"]), float(noted["hours"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no speed that `jaxvae study speed` has written: {error}") from None
