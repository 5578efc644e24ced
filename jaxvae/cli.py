"""The `jaxvae` command: parses, calls, and says what happened in a line."""

import argparse
import importlib.util
import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NoReturn, TypeVar

import jax
import tyro

import jaxvae
from jaxvae.config import Config, build, check_config, choose, default_config
from jaxvae.data import DATA, FILES, TABLES, Source
from jaxvae.method import Method
from jaxvae.methods import METHODS
from jaxvae.metrics import METRICS, UNSUPERVISED
from jaxvae.networks import ARCHITECTURES
from jaxvae.report import write_report
from jaxvae.run import THOROUGH, evaluate, load_run, represent
from jaxvae.sweep import Member, members_of, parse_seeds, take_sweep
from jaxvae.training import Devices, NonFiniteLoss, check, choose_devices, train, train_members
from jaxvae.training.processes import check_agreement, join_processes, leads, raise_together
from jaxvae.training.run_folder import RunFolderError, open_run, read_config, read_history
from jaxvae.training.writers import progress_writer, tensorboard_writer

HP = TypeVar("HP")
Options = TypeVar("Options")
DEFAULT_METHOD = "beta-tc-vae"
USAGE, FAILURE = 2, 1


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
    """that share each batch: 1, or all of all processes. On a CPU, parts of it that work side by side"""
    backend: Literal["shard_map", "pmap"] = "shard_map"
    """how the batch is split over the devices"""
    distributed: bool = False
    """this is one of several processes: SLURM, Kubernetes and TPU pods are recognised; see the README"""
    wait: int = 300
    """seconds to wait for the other processes"""
    tensorboard: bool = False
    """also write TensorBoard events (needs `pip install 'jaxvae[tensorboard]'`)"""


@dataclass(frozen=True)
class RunArgs:
    """Which run, and which of its checkpoints."""

    run: tyro.conf.Positional[Path]
    """folder of the run"""
    checkpoint: str = "latest"
    """latest, best (lowest mean loss of the logging interval that it ends), or a step"""
    num_samples: int = 10_000
    """examples that the scores are computed on"""


@dataclass(frozen=True)
class EvaluateArgs(RunArgs):
    """Which run, which of its checkpoints, and which metrics."""

    metrics: tuple[str, ...] = THOROUGH
    """see `jaxvae list`; all but those that take longest (downstream, dci_es) if not given"""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: exits with 2 for what was asked wrongly and 1 for what went wrong, one line each."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it then raises, tracebacks and all
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(_overview())
    elif command == "--version":
        print(f"jaxvae {jaxvae.__version__}")
    else:
        with _usage_errors():
            run_command = choose("command", command, COMMANDS)
        try:
            run_command(rest)
        except NonFiniteLoss as error:
            _stop(f"{error}. The checkpoints before it are kept; a smaller learning rate may help.", FAILURE)
        except (RunFolderError, OSError) as error:
            _stop(str(error), FAILURE)
        except jax.errors.JaxRuntimeError as error:
            advice = " A smaller --batch-size or --network may fit." if "RESOURCE_EXHAUSTED" in str(error) else ""
            _stop(str(error).splitlines()[0] + advice, FAILURE)
        except KeyboardInterrupt:
            _stop("interrupted", FAILURE)


def train_command(arguments: list[str]) -> None:
    """Train a model, score it, write its report"""
    with _usage_errors():
        arguments, sweep = take_sweep(arguments)
        args = _parse_train(arguments)
        if args.distributed:
            _join(args)
        devices = _devices(args)
        source, method = build(args.config)
        check(method, source, batch_size=args.config.batch_size, parts=devices.mesh.size)
        folder = args.run or _new_folder(args.config)
        many = args.seeds is not None or bool(sweep)
        if many:
            _open_members(args, sweep, folder)
        elif args.distributed:
            _open_together(args, folder)
        else:
            open_run(folder, args.config.to_json(), resume=args.resume)
    _use_compilation_cache()
    config = args.config
    _say(f"{method.name} on {source.name}: {config.steps} steps of {config.batch_size} images, in {folder}")
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "steps": config.steps,
        "batch_size": config.batch_size,
        "log_every": config.log_every,
        "checkpoint_every": config.checkpoint_every,
        "devices": devices,
        "microbatch": config.microbatch,
    }
    if many:
        _train_members(args, sweep, method, source, folder, settings)
        return
    with ExitStack() as stack:
        done = [row["step"] for row in read_history(folder)]
        writers = []
        if leads():
            writers.append(stack.enter_context(progress_writer(config.steps, start=max(done, default=0))))
        if args.tensorboard and leads():
            writers.append(stack.enter_context(tensorboard_writer(folder / "tensorboard")))
        try:
            train(method, source, seed=config.seed, folder=folder, writers=writers, **settings)
        except KeyboardInterrupt:
            stack.close()
            _stop(f"interrupted; `jaxvae train --run {folder} --resume` goes on from the last checkpoint", FAILURE)
    _say(f"trained in {time.perf_counter() - start:.0f} s")
    if args.distributed:
        _say(f"`jaxvae report {folder}`, in a process of its own, scores the run and writes its report")
    else:
        _score_and_report(RunArgs(folder))


