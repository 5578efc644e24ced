"""Entry point of the `jaxvae` command: it runs the requested command and reports errors in one line."""

import atexit
import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

import jaxvae
from jaxvae.choose import choose, with_installed
from jaxvae.cli.signals import interruptible
from jaxvae.cli.terminal import FAILURE, USAGE, print_in_any_encoding, stop, usage_errors
from jaxvae.cli.terminal import say as print
from jaxvae.data.anndata import NotCounts
from jaxvae.data.tabular import LeftOut
from jaxvae.files import printable
from jaxvae.training import NonFiniteLoss, NothingToTrain, tune_allocator
from jaxvae.training.checkpoints import DamagedCheckpoint
from jaxvae.training.peers import GRACE
from jaxvae.training.run_folder import MissingRows, OtherCores, OtherData, RunFolderError
from jaxvae.training.validation import Overfitting, PosteriorCollapse, StoppedEarly

# Commands import their modules when they run, because importing scores and figures takes a second.


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command. It exits with 2 for a usage error and with 1 for a failure, with one line on stderr.

    Args:
      argv: Words of the command line; by default, those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        os.environ["MPLBACKEND"] = "agg"  # one that was inherited from a notebook may not exist here
    with interruptible() as interrupted:
        try:
            _run(arguments)
            if interrupted():
                stop("interrupted", FAILURE)
        except BaseException as error:
            failed = not isinstance(error, SystemExit) or error.code not in (0, None)
            if argv is None and failed and (interrupted() or jax.distributed.is_initialized()):
                # JAX's threads may crash at the interpreter's end, and wait there for processes that are lost.
                atexit.register(_leave_at_once, getattr(error, "code", FAILURE))
            raise


def _leave_at_once(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str]) -> None:
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs the errors that it then raises, with tracebacks
    print_in_any_encoding()
    tune_allocator()
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(_overview())
    elif command == "--version":
        print(f"jaxvae {jaxvae.__version__}")
    else:
        with usage_errors():
            run_command = choose("command", command, COMMANDS)
        if command != "list" and jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            stop("JAX_DISABLE_JIT is set, and jaxvae runs compiled programs: unset it", USAGE)
        try:
            with _warnings_in_a_line():
                run_command(rest)
        except NonFiniteLoss as error:
            advice = "Checkpoints before it are kept; a smaller --learning-rate, in a new run, may help."
            stop(f"{error}. {advice}", FAILURE)
        except (RunFolderError, OSError) as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            advice = ": make room; what was trained goes on from its last checkpoint with --resume" if full else ""
            stop(str(error) + advice, FAILURE)
        except jax.errors.JaxRuntimeError as error:
            if jax.distributed.is_initialized():
                time.sleep(2 * GRACE)  # `watch_others` reports it if the error is a lost connection to another process
            advice = " A smaller --batch-size or --network may fit." if "RESOURCE_EXHAUSTED" in str(error) else ""
            stop(str(error).splitlines()[0] + advice, FAILURE)
        except (RuntimeError, AssertionError):
            if (reason := _no_device()) is None:
                raise
            stop(reason, FAILURE)
        except KeyboardInterrupt:
            stop("interrupted", FAILURE)


def _no_device() -> str | None:
    """Returns the error message if JAX has no device to run on, and None otherwise."""
    asked = jax.config.jax_platforms  # type: ignore[attr-defined]
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        return f"JAX finds no device for JAX_PLATFORMS={asked or ''}: set JAX_PLATFORMS=cpu, or unset it"
    return None


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Prints warnings about a run, such as skipped checkpoints, as one line each."""
    of_folders = (DamagedCheckpoint, LeftOut, MissingRows, NotCounts, NothingToTrain, OtherCores, OtherData)
    ours = (*of_folders, Overfitting, PosteriorCollapse, StoppedEarly)
    with warnings.catch_warnings():
        show = warnings.showwarning
        for category in ours:
            warnings.simplefilter("always", category)

        def say(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, ours):
                print(f"jaxvae: {message}", file=sys.stderr)
            else:
                show(printable(str(message)), category, *where, **more)

        warnings.showwarning = say
        yield


def _train(arguments: list[str]) -> None:
    """Train a model, score it, write its report"""
    from jaxvae.cli.train import train_command

    train_command(arguments)


def _fit(arguments: list[str]) -> None:
    """Fit a baseline (PCA, ICA, NMF ...), score it, write its report"""
    from jaxvae.cli.fit import fit_command

    fit_command(arguments)


def _evaluate(arguments: list[str]) -> None:
    """Score a run, print the scores and write its scores.json"""
    from jaxvae.cli.evaluate import evaluate_command

    evaluate_command(arguments)


def _report(arguments: list[str]) -> None:
    """Score a run and write its report/index.html"""
    from jaxvae.cli.evaluate import report_command

    report_command(arguments)


def _compare(arguments: list[str]) -> None:
    """Compare runs by their scores, and write a page with a table and pictures"""
    from jaxvae.cli.compare import compare_command

    compare_command(arguments)


def _encode(arguments: list[str]) -> None:
    """Write the codes of a run's data, or of other examples, to a file"""
    from jaxvae.cli.encode import encode_command

    encode_command(arguments)


