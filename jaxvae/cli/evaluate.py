"""The commands `jaxvae evaluate` and `jaxvae report`, which score a run and write its report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from jaxvae.cli.terminal import folders_first, parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.method import no_code
from jaxvae.metrics import BY_NAME
from jaxvae.report import write_report
from jaxvae.report.live import Unsupported
from jaxvae.runs.load import Run, load_run
from jaxvae.runs.score import THOROUGH, evaluate, represent

NUM_SAMPLES = 10_000


@dataclass(frozen=True)
class RunArgs:
    """Scores a run and writes its report."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    checkpoint: str = "latest"
    """Checkpoint to load: latest, best (lowest validation loss, or without --validation lowest mean loss over the
    logging interval before it), or a step."""
    num_samples: int = NUM_SAMPLES
    """Number of examples that the scores are computed on."""
    data: str | None = None
    """Place of the data of the run, such as arrays:PATH, where it is not the one that the run was trained with."""


@dataclass(frozen=True)
class EvaluateArgs(RunArgs):
    """Scores a run, prints the scores and writes its scores.json."""

    metrics: tuple[str, ...] = THOROUGH
    """Names of the metrics, as `jaxvae list` gives them. By default, all but the slowest (downstream, dci_es,
    pipe)."""


@dataclass(frozen=True)
class ReportArgs(RunArgs):
    """Scores a run and writes its report/index.html."""

    live: bool = False
    """Puts the decoder into the page, whose sliders then decode without a server. It must be of dense layers and
    convolutions with at most 4 MB of weights in 16 bits."""


def evaluate_command(arguments: list[str]) -> None:
    """Score a run, print the scores and write its scores.json"""
    args = parse(EvaluateArgs, "evaluate", folders_first(arguments, "--metrics", BY_NAME))
    use_compilation_cache()
    with usage_errors():
        run = load_run(args.run, args.checkpoint, data=args.data)
        scores = evaluate(run, represent(run, args.num_samples), args.metrics)
    _print_scores(run, scores)


def report_command(arguments: list[str]) -> None:
    """Score a run and write its report/index.html"""
    args = parse(ReportArgs, "report", arguments)
    use_compilation_cache()
    score_and_report(args)


def score_and_report(args: ReportArgs) -> None:
    """Prints the quick scores of a run and writes its scores.json and its report."""
    with usage_errors():
        run = load_run(args.run, args.checkpoint, data=args.data)
    report_on(run, args.num_samples, live=args.live)


def report_on(run: Run, num_samples: int = NUM_SAMPLES, *, live: bool = False) -> None:
    """Prints the quick scores of a loaded run and writes its scores.json and its report."""
    with usage_errors():
        codes = represent(run, num_samples)
    scores = evaluate(run, codes)
    _print_scores(run, scores)
    try:
        path = write_report(run, codes, scores, live=live)
    except Unsupported as error:
        print(f"the report is without the decoder: {error}")
        path = write_report(run, codes, scores)
    print(f"report: {path}")


def _print_scores(run: Run, scores: dict[str, Any]) -> None:
    if run.method.encode is no_code:
        print(f"no scores: {run.method.name} learns no code")
        return
    if not run.source.factor_names:
        print(f"metrics that need factors are left out: the factors of {run.source.name} are not known")
    print_table(scores, scores["rows"] if run.held_out else None)


def print_table(scores: Mapping[str, Any], rows: str | None = None) -> None:
    """Prints a table of scores: of means with half the width of their intervals, of samples, and their definitions.

    Args:
      scores: Scores with "num_samples", "metrics" and "sampled", from `jaxvae.runs.score`.
      rows: Description of the examples; by default, their number.
    """
    rows = rows or f"{scores['num_samples']} examples"
    print(f"{'metric':32} {'means':>7} {'':>8} {'samples':>7}  definition ({rows})")
    for name, result in scores["metrics"].items():
        low, high = result.get("interval") or (0, 0)
        spread = f"± {(high - low) / 2:.3f}" if high > low else ""
        sampled = scores["sampled"].get(name, {}).get("score")
        reason = result.get("error", result["definition"])
        print(f"{name:32} {_number(result['score']):>7} {spread:>8} {_number(sampled):>7}  {reason}")


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
