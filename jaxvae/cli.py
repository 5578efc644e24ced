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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, NoReturn, TypeVar

import jax
import tyro

import jaxvae
from jaxvae.config import Config, build, choose, default_config
from jaxvae.data import DATA, FILES, TABLES
from jaxvae.methods import METHODS
from jaxvae.metrics import METRICS, UNSUPERVISED
from jaxvae.networks import ARCHITECTURES
from jaxvae.report import write_report
from jaxvae.run import THOROUGH, evaluate, load_run, represent
from jaxvae.training import NonFiniteLoss, check, train
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
        args = _parse_train(arguments)
        source, method = build(args.config)
        check(method, source, batch_size=args.config.batch_size)
        folder = args.run or _new_folder(args.config)
        open_run(folder, args.config.to_json(), resume=args.resume)
    _use_compilation_cache()
    print(f"{method.name} on {source.name}: {args.config.steps} steps of {args.config.batch_size} images, in {folder}")
    start = time.perf_counter()
    with ExitStack() as stack:
        done = [row["step"] for row in read_history(folder)]
        writers = [stack.enter_context(progress_writer(args.config.steps, start=max(done, default=0)))]
        if args.tensorboard:
            writers.append(stack.enter_context(tensorboard_writer(folder / "tensorboard")))
        try:
            train(
                method,
                source,
                steps=args.config.steps,
                batch_size=args.config.batch_size,
                seed=args.config.seed,
                folder=folder,
                log_every=args.config.log_every,
                checkpoint_every=args.config.checkpoint_every,
                writers=writers,
            )
        except KeyboardInterrupt:
            stack.close()
            _stop(f"interrupted; `jaxvae train --run {folder} --resume` goes on from the last checkpoint", FAILURE)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    _score_and_report(RunArgs(folder))


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
    config = (tyro.conf.SuppressFixed, tyro.conf.FlagCreatePairsOff)
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