def _join(args: TrainArgs[Any, Any]) -> None:
    if args.run is None or args.seeds is not None:
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


def _devices(args: TrainArgs[Any, Any]) -> Devices:
    count = args.devices
    if count is None:
        count = jax.device_count() if args.distributed else 1
    if not args.distributed:
        _make_cpu_devices(count)
    return choose_devices(count, backend=args.backend)


def _say(line: str) -> None:
    if leads():
        print(line)


def _members(args: TrainArgs[Any, Any], sweep: dict[str, list[float]]) -> list[Member]:
    seeds = [args.config.seed] if args.seeds is None else parse_seeds(args.seeds)
    return members_of(args.config, seeds, sweep)


def _open_members(args: TrainArgs[Any, Any], sweep: dict[str, list[float]], folder: Path) -> None:
    if args.tensorboard:
        raise ValueError("--tensorboard is for a single run")
    members = _members(args, sweep)
    for member in members:
        check_config(member.config)
    for member in members:
        open_run(folder / member.name, member.config.to_json(), resume=args.resume)


def _train_members(
    args: TrainArgs[Any, Any],
    sweep: dict[str, list[float]],
    method: Method,
    source: Source,
    folder: Path,
    settings: dict[str, Any],
) -> None:
    members = _members(args, sweep)
    columns = {name: [getattr(member.config.hp, name) for member in members] for name in sweep}
    folders = [folder / member.name for member in members]
    start = time.perf_counter()
    with progress_writer(args.config.steps) as bar:
        outcomes = train_members(
            method,
            source,
            folders,
            seeds=[member.config.seed for member in members],
            sweep=columns,
            progress=lambda step: bar(step, {}),
            **settings,
        )
    print(f"trained {len(members)} models in {time.perf_counter() - start:.0f} s")
    width = max(len(member.name) for member in members)
    for member, outcome in zip(members, outcomes, strict=True):
        terms = "  ".join(f"{name} {value:.4g}" for name, value in outcome.terms.items())
        print(f"{member.name:{width}}  " + (f"diverged before step {outcome.step}" if outcome.diverged else terms))
    print(f"each is a run of its own: `jaxvae report {folders[0]}` scores it and writes its report")


def evaluate_command(arguments: list[str]) -> None:
    """Score a run, print the scores and write its scores.json"""
    args = _parse(EvaluateArgs, "evaluate", arguments)
    _use_compilation_cache()
    with _usage_errors():
        run = load_run(args.run, args.checkpoint)
        scores = evaluate(run, represent(run, args.num_samples), args.metrics)
    _print_scores(scores, run.source.name)


def report_command(arguments: list[str]) -> None:
    """Score a run and write its report/index.html"""
    args = _parse(RunArgs, "report", arguments)
    _use_compilation_cache()
    _score_and_report(args)


def list_command(arguments: list[str]) -> None:
    """List the methods, data, networks, metrics and presets there are, a line each"""
    with _usage_errors():
        if arguments:
            raise ValueError(f"`jaxvae list` takes no arguments, got {' '.join(arguments)}")
    for title, entries in (
        ("methods", {name: entry.build for name, entry in METHODS.items()}),
        (
            "data",
            DATA | TABLES | {f"{kind}:{'NAME' if kind == 'tfds' else 'PATH'}": read for kind, read in FILES.items()},
        ),
        ("networks", ARCHITECTURES),
        ("metrics", METRICS | UNSUPERVISED),
    ):
        print(title)
        for name, thing in entries.items():
            print(f"  {name:18} {_first_line(thing)}")
    print("presets of methods (--preset)")
    for name, entry in METHODS.items():
        print(f"  {name:18} {', '.join(entry.presets)}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train_command,
    "evaluate": evaluate_command,
    "report": report_command,
    "list": list_command,
}


