"""Figures for papers: vector graphics of the width of a column, with embedded fonts and colours for the colour-blind.

Every function draws arrays and returns a Matplotlib figure of the class `Figure`, which `save` writes in several
formats. Widths are in inches: 3.3 for a column of a two-column paper, and 6.9 for its text.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from jaxvae.files import write_bytes
from jaxvae.report.figures import plain, wants_log_axis
from jaxvae.report.pictures import signed
from jaxvae.runs.compare import interval

COLUMN, TEXT = 3.3, 6.9
"""Widths in inches of a column and of the text."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "savefig.dpi": 600,
    "figure.constrained_layout.use": True,
}
FORMATS = ("pdf", "svg", "png")
MOST_LETTERS = 48
"""Number of letters after which a name in a legend is cut."""
MOST_CELLS = 200
"""Largest number of cells of a map that are annotated."""
LIGHTEST = LinearSegmentedColormap.from_list("share", ["#ffffff", PALETTE[0]])


class Curve(NamedTuple):
    """A logged term of the runs of one line, which differ by their seed."""

    name: str
    steps: np.ndarray
    """Steps [T]."""
    values: np.ndarray
    """Values [seeds, T]; NaN where a run has none."""


class Spot(NamedTuple):
    """A method with one strength of its regularization, by two numbers of each seed."""

    name: str
    method: str
    """Name of the line through the spots that differ by the strength alone."""
    strength: float
    """Value of the hyperparameter that weighs the prior; NaN if the method has none."""
    error: np.ndarray
    """Reconstruction error of each seed [n]."""
    score: np.ndarray
    """Score of each seed [n]."""


def styled(style: str | None = None) -> Any:
    """Returns a context in which figures have the style of this module, with changes of a Matplotlib style on top.

    Raises:
      ValueError: Matplotlib does not know the style.
    """
    own: Any = STYLE
    context = matplotlib.rc_context(own)
    if style is None:
        return context
    try:
        changes: Any = matplotlib.style.library.get(style) or matplotlib.rc_params_from_file(
            style, use_default_template=False
        )
    except OSError as error:
        raise ValueError(f"--style {style} is neither a style of Matplotlib nor a file of one") from error
    return matplotlib.rc_context({**own, **{key: changes[key] for key in changes}})


def save(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    """Writes a figure in several formats beside each other, and returns the files."""
    FigureCanvasAgg(figure)
    files = []
    for ending in formats:
        content = io.BytesIO()
        # Dates would make equal figures different files.
        dates: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
        figure.savefig(content, format=ending, metadata=dates.get(ending))
        files.append(path.with_suffix(f".{ending}"))
        write_bytes(files[-1], content.getvalue())
    return files


def traversals(
    images: np.ndarray, names: Sequence[str], values: Sequence[float] | Sequence[str], width: float = COLUMN
) -> Figure:
    """Draws traversals [D, T, H, W, C]: a named row per latent, and a column per value."""
    rows, columns, height, wide, channels = images.shape
    room = 0.75
    side = (width - room) / columns
    figure = Figure(figsize=(width, rows * side * height / wide + 0.16))
    figure.set_layout_engine("none")
    top = 0.16 / figure.get_figheight()
    for row in range(rows):
        bottom = (1 - top) * (rows - 1 - row) / rows
        for column in range(columns):
            place = ((room + column * side) / width, bottom, 0.96 * side / width, 0.96 * (1 - top) / rows)
            axes = figure.add_axes(place)
            pixels = np.clip(images[row, column], 0, 1)
            shown = pixels[..., 0] if channels == 1 else pixels
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                value = values[column]
                text = value if isinstance(value, str) else signed(value)
                axes.set_title(text, fontsize=6, pad=1.5)
        figure.text(
            (room - 0.06) / width,
            bottom + 0.48 * (1 - top) / rows,
            plain(names[row]),
            ha="right",
            va="center",
            fontsize=7,
        )
    return figure


def hinton(share: np.ndarray, rows: Sequence[str], columns: Sequence[str], label: str, width: float = COLUMN) -> Figure:
    """Draws numbers in [0, 1] [D, K] as squares whose area is the number, as in a Hinton diagram."""
    side = min(0.3, (width - 1.0) / len(columns))
    figure, turned = _figure_of_cells(rows, columns, width, side, side)
    axes = figure.add_subplot()
    for (row, column), value in np.ndenumerate(np.nan_to_num(share).clip(0, 1)):
        side = 0.92 * value**0.5
        corner = (column - side / 2, row - side / 2)
        axes.add_patch(Rectangle(corner, side, side, color=PALETTE[0], linewidth=0))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), aspect="equal")
    _name_cells(axes, rows, columns, label, turned)
    return figure


