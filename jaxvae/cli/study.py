"""The command `jaxvae study`, which trains the models of a grid in shards, and writes their table and its page."""

import importlib.util
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxvae.cli.signals import ending_well
from jaxvae.cli.terminal import parse, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.files import read_json, write_json, write_text
from jaxvae.report.collect import command_of
from jaxvae.study.grid import GRIDS, config_of, model_of, numbers_of_shard
from jaxvae.study.speed import Speed, measure_speed, speed_of


@dataclass(frozen=True)
class StudyArgs:
    """Trains and scores the models of a study, or a shard of them, and resumes where it was stopped."""

    preset: Literal["tiny", "small", "full"] = "tiny"
    """Size of the study: tiny (24 models, minutes on two cores), small (180 models, hours), or full (the published
    12,600 models)."""
    folder: Path | None = None
    """Folder of the study. By default, studies/PRESET."""
    shard: str = "0/1"
    """Part of the models to train, counted from 0: 3/64 is the fourth of 64 parts."""
    model_num: int | None = None
    """Number of a model. Prints its settings and the command that trains it alone, without training."""
    num_samples: int = 3000
    """Number of examples that each model is scored on."""


@dataclass(frozen=True)
class MergeArgs:
    """Merges the shards of a study into one table, with today's numbers of the models."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the study, several where its shards were run in several places; or tables."""
    out: Path = Path("study.parquet")
    """Parquet file of the table."""


@dataclass(frozen=True)
class ReportArgs:
    """Writes the page of a study: its findings beside the published ones, plots, and costs."""

    table: tyro.conf.Positional[Path]
    """Parquet file of `jaxvae study merge`."""
    out: Path = Path("study.html")
    """HTML file of the page; an existing one is replaced."""
    speed: Path | None = None
    """File of `jaxvae study speed`, with which the page states what the published grid would take."""


@dataclass(frozen=True)
class SpeedArgs:
    """Measures how fast this device trains the models of the published grid, which takes minutes."""

    out: Path = Path("speed.json")
    """JSON file of the measurement."""


def study_command(arguments: list[str]) -> None:
    """Train the models of the large-scale study, or a cut-down one, and merge their tables"""
    if arguments[:1] == ["merge"]:
        _merge(parse(MergeArgs, "study merge", arguments[1:]))
        return
    if arguments[:1] == ["report"]:
        _report(parse(ReportArgs, "study report", arguments[1:]))
        return
    if arguments[:1] == ["speed"]:
        _speed(parse(SpeedArgs, "study speed", arguments[1:]))
        return
    args = parse(StudyArgs, "study", arguments)
    grid = GRIDS[args.preset]
    with usage_errors():
        if args.model_num is not None:
            model = model_of(grid, args.model_num)
            print(
                f"model {model.number} of {grid.size}: {model.method} with {model.hyperparameter} {model.strength:g} "
                f"on {model.data}, seed {model.seed}"
            )
            print(command_of(config_of(grid, model.number)))
            return
        if args.num_samples < 100:
            raise ValueError(f"--num-samples must be at least 100, got {args.num_samples}")
        numbers = _numbers(args)
        _needs_pyarrow()
    use_compilation_cache()
    from jaxvae.study.shard import write_shard

    folder = args.folder or Path("studies") / args.preset
    print(f"models {numbers[0]} to {numbers[-1]} of {grid.size}, in {folder}")
    with usage_errors(), ending_well("the same command goes on"):
        path = write_shard(args.preset, numbers, folder, num_samples=args.num_samples)
    print(f"table: {path}")


def _numbers(args: StudyArgs) -> range:
    parts = re.fullmatch(r"(\d+)/(\d+)", args.shard)
    if parts is None:
        raise ValueError(f"--shard is NUMBER/OF, such as 3/64, got {args.shard!r}")
    return numbers_of_shard(GRIDS[args.preset], int(parts[1]), int(parts[2]))


def _needs_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("tables of a study are Parquet files: pip install 'jaxvae[study]'")


def _merge(args: MergeArgs) -> None:
    with usage_errors():
        _needs_pyarrow()
        from jaxvae.study.table import merge_tables, write_table

        tables = ([path] if path.is_file() else path.glob("shard-*.parquet") for path in args.folders)
        rows, about = merge_tables(sorted(itertools.chain.from_iterable(tables)))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_table(args.out, rows, about)
    failed = sum(bool(row["failure"]) for row in rows)
    print(f"{len(rows)} models, {failed} of them failed; {len(rows[0])} columns in {args.out}")


def _report(args: ReportArgs) -> None:
    with usage_errors():
        _needs_pyarrow()
        from jaxvae.study.page import study_html
        from jaxvae.study.table import read_study

        if not args.table.is_file():
            raise ValueError(
                f"there is no table {args.table}: `jaxvae study merge FOLDER --out {args.table}` makes one"
            )
        rows, about = read_study(args.table)
        speed = None if args.speed is None else _read_speed(args.speed)
        args.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.out, study_html(rows, about["preset"], speed))
    print(f"page: {args.out}")


def _read_speed(path: Path) -> Speed:
    try:
        return speed_of(read_json(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"can't read {path}: {error}") from error


def _speed(args: SpeedArgs) -> None:
    with usage_errors():
        args.out.parent.mkdir(parents=True, exist_ok=True)
    use_compilation_cache()
    speed = measure_speed()
    write_json(args.out, speed._asdict())
    print(f"the published grid would take {speed.hours:,.0f} hours of {speed.device}; noted in {args.out}")
