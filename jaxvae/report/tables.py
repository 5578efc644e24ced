"""Sections on a model of vectors: codes in planes, effects of the latents on columns, and the fit of the columns."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image

from jaxvae.analysis import Representation
from jaxvae.data.origin import origin_of
from jaxvae.report.figures import Theme, figure_of, latent_chart, plain, quiet, render
from jaxvae.report.parts import Card, Section, chart
from jaxvae.runs.load import Run
from jaxvae.runs.score import examples_of, rebuilt_of
from jaxvae.schema import Schema, schema_of

MOST_POINTS = 3000
PAIRS = ((0, 1), (0, 2), (1, 2))
"""Pairs of latents whose codes are drawn, by their places in the order of the latents."""
MOST_SMALL = 1000
"""Largest number of points in the small charts of the pairs after the first."""
MOST_COLUMNS = 24
"""Largest number of columns in the chart of the effects of the latents."""
MOST_LABELS = 4
"""Largest number of labels that codes are coloured by."""
MOST_EMBEDDED = 2000
"""Largest number of points in a view by UMAP."""
MOST_VALUES = 20
"""Largest number of values of a label that have a colour of their own."""
NEIGHBOURS = 15
"""Number of neighbours of a point that UMAP looks at, its default."""
LOW, HIGH = 0.05, 0.95
"""Quantiles between which a latent is moved."""
View: TypeAlias = tuple[np.ndarray, tuple[str, str]]
"""Points [n, 2], and the names of their axes."""
Label: TypeAlias = tuple[str, np.ndarray, Sequence[str]]
"""Name of a label, its value's number for each code, and the names of the values."""


class Plane(NamedTuple):
    """Codes in two dimensions, coloured by a label."""

    points: np.ndarray
    """Coordinates of the points [n, 2]."""
    axes: tuple[str, str]
    label: str
    """Name of the label; "" without one."""
    values: np.ndarray
    """Number of the label's value of each point [n]."""
    value_names: Sequence[str]


class OfColumns(NamedTuple):
    """How a model of vectors treats the columns."""

    planes: Sequence[Plane]
    """Codes by the two strongest latents, by principal components and by UMAP, for each label in turn."""
    columns: Sequence[str]
    """Names of all columns [P]."""
    fit: np.ndarray
    """Share of each column's variance that reconstructions explain, or of its values that they get right [P]; NaN where
    it is undefined."""
    effects: np.ndarray
    """Change of each column when a latent moves from its 5 % to its 95 % quantile and the others stay at their means,
    in standard deviations of the column [D, P]."""
    order: np.ndarray
    """Indices of the latents, the most important first [D]."""
    pairs: Sequence[Sequence[Plane]] = ()
    """Codes by further pairs of the three strongest latents, for each label; empty with fewer active ones."""
    labels: int = 0
    """Number of labels of the data, of which the first ones have planes."""


def of_columns(run: Run, codes: Representation, order: np.ndarray, active: int = 0) -> OfColumns | None:
    """Collects the data of the section; None for a model of other examples, or without a decoder.

    `active` is the number of active latents. More than two of them are also drawn by further pairs, and by UMAP if
    umap-learn is installed.
    """
    if len(run.source.event_shape) != 1 or run.decoder is None or codes.mean.shape[1] < 1:
        return None
    schema = schema_of(run.source)
    x = examples_of(run, len(codes.mean))
    names = [f"x{d}" for d in range(x.shape[1])] if schema is None else list(schema.entry_names)
    decoded = rebuilt_of(run, codes.mean)
    observed, expected = by_column(schema, x), by_column(schema, decoded)
    spread = np.maximum(np.nanstd(observed, axis=0), 1e-12)
    centre = codes.mean.mean(axis=0)
    ends = np.quantile(codes.mean, [LOW, HIGH], axis=0)
    moved = np.repeat(centre[None, None], 2 * len(order), axis=0).reshape(2, len(order), -1)
    for end in range(2):
        moved[end][np.diag_indices(len(order))] = ends[end]
    low, high = (by_column(schema, run.decoder(np.asarray(rows, np.float32))) for rows in moved)
    return OfColumns(
        planes=_planes(run, codes, order, active),
        columns=names,
        fit=_fit(schema, x, decoded, observed, expected),
        effects=(high - low) / spread,
        order=order,
        pairs=_pairs(run, codes, order) if active > 2 else (),
        labels=0 if codes.factors is None else len(run.source.factor_names),
    )


def by_column(schema: Schema | None, x: np.ndarray) -> np.ndarray:
    """Returns rows [N, D] on a scale on which values can be compared: counts are replaced by log(1 + count)."""
    values = np.array(x, np.float64)
    if schema is not None:
        counts = schema.entries("count")
        values[:, counts] = np.log1p(np.maximum(values[:, counts], 0))
    return values


