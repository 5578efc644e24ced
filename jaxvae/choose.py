"""The one way to say that a name is unknown."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(kind: str, name: str, options: Mapping[str, T]) -> T:
    """`options[name]`, or a ValueError that suggests the nearest name and lists all."""
    if name in options:
        return options[name]
    raise ValueError(unknown(kind, name, options))


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of those known."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} There are: {', '.join(names)}."