def heat_map(
    share: np.ndarray, rows: Sequence[str], columns: Sequence[str], label: str, width: float = COLUMN
) -> Figure:
    """Draws numbers in [0, 1] [D, K] as cells with a colour bar; few cells are annotated."""
    figure, turned = _figure_of_cells(rows, columns, width, (width - 1.0) / len(columns), 0.16)
    axes = figure.add_subplot()
    drawn = axes.imshow(np.nan_to_num(share), cmap=LIGHTEST, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share) if share.size <= MOST_CELLS else ():
        if np.isfinite(value) and value >= 0.005:
            text = f"{value:.2f}".removeprefix("0")
            axes.text(
                column, row, text, ha="center", va="center", fontsize=5, color="white" if value > 0.55 else "black"
            )
    _name_cells(axes, rows, columns, label, turned)
    figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=25, pad=0.02).outline.set_linewidth(0.5)
    return figure


def _figure_of_cells(
    rows: Sequence[str], columns: Sequence[str], width: float, wide: float, high: float
) -> tuple[Figure, bool]:
    """Returns a figure for cells of a size in inches, with room for the names above, and whether those are oblique."""
    letters = max((len(plain(name)) for name in columns), default=0)
    turned = 0.06 * letters > wide
    room = 0.2 + 0.04 * letters if turned else 0.2
    return Figure(figsize=(width, min(8.0, room + 0.35 + high * max(2, len(rows))))), turned


