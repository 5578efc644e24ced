"""Shared parts of all commands: parsing of flags, usage errors, and the cache of compiled programs."""

import io
import itertools
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

import jax
import tyro

from jaxvae.files import printable
from jaxvae.schema import schema_of

USAGE, FAILURE = 2, 1
"""Exit codes of a usage error and of a failure."""


def say(*values: object, sep: str = " ", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Prints a line in which control characters are escaped, because it may contain names from files.

    The modules of the command import it as `print`.
    """
    print(printable(sep.join(map(str, values))), end=end, file=file, flush=flush)


def say_columns(source: Any) -> None:
    """Prints the kinds of the columns of a source that is a table; nothing for other sources."""
    if (schema := schema_of(source)) is not None:
        say(f"columns of {source.name} (? has missing values; --kind NAME=KIND changes one):\n{schema}")


def print_in_any_encoding() -> None:
    """Lets standard output and error escape the characters that their encoding lacks, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parse(kind: Any, command: str, arguments: list[str], default: Any = tyro.MISSING) -> Any:
    """Parses the flags into an object of that kind. It exits at --help and at unknown flags."""
    options = {} if default is tyro.MISSING else {"default": default}
    # Boolean flags that are True in the run to be resumed can be repeated or negated.
    pairs = () if "--resume" in arguments else (tyro.conf.FlagCreatePairsOff,)
    config = (tyro.conf.SuppressFixed, tyro.conf.OmitArgPrefixes, *pairs)
    said = io.StringIO()
    try:
        with ExitStack() as stack:
            if printable("".join(arguments)) != "".join(arguments):  # which tyro's errors would repeat
                stack.enter_context(redirect_stdout(said))
                stack.enter_context(redirect_stderr(said))
            return tyro.cli(kind, prog=f"jaxvae {command}", args=arguments, config=config, **options)
    finally:
        say(said.getvalue(), end="", file=sys.stderr)


def folders_first(arguments: list[str], flag: str, names: Collection[str]) -> list[str]:
    """Moves folders that follow the words of a flag to the front of the arguments.

    `--metrics mig runs/a` stands for the metric mig and the run runs/a: a word after the flag is a folder if it is not
    one of the flag's names and exists as a path.
    """
    if flag not in arguments:
        return arguments
    start = arguments.index(flag) + 1
    end = next((i for i in range(start, len(arguments)) if arguments[i].startswith("--")), len(arguments))
    words = arguments[start:end]
    folders = [word for word in words if word not in names and Path(word).exists()]
    kept = [word for word in words if word not in folders]
    return [*folders, *arguments[:start], *kept, *arguments[end:]]


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns a ValueError into a usage error, for code whose ValueErrors are about the user's input."""
    try:
        yield
    except ValueError as error:
        stop(str(error), USAGE)


def stop(message: str, code: int) -> NoReturn:
    """Exits the process with a line on stderr."""
    say(f"jaxvae: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(code)


def use_compilation_cache() -> None:
    """Stores compiled programs in the user's cache folder, unless JAX's cache is configured already.

    Without such a folder, as for a user without a home, they are not stored.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    with suppress(OSError, RuntimeError):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxvae" / "xla"
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(cache))


def new_folder(name: str, data: str, seed: int) -> Path:
    """Returns the folder runs/NAME-DATA-SEED, with a number appended if it exists."""
    kind, _, where = data.partition(":")
    of_data = "-".join([kind, *re.findall(r"[\w.-]+", Path(where).stem)])
    base = Path("runs") / f"{name}-{of_data}-{seed}"
    candidates = itertools.chain([base], (base.with_name(f"{base.name}-{n}") for n in itertools.count(2)))
    return next(folder for folder in candidates if not folder.exists())
