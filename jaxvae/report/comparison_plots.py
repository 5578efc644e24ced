"""The charts of a comparison: training curves with bands over seeds, scores against the error and against a weight."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from PIL import Image

from jaxvae.report.figures import ROUND, Theme, figure_of, plain, quiet, render, wants_log_axis
from jaxvae.report.paper import MARKERS, Curve, Spot, band
from jaxvae.report.paper_figures import curves_of, in_order, spots_of
from jaxvae.report.parts import Card, chart
from jaxvae.runs.compare import Column, Line

COLOURS = ("#4477cc", "#d5702a", "#2a9d74", "#c26ba0", "#c79a1e", "#3fa7d6", "#8a6fd1", "#8c8c8c")
"""Colours that can be told apart on light and on dark cards."""
MOST_LINES = len(COLOURS)


def comparison_plots(columns: Sequence[Column], lines: Sequence[Line]) -> list[Card]:
    """Draws what the lines have: the loss over the steps, and their first score against the error and the weight."""
    cards, lines = [], in_order(lines)
    loss = [line for line in curves_of(lines).get("loss", []) if line.values.size][:MOST_LINES]
    if loss:
        names = ", ".join(line.name for line in loss)
        cards.append(Card("Loss by step", chart(lambda theme: _curves(loss, theme), f"Loss by step of {names}")))
    for column in columns:
        spots = spots_of(lines, column.name) if column.name != "reconstruction_error" and column.better > 0 else []
        if len(spots) > 1:
            alt = f"{column.title} against the reconstruction error of {len(spots)} lines"
            cards.append(Card(f"{column.title} and error", chart(_drawn(_pareto, spots, column.title), alt)))
            by_weight = _with_weights(spots)
            if by_weight:
                alt = f"{column.title} against the weight of the prior"
                cards.append(Card(f"{column.title} by weight", chart(_drawn(_weights, by_weight, column.title), alt)))
            break
    return cards


def _drawn(
    draw: Callable[[Axes, Sequence[Spot], str, Theme], None], spots: Sequence[Spot], title: str
) -> Callable[[Theme], Image.Image]:
    def drawn(theme: Theme) -> Image.Image:
        figure = figure_of(4.45, 3.1, theme)
        axes = figure.add_subplot()
        draw(axes, spots, title, theme)
        quiet(axes, theme, grid="y")
        _legend(figure, axes, theme)
        return render(figure)

    return drawn


def _curves(lines: Sequence[Curve], theme: Theme) -> Image.Image:
    figure = figure_of(4.45, 3.1, theme)
    axes = figure.add_subplot()
    for colour, line in zip(COLOURS, lines, strict=False):
        mean, half = band(line.values)
        axes.plot(line.steps, mean, color=colour, linewidth=1.4, label=plain(line.name))
        axes.fill_between(line.steps, mean - half, mean + half, color=colour, alpha=0.25, linewidth=0)
    if wants_log_axis(np.concatenate([line.values.ravel() for line in lines])):
        axes.set_yscale("log")
    axes.set_xlabel("step", fontsize=8.5, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    quiet(axes, theme, grid="y")
    _legend(figure, axes, theme)
    return render(figure)


def _pareto(axes: Axes, spots: Sequence[Spot], title: str, theme: Theme) -> None:
    for k, (method, own) in enumerate(_by_method(spots).items()):
        errors, scores = (band(np.array(one.error)[:, None]) for one in own), (band(one.score[:, None]) for one in own)
        points = np.array(
            [[error[0][0], error[1][0], score[0][0], score[1][0]] for error, score in zip(errors, scores, strict=True)]
        )
        axes.errorbar(
            points[:, 0],
            points[:, 2],
            xerr=points[:, 1],
            yerr=points[:, 3],
            color=COLOURS[k % MOST_LINES],
            marker=MARKERS[k % len(MARKERS)],
            markersize=5,
            linewidth=1,
            elinewidth=0.8,
            label=plain(method),
        )
    axes.set_xlabel("reconstruction error", fontsize=8.5, color=theme.muted)
    axes.set_ylabel(title, fontsize=8.5, color=theme.muted)


def _weights(axes: Axes, spots: Sequence[Spot], title: str, theme: Theme) -> None:
    for k, (method, own) in enumerate(_by_method(spots).items()):
        mean, half = np.array([[value[0] for value in band(spot.score[:, None])] for spot in own]).T
        weights = [spot.strength for spot in own]
        style: dict[str, Any] = {"color": COLOURS[k % MOST_LINES], "marker": MARKERS[k % len(MARKERS)], "markersize": 5}
        axes.errorbar(weights, mean, yerr=half, linewidth=1, elinewidth=0.8, label=plain(method), **style)
    axes.set_xlabel("weight of the prior", fontsize=8.5, color=theme.muted)
    axes.set_ylabel(title, fontsize=8.5, color=theme.muted)
    if wants_log_axis(np.array([spot.strength for spot in spots])):
        axes.set_xscale("log")


def _by_method(spots: Sequence[Spot]) -> dict[str, list[Spot]]:
    """Returns the spots of each method in the order of their weights."""
    methods: dict[str, list[Spot]] = {}
    for spot in sorted(spots, key=lambda spot: spot.strength if np.isfinite(spot.strength) else 0.0):
        methods.setdefault(spot.method, []).append(spot)
    return methods


def _with_weights(spots: Sequence[Spot]) -> list[Spot]:
    """Returns the spots of methods that have several weights."""
    several = {name for name, own in _by_method(spots).items() if len({spot.strength for spot in own}) > 1}
    return [spot for spot in spots if spot.method in several and np.isfinite(spot.strength)]


def _legend(figure: Figure, axes: Axes, theme: Theme) -> None:
    if len(axes.get_legend_handles_labels()[1]) > 1:
        figure.legend(loc="outside lower center", ncols=2, fontsize=7.5, frameon=False, labelcolor=theme.ink)