def _parse_train(arguments: list[str]) -> TrainArgs[Any, Any]:
    """The flags over the method's defaults, or over the run's own configuration when it is resumed."""
    named = arguments[0] if arguments and not arguments[0].startswith("-") else None
    for before, word in itertools.pairwise(arguments):
        if named is None and word in METHODS and not before.startswith("-"):
            raise ValueError(f"the method comes first: jaxvae train {word} ...")
    config = _starting_config(arguments, named)
    flags = arguments[1:] if named else arguments
    kind = TrainArgs[type(config.hp), type(config.options)]  # type: ignore[misc]
    args = _parse(kind, "train [METHOD]", flags, TrainArgs(config))
    if args.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise ValueError("--tensorboard needs tensorboardX: pip install 'jaxvae[tensorboard]'")
    if args.resume and args.run is None:
        raise ValueError("--resume needs the folder of the run to go on with: add --run FOLDER")
    if args.learning_rate is not None:
        hp = args.config.hp._replace(learning_rate=args.learning_rate)
        args = replace(args, config=replace(args.config, hp=hp))
    return args


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


def _parse(kind: Any, command: str, arguments: list[str], default: Any = tyro.MISSING) -> Any:
    options = {} if default is tyro.MISSING else {"default": default}
    # What the run in the folder has switched on may be said again, or switched off.
    pairs = () if "--resume" in arguments else (tyro.conf.FlagCreatePairsOff,)
    config = (tyro.conf.SuppressFixed, *pairs)
    return tyro.cli(kind, prog=f"jaxvae {command}", args=arguments, config=config, **options)


def _score_and_report(args: RunArgs) -> None:
    with _usage_errors():
        run = load_run(args.run, args.checkpoint)
        codes = represent(run, args.num_samples)
        scores = evaluate(run, codes)
    _print_scores(scores, run.source.name)
    print(f"report: {write_report(run, codes, scores)}")


def _print_scores(scores: dict[str, Any], data: str) -> None:
    if not any(name in METRICS for name in scores["metrics"]):
        print(f"no metrics that need factors: those of {data} are not known")
    print(f"{'metric':32} {'means':>7} {'':>8} {'samples':>7}  definition ({scores['num_samples']} examples)")
    for name, result in scores["metrics"].items():
        low, high = result.get("interval") or (0, 0)
        spread = f"± {(high - low) / 2:.3f}" if high > low else ""
        sampled = scores["sampled"][name]["score"]
        reason = result.get("error", result["definition"])
        print(f"{name:32} {_number(result['score']):>7} {spread:>8} {_number(sampled):>7}  {reason}")


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _new_folder(config: Config[Any, Any]) -> Path:
    """runs/METHOD-DATA-SEED, with a number behind it where that exists."""
    kind, _, where = config.data.partition(":")
    data = "-".join([kind, *re.findall(r"[\w.-]+", Path(where).stem)])
    base = Path("runs") / f"{config.method}-{data}-{config.seed}"
    candidates = itertools.chain([base], (base.with_name(f"{base.name}-{n}") for n in itertools.count(2)))
    return next(folder for folder in candidates if not folder.exists())


def _make_cpu_devices(count: int) -> None:
    """Lets JAX split the CPU into as many devices, where that is still possible; accelerators are what they are."""
    if count > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)


def _use_compilation_cache() -> None:
    """Compiled programs are kept in the user's cache folder, unless JAX has been told where (or not) to keep them."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "jaxvae" / "xla"))


@contextmanager
def _usage_errors() -> Iterator[None]:
    """A ValueError in here is about what was asked for, not about what we did."""
    try:
        yield
    except ValueError as error:
        _stop(str(error), USAGE)


def _stop(message: str, code: int) -> NoReturn:
    print(f"jaxvae: {message}", file=sys.stderr)
    sys.exit(code)


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").splitlines()[0]


def _overview() -> str:
    lines = [f"  jaxvae {name:9} {_first_line(command)}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Disentangled representation learning in JAX.",
            "",
            *lines,
            "",
            "`jaxvae train --help` lists the flags.",
        ]
    )
