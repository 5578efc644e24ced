"""The command `jaxvae train`, which trains one or several models on one or several devices."""

import argparse
import dataclasses
import importlib.util
import itertools
import math
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import tyro

from jaxvae.cli.flags import check_flags, config_of_flags, modernised, parser_of
from jaxvae.cli.members import train_population_of
from jaxvae.cli.signals import asked_to_stop, ending_well
from jaxvae.cli.terminal import FAILURE, new_folder, parse, say_columns, stop, usage_errors, use_compilation_cache
from jaxvae.cli.terminal import say as print
from jaxvae.data import Source
from jaxvae.data.splits import Parts
from jaxvae.files import inside
from jaxvae.method import Method
from jaxvae.methods import METHODS, method_named
from jaxvae.methods.columns import likelihoods_in_words
from jaxvae.networks.shapes import things_of
from jaxvae.runs.build import CannotOpen, build_method, build_parts, moved, parts_kept_once, with_likelihood
from jaxvae.runs.config import Config, check_config, default_config
from jaxvae.runs.folder import known_as, open_run
from jaxvae.runs.sweep import Member, members_of, parse_seeds, parse_sweep
from jaxvae.schema import schema_of
from jaxvae.training import Devices, check, choose_devices, plan, train
from jaxvae.training.checkpoints import saved_steps
from jaxvae.training.observers import Observer
from jaxvae.training.peers import watch_others
from jaxvae.training.processes import check_agreement, is_primary_process, join_processes, raise_together
from jaxvae.training.run_folder import RunFolderError, read_history
from jaxvae.training.validation import best_in_words, is_out_of_patience
from jaxvae.training.writers import (
    Writer,
    folder_writer,
    mlflow_writer,
    progress_writer,
    tensorboard_writer,
    wandb_writer,
)

