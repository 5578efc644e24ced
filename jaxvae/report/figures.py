"""Charts of latent sizes, of latents against factors, and of training curves, for light and for dark pages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from jaxvae.files import printable

DPI = 192
"""Resolution of two pixels per CSS pixel: a figure of 1 inch is 96 CSS pixels wide."""
LOG_RATIO = 8
"""Ratio of the largest to the smallest value above which a positive curve is drawn on a log axis."""
ROUND = (1, 2, 5, 10)
"""Leading digits of the steps between ticks."""
MOST_NUMBERS = 1000
"""Largest number of annotated cells of a map, as thousands of numbers take long to draw and make large pictures."""
NOT_LOSS_TERMS = ("step", "seconds", "steps_per_second")
VALIDATION = "validation_"
"""Start of the names of terms on validation examples, which are drawn in the panel of the training term."""
SCORE = "score_"
"""Start of the names of scores during training."""


class Theme(NamedTuple):
    """Colours of a chart."""

    card: str
    ink: str
    muted: str
    line: str
    accent: str
    off: str


LIGHT = Theme("#ffffff", "#1d2127", "#687180", "#e4e6ea", "#2f62d9", "#c3c9d3")
DARK = Theme("#191c22", "#e8eaee", "#98a1b0", "#2d323b", "#7ea6ff", "#4b5361")


def latent_chart(
    sizes: np.ndarray, names: Sequence[str], active: Sequence[bool], label: str, theme: Theme
) -> Image.Image:
    """Draws a horizontal bar for each latent with its name [D], top to bottom; inactive latents are faint."""
    figure = figure_of(4.45, 0.75 + 0.27 * len(sizes), theme)
    axes = figure.add_subplot()
    shown = np.nan_to_num(np.asarray(sizes, float), nan=0.0, posinf=0.0, neginf=0.0)
    colours = [theme.accent if on else theme.off for on in active]
    axes.barh(range(len(sizes)), shown, height=0.62, color=colours)
    reach = max(float(shown.max(initial=0.0)), 1e-3)
    for row, value, raw in zip(range(len(sizes)), shown, sizes, strict=True):
        number = axes.text(value + 0.015 * reach, row, f"{raw:.2f}", va="center", fontsize=8, color=theme.muted)
        number.set_in_layout(False)  # it is inside the axes, and measuring hundreds of texts takes long
    axes.set_yticks(range(len(sizes)), [plain(name) for name in names])
    axes.set_xlim(0, 1.15 * reach)
    axes.set_ylim(len(sizes) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=8.5, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    quiet(axes, theme, grid="x")
    axes.tick_params(axis="y", labelcolor=theme.ink)
    axes.spines["bottom"].set_visible(False)
    return render(figure)


def heat_map(share: np.ndarray, rows: Sequence[str], columns: Sequence[str], theme: Theme) -> Image.Image:
    """Draws numbers in [0, 1] (or NaN) [D, K] as cells; the largest number in each column is framed.

    Up to `MOST_NUMBERS` cells are annotated.
    """
    figure = figure_of(1.2 + max(0.62 * len(columns), 2.2), 0.75 + 0.27 * len(rows), theme)
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("share", [theme.card, theme.accent])
    axes.imshow(np.nan_to_num(share, nan=0.0), cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(*share.shape) if share.size <= MOST_NUMBERS else ():
        value = float(share[row, column])
        colour = theme.card if value > 0.55 else theme.ink if value >= 0.1 else theme.muted
        number = axes.text(column, row, _two_digits(value), ha="center", va="center", fontsize=8, color=colour)
        number.set_in_layout(False)
    for column in range(share.shape[1]):
        if np.isfinite(share[:, column]).any():
            corner = (column - 0.5, int(np.nanargmax(share[:, column])) - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=theme.ink, linewidth=1.2, clip_on=False))
    long = max((len(name) for name in columns), default=0) > 11 or len(columns) > 12
    axes.set_xticks(
        range(len(columns)),
        [plain(name) for name in columns],
        rotation=45 if long else 0,
        ha="left" if long else "center",
    )
    axes.set_yticks(range(len(rows)), [plain(name) for name in rows])
    axes.xaxis.tick_top()
    quiet(axes, theme)
    axes.tick_params(labelcolor=theme.ink)
    axes.spines["bottom"].set_visible(False)
    return render(figure)


def spectra_chart(spectra: np.ndarray, theme: Theme) -> Image.Image:
    """Draws the singular values of each class [K, r] as a line, relative to the largest of all."""
    figure = figure_of(4.45, 3.2, theme)
    axes = figure.add_subplot()
    axes.plot(np.arange(1, spectra.shape[1] + 1), spectra.T / max(float(spectra.max()), 1e-12), color=theme.accent)
    for line in axes.lines:
        line.set(linewidth=1.0, alpha=0.7)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("direction", fontsize=8.5, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND, integer=True))
    quiet(axes, theme, grid="y")
    return render(figure)


def cosine_map(cosines: np.ndarray, theme: Theme) -> Image.Image:
    """Draws numbers in [0, 1] for pairs of examples [m, m], without annotation."""
    figure = figure_of(3.4, 3.4, theme)
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("cosine", [theme.card, theme.accent])
    axes.imshow(cosines, cmap=colours, vmin=0.0, vmax=1.0, interpolation="nearest")
    quiet(axes, theme)
    axes.set(xticks=[], yticks=[])
    return render(figure)


def logged_terms(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the loss terms in any row of the history, in order of appearance.

    Terms on validation examples are left out where there is the same term on training examples, and so are scores.
    """
    names = dict.fromkeys(name for row in history for name in row if not name.startswith(SCORE))
    beside = {VALIDATION + name for name in names}
    return [name for name in names if name not in NOT_LOSS_TERMS and name not in beside]


