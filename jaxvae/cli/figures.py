"""The command `jaxvae figures`, which draws figures for a paper."""

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


@dataclass(frozen=True)
class FiguresArgs:
    """Draws figures of runs for a paper: curves, scores against reconstruction, traversals, latents and factors."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders that hold many runs. Runs that differ only by their seed are drawn together."""
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
        with styled(args.style):
            columns, lines = compare(
                find_runs(args.runs),
                num_samples=args.num_samples,
                metrics=tuple(dict.fromkeys((*COMPARED, args.score))),
                progress=print,
            )
            files = draw_figures(columns, lines, args.out, score=args.score, formats=args.format, progress=print)
    print(f"{len(files)} figures in {args.out}")
