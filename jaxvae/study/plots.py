"""The charts of a study's page, one for each data set, for light and for dark pages."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from jaxvae.report.figures import DARK, Theme, figure_of, quiet, render
from jaxvae.report.parts import Card, Picture, Section
from jaxvae.report.parts import chart as full_chart
from jaxvae.study.findings import DOWNSTREAM, METRICS, UNSUPERVISED, correlations, data_of, pick, transfer_shares
from jaxvae.study.statistics import Rows, bootstrap, column, variance_shares

COLOURS = ("#4477cc", "#d5702a", "#2a9d74", "#c26ba0", "#c79a1e", "#3fa7d6", "#8a6fd1", "#8c8c8c")
"""Colours that can be told apart on light and on dark cards."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDE, PANEL = 4.45, 2.9
"""Widths in inches of a chart that shares a row with one other, and with two."""


def study_sections(rows: Rows, about: str) -> list[Section]:
    """Returns the sections of the charts. Their captions end with `about`."""
    sets = data_of(rows)

    def section(anchor: str, title: str, caption: str, cards: Sequence[Card], layout: str = "columns") -> Section:
        return Section(anchor, title, caption=f"{caption} {about}", layout=layout, cards=cards)

    def maps(ones: Mapping[str, str], others: Mapping[str, str], what: str) -> list[Card]:
        found = {data: correlations(rows, data, ones, others) for data in sets}
        names = list(ones.values()), list(others.values())
        return [
            Card(data, chart(partial(_map, matrix, *names), f"Rank correlations {what}, {data}"))
            for data, matrix in found.items()
        ]

    there = {name: title for name, title in DOWNSTREAM.items() if np.isfinite(column(rows, name)).any()}
    kinds = [(data, kind) for data in sets for kind in ("sampled", "mean")]
    return [
        section(
            "total-correlation",
            "Total correlation",
            "Gaussian, of sampled and of mean codes, in nats, with 95 % intervals; strengths from the weakest to the "
            "strongest.",
            [
                Card(
                    f"{kind} codes, {data}",
                    chart(partial(_total_correlation, rows, data, kind), f"Total correlation of {kind} codes, {data}"),
                )
                for data, kind in kinds
            ],
        ),
        section(
            "agreement",
            "Metrics beside each other",
            "Rank correlations over the models of a data set.",
            maps(METRICS, METRICS, "between metrics"),
        ),
        section(
            "scores",
            "Scores by method",
            "All strengths and seeds; dots are models, and a bar is their mean.",
            [
                _violin_card(f"{title}, {data}", {m: column(pick(rows, data=data, method=m), name) for m in methods})
                for methods in [methods_of(rows)]
                for data in sets
                for name, title in METRICS.items()
            ],
            "panels",
        ),
        section(
            "strengths",
            "MIG by strength",
            "From the weakest to the strongest.",
            [
                _violin_card(f"{method}, {data}", _by_strength(pick(rows, data=data, method=method)))
                for data in sets
                for method in methods_of(rows)
            ],
            "panels",
        ),
        section(
            "variance",
            "What the variance goes with",
            "Shares of the variance of each score.",
            [
                Card(data, chart(partial(_variance, rows, data), f"Shares of the variance of each score, {data}"))
                for data in sets
            ],
        ),
        section(
            "selection",
            "Selection without labels",
            "Rank correlations of scores with metrics.",
            maps(UNSUPERVISED, METRICS, "of scores without labels with metrics"),
        ),
        section(
            "transfer",
            "Setting chosen elsewhere",
            "How often it beats a random one, which would be 0.5.",
            [Card("Share of wins", chart(partial(_transfer, transfer_shares(rows)), _transfer_in_words(rows)))],
            "columns lone",
        ),
        section(
            "downstream",
            "Learning from codes",
            "Rank correlations of metrics with accuracies.",
            maps(METRICS, there or DOWNSTREAM, "of metrics with accuracies"),
        ),
    ]


def chart(draw: Callable[[Theme], Image.Image], alt: str) -> Picture:
    """Draws a chart for light and for dark pages, in 256 colours: there are many, and they hardly have more."""
    return full_chart(lambda theme: draw(theme).quantize(256, dither=Image.Dither.NONE), alt)


def methods_of(rows: Rows) -> list[str]:
    """Returns the methods of a table, in its order."""
    return list(dict.fromkeys(row["method"] for row in rows))


def strengths_of(rows: Rows) -> list[float]:
    """Returns the strengths of the regularization in a table, in ascending order."""
    return sorted({row["strength"] for row in rows})


