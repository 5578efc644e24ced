"""The command `jaxvae compare`, which compares runs in a table and on a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tyro

from jaxvae.cli.evaluate import NUM_SAMPLES
from jaxvae.cli.terminal import folders_first, parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.files import write_text
from jaxvae.metrics import BY_NAME
from jaxvae.report.comparison_page import comparison_html, shown
from jaxvae.report.comparison_plots import comparison_plots
from jaxvae.report.comparison_table import comparison_csv, comparison_latex, comparison_markdown
from jaxvae.runs.compare import COMPARED, Column, Line, compare, find_runs, interval


@dataclass(frozen=True)
class CompareArgs:
    """Compares runs in a table and on a page. Runs that differ only by their seed share one row."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders that hold many runs."""
    out: Path = Path("comparison.html")
    """HTML file of the page; an existing one is replaced."""
    csv: Path | None = None
    """CSV file of the table: means, half widths of 95 % intervals, and numbers of seeds."""
    latex: Path | None = None
    """LaTeX file of the table, for the package booktabs, with the best lines in bold."""
    markdown: Path | None = None
    """Markdown file of the table, with the best lines in bold."""
    metrics: tuple[str, ...] = COMPARED
    """Names of the metrics, as `jaxvae list` gives them."""
    num_samples: int = NUM_SAMPLES
    """Number of examples to score runs on that have no scores yet."""


def compare_command(arguments: list[str]) -> None:
    """Compare runs: a table, and a page with what each learned"""
    args = parse(CompareArgs, "compare", folders_first(arguments, "--metrics", BY_NAME))
    use_compilation_cache()
    with usage_errors():
        if not args.runs:
            raise ValueError("name the runs to compare: jaxvae compare RUN RUN ...")
        if args.out.is_dir() or (args.out.exists() and args.out.suffix != ".html"):
            raise ValueError(f"--out must name a file that ends in .html, got {args.out}")
        for file in (args.csv, args.latex, args.markdown):
            if file is not None and file.is_dir():
                raise ValueError(f"{file} is a folder: name a file for the table")
        for file in filter(None, (args.out, args.csv, args.latex, args.markdown)):
            file.parent.mkdir(parents=True, exist_ok=True)
        folders = find_runs(args.runs)
        columns, lines = compare(folders, num_samples=args.num_samples, metrics=args.metrics, progress=print)
    _print_table(columns, lines)
    for file, write in (
        (args.csv, comparison_csv),
        (args.latex, comparison_latex),
        (args.markdown, comparison_markdown),
    ):
        if file is not None:
            write_text(file, write(columns, lines))
            print(f"table: {file}")
    plots = comparison_plots(columns, lines)
    page = comparison_html(columns, lines, title=_title(lines), version=version("jaxvae"), plots=plots)
    write_text(args.out, page)
    print(f"page: {args.out}")


def _title(lines: Sequence[Line]) -> str:
    data = sorted({line.data for line in lines})
    return f"{len(lines)} {'methods' if len(lines) > 1 else 'method'} on {', '.join(data)}"


def _print_table(columns: Sequence[Column], lines: Sequence[Line]) -> None:
    several = len({line.data for line in lines}) > 1
    cells = [["", *["data"] * several, *(column.title for column in columns)]]
    for line in lines:
        numbers = [shown(*interval(line.values[column.name])) for column in columns]
        cells.append([line.name, *[line.data] * several, *numbers])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([first, *rest]).rstrip())
    for line in lines:
        if line.note:
            print(f"{line.name}: {line.note}")
