"""Conversion of configurations to flags and back. `jaxvae train METHOD --help` lists only flags that have an effect."""

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import textwrap
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import tyro

from jaxvae.choose import choose
from jaxvae.cli.terminal import say as print
from jaxvae.runs.config import Config, unknown_flag
from jaxvae.runs.version_1 import RENAMED

GROUPS = {
    "hyperparameters": "method",
    "options": "method",
    "source": "data",
    "batches": "data",
    "networks": "networks",
    "optimization": "optimization",
    "training": "run",
}
"""Groups of flags in the help, by the section of the configuration."""


class Parser(NamedTuple):
    """A class whose fields are the flags of a configuration, and its defaults."""

    kind: Any
    default: Any


def parser_of(config: Config[Any, Any, Any, Any]) -> Parser:
    """Returns the flags that have an effect with the values of the others in `config`."""
    hidden = config.idle()
    fields: list[tuple[str, Any, Any]] = []
    for name, group in GROUPS.items():
        section = _section(getattr(config, name), hidden)
        fields.append((name, Annotated[type(section), tyro.conf.arg(name=group)], dataclasses.field(default=section)))
    made = dataclasses.make_dataclass("Flags", fields, frozen=True)
    return Parser(made, made())


def config_of_flags(config: Config[Any, Any, Any, Any], parsed: Any) -> Config[Any, Any, Any, Any]:
    """Returns `config` with the parsed values."""
    values: dict[str, Any] = {}
    for name in GROUPS:
        section = getattr(parsed, name)
        values |= {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    return config.with_flags(**values)


def check_flags(arguments: Sequence[str], config: Config[Any, Any, Any, Any], others: Sequence[str]) -> None:
    """Checks that all flags exist and have an effect.

    Args:
      arguments: Words of the command line.
      config: Configuration that the flags belong to.
      others: Further flags of the command, with underscores.

    Raises:
      ValueError: A flag does not exist or has no effect. The message is one line and says what the flag is for.
    """
    idle, known = config.idle(), config.flags()
    shown = [name for name in (*known, *others, "help") if name not in idle]
    words = _choices(config)
    for place, word in enumerate(arguments):
        if not word.startswith("--") or word == "--":
            continue
        name = word[2:].partition("=")[0].replace("-", "_")
        if name in idle:
            raise ValueError(f"--{name.replace('_', '-')} is for {idle[name]}: leave it out")
        if name not in shown and name.removeprefix("no_") not in shown:
            raise ValueError(unknown_flag(name, config.method, dict.fromkeys(shown)))
        following = word.partition("=")[2] or next(iter(arguments[place + 1 :]), "")
        if name in config.hyperparameters._fields and "," in following:
            flag = word.partition("=")[0]
            raise ValueError(f"{flag} takes one number; for several, write --sweep {name}={following}")
        if name in words:
            choose(name.replace("_", " "), following, dict.fromkeys(words[name]))


def _choices(config: Config[Any, Any, Any, Any]) -> dict[str, tuple[Any, ...]]:
    """Returns the words that a flag accepts, by the name of the flag."""
    found = {}
    for section in GROUPS:
        for name, hint in get_type_hints(type(getattr(config, section))).items():
            kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            if literal := [kind for kind in kinds if get_origin(kind) is Literal]:
                found[name] = get_args(literal[0])
    return found


def modernised(arguments: Sequence[str]) -> list[str]:
    """Replaces flags of version 0.1 by their current names, with a line on stderr for each."""
    new: list[str] = []
    skip = False
    for place, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_") if flag.startswith("--") else ""
        if skip:
            skip = False
        elif name.startswith("hp."):
            following = value if equals else arguments[place + 1] if place + 1 < len(arguments) else ""
            plain = flag.replace("--hp.", "--", 1).replace("_", "-")
            if "," in following:
                _deprecated(f"{flag} {following}", f"--sweep {name[3:]}={following}")
                new += ["--sweep", f"{name[3:]}={following}"]
                skip = not equals
            else:
                _deprecated(flag, plain)
                new.append(plain + equals + value)
        elif name in RENAMED:
            plain = f"--{RENAMED[name].replace('_', '-')}"
            _deprecated(flag, plain)
            new.append(plain + equals + value)
        else:
            new.append(word)
    return _joined(new, "--sweep")


def _joined(arguments: Sequence[str], flag: str) -> list[str]:
    """Moves the words after all occurrences of a flag to the end of the arguments, after a single occurrence."""
    rest: list[str] = []
    words: list[str] = []
    inside = False
    for word in arguments:
        if word.startswith("--"):
            inside = word.partition("=")[0] == flag
            if inside:
                words += [word.partition("=")[2]] if "=" in word else []
                continue
        (words if inside else rest).append(word)
    return [*rest, flag, *words] if words else rest


def _deprecated(old: str, now: str) -> None:
    print(f"jaxvae: {old} is deprecated: use {now}", file=sys.stderr)


def field_help(kind: type) -> dict[str, str]:
    """Returns the docstring of each field of a class, which follows the field in the source, on one line."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each) or hasattr(each, "_fields"):
            found |= _own_field_help(each)
    return found


@functools.cache
def _own_field_help(kind: type) -> Mapping[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):  # made while the program runs
        return {}
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in itertools.pairwise(tree.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                found[name] = " ".join(words.split())
    return found


def _section(section: Any, hidden: Mapping[str, str]) -> Any:
    """Returns a dataclass with the fields of a section, in which hidden fields are fixed at their values."""
    kind = type(section)
    hints, help_of = get_type_hints(kind, include_extras=True), field_help(kind)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    fields: list[tuple[str, Any, Any]] = []
    for name in names:
        hint: Any = hints[name]
        if name in hidden:
            hint = Annotated[hint, tyro.conf.Fixed]
        elif name in help_of:
            hint = Annotated[hint, tyro.conf.arg(help=help_of[name])]
        fields.append((name, hint, dataclasses.field(default=getattr(section, name))))
    made = dataclasses.make_dataclass(kind.__name__, fields, frozen=True)
    made.__doc__ = (kind.__doc__ or "").partition("\n\n")[0]
    return made()