def _total_correlation(rows: Rows, data: str, kind: str, theme: Theme) -> Image.Image:
    figure, axes = _axes(WIDE, 3.1, theme)
    name, most = f"{kind}/gaussian_total_correlation", 1
    for k, method in enumerate(methods_of(rows)):
        part = pick(rows, data=data, method=method)
        estimates = [bootstrap(column(pick(part, strength=strength), name)) for strength in strengths_of(part)]
        if not estimates:
            continue
        values, low, high = (np.array(numbers) for numbers in zip(*estimates, strict=True))
        most = max(most, len(values))
        axes.errorbar(
            range(1, len(values) + 1),
            values,
            [values - low, high - values],
            color=COLOURS[k % len(COLOURS)],
            marker=MARKERS[k % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            label=method,
        )
    axes.set_xticks(range(1, most + 1))
    axes.set_xlabel("strength, weakest first", fontsize=8.5, color=theme.muted)
    quiet(axes, theme, grid="y")
    _legend(figure, axes, theme)
    return render(figure)


def _map(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], theme: Theme) -> Image.Image:
    """Draws rank correlations as coloured cells with numbers that stand out from them."""
    figure, axes = _axes(WIDE, 1.5 + 0.3 * len(rows), theme)
    ends = ("#7ea6ff", "#f0906e") if theme == DARK else ("#2f5fc4", "#b8431f")
    colours = LinearSegmentedColormap.from_list("signed", [ends[0], theme.card, ends[1]])
    axes.imshow(np.nan_to_num(matrix), cmap=colours, vmin=-1, vmax=1, aspect="auto")
    for (row, place), value in np.ndenumerate(matrix):
        known = np.isfinite(value)
        colour = theme.card if known and abs(value) > 0.55 else theme.ink
        text = f"{value:.2f}".replace("0.", ".").replace("-", "−") if known else "–"
        axes.text(place, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    quiet(axes, theme)
    axes.tick_params(labelcolor=theme.ink)
    axes.spines["bottom"].set_visible(False)
    return render(figure)


def _violin_card(title: str, groups: Mapping[str, np.ndarray]) -> Card:
    means = (f"{name} {np.nanmean(values):.2f}" for name, values in groups.items() if np.isfinite(values).any())
    return Card(title, chart(partial(_violins, groups), f"{title}, means: {', '.join(means) or 'none'}"))


def _violins(groups: Mapping[str, np.ndarray], theme: Theme) -> Image.Image:
    figure, axes = _axes(PANEL, 2.3, theme)
    for place, values in enumerate(groups.values()):
        known = values[np.isfinite(values)]
        if len(known) > 1 and np.ptp(known) > 0:
            drawn: Any = axes.violinplot(known, [place], showextrema=False, widths=0.8)
            for body in drawn["bodies"]:
                body.set(facecolor=theme.accent, alpha=0.35, linewidth=0)
        axes.plot(np.full(len(known), place), known, ".", markersize=3, color=theme.accent)
        if len(known):
            axes.hlines(known.mean(), place - 0.3, place + 0.3, color=theme.ink, linewidth=1)
    turn: dict[str, Any] = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if max(map(len, groups)) > 4 else {}
    )
    axes.set_xticks(range(len(groups)), list(groups), **turn)
    quiet(axes, theme, grid="y")
    return render(figure)


def _by_strength(rows: Rows) -> dict[str, np.ndarray]:
    return {f"{strength:g}": column(pick(rows, strength=strength), "mean/mig") for strength in strengths_of(rows)}


def _variance(rows: Rows, data: str, theme: Theme) -> Image.Image:
    figure, axes = _axes(WIDE, 3.1, theme)
    shares = np.nan_to_num([variance_shares(pick(rows, data=data), name) for name in METRICS])
    left = np.zeros(len(METRICS))
    for colour, kind, part in zip(COLOURS, ("objective", "strength", "seed"), shares.T, strict=False):
        axes.barh(range(len(METRICS)), part, left=left, label=kind, color=colour, height=0.66)
        left += part
    axes.set_yticks(range(len(METRICS)), list(METRICS.values()))
    axes.set_ylim(len(METRICS) - 0.4, -0.6)
    axes.set_xlabel("share of the variance", fontsize=8.5, color=theme.muted)
    quiet(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink)
    _legend(figure, axes, theme, 3)
    return render(figure)


def _transfer(shares: Mapping[tuple[str, str], float], theme: Theme) -> Image.Image:
    figure, axes = _axes(WIDE, 2.2, theme)
    names = [f"{metric} metric, {data} data" for metric, data in shares]
    values = np.nan_to_num(list(shares.values()))
    axes.barh(range(len(names)), values, color=theme.accent, height=0.6)
    for row, value in enumerate(values):
        inside = value > 0.15  # beside a short bar, and else where no line crosses it
        place, side, colour = (value - 0.015, "right", theme.card) if inside else (value + 0.015, "left", theme.ink)
        axes.text(place, row, f"{value:.2f}", va="center", ha=side, fontsize=8, color=colour)
    axes.axvline(0.5, color=theme.ink, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.08), ylim=(len(names) - 0.5, -0.5))
    quiet(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink)
    return render(figure)


def _transfer_in_words(rows: Rows) -> str:
    shares = transfer_shares(rows)
    return "; ".join(
        f"{metric} metric and {data} data: {value:.2f}" if np.isfinite(value) else f"{metric} metric and {data} data: –"
        for (metric, data), value in shares.items()
    )


def _axes(width: float, height: float, theme: Theme) -> tuple[Figure, Axes]:
    figure = figure_of(width, height, theme)
    return figure, figure.add_subplot()


def _legend(figure: Figure, axes: Axes, theme: Theme, columns: int = 3) -> None:
    figure.legend(loc="outside lower center", ncols=columns, fontsize=7.5, frameon=False, labelcolor=theme.ink)
