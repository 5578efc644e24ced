"""The command `jaxvae score`, which computes metrics of codes from any program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import jaxvae
from jaxvae.choose import choose
from jaxvae.cli.evaluate import print_table
from jaxvae.cli.terminal import folders_first, parse, usage_errors
from jaxvae.cli.terminal import say as print
from jaxvae.files import printable, write_json, write_text
from jaxvae.metrics import BY_NAME
from jaxvae.metrics.scib import scib
from jaxvae.runs.foreign import Foreign, read_foreign, score_foreign
from jaxvae.runs.score import THOROUGH


@dataclass(frozen=True)
class ScoreArgs:
    """Scores codes from any program against factors, both in files."""

    codes: tyro.conf.Positional[Path]
    """File of codes, which ends in .csv, .tsv, .parquet, .feather, .npz, .npy or .h5ad: columns z0, z1 ... or, if there
    are none, all columns of numbers that are no factors."""
    factors: tuple[str, ...] = ()
    """File of factors, whose rows are matched by the column id if both files have it, and otherwise by their order; or
    names of columns in the file of codes. Without factors, only metrics that need none are computed."""
    columns: tuple[str, ...] = ()
    """Names of the columns that are codes, if they are not z0, z1 ..."""
    bins: int = 10
    """Number of bins of continuous factors."""
    binning: Literal["quantiles", "width"] = "quantiles"
    """Edges of these bins: quantiles (about as many examples in each), or equal width."""
    quantised: bool = False
    """Takes the values of each code as categories, for codes that have few values each. It changes infomec."""
    metrics: tuple[str, ...] = THOROUGH
    """Names of the metrics, as `jaxvae list` gives them. By default, all but the slowest (downstream, dci_es,
    pipe)."""
    scib: tuple[str, ...] = ()
    """Names of the factors that are the label and, if there is one, the batch of cells, for scores of single-cell
    integration, such as cLISI, iLISI and kBET. They need the package scib-metrics."""
    out: Path | None = None
    """File of the scores, which ends in .json, or in .html for a page with the table; an existing one is replaced. By
    default, none is written."""


def score_command(arguments: list[str]) -> None:
    """Score codes from any program against factors, both in files"""
    args = parse(ScoreArgs, "score", folders_first(arguments, "--metrics", BY_NAME))
    with usage_errors():
        if args.out is not None and (args.out.is_dir() or args.out.suffix not in (".json", ".html")):
            raise ValueError(f"--out must name a file that ends in .json or .html, got {args.out}")
        foreign = read_foreign(args.codes, args.factors, columns=args.columns, bins=args.bins, binning=args.binning)
        of_cells = _of_cells(foreign, args.scib) if args.scib else None
        scores = score_foreign(foreign, args.metrics, binning=args.binning, quantised=args.quantised)
    if foreign.factors:
        print(f"factors (rows matched to those of the codes {foreign.matched}):")
        for factor in foreign.factors:
            print(f"  {factor.in_words(args.binning)}")
    else:
        print("metrics that need factors are left out: add --factors FILE, or names of columns")
    print_table(scores)
    if of_cells is not None:
        scores["scib"] = of_cells
        print(f"scib-metrics of {' and '.join(args.scib)}:")
        for name, score in of_cells.items():
            print(f"  {name:18} {score:.3f}")
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if args.out.suffix == ".json":
            write_json(args.out, scores)
        else:
            from jaxvae.report.score_page import scores_html

            title = f"Scores of {printable(args.codes.name)}"
            write_text(args.out, scores_html(foreign, scores, title=title, version=jaxvae.__version__))
        print(f"scores: {args.out}")


def _of_cells(foreign: Foreign, names: tuple[str, ...]) -> dict[str, float]:
    """Computes the scores of scib-metrics for a label and a batch.

    Raises:
      ValueError: There is no such factor, its values have no scores, or the package is not installed.
    """
    if len(names) > 2:
        raise ValueError(f"--scib takes a label and, if there is one, a batch, got {len(names)} names")
    factors = {factor.name: factor.values for factor in foreign.factors}
    columns = [choose("factor", name, factors) for name in names]
    try:
        return scib(foreign.codes, *columns)
    except ImportError as error:
        raise ValueError(str(error)) from None
