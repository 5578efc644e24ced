"""Measurement of how fast this device trains the models of the published grid, to estimate the time for all of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae.runs.build import build
from jaxvae.study.grid import GRIDS, Grid, config_of
from jaxvae.training import train

UPDATES, ROWS = 20, 4
"""Numbers of steps per row of metrics, and of rows. The first row, which includes the compilation, is left out."""
GREY = ("sprites", "smallnorb:smallnorb")
"""Data sets of one channel; the others have three."""


class Speed(NamedTuple):
    """A measurement of the training speed."""

    device: str
    updates_per_second: dict[str, float]
    """Number of steps per second of a single model, by method and number of channels, such as "beta-vae, 1"."""
    hours: float
    """Number of hours that this device needs for all steps of the published grid, without computing scores."""


def measure_speed(progress: Callable[[str], None] = print) -> Speed:
    """Trains a model of each method for some steps on black-and-white sprites and on coloured sprites.

    Networks, batches and images are those of the preset `full`. Data sets with the same number of channels are assumed
    to be equally fast.

    Args:
      progress: Called with a text for every measured speed.
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
    """Computes the number of hours to train all models of a grid one after another, each for its own number of steps.

    Args:
      grid: Grid of models.
      updates_per_second: Number of steps per second, as in `Speed`.
    """
    total = 0.0
    _, methods, strengths, seeds = grid.shape
    for place, data in enumerate(grid.data):
        for number, sweep in enumerate(grid.sweeps):
            config = config_of(grid, (place * methods + number) * strengths * seeds)
            speed = updates_per_second[f"{sweep.method}, {1 if data in GREY else 3}"]
            total += strengths * seeds * config.training.steps / speed
    return total / 3600


def speed_of(noted: Mapping[str, Any]) -> Speed:
    """Creates a `Speed` from its fields, the inverse of `Speed._asdict`.

    Raises:
      ValueError: The fields are not those of a `Speed`.
    """
    try:
        return Speed(str(noted["device"]), dict(noted["updates_per_second"]), float(noted["hours"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no speed that `jaxvae study speed` has written: {error}") from None
