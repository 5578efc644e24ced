"""The command `jaxvae fit`, which fits a baseline as a run."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxvae.choose import choose
from jaxvae.cli.evaluate import report_on
from jaxvae.cli.terminal import new_folder, parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.runs.baseline import BASELINES, BaselineConfig, fit_baseline
from jaxvae.runs.folder import check_new, open_run
from jaxvae.runs.load import Run
from jaxvae.training.run_folder import note_data, write_history
from jaxvae.training.steps import described_data


@dataclass(frozen=True)
class FitArgs:
    """Fits a baseline, scores it and writes its report."""

    config: Annotated[BaselineConfig, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder of the run. By default, a new folder below runs/."""


def fit_command(arguments: list[str]) -> None:
    """Fit a baseline, score it, write its report"""
    if arguments[:1] in (["-h"], ["--help"]):
        print(f"usage: jaxvae fit BASELINE [flags], `jaxvae fit pca --help` lists them. There are: {_names()}.")
        return
    use_compilation_cache()
    with usage_errors():
        if not arguments or arguments[0].startswith("-"):
            raise ValueError(f"the baseline comes first: jaxvae fit BASELINE ... There are: {_names()}.")
        choose("baseline", arguments[0], BASELINES)
        args = parse(FitArgs, f"fit {arguments[0]}", arguments[1:], FitArgs(BaselineConfig(arguments[0])))
        config = args.config
        folder = args.run or new_folder(config.baseline, config.data, config.seed)
        check_new(folder)
        fit = fit_baseline(config)
        open_run(folder, config, resume=False)
        note_data(folder, described_data(fit.source))
    write_history(folder, [{"step": 0, "seconds": fit.seconds}])
    for warning in fit.warnings:
        print(f"jaxvae: {warning}", file=sys.stderr)
    print(f"{config.baseline} on {fit.source.name}: fitted in {fit.seconds:.1f} s, in {folder}")
    report_on(Run(folder, config, fit.source, fit.method, fit.state, [{"step": 0, "seconds": fit.seconds}]))


def _names() -> str:
    return ", ".join(BASELINES)
