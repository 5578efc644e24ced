"""The section on series: a few examples and their reconstructions over time."""

from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from PIL import Image

from jaxvae.method import Batch
from jaxvae.report.figures import ROUND, Theme, figure_of, quiet, render
from jaxvae.report.parts import Card, Section, chart
from jaxvae.runs.load import Run

SHOWN_SERIES = 6
MOST_LINES = 5
"""Largest number of values of a series that are drawn. The values that vary most are chosen."""


class OfSeries(NamedTuple):
    """Series and their reconstructions."""

    observed: np.ndarray
    """[n, T, D]"""
    reconstructed: np.ndarray
    """[n, T, D]"""


def of_series(run: Run, batch: Batch) -> OfSeries | None:
    """Reconstructs the first series of a batch; None for other examples, or without a decoder."""
    if len(run.source.event_shape) != 2 or run.decoder is None:
        return None
    few = {name: values[:SHOWN_SERIES] for name, values in batch.items()}
    rebuilt = run.decoder(run.encode_batch(few).mean)
    return OfSeries(np.asarray(few["x"], np.float64), np.asarray(rebuilt, np.float64))


def lines_of(series: OfSeries) -> np.ndarray:
    """Returns which values are drawn: those that vary most over times and examples, in their order, int [d]."""
    spread = np.std(series.observed, axis=(0, 1))
    return np.sort(np.argsort(-spread, kind="stable")[:MOST_LINES])


def series_chart(series: OfSeries, example: int, theme: Theme) -> Image.Image:
    """Draws one series against time: a solid line for each observed value, and a dashed one for its reconstruction."""
    figure = figure_of(4.45, 2.2, theme)
    axes = figure.add_subplot()
    for place, value in enumerate(lines_of(series)):
        colour = colormaps["tab10"](place)
        axes.plot(series.observed[example, :, value], color=colour, linewidth=1.2, label=f"x{value}")
        axes.plot(series.reconstructed[example, :, value], color=colour, linewidth=1.2, linestyle="--")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelcolor=theme.ink)
    axes.set_xlabel("time", fontsize=8.5, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    quiet(axes, theme, grid="y")
    return render(figure)


def series_section(series: OfSeries | None) -> Section | None:
    """Builds the section: a chart for each of a few examples."""
    if series is None:
        return None
    _, times, values = series.observed.shape
    shown = lines_of(series)
    caption = "Examples of the data (solid) and their reconstructions (dashed) over time."
    if len(shown) < values:
        caption += f" Of {values} values at each time, the {len(shown)} that vary most are drawn."
    error = np.mean((series.observed - series.reconstructed) ** 2, axis=(1, 2))
    cards = [
        Card(
            f"Example {example + 1}",
            chart(
                partial(series_chart, series, example),
                f"{len(shown)} of {values} values at {times} times and their reconstructions",
            ),
            f"squared error {error[example]:.3g}",
        )
        for example in range(len(series.observed))
    ]
    return Section("series", "Series and reconstructions", caption=caption, layout="columns", cards=cards)