DEFAULT_METHOD = "beta-tc-vae"
TRACKERS = {
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""Packages that each tracker needs, by its flag, which is also the name of its extra."""


@dataclass(frozen=True)
class RunFlags:
    """Length of the run, batch size, randomness and checkpoints; folder, devices and trackers."""

    preset: str | None = None
    """Name of published settings to start from, such as paper or study; other flags change them."""
    run: Path | None = None
    """Folder of the run. By default, a new folder below runs/."""
    resume: bool = False
    """Resumes the run in --run from its newest checkpoint, or starts it if there is none."""
    seeds: str | None = None
    """Several seeds, trained together as a population: 0:8 for seeds 0 to 7, or 0,3,5."""
    sweep: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE ...")] = ()
    """Several values of hyperparameters, trained together as a population, such as beta=1,4."""
    score: bool = True
    """Whether to score the run after training and write its report; with --no-score, `jaxvae report` does so later."""
    dry_run: bool = False
    """Prints the settings, the number of parameters, the memory per device and the compilation time, and stops."""
    devices: int | None = None
    """Number of devices to split each batch (or population) over. By default, 1; with --distributed, all devices of
    all processes. A CPU can be split into several devices, but already uses all of its cores as one."""
    backend: Literal["shard_map", "pmap"] = "shard_map"
    """How the batch is split over the devices. pmap is deprecated: JAX itself runs it on shard_map."""
    distributed: bool = False
    """Joins other processes of the same run. SLURM, Kubernetes and TPU pods are recognised."""
    coordinator_timeout: int = 300
    """Number of seconds to wait for the other processes of a distributed run."""
    tensorboard: bool = False
    """Also writes TensorBoard events (needs `pip install 'jaxvae[tensorboard]'`)."""
    wandb: bool = False
    """Also logs to Weights & Biases (needs `pip install 'jaxvae[wandb]'`)."""
    mlflow: bool = False
    """Also logs to MLflow (needs `pip install 'jaxvae[mlflow]'`)."""


class TrainArgs(NamedTuple):
    """The parsed arguments of the command."""

    config: Config[Any, Any, Any, Any]
    flags: RunFlags
    sweep: dict[str, list[float]]
    """Values of swept hyperparameters, by name."""


def train_command(arguments: list[str]) -> None:
    """Train a model, score it, write its report"""
    with usage_errors():
        args = parse_train(arguments)
        config, flags = args.config, args.flags
        members = _members(args)
        if flags.distributed:
            _join(args, members)
        devices = _devices(flags, len(members))
        try:
            parts, method = build_parts(config)
        except CannotOpen as error:
            raise ValueError(moved(config.data, error) if flags.resume else str(error)) from error
        source = parts.training
        args = args._replace(config=with_likelihood(config, source))
        config, members = args.config, _members(args)
        for member in members:
            build_method(member.config, method.networks, source)
        check(method, source, batch_size=config.training.batch_size, parts=devices.mesh.shape["data"])
    parts = parts_kept_once(parts) if devices.mesh.size == jax.process_count() == 1 else parts
    source = parts.training
    use_compilation_cache()
    if is_primary_process() and not flags.resume:
        say_columns(source)
        schema = schema_of(source)
        named: Any = getattr(config.options, "likelihood", "auto")
        if schema is not None and (line := likelihoods_in_words(named, schema)):
            print(line)
    if flags.dry_run:
        print_plan(config, method, source, devices, len(members))
        return
    with usage_errors():
        observers = _observers(config, method, parts)
        folder = flags.run or new_folder(config.method, config.data, config.seed)
        if members:
            for member in members:
                open_run(inside(folder, member.name), member.config, resume=flags.resume, source=source)
        elif flags.distributed:
            _open_together(args, folder, source)
        else:
            open_run(folder, config, resume=flags.resume, source=source)
    training = config.training
    rate = f"learning rate {config.hyperparameters.learning_rate:g}"
    rate = "swept learning rates" if "learning_rate" in args.sweep else rate
    things = things_of(source.event_shape)
    what = f"{method.name} on {source.name} ({source.size:,} {things}{parts.held_out_in_words})"
    _say(f"{what}: {training.steps} steps of {training.batch_size} {things}, {rate}, in {folder}")
    if not members and flags.resume and (saved := saved_steps(folder / "checkpoints")):
        _say(f"resumed: its newest checkpoint is of step {saved[-1]}")
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "steps": training.steps,
        "batch_size": training.batch_size,
        "log_every": training.log_every,
        "checkpoint_every": training.checkpoint_every,
        "devices": devices,
        "microbatch": training.microbatch,
        "on_nan": training.on_nan,
        "validation": parts.validation,
        "validate_every": training.validate_every,
    }
    if members:
        try:
            with asked_to_stop() as asked:
                train_population_of(members, args.sweep, method, source, folder, settings, asked)
        except KeyboardInterrupt:
            stop("interrupted; the same command with --resume goes on from the newest checkpoints", FAILURE)
        return
    try:
        with ExitStack() as stack:
            asked = stack.enter_context(asked_to_stop())
            writers = [stack.enter_context(writer) for writer in _writers(args, folder)] if is_primary_process() else []
            settings |= {"patience": training.patience, "max_minutes": training.max_minutes, "stop": asked}
            settings |= {"observers": observers}
            state = train(method, source, seed=config.seed, folder=folder, writers=writers, **settings)
            history = read_history(folder)
            limited = is_out_of_patience(history, training.validate_every, training.patience)
            limited |= time.perf_counter() - start >= 60 * (training.max_minutes or math.inf)
            # A request to stop any of the processes holds for this one, too.
            stopped = asked() or (int(state.step) < training.steps and not limited)
    except KeyboardInterrupt:
        saved = saved_steps(folder / "checkpoints")
        start_of = f"its checkpoint of step {saved[-1]}" if saved else "the start: there is no checkpoint yet"
        stop(f"interrupted; `jaxvae train --run {folder} --resume` goes on from {start_of}", FAILURE)
    if stopped:
        _say(f"stopped by SIGTERM, saved at step {int(state.step)}; `jaxvae train --run {folder} --resume` goes on")
        return
    _say(f"trained in {time.perf_counter() - start:.0f} s{best_in_words(history)}")
    if flags.distributed:
        _say(f"`jaxvae report {folder}`, in a process of its own, scores the run and writes its report")
    elif not flags.score:
        _say(f"`jaxvae report {folder}` scores the run and writes its report")
    else:
        # Imported here, because importing scores and figures takes a second, which would delay the first step.
        from jaxvae.cli.evaluate import report_on
        from jaxvae.runs.load import trained_run

        with ending_well(f"training is done: `jaxvae report {folder}` scores the run and writes its report"):
            report_on(trained_run(folder, config, parts, method, state))


def print_plan(
    config: Config[Any, Any, Any, Any], method: Method, source: Source, devices: Devices, members: int
) -> None:
    """Prints the settings, and the memory and compilation time of a step."""
    training = config.training
    devices = choose_devices() if members else devices
    cost = plan(method, source, batch_size=training.batch_size, devices=devices, microbatch=training.microbatch)
    for name, value in config.flags().items():
        if name not in config.idle():
            print(f"  {name.replace('_', '-'):28} {'default' if value is None else ' '.join(str(value).split())}")
    memory = "" if cost.bytes is None else f", {cost.bytes / 1e6:,.0f} MB of memory per device"
    each = f" (each of {members} models)" if members else ""
    print(
        f"{cost.parameters:,} parameters{memory}{each}; a step compiled in {cost.seconds:.1f} s. Nothing was trained."
    )


def _writers(args: TrainArgs, folder: Path) -> Sequence[AbstractContextManager[Writer]]:
    done = max(saved_steps(folder / "checkpoints"), default=0)
    settings = args.config.to_json()
    writers = [progress_writer(args.config.training.steps, start=done)]
    if args.flags.tensorboard:
        writers.append(tensorboard_writer(inside(folder, "tensorboard")))
    if args.flags.wandb:
        writers.append(wandb_writer(folder, settings))
    if args.flags.mlflow:
        writers.append(mlflow_writer(folder, settings))
    if args.config.training.images_every:
        writers.append(folder_writer(inside(folder, "images"), done))
    return writers


def _observers(config: Config[Any, Any, Any, Any], method: Method, parts: Parts) -> list[Observer]:
    """Returns the observers of --score-every and --images-every.

    Raises:
      ValueError: The method or the data does not have what they show.
    """
    training = config.training
    of_run: dict[str, Any] = {"seed": config.seed, "held_out": parts.held_out}
    observers = []
    # Imported here, because importing metrics and figures takes a second, which would delay the first step.
    if training.score_every:
        from jaxvae.runs.observe import score_observer

        observers.append(score_observer(method, parts.training, training.score_every, **of_run))
    if training.images_every:
        from jaxvae.report.during import image_observer

        observers.append(image_observer(method, parts.training, training.images_every, **of_run))
    return observers


def _join(args: TrainArgs, members: list[Member]) -> None:
    flags = args.flags
    if flags.run is None or members:
        raise ValueError("--distributed trains one run, in a folder that all processes see: name it with --run")
    join_processes(flags.coordinator_timeout)
    agreed = {"run": str(flags.run), "resume": flags.resume, "devices": flags.devices, "backend": flags.backend}
    check_agreement({**args.config.to_json(), **agreed})
    watch_others()


def _open_together(args: TrainArgs, folder: Path, source: Source) -> None:
    failed = None
    if is_primary_process():
        try:
            open_run(folder, args.config, resume=args.flags.resume, source=source)
        except RunFolderError as error:
            failed = error
    raise_together(failed)


def _devices(flags: RunFlags, members: int) -> Devices:
    """Returns devices that split the members evenly if possible, and otherwise every batch."""
    count = flags.devices
    if count is None:
        count = jax.device_count() if flags.distributed else 1
    if not flags.distributed:
        _make_cpu_devices(count)
    if members and count > 0 and members % count == 0 and flags.backend == "shard_map":
        return choose_devices(population=count)
    return choose_devices(count, backend=flags.backend)


def _say(line: str) -> None:
    if is_primary_process():
        print(line)


def _members(args: TrainArgs) -> list[Member]:
    """Returns the members of the requested population, or none for a single run."""
    flags = args.flags
    if flags.seeds is None and not args.sweep:
        return []
    alone = ("patience", "max_minutes", "images_every", "score_every")
    limits = [name for name in alone if getattr(args.config.training, name) is not None]
    for name in (*limits, *(name for name in TRACKERS if getattr(flags, name))):
        raise ValueError(f"--{name.replace('_', '-')} is for a single run")
    if not flags.score:
        raise ValueError("--no-score is for a single run; runs of --seeds and --sweep are not scored")
    if flags.seeds and flags.seeds.isdecimal():
        raise ValueError(f"--seeds {flags.seeds} is one seed: write 0:{flags.seeds} for {flags.seeds} seeds, or --seed")
    members = members_of(args.config, parse_seeds(flags.seeds or str(args.config.seed)), args.sweep)
    for member in members:
        check_config(member.config)
    return members


def parse_train(arguments: list[str]) -> TrainArgs:
    """Parses the flags. Their defaults are those of the method, or the configuration of the run that is resumed."""
    arguments = modernised(arguments)
    named = arguments[0] if arguments and not arguments[0].startswith("-") else None
    for before, word in itertools.pairwise(arguments):
        if named is None and word in METHODS and not before.startswith("-"):
            raise ValueError(f"the method comes first: jaxvae train {word} ...")
    if "--method" in arguments:
        raise ValueError("the method comes first, without a flag: jaxvae train METHOD ...")
    config = _starting_config(arguments, named)
    words = arguments[1:] if named else arguments
    check_flags(words, config, [field.name for field in dataclasses.fields(RunFlags)])
    parser = parser_of(config)
    kind = dataclasses.make_dataclass(
        "TrainArgs",
        [
            ("config", Annotated[parser.kind, tyro.conf.arg(name="")], dataclasses.field(default=parser.default)),
            ("flags", Annotated[RunFlags, tyro.conf.arg(name="run")], dataclasses.field(default=RunFlags())),
        ],
    )
    kind.__doc__ = f"{_first_line(method_named(config.method).build)}\n\nTrains it, scores it and writes its report."
    parsed = parse(kind, f"train {named or '[METHOD]'}", words)
    config, flags = config_of_flags(config, parsed.config).settled(), parsed.flags
    for name, packages in TRACKERS.items():
        missing = [package for package in packages if not installed(package)]
        if getattr(flags, name) and missing:
            raise ValueError(f"--{name} needs {' and '.join(missing)}: pip install 'jaxvae[{name}]'")
    if flags.resume and flags.run is None:
        raise ValueError("--resume needs the folder of the run to resume: add --run FOLDER")
    single = flags.resume and not (flags.run / "config.json").exists() and not (flags.seeds or flags.sweep)
    if single and (below := sorted(path.parent for path in flags.run.glob("*/config.json"))):
        raise ValueError(
            f"{flags.run} holds the runs of --seeds or --sweep: repeat the command that started them and add --resume, "
            f"or resume one of them, such as {below[0]}"
        )
    if flags.coordinator_timeout != RunFlags.coordinator_timeout and not flags.distributed:
        raise ValueError("--coordinator-timeout is for --distributed: add it, or leave this out")
    sweep = parse_sweep(flags.sweep, config)
    return TrainArgs(config.with_flags(**{name: values[0] for name, values in sweep.items()}), flags, sweep)


def installed(package: str) -> bool:
    """Whether a package can be imported; a folder with its name, such as ./wandb, does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def _starting_config(arguments: list[str], method: str | None) -> Config[Any, Any, Any, Any]:
    """Returns the defaults of the flags: a preset, the configuration of the run to resume, or the method's defaults.

    It includes the requested data, network and options with words as values, because other flags depend on them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--run", type=Path, nargs="?")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--preset", nargs="?")
    known, _ = parser.parse_known_args(arguments)
    config = None
    if not known.preset and known.resume and known.run and (known.run / "config.json").exists():
        config = known_as(Config, known.run)
        if method not in (None, config.method):
            config = None
    config = config or default_config(method or DEFAULT_METHOD, known.preset)
    words = [each.name for each in dataclasses.fields(config.options) if isinstance(each.default, str | None)]
    names = ("data", *(["network"] if hasattr(config.networks, "network") else []), *words)
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, nargs="?")
    known, _ = parser.parse_known_args(arguments)
    return config.with_flags(**{name: value for name in names if (value := getattr(known, name))})


def _first_line(thing: Any) -> str:
    return next(iter((thing.__doc__ or "").splitlines()), "")


def _make_cpu_devices(count: int) -> None:
    """Splits the CPU into this number of devices if JAX has not been initialized yet; accelerators are unaffected."""
    if count > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