def _fit(
    schema: Schema | None, x: np.ndarray, decoded: np.ndarray, observed: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    residual = np.nanmean((observed - expected) ** 2, axis=0)
    variance = np.nanvar(observed, axis=0)
    fit = 1 - residual / np.where(variance > 0, variance, np.nan)
    if schema is None:
        return fit
    for column, start in zip(schema.used, schema.starts, strict=True):
        entries = slice(start, start + column.width)
        there = ~np.isnan(x[:, start])
        if column.kind == "binary":
            fit[entries] = ((decoded[there, start] > 0.5) == (x[there, start] > 0.5)).mean()
        elif column.kind == "categorical":
            right = decoded[there, entries].argmax(axis=1) == x[there, entries].argmax(axis=1)
            fit[entries] = right.mean()
    return fit


def _planes(run: Run, codes: Representation, order: np.ndarray, active: int) -> list[Plane]:
    few = codes.mean[:MOST_POINTS]
    if few.shape[1] < 2:
        return []
    views = [_by_latents(few, order[list(PAIRS[0])])]
    if few.shape[1] > 2:
        centred = few - few.mean(axis=0)
        _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
        share = 100 * sizes**2 / max(float((sizes**2).sum()), 1e-12)
        axes = tuple(f"principal component {k + 1} of the codes ({share[k]:.0f} %)" for k in range(2))
        views.append((centred @ directions[:2].T, axes))  # type: ignore[arg-type]
    if active > 2 and (points := by_umap(few[:MOST_EMBEDDED])) is not None:
        views.append((points, ("UMAP 1", "UMAP 2")))
    return [plane for label in _labels(run, codes) for plane in _coloured(views, label)]


def _pairs(run: Run, codes: Representation, order: np.ndarray) -> list[list[Plane]]:
    """Returns the codes by the pairs of the three strongest latents after the first pair, for each label."""
    views = [_by_latents(codes.mean[:MOST_SMALL], order[list(pair)]) for pair in PAIRS[1:]]
    return [_coloured(views, label) for label in _labels(run, codes)]


def _by_latents(codes: np.ndarray, pair: np.ndarray) -> View:
    return codes[:, pair], (f"z{pair[0]}", f"z{pair[1]}")


def _coloured(views: Sequence[View], label: Label) -> list[Plane]:
    """Returns the views, coloured by a label."""
    name, values, texts = label
    return [Plane(points, axes, name, values[: len(points)], texts) for points, axes in views]


def _labels(run: Run, codes: Representation) -> list[Label]:
    """Returns the labels that codes are coloured by, or one without a name if there are none."""
    if codes.factors is None:
        return [("", np.zeros(len(codes.mean), int), [])]
    told = origin_of(run.source).label_values
    labels: list[Label] = []
    for k, name in enumerate(run.source.factor_names[:MOST_LABELS]):
        values = told[k] if k < len(told) else [str(v) for v in range(run.source.factor_sizes[k])]
        labels.append((name, codes.factors[:, k], values))
    return labels


def by_umap(codes: np.ndarray) -> np.ndarray | None:
    """Embeds codes [n, D] in two dimensions with umap-learn: [n, 2], the same for the same codes.

    None if umap-learn is not installed, or if there are no more codes than the neighbours that it looks at.
    """
    try:
        from umap import UMAP
    except ImportError:
        return None
    if len(codes) <= NEIGHBOURS:
        return None
    return np.asarray(UMAP(n_neighbors=NEIGHBOURS, random_state=0, n_jobs=1).fit_transform(codes), np.float64)


def planes_section(data: OfColumns | None) -> Section | None:
    """Builds the section on the codes: charts of their planes, with the further pairs of latents after the first."""
    if data is None or not data.planes:
        return None
    caption = "Codes (posterior means) of examples, by the two latents that carry most"
    caption += ", by their pairs with the third" if data.pairs else ""
    caption += ", and by principal components"
    if any(plane.axes[0].startswith("UMAP") for plane in data.planes):
        caption += "; UMAP keeps neighbours, and its distances between groups tell little"
    if data.labels > MOST_LABELS:
        caption += f". Charted are the first {MOST_LABELS} of {data.labels} labels"
    pairs = {planes[0].label: planes for planes in data.pairs}
    cards = []
    for plane in data.planes:
        title = f"Codes by {plane.label}" if plane.label else "Codes"
        alt = f"{len(plane.points)} codes by {' and '.join(plane.axes)}"
        cards.append(Card(title, chart(partial(plane_chart, plane), alt)))
        if planes := pairs.pop(plane.label, ()):
            alt = f"{len(planes[0].points)} codes by {', and by '.join(' and '.join(each.axes) for each in planes)}"
            cards.append(Card(f"{title}, further pairs", chart(partial(pairs_chart, planes), alt)))
    return Section("codes", "The codes", caption=f"{caption}.", layout="columns", cards=cards)


def plane_chart(plane: Plane, theme: Theme) -> Image.Image:
    """Draws the points of a plane, in a colour for each value of the label."""
    figure = figure_of(4.45, 3.6, theme)
    axes = figure.add_subplot()
    _draw_points(axes, plane, theme, size=4)
    if plane.value_names:
        legend = axes.legend(
            fontsize=7, markerscale=2, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelcolor=theme.ink
        )
        legend.set_in_layout(True)
    _name_axes(axes, plane, theme)
    return render(figure)


def pairs_chart(planes: Sequence[Plane], theme: Theme) -> Image.Image:
    """Draws planes side by side, in the colours of `plane_chart`."""
    figure = figure_of(4.45, 2.3, theme)
    for place, plane in enumerate(planes):
        axes = figure.add_subplot(1, len(planes), place + 1)
        _draw_points(axes, plane, theme, size=2)
        _name_axes(axes, plane, theme)
    return render(figure)


def _draw_points(axes: Axes, plane: Plane, theme: Theme, size: float) -> None:
    colours = colormaps["tab20"] if len(plane.value_names) > 10 else colormaps["tab10"]
    for value in range(max(1, min(len(plane.value_names), MOST_VALUES))):
        chosen = plane.values == value if plane.value_names else np.ones(len(plane.points), bool)
        colour = colours(value % colours.N) if plane.value_names else theme.accent
        name = plain(plane.value_names[value]) if plane.value_names else ""
        first, second = plane.points[chosen].T
        axes.scatter(first, second, s=size, color=colour, label=name, linewidths=0, alpha=0.8)
    rest = plane.values >= MOST_VALUES
    if rest.any():
        first, second = plane.points[rest].T
        axes.scatter(first, second, s=size, color=theme.off, label="others", linewidths=0)


def _name_axes(axes: Axes, plane: Plane, theme: Theme) -> None:
    axes.set_xlabel(plane.axes[0], fontsize=8.5, color=theme.muted)
    axes.set_ylabel(plane.axes[1], fontsize=8.5, color=theme.muted)
    quiet(axes, theme)


def strongest(data: OfColumns) -> np.ndarray:
    """Returns the indices of the columns that the latents change most, by latent and size: [at most MOST_COLUMNS]."""
    size = np.abs(data.effects)
    shown = np.argsort(-size.max(axis=0))[:MOST_COLUMNS]
    latent = np.array([np.flatnonzero(data.order == d)[0] for d in size[:, shown].argmax(axis=0)], int)
    return shown[np.lexsort((-size[:, shown].max(axis=0), latent))]


def effects_chart(data: OfColumns, latents: Sequence[int], theme: Theme) -> Image.Image:
    """Draws the signed change of columns by latents as coloured cells, a row per column."""
    shown = strongest(data)
    values = data.effects[list(latents)][:, shown].T
    figure = figure_of(1.9 + 0.5 * len(latents), 0.75 + 0.24 * len(shown), theme)
    axes = figure.add_subplot()
    reach = max(float(np.abs(values).max(initial=0.0)), 1e-12)
    colours = LinearSegmentedColormap.from_list("signed", ["#3b6fd4", theme.card, "#d4572f"])
    axes.imshow(values, cmap=colours, vmin=-reach, vmax=reach, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        value = float(values[row, column])
        if abs(value) > 0.15 * reach:
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=theme.ink)
    axes.set_xticks(range(len(latents)), [f"z{d}" for d in latents])
    axes.set_yticks(range(len(shown)), [plain(data.columns[p]) for p in shown])
    axes.xaxis.tick_top()
    quiet(axes, theme)
    axes.tick_params(labelcolor=theme.ink)
    axes.spines["bottom"].set_visible(False)
    return render(figure)


def caps_in_words(data: OfColumns) -> str:
    """Says what the charts of the effects and of the fit leave out: sentences after a space, or "" for nothing."""
    told, known = "", data.fit[np.isfinite(data.fit)]
    if len(data.columns) > MOST_COLUMNS:
        told += f" Charted are the {MOST_COLUMNS} columns of {len(data.columns):,} that the latents change most."
    if len(known) > MOST_COLUMNS:
        half = MOST_COLUMNS // 2
        told += f" Of the reconstructions, the {half} best and the {half} worst of {len(known):,} columns are charted."
    if (known < 0).any():
        told += " A negative R² is drawn as 0: the reconstruction is worse than the mean of the column."
    return told


def fit_chart(data: OfColumns) -> Callable[[Theme], Image.Image]:
    """Returns a function that draws how well each column is reconstructed, the best and the worst if there are many."""
    known = np.flatnonzero(np.isfinite(data.fit))
    ordered = known[np.argsort(-data.fit[known])]
    half = MOST_COLUMNS // 2
    shown = ordered if len(ordered) <= MOST_COLUMNS else np.concatenate([ordered[:half], ordered[-half:]])
    names = [data.columns[p] for p in shown]
    return partial(latent_chart, data.fit[shown].clip(0), names, [True] * len(shown), "R², or share of right values")