def logged_scores(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names, as in the rows, of the scores during training, in order of appearance."""
    return [name for name in dict.fromkeys(name for row in history for name in row) if name.startswith(SCORE)]


def term_values(history: Sequence[Mapping[str, Any]], term: str) -> np.ndarray:
    """Returns the values of a term in every row, with NaN where it is missing."""
    return np.array([_number(row.get(term)) for row in history])


def curve(history: Sequence[Mapping[str, Any]], term: str, theme: Theme) -> Image.Image:
    """Draws a small panel of one logged term against the step, with gaps where it is missing or not finite.

    The same term on validation examples, if it was logged, is a dashed line through its values.
    """
    steps = np.array([row["step"] for row in history], float)
    values, validated = term_values(history, term), term_values(history, VALIDATION + term)
    finite, there = np.isfinite(values), np.isfinite(validated)
    figure = figure_of(2.9, 1.6, theme)
    axes = figure.add_subplot()
    axes.plot(steps, values, color=theme.accent, linewidth=1.5, marker="o" if finite.sum() < 3 else "")
    if there.any():
        marker = "o" if there.sum() < 3 else ""
        axes.plot(steps[there], validated[there], color=theme.ink, linewidth=1.2, linestyle="--", marker=marker)
    drawn = np.concatenate([values[finite], validated[there]])
    if wants_log_axis(drawn):
        axes.set_yscale("log")
        decades = math.log10(drawn.max() / drawn.min())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=6))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    quiet(axes, theme, grid="y")
    return render(figure)


def wants_log_axis(values: np.ndarray) -> bool:
    """Whether all finite values are positive and the largest is much larger than the smallest."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > LOG_RATIO * finite.min())


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _two_digits(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"


def plain(text: str, most: int = 24) -> str:
    """Escapes a line of text, cut after `most` letters, so that a dollar sign does not start a formula, and control
    characters are shown.
    """
    text = printable(" ".join(text.split()))
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def figure_of(width: float, height: float, theme: Theme) -> Figure:
    """Creates an empty figure of a size in inches, 96 CSS pixels each."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor=theme.card, layout="constrained")


def quiet(axes: Axes, theme: Theme, grid: Literal["x", "y"] | None = None) -> None:
    """Takes lines and ticks away from axes; a grid may stay."""
    axes.set_facecolor(theme.card)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.line)
    axes.tick_params(which="both", length=0, labelsize=8, labelcolor=theme.muted)
    if grid:
        axes.grid(axis=grid, color=theme.line, linewidth=0.8)
        axes.set_axisbelow(True)


def render(figure: Figure) -> Image.Image:
    """Renders the figure as pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