def _decode(arguments: list[str]) -> None:
    """Write the examples that a run expects of codes to a file"""
    from jaxvae.cli.encode import decode_command

    decode_command(arguments)


def _score(arguments: list[str]) -> None:
    """Score codes from any program against factors, both in files"""
    from jaxvae.cli.score import score_command

    score_command(arguments)


def _study(arguments: list[str]) -> None:
    """Train the models of the large-scale study, or of a cut-down one, in shards"""
    from jaxvae.cli.study import study_command

    study_command(arguments)


def _figures(arguments: list[str]) -> None:
    """Draw figures of runs for a paper"""
    from jaxvae.cli.figures import figures_command

    figures_command(arguments)


def _explore(arguments: list[str]) -> None:
    """Open a page on which the latents of a run are moved"""
    from jaxvae.cli.explore import explore_command

    explore_command(arguments)


def _export(arguments: list[str]) -> None:
    """Write the encoder and the decoder of a run for other programs"""
    from jaxvae.cli.export import export_command

    export_command(arguments)


def _push(arguments: list[str]) -> None:
    """Write a run to the Hugging Face Hub, with a model card"""
    from jaxvae.cli.hub import push_command

    push_command(arguments)


def _pull(arguments: list[str]) -> None:
    """Write a run from the Hugging Face Hub into a folder"""
    from jaxvae.cli.hub import pull_command

    pull_command(arguments)


def _list(arguments: list[str]) -> None:
    """List the methods, data, networks, metrics and presets there are, a line each"""
    from jaxvae.data import CLIPS, DATA, FILES, TABLES
    from jaxvae.methods import METHODS
    from jaxvae.metrics import BY_NAME
    from jaxvae.networks import ARCHITECTURES
    from jaxvae.runs.baseline import BASELINES

    with usage_errors():
        if arguments:
            raise ValueError(f"`jaxvae list` takes no arguments, got {' '.join(arguments)}")
    for title, entries in (
        ("methods", {name: entry.build for name, entry in with_installed("method", METHODS).items()}),
        (
            "data",
            with_installed("data", {**DATA, **CLIPS, **TABLES})
            | {f"{kind}:{'NAME' if kind == 'tfds' else 'PATH'}": read for kind, read in FILES.items()},
        ),
        ("baselines", {name: entry.kind for name, entry in BASELINES.items()}),
        ("networks", with_installed("network", ARCHITECTURES)),
        ("metrics", with_installed("metric", BY_NAME)),
    ):
        print(title)
        width = max(map(len, entries))
        for name, thing in entries.items():
            print(f"  {name:{width}} {_first_line(thing)}")
    print("presets of methods (--preset)")
    for name, entry in METHODS.items():
        if entry.presets:
            print(f"  {name:20} {', '.join(entry.presets)}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "fit": _fit,
    "evaluate": _evaluate,
    "report": _report,
    "compare": _compare,
    "figures": _figures,
    "explore": _explore,
    "encode": _encode,
    "decode": _decode,
    "export": _export,
    "push": _push,
    "pull": _pull,
    "score": _score,
    "study": _study,
    "list": _list,
}


def _first_line(thing: Any) -> str:
    return next(iter((thing.__doc__ or "").splitlines()), "")


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
