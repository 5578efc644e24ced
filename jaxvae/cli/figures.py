"""The command `jaxvae figures`, which draws figures for a paper."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxvae.choose import choose
from jaxvae.cli.evaluate import NUM_SAMPLES
from jaxvae.cli.terminal import folders_first, parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.metrics import METRICS, UNSUPERVISED
from jaxvae.report.paper import styled
from jaxvae.report.paper_figures import draw_figures
from jaxvae.runs.compare import COMPARED, compare, find_runs
from jaxvae.study.figures import draw_study
from jaxvae.study.statistics import Rows
from jaxvae.study.table import read_study


@dataclass(frozen=True)
class FiguresArgs:
    """Draws figures of runs for a paper: curves, scores against reconstruction, traversals, latents and factors."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders that hold many runs. Runs that differ only by their seed are drawn together. The
    merged table of a study, a .parquet file, may stand alone."""
    out: Path = Path("figures")
    """Folder of the figures; existing files are replaced."""
    format: tuple[Literal["pdf", "svg", "png"], ...] = ("pdf", "png")
    """Formats of the files."""
    score: str = "mig"
    """Metric that the reconstruction error is compared with."""
    style: str | None = None
    """Name or file of a Matplotlib style that changes the defaults of a two-column paper."""
    num_samples: int = NUM_SAMPLES
    """Number of examples to score runs on that have no scores yet."""


def figures_command(arguments: list[str]) -> None:
    """Draw figures of runs for a paper"""
    args = parse(FiguresArgs, "figures", folders_first(arguments, "--format", ("pdf", "svg", "png")))
    use_compilation_cache()
    with usage_errors():
        if not args.runs:
            raise ValueError("name the runs to draw: jaxvae figures RUN RUN ...")
        if args.out.exists() and not args.out.is_dir():
            raise ValueError(f"--out must name a folder, and {args.out} is a file")
        choose("metric", args.score, METRICS | UNSUPERVISED)
        tables = [path for path in args.runs if path.suffix == ".parquet"]
        if tables and len(args.runs) > 1:
            raise ValueError(f"{tables[0]} is the table of a study, which is drawn alone: leave the other paths out")
        with styled(args.style):
            if tables:
                files = draw_study(_study(tables[0]), args.out, score=args.score, formats=args.format)
                print(f"{len(files)} figures in {args.out}")
                return
            columns, lines = compare(
                find_runs(args.runs),
                num_samples=args.num_samples,
                metrics=tuple(dict.fromkeys((*COMPARED, args.score))),
                progress=print,
            )
            files = draw_figures(columns, lines, args.out, score=args.score, formats=args.format, progress=print)
    print(f"{len(files)} figures in {args.out}")


def _study(table: Path) -> Rows:
    """Reads the table of a study.

    Raises:
      ValueError: There is no such table, it is not one of a study, or pyarrow is missing.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("tables of studies need pyarrow: pip install 'jaxvae[study]'")
    if not table.is_file():
        raise ValueError(f"there is no table {table}")
    rows, _ = read_study(table)
    return rows