def curves(terms: Mapping[str, Sequence[Curve]], width: float = TEXT) -> Figure:
    """Draws a panel per logged term: for each line the mean over seeds, and a band of the 95 % interval of the mean."""
    across = min(3, len(terms))
    down = -(-len(terms) // across)
    figure = Figure(figsize=(width if across == 3 else width * across / 3, 1.5 * down + 0.25))
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat[len(terms) :]:
        axes.set_axis_off()
    for axes, (term, lines) in zip(panels.flat, terms.items(), strict=False):
        for k, line in enumerate(lines):
            mean, half = band(line.values)
            colour = PALETTE[k % len(PALETTE)]
            axes.plot(line.steps, mean, color=colour, linestyle=DASHES[k // len(PALETTE) % 4], label=_named(line.name))
            axes.fill_between(line.steps, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(plain(term.replace("_", " ")))
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _scale(axes, "y", np.concatenate([line.values.ravel() for line in lines]))
    handles, names = panels[0, 0].get_legend_handles_labels()
    _legend(figure, handles, names)
    return figure


def pareto(spots: Sequence[Spot], score: str, width: float = COLUMN) -> Figure:
    """Draws reconstruction error against a score: a marker per method and strength with 95 % intervals, and a line over
    the strengths of each method.
    """
    figure = Figure(figsize=(width, 2.3))
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(spot.method for spot in spots))
    marks: list[tuple[float, float, str]] = []
    for k, method in enumerate(methods):
        own = sorted((spot for spot in spots if spot.method == method), key=lambda spot: spot.strength)
        points = np.array([[np.nanmean(spot.error), np.nanmean(spot.score)] for spot in own])
        halves = np.array([[_half(spot.error), _half(spot.score)] for spot in own])
        style: dict[str, Any] = {
            "color": PALETTE[k % len(PALETTE)],
            "marker": MARKERS[k % len(MARKERS)],
            "label": _named(method),
        }
        axes.errorbar(
            points[:, 0], points[:, 1], xerr=halves[:, 0], yerr=halves[:, 1], elinewidth=0.5, linewidth=0.8, **style
        )
        for (x, y), spot in zip(points, own, strict=True):
            strength = f"{spot.strength:g}" if len(own) > 1 and np.isfinite(spot.strength) else ""
            marks.append((float(x), float(y), strength))
    axes.set(xlabel="reconstruction error", ylabel=score)
    _scale(axes, "x", np.concatenate([spot.error for spot in spots]))
    _legend(figure, *axes.get_legend_handles_labels())
    _write_beside(figure, axes, marks)
    return figure


def _write_beside(figure: Figure, axes: Any, marks: Sequence[tuple[float, float, str]], size: float = 5) -> None:
    """Writes the text of each mark (x, y, text) beside it, where it is not over another text nor, if there is another
    place, over a mark. A text without any such place is left out.
    """
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # which decides where the axes are
    places = axes.transData.transform(np.array([mark[:2] for mark in marks])) * 72 / figure.dpi
    symbols = [(x - 2.0, y - 2.0, x + 2.0, y + 2.0) for x, y in places]
    written: list[tuple[float, float, float, float]] = []
    left, bottom, right, top = axes.get_window_extent().extents * 72 / figure.dpi
    for (x, y), (at_x, at_y, text) in zip(places, marks, strict=True):
        wide, high = 0.68 * size * len(text), 1.1 * size
        offsets = [(dx, dy) for dx in (3.0, -3.0 - wide) for dy in (3.0, -3.0 - high)]
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + high) for dx, dy in offsets]
        free = [
            k
            for k, box in enumerate(boxes)
            if left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top and not _meets(box, written)
        ]
        best = next((k for k in free if not _meets(boxes[k], symbols)), next(iter(free), None))
        if text and best is not None:
            written.append(boxes[best])
            style = {"xytext": offsets[best], "textcoords": "offset points", "fontsize": size}
            axes.annotate(text, (at_x, at_y), **style).set_in_layout(False)


def _meets(box: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> bool:
    return any(box[0] < one[2] and one[0] < box[2] and box[1] < one[3] and one[1] < box[3] for one in others)


def violins(spots: Sequence[Spot], score: str, width: float = COLUMN) -> Figure:
    """Draws the scores of the seeds of every method and strength as a violin where there are three or more, and as
    points.
    """
    figure = Figure(figsize=(width if len(spots) <= 8 else TEXT, 2.3))
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(spot.method for spot in spots))
    for place, spot in enumerate(spots):
        known = spot.score[np.isfinite(spot.score)]
        colour = PALETTE[methods.index(spot.method) % len(PALETTE)]
        if len(np.unique(known)) >= 3:
            drawn: Any = axes.violinplot(known, [place], widths=0.8, showextrema=False)
            for body in drawn["bodies"]:
                body.set(facecolor=colour, alpha=0.35, linewidth=0)
        axes.plot(np.full(len(known), place), known, ".", color=colour, markersize=3)
        if len(known):
            axes.hlines(known.mean(), place - 0.25, place + 0.25, color="black", linewidth=0.8)
    long = max(len(spot.name) for spot in spots) > 6 or len(spots) > 6
    axes.set_xticks(
        range(len(spots)),
        [_short_name(spot) for spot in spots],
        rotation=40 if long else 0,
        ha="right" if long else "center",
    )
    axes.set_ylabel(score)
    axes.margins(x=0.03)
    return figure


def embedding(
    points: np.ndarray, axes_names: tuple[str, str], label: str, values: np.ndarray | None, value_names: Sequence[str]
) -> Figure:
    """Draws codes [n, 2], coloured by a label's values [n] if there is one."""
    figure = Figure(figsize=(COLUMN, 2.6))
    axes = figure.add_subplot()
    style: Any = {"s": 3, "linewidths": 0, "rasterized": len(points) > 5000}
    if values is None:
        axes.scatter(*points.T, color=PALETTE[0], **style)
    elif len(value_names) <= len(PALETTE):
        for value, name in enumerate(value_names):
            axes.scatter(*points[values == value].T, color=PALETTE[value], label=plain(name), **style)
        legend = figure.legend(loc="outside right upper", title=plain(label), markerscale=2, handletextpad=0.2)
        legend.get_title().set_fontsize(6)
    else:
        drawn = axes.scatter(points[:, 0], points[:, 1], c=values, cmap="viridis", **style)
        figure.colorbar(drawn, ax=axes, label=plain(label), pad=0.02, aspect=25).outline.set_linewidth(0.5)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    return figure


def sizes_of_latents(sizes: np.ndarray, names: Sequence[str], active: Sequence[bool], label: str) -> Figure:
    """Draws a bar per latent, inactive ones in grey."""
    figure = Figure(figsize=(COLUMN, min(8.0, 0.45 + 0.15 * len(sizes))))
    axes = figure.add_subplot()
    axes.barh(
        range(len(sizes)), np.nan_to_num(sizes), height=0.7, color=[PALETTE[0] if on else "#bbbbbb" for on in active]
    )
    axes.set_yticks(range(len(sizes)), [plain(name) for name in names])
    axes.set_ylim(len(sizes) - 0.5, -0.5)
    axes.set_xlabel(label)
    return figure


def _named(name: str) -> str:
    return plain(name, MOST_LETTERS)


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Draws a legend below the panels if there are several names, with as many columns as the names leave room for."""
    if len(names) < 2:
        return
    room = figure.get_figwidth() / (0.3 + 0.062 * max(map(len, names)))
    across = max(1, min(4, len(names), int(room)))
    down = -(-len(names) // across)
    figure.set_figheight(figure.get_figheight() + 0.14 * max(0, down - 1))
    figure.legend(handles, names, loc="outside lower center", ncols=across)


def _short_name(spot: Spot) -> str:
    """Returns the name of a spot, cut at the end of the method and not of the strength."""
    long = len(spot.name) > 24 and np.isfinite(spot.strength)
    return plain(f"{spot.method[:14]}… {spot.strength:g}" if long else spot.name)


def _scale(axes: Any, which: Literal["x", "y"], values: np.ndarray) -> None:
    """Makes an axis logarithmic if its values span a large ratio, with few ticks."""
    if not wants_log_axis(values):
        return
    axes.set(**{f"{which}scale": "log"})
    finite = values[np.isfinite(values)]
    decades = np.log10(finite.max() / finite.min())
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=6))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _name_cells(axes: Any, rows: Sequence[str], columns: Sequence[str], label: str, turned: bool) -> None:
    turn = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(columns)), [plain(name) for name in columns], **turn)
    axes.set_yticks(range(len(rows)), [plain(name) for name in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    axes.set_xlabel(label)


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means over the seeds that have a value [T], and half the widths of their 95 % intervals.

    The width is NaN, which is not drawn, where fewer than two seeds have a value: where the others have ended, for
    example. A width of 0 would claim that the mean is known.
    """
    mean, half = np.array([interval(column) for column in values.T]).T
    return mean, half


def _half(values: np.ndarray) -> float:
    return float(band(values[:, None])[1][0])
