"""A comparison as a table for papers: CSV, LaTeX and Markdown."""

import csv
import io
import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxvae.report.comparison_page import best_lines, shown
from jaxvae.runs.compare import Column, Line, interval

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "·": r"$\cdot$",
}


def comparison_csv(columns: Sequence[Column], lines: Sequence[Line]) -> str:
    """Returns a comparison as CSV: for each column the mean, and half the width of its 95 % interval.

    Numbers that are unknown are empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for column in columns for name in (column.name, f"{column.name}_half_width")]
    writer.writerow(["name", "data", "seeds", *names, "note"])
    for line in lines:
        numbers = [number for column in columns for number in interval(line.values[column.name])]
        cells = [f"{number:.6g}" if math.isfinite(number) else "" for number in numbers]
        writer.writerow([line.name, line.data, len(line.folders), *cells, line.note])
    return text.getvalue()


def comparison_latex(columns: Sequence[Column], lines: Sequence[Line]) -> str:
    """Returns a comparison as a LaTeX table that needs the package booktabs, with the best lines in bold.

    A line is in bold if its interval is better than that of another line on the same data, and not worse than the best.
    """
    kept = _with_numbers(columns, lines)
    head, rows = _cells(kept, lines, lambda text: rf"\textbf{{{text}}}", _escaped)
    body = [" & ".join(row) + r" \\" for row in rows]
    about = f"% Means over seeds with 95 % intervals; {_seeds(lines)}."
    return "\n".join(
        [
            about,
            rf"\begin{{tabular}}{{l{'l' * _several(lines)}r{'r' * len(kept)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def comparison_markdown(columns: Sequence[Column], lines: Sequence[Line]) -> str:
    """Returns a comparison as a Markdown table, with the best lines in bold as in `comparison_latex`."""
    kept = _with_numbers(columns, lines)
    head, rows = _cells(kept, lines, lambda text: f"**{text}**", lambda text: text.replace("|", "\\|"))
    rule = ["---", *["---"] * _several(lines), "---:", *["---:"] * len(kept)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
    return f"{table}\n\nMeans over seeds with 95% intervals; {_seeds(lines)}.\n"


def _cells(
    columns: Sequence[Column], lines: Sequence[Line], bold: Callable[[str], str], escape: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    several = _several(lines)
    best = {column.name: best_lines(column, lines) for column in columns}
    head = ["method", *["data"] * several, "seeds", *(column.title for column in columns)]
    rows = []
    for place, line in enumerate(lines):
        numbers = [escape(shown(*interval(line.values[column.name]))) for column in columns]
        marked = [
            bold(number) if place in best[column.name] else number
            for column, number in zip(columns, numbers, strict=True)
        ]
        rows.append([escape(line.name), *[escape(line.data)] * several, str(len(line.folders)), *marked])
    return [escape(title) for title in head], rows


def _with_numbers(columns: Sequence[Column], lines: Sequence[Line]) -> list[Column]:
    """Returns the columns in which some line has a number."""
    return [column for column in columns if any(np.isfinite(line.values[column.name]).any() for line in lines)]


def _several(lines: Sequence[Line]) -> bool:
    return len({line.data for line in lines}) > 1


def _seeds(lines: Sequence[Line]) -> str:
    counts = sorted({len(line.folders) for line in lines})
    words = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{words} seed{'s' if counts[-1] > 1 else ''} per line"


def _escaped(text: str) -> str:
    escaped = "".join(LATEX.get(letter, letter) for letter in " ".join(text.split()))
    return escaped.replace(" ± ", r" $\pm$ ").replace("–", "--")
