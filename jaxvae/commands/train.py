"""jaxvae train: one run, or many, on one device, or many."""

import argparse
import importlib.util
import itertools
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import jax
import tyro

from jaxvae.commands.signals import asked_to_stop, ending_well
from jaxvae.commands.terminal import FAILURE, new_folder, parse, stop, usage_errors, use_compilation_cache
from jaxvae.config import Config, build, build_method, check_config, default_config
from jaxvae.data import Source
from jaxvae.method import Method
from jaxvae.methods import METHODS
from jaxvae.sweep import Member, members_of, parse_seeds, take_sweep
from jaxvae.training import Devices, check, choose_devices, train, train_members
from jaxvae.training.checkpoints import saved_steps
from jaxvae.training.processes import check_agreement, join_processes, leads, raise_together
from jaxvae.training.run_folder import RunFolderError, open_run, read_config, read_history
from jaxvae.training.writers import Writer, mlflow_writer, progress_writer, tensorboard_writer, wandb_writer

HP = TypeVar("HP")
Options = TypeVar("Options")
DEFAULT_METHOD = "beta-tc-vae"
TRACKERS = {
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""Flags that send the numbers elsewhere too, by the name of their extra -> the packages that each needs."""


@dataclass(frozen=True)
class TrainArgs(Generic[HP, Options]):
    """Train a model, score it, and write its report."""

    config: Annotated[Config[HP, Options], tyro.conf.arg(name="")]
    preset: str | None = None
    """start from published settings: paper or study, where the method has them; other flags change them"""
    learning_rate: float | None = None
    """short for --hp.learning-rate"""
    run: Path | None = None
    """folder of the run; a new one below runs/ if not given"""
    resume: bool = False
    """go on with the run in --run, or start it if there is none"""
    seeds: str | None = None
    """several runs in one program: 0:8 for seeds 0 to 7, or 0,3,5; --hp.NAME may then name several values, 1,2,4"""
    devices: int | None = None
    """that share each batch, or the models of --seeds: 1, or all of all processes. A CPU can be split into several, but
    uses all cores as one"""
    backend: Literal["shard_map", "pmap"] = "shard_map"
    """How the batch is split over the devices. pmap is deprecated: JAX itself runs it on shard_map."""
    distributed: bool = False
    """this is one of several processes: SLURM, Kubernetes and TPU pods are recognised; see the README"""
    wait: int = 300
    """seconds to wait for the other processes"""
    tensorboard: bool = False
    """also write TensorBoard events (needs `pip install 'jaxvae[tensorboard]'`)"""
    wandb: bool = False
    """also log to Weights & Biases (needs `pip install 'jaxvae[wandb]'`)"""
    mlflow: bool = False
    """also log to MLflow (needs `pip install 'jaxvae[mlflow]'`)"""


def train_command(arguments: list[str]) -> None:
    """Train a model, score it, write its report"""
    with usage_errors():
        arguments, sweep = take_sweep(arguments)
        args = parse_train(arguments)
        members = _members(args, sweep)
        if args.distributed:
            _join(args, members)
        devices = _devices(args, len(members))
        source, method = build(args.config)
        for member in members:
            build_method(member.config, method.networks, source)
        check(method, source, batch_size=args.config.batch_size, parts=devices.mesh.shape["data"])
        folder = args.run or new_folder(args.config.method, args.config.data, args.config.seed)
        if members:
            for member in members:
                open_run(folder / member.name, member.config.to_json(), resume=args.resume)
        elif args.distributed:
            _open_together(args, folder)
        else:
            open_run(folder, args.config.to_json(), resume=args.resume)
    use_compilation_cache()
    config = args.config
    rate = f"learning rate {config.hp.learning_rate:g}" if "learning_rate" not in sweep else "swept learning rates"
    what = f"{method.name} on {source.name} ({source.size:,} images)"
    _say(f"{what}: {config.steps} steps of {config.batch_size} images, {rate}, in {folder}")
    if not members and args.resume and (saved := saved_steps(folder / "checkpoints")):
        _say(f"resumed: its newest checkpoint is of step {saved[-1]}")
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "log_every": config.log_every,
        "checkpoint_every": config.checkpoint_every,
        "devices": devices,
        "microbatch": config.microbatch,
        "on_nan": config.on_nan,
    }
    if members:
        _train_members(members, sweep, method, source, folder, settings)
        return
    try:
        with ExitStack() as stack:
            asked = stack.enter_context(asked_to_stop())
            writers = [stack.enter_context(writer) for writer in _writers(args, folder)] if leads() else []
            state = train(method, source, seed=config.seed, folder=folder, writers=writers, stop=asked, **settings)
    except KeyboardInterrupt:
        saved = saved_steps(folder / "checkpoints")
        start_of = f"its checkpoint of step {saved[-1]}" if saved else "the start: there is no checkpoint yet"
        stop(f"interrupted; `jaxvae train --run {folder} --resume` goes on from {start_of}", FAILURE)
    if asked() or int(state.step) < config.steps:  # where another process was asked, this one stopped with it
        _say(f"stopped by SIGTERM, saved at step {int(state.step)}; `jaxvae train --run {folder} --resume` goes on")
        return
    _say(f"trained in {time.perf_counter() - start:.0f} s")
    if args.distributed:
        _say(f"`jaxvae report {folder}`, in a process of its own, scores the run and writes its report")
    else:
        # Only now: scores and figures take a second to import, which would be a second before the first update.
        from jaxvae.commands.evaluate import RunArgs, score_and_report

        with ending_well(f"training is done: `jaxvae report {folder}` scores the run and writes its report"):
            score_and_report(RunArgs(folder))


def _writers(args: TrainArgs[Any, Any], folder: Path) -> Sequence[AbstractContextManager[Writer]]:
    done = max((row["step"] for row in read_history(folder)), default=0)
    settings = args.config.to_json()
    writers = [progress_writer(args.config.steps, start=done)]
    if args.tensorboard:
        writers.append(tensorboard_writer(folder / "tensorboard"))
    if args.wandb:
        writers.append(wandb_writer(folder, settings))
    if args.mlflow:
        writers.append(mlflow_writer(folder, settings))
    return writers


def _join(args: TrainArgs[Any, Any], members: list[Member]) -> None:
    if args.run is None or members:
        raise ValueError("--distributed trains one run, in a folder that all processes see: name it with --run")
    join_processes(args.wait)
    flags = {"run": str(args.run), "resume": args.resume, "devices": args.devices, "backend": args.backend}
    check_agreement({**args.config.to_json(), **flags})


def _open_together(args: TrainArgs[Any, Any], folder: Path) -> None:
    failed = None
    if leads():
        try:
            open_run(folder, args.config.to_json(), resume=args.resume)
        except RunFolderError as error:
            failed = error
    raise_together(failed)


def _devices(args: TrainArgs[Any, Any], members: int) -> Devices:
    """Members are shared out whole where that comes out even, else every batch is."""
    count = args.devices
    if count is None:
        count = jax.device_count() if args.distributed else 1
    if not args.distributed:
        _make_cpu_devices(count)
    if members and count > 0 and members % count == 0 and args.backend == "shard_map":
        return choose_devices(population=count)
    return choose_devices(count, backend=args.backend)


def _say(line: str) -> None:
    if leads():
        print(line)


def _members(args: TrainArgs[Any, Any], sweep: dict[str, list[float]]) -> list[Member]:
    """The runs that were asked for; none where it is a single one."""
    if args.seeds is None and not sweep:
        return []
    for name in TRACKERS:
        if getattr(args, name):
            raise ValueError(f"--{name} is for a single run")
    members = members_of(args.config, parse_seeds(args.seeds or str(args.config.seed)), sweep)
    for member in members:
        check_config(member.config)
    return members


def _train_members(
    members: list[Member],
    sweep: dict[str, list[float]],
    method: Method,
    source: Source,
    folder: Path,
    settings: dict[str, Any],
) -> None:
    columns = {name: [getattr(member.config.hp, name) for member in members] for name in sweep}
    folders = [folder / member.name for member in members]
    start = time.perf_counter()
    with progress_writer(settings["steps"]) as bar, asked_to_stop() as asked:
        outcomes = train_members(
            method,
            source,
            folders,
            seeds=[member.config.seed for member in members],
            sweep=columns,
            progress=lambda step: bar(step, {}),
            stop=asked,
            **settings,
        )
    if asked():
        step = max(outcome.step for outcome in outcomes)
        print(f"stopped by SIGTERM, {len(members)} models saved at step {step}; the same command and --resume go on")
        return
    print(f"trained {len(members)} models in {time.perf_counter() - start:.0f} s")
    width = max(len(member.name) for member in members)
    for member, outcome in zip(members, outcomes, strict=True):
        terms = "  ".join(f"{name} {value:.4g}" for name, value in outcome.terms.items())
        print(f"{member.name:{width}}  " + (f"diverged before step {outcome.step}" if outcome.diverged else terms))
    print(f"each is a run of its own: `jaxvae report {folders[0]}` scores it and writes its report")


def parse_train(arguments: list[str]) -> TrainArgs[Any, Any]:
    """The flags over the method's defaults, or over the run's own configuration when it is resumed."""
    named = arguments[0] if arguments and not arguments[0].startswith("-") else None
    for before, word in itertools.pairwise(arguments):
        if named is None and word in METHODS and not before.startswith("-"):
            raise ValueError(f"the method comes first: jaxvae train {word} ...")
    if "--method" in arguments:
        raise ValueError("the method comes first, without a flag: jaxvae train METHOD ...")
    config = _starting_config(arguments, named)
    flags = arguments[1:] if named else arguments
    kind = TrainArgs[type(config.hp), type(config.options)]  # type: ignore[misc]
    args = parse(kind, "train [METHOD]", flags, TrainArgs(config))
    for name, packages in TRACKERS.items():
        missing = [package for package in packages if not installed(package)]
        if getattr(args, name) and missing:
            raise ValueError(f"--{name} needs {' and '.join(missing)}: pip install 'jaxvae[{name}]'")
    if args.resume and args.run is None:
        raise ValueError("--resume needs the folder of the run to go on with: add --run FOLDER")
    if args.learning_rate is not None:
        hp = args.config.hp._replace(learning_rate=args.learning_rate)
        args = replace(args, config=replace(args.config, hp=hp))
    return args


def installed(package: str) -> bool:
    """Not so where a mere folder has the name, as ./wandb often does."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def _starting_config(arguments: list[str], method: str | None) -> Config[Any, Any]:
    """What flags left out stand for: a preset, the run that --resume would go on with, or the method's defaults."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--run", type=Path, nargs="?")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--preset", nargs="?")
    known, _ = parser.parse_known_args(arguments)
    if not known.preset and known.resume and known.run and (known.run / "config.json").exists():
        config: Config[Any, Any] = Config.from_json(read_config(known.run))
        if method in (None, config.method):
            return config
    return default_config(method or DEFAULT_METHOD, known.preset)


def _make_cpu_devices(count: int) -> None:
    """Lets JAX split the CPU into as many devices, where that is still possible; accelerators are what they are."""
    if count > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)
