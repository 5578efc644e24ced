"""The sections on series: a few examples and their reconstructions over time, and traversals of latents."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from PIL import Image

from jaxvae.analysis import traverse
from jaxvae.method import Batch
from jaxvae.report.figures import ROUND, Theme, figure_of, quiet, render
from jaxvae.report.parts import Card, Section, chart
from jaxvae.runs.load import Run

SHOWN_SERIES = 6
SHOWN_LATENTS = 6
MOST_LEVELS = 5
"""Largest number of values of a latent that are drawn."""
MOST_LINES = 5
"""Largest number of values of a series that are drawn. The values that vary most are chosen."""


class OfSeries(NamedTuple):
    """Series and their reconstructions."""

    observed: np.ndarray
    """[n, T, D]"""
    reconstructed: np.ndarray
    """[n, T, D]"""
    latents: Sequence[int] = ()
    """Latents that are traversed, the most important first."""
    levels: np.ndarray = np.zeros((0, 0))
    """Values of each of these latents, in ascending order [latents, levels]."""
    traversals: np.ndarray = np.zeros((0, 0, 0, 0))
    """Decoded series, in which one latent of the first example has these values [latents, levels, T, D]."""


def of_series(run: Run, batch: Batch, values: np.ndarray, order: np.ndarray) -> OfSeries | None:
    """Reconstructs the first series of a batch; None for other examples, or without a decoder.

    Args:
      run: Run whose model is used.
      batch: Examples.
      values: Values of all latents in a traversal [levels], or of each [latents, levels].
      order: Indices of the latents, the most important first.
    """
    if len(run.source.event_shape) != 2 or run.decoder is None:
        return None
    few = {name: rows[:SHOWN_SERIES] for name, rows in batch.items()}
    codes = np.asarray(run.encode_batch(few).mean)
    rebuilt = run.decoder(codes)
    latents = [int(latent) for latent in order[:SHOWN_LATENTS]]
    move = partial(traverse, run.method, latents=latents)
    moved = (jax.jit(move) if run.method.networks else move)(run.state.params, codes[0], jnp.asarray(values))
    levels = np.broadcast_to(values, (codes.shape[1], np.shape(values)[-1]))[latents]
    observed, reconstructed = (np.asarray(each, np.float64) for each in (few["x"], rebuilt))
    return OfSeries(observed, reconstructed, latents, levels, np.asarray(moved))


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


def moved_value(series: OfSeries, place: int) -> int:
    """Returns which value of a series changes most where the latent at a place of `latents` is traversed."""
    return int(np.ptp(series.traversals[place], axis=0).sum(axis=0).argmax())


def traversal_chart(series: OfSeries, place: int, theme: Theme) -> Image.Image:
    """Draws the value of a series that a latent changes most against time, with a line for each value of the latent."""
    figure = figure_of(4.45, 2.2, theme)
    axes = figure.add_subplot()
    value, levels = moved_value(series, place), series.levels[place]
    chosen = np.unique(np.linspace(0, len(levels) - 1, MOST_LEVELS).round().astype(int))
    for number, level in enumerate(chosen):
        colour = colormaps["coolwarm"](number / max(1, len(chosen) - 1))
        line = series.traversals[place, level, :, value]
        axes.plot(line, color=colour, linewidth=1.2, label=f"{levels[level]:.2g}")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelcolor=theme.ink)
    axes.set_xlabel("time", fontsize=8.5, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    quiet(axes, theme, grid="y")
    return render(figure)


def series_traversals(series: OfSeries | None) -> Section | None:
    """Builds the section of traversals: a chart for each of the most important latents."""
    if series is None or not len(series.latents):
        return None
    caption = (
        "The first example, with one latent at a time set to the values in the legend. Drawn is the value of the "
        "series that this latent changes most; lines of a latent that carries nothing lie on one another."
    )
    cards = []
    for place, latent in enumerate(series.latents):
        value = moved_value(series, place)
        change = np.ptp(series.traversals[place, :, :, value], axis=0).max()
        alt = f"x{value} over time for {min(MOST_LEVELS, len(series.levels[place]))} values of latent {latent}"
        picture = chart(partial(traversal_chart, series, place), alt)
        cards.append(Card(f"z{latent}: x{value}", picture, f"largest change {change:.3g}"))
    return Section("series-traversals", "What each latent changes", caption=caption, layout="columns", cards=cards)


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
