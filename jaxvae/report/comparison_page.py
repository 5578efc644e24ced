"""The page of a comparison: a table that sorts, and what each line learned."""

import math
import re
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from jaxvae.report.encoding import embed
from jaxvae.report.page import document
from jaxvae.runs.compare import Column, Line, interval

SHOWN_SIDE = 40
"""Pixels that an image is shown at, about."""
SPACE = 2
BEHIND = (24, 27, 33)

SORTING = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "none"
      ? head.dataset.first === "descending" : head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[head.cellIndex].dataset.value ?? "";
    const missing = row => key(row) === "";
    const text = "text" in head.dataset;
    const order = (a, b) => text ? key(a).localeCompare(key(b)) : key(a) - key(b);
    const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || (down ? order(b, a) : order(a, b)));
    body.append(...rows);
  });
}
"""


def comparison_html(columns: Sequence[Column], lines: Sequence[Line], *, title: str, version: str = "") -> str:
    """One self-contained HTML document, to be stored as UTF-8."""
    seeds = [len(line.folders) for line in lines]
    caption = "One run a line"
    if max(seeds) > 1:
        count = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)} to {max(seeds)}"
        caption = f"Means over the {count} runs of a line, which differ by their seed, with 95 % intervals"
    caption += ". Strong: not told apart from the best on the same data by their intervals. A click on a heading sorts."
    about = "".join(
        f"<li><b>{escape(column.title)}</b> {escape(column.about)}</li>" for column in columns if column.about
    )
    table = f'<div class="card">{_table(columns, lines)}</div><ul class="about">{about}</ul>'
    cards = "".join(_card(line, number, line.picture) for number, line in enumerate(lines) if line.picture is not None)
    learned = (
        '<section id="learned"><h2>What each learned</h2><p class="caption">Of the first run: examples, their '
        "reconstructions, and in each further row one example with one latent set to values from its lowest to its "
        f'highest twentieth.</p><div class="panels">{cards}</div></section>'
        if cards
        else ""
    )
    main = f'<section id="table"><h2>Scores</h2><p class="caption">{caption}</p>{table}</section>{learned}'
    return document(title, "", main, version, script=SORTING)


def _table(columns: Sequence[Column], lines: Sequence[Line]) -> str:
    several = len({line.data for line in lines}) > 1
    heads = "".join(_head(name, "ascending", text=True) for name in ("method", "data")[: 1 + several])
    heads += "".join(
        _head(column.title, "ascending" if column.better < 0 else "descending", column.about) for column in columns
    )
    best = {column.name: _best(column, lines) for column in columns}
    body = ""
    for number, line in enumerate(lines):
        note = f'<p class="warning">{escape(line.note)}</p>' if line.note else ""
        name = escape(line.name)
        name = f'<a href="#line-{number}">{name}</a>' if line.picture is not None else name
        cells = f'<th scope="row" data-value="{escape(line.name)}">{name}{note}</th>'
        cells += f'<td data-value="{escape(line.data)}">{escape(line.data)}</td>' if several else ""
        for column in columns:
            mean, half = interval(line.values[column.name])
            strong = ' class="best"' if number in best[column.name] else ""
            value = f"{mean:.10g}" if math.isfinite(mean) else ""
            cells += f'<td data-value="{value}"{strong}>{shown(mean, half)}</td>'
        body += f"<tr>{cells}</tr>"
    return f'<table class="compared"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _head(title: str, first: str, about: str = "", *, text: bool = False) -> str:
    hint = f' title="{escape(about)}"' if about else ""
    button = f'<button type="button"{hint}>{escape(title)}</button>'
    return f'<th scope="col" aria-sort="none" data-first="{first}"{" data-text" if text else ""}>{button}</th>'


def shown(mean: float, half: float) -> str:
    """With digits that its size needs, and its interval if it has one."""
    if not math.isfinite(mean):
        return "–"
    if 0 < abs(mean) < 0.001:
        return f"{mean:.1e}" + (f" <small>± {half:.0e}</small>" if math.isfinite(half) else "")
    digits = 0 if abs(mean) >= 20 else 2 if abs(mean) >= 0.1 or mean == 0 else 3
    return f"{mean:.{digits}f}" + (f" <small>± {half:.{digits}f}</small>" if math.isfinite(half) else "")


def _best(column: Column, lines: Sequence[Line]) -> set[int]:
    """Places of lines that are not told apart from the best one on the same data."""
    best: set[int] = set()
    if not column.better:
        return best
    known = {place: interval(column.better * line.values[column.name]) for place, line in enumerate(lines)}
    for data in {line.data for line in lines}:
        rivals = [
            (place, mean, half if math.isfinite(half) else 0.0)
            for place, (mean, half) in known.items()
            if lines[place].data == data and math.isfinite(mean)
        ]
        if len(rivals) > 1:
            _, top, spread = max(rivals, key=lambda rival: rival[1])
            best |= {place for place, mean, half in rivals if mean + half >= top - spread}
    return best


def _card(line: Line, number: int, picture: np.ndarray) -> str:
    image = embed(_sheet(picture))
    rows = ", ".join(line.rows)
    alt = f"{line.name}: rows of {rows}"
    return (
        f'<figure class="card" id="line-{number}"><h3>{escape(line.name)}</h3>'
        f'<img src="{image.uri}" alt="{escape(alt)}" width="{image.width}" height="{image.height}">'
        f"<figcaption>{escape(rows)}</figcaption></figure>"
    )


def _sheet(rows: np.ndarray) -> Image.Image:
    """Rows of images [R, T, H, W, C] close together, in 256 colours: there are many of these on a page."""
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


def plain(cell: str) -> str:
    """A shown value without its markup, for a terminal."""
    return re.sub(r"<.*?>", "", cell)
