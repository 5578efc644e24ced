"""The page of a comparison: a sortable table, and pictures of what the model in each row learned."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxvae.report.encoding import embed
from jaxvae.report.page import render_html
from jaxvae.report.parts import Card
from jaxvae.runs.compare import Column, Line, interval

SHOWN_SIDE = 40
"""Approximate side in pixels at which an image is shown."""
SPACE = 2
BEHIND = (24, 27, 33)


def comparison_html(
    columns: Sequence[Column], lines: Sequence[Line], *, title: str, version: str = "", plots: Sequence[Card] = ()
) -> str:
    """Renders a comparison as one self-contained HTML document, to be stored as UTF-8."""
    best = {column.name: best_lines(column, lines) for column in columns}
    return render_html(
        "comparison.html",
        title=title,
        version=version,
        seeds=sorted({len(line.folders) for line in lines}),
        several=len({line.data for line in lines}) > 1,
        learned=any(line.picture is not None for line in lines),
        columns=columns,
        plots=plots,
        lines=[
            (
                line,
                [_cell(line.values[column.name], number in best[column.name]) for column in columns],
                None if line.picture is None else embed(_sheet(line.picture)),
            )
            for number, line in enumerate(lines)
        ],
    )


def _cell(values: np.ndarray, best: bool) -> tuple[str, str, bool]:
    """Returns the sort key of a cell, its text, and whether it is emphasized."""
    mean, half = interval(values)
    return f"{mean:.10g}" if math.isfinite(mean) else "", shown(mean, half), best


def shown(mean: float, half: float) -> str:
    """Formats a mean with as many digits as its size requires, and its interval if it has one."""
    if not math.isfinite(mean):
        return "–"
    if 0 < abs(mean) < 0.001:
        return f"{mean:.1e}" + (f" ± {half:.0e}" if math.isfinite(half) else "")
    digits = 0 if abs(mean) >= 20 else 2 if abs(mean) >= 0.1 or mean == 0 else 3
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")


def best_lines(column: Column, lines: Sequence[Line]) -> set[int]:
    """Returns the indices of lines that differ significantly from a worse line but not from the best one on the same
    data.

    Two lines differ significantly if their intervals do not overlap. A line without an interval differs from none.
    """
    best: set[int] = set()
    if not column.better:
        return best
    known = {place: interval(column.better * line.values[column.name]) for place, line in enumerate(lines)}
    for data in {line.data for line in lines}:
        rivals = [
            (place, mean, half if math.isfinite(half) else math.inf)
            for place, (mean, half) in known.items()
            if lines[place].data == data and math.isfinite(mean)
        ]
        if rivals:
            _, top, spread = max(rivals, key=lambda rival: rival[1])
            worst = min(mean + half for _, mean, half in rivals)
            best |= {place for place, mean, half in rivals if mean + half >= top - spread and mean - half > worst}
    return best


def _sheet(rows: np.ndarray) -> Image.Image:
    """Tiles rows of images [R, T, H, W, C] without gaps, in 256 colours to keep the page small."""
    scale = max(1, round(SHOWN_SIDE / max(rows.shape[2:4])))
    tiles = np.rint(255 * np.broadcast_to(rows, (*rows.shape[:4], 3))).astype(np.uint8)
    tiles = tiles.repeat(scale, axis=2).repeat(scale, axis=3)
    count, across, height, width, _ = tiles.shape
    sheet = np.empty((count * (height + SPACE) - SPACE, across * (width + SPACE) - SPACE, 3), np.uint8)
    sheet[:] = BEHIND
    for (r, t), _ in np.ndenumerate(np.empty((count, across))):
        y, x = r * (height + SPACE), t * (width + SPACE)
        sheet[y : y + height, x : x + width] = tiles[r, t]
    return Image.fromarray(sheet).quantize(256, method=Image.Quantize.FASTOCTREE)
