"""Lookup of methods, metrics, data and networks by name, including those of other packages and files.

Another package adds methods, metrics, data and networks through entry points of the groups `jaxvae.methods`,
`jaxvae.metrics`, `jaxvae.data` and `jaxvae.networks`. An object that has no entry point is named by its place:
`package.module:NAME`, or `file:NAME` for file.py in the current folder.
"""

import difflib
import functools
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

T = TypeVar("T")
GROUPS = {
    "method": "jaxvae.methods",
    "metric": "jaxvae.metrics",
    "data": "jaxvae.data",
    "network": "jaxvae.networks",
}
"""Groups of entry points by the kind of a name."""
MOST_LISTED = 60
"""Number of known names that a message lists."""


def choose(kind: str, name: str, options: Mapping[str, T]) -> T:
    """Returns `options[name]`.

    Raises:
      ValueError: The name is unknown; the message suggests the nearest name and lists the known ones.
    """
    if name in options:
        return options[name]
    raise ValueError(unknown(kind, name, options))


def choose_or_import(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """Returns `options[name]`, the object that another package adds under that name, or the object at "module:NAME".

    Args:
      kind: Kind of the name, a key of `GROUPS`.
      name: Name to look up.
      options: Objects of this package by name.

    Raises:
      ValueError: The name is unknown, or the import fails.
    """
    if name in options:
        return options[name]
    return imported(kind, name) if ":" in name else choose(kind, name, with_installed(kind, options))


def with_installed(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `options` together with the objects that other packages add."""
    return {**_installed(GROUPS[kind]), **options}


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the error message for an unknown name."""
    names = list(known)
    nearest = near(name, names)
    hint = f": did you mean {nearest!r}?" if nearest else "."
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return f"unknown {kind} {name!r}{hint} There are: {', '.join(names[:MOST_LISTED])}{more}."


def near(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name nearest to a mistyped one, or None. Text after a colon is ignored."""
    heads = {_bare(each): each for each in known}
    return next((heads[head] for head in difflib.get_close_matches(_bare(name), heads, n=1)), None)


def _bare(name: str) -> str:
    """Returns a name in lower case, without hyphens, underscores and text after a colon, so that FactorVAE matches
    factor-vae.
    """
    return name.partition(":")[0].replace("-", "").replace("_", "").lower()


def imported(kind: str, place: str) -> Any:
    """Imports the object at "module:NAME".

    Raises:
      ValueError: The import fails.
    """
    module, _, name = place.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: files in the current folder can be imported
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the {kind} {place} cannot be imported: {error}") from error


@functools.cache
def _installed(group: str) -> dict[str, Any]:
    """Returns the objects that other packages add to a group of entry points, by name. Warns if an import fails."""
    found = {}
    for point in entry_points(group=group):
        try:
            found[point.name] = point.load()
        except Exception as error:
            warnings.warn(f"{point.value}, in the group {group}, cannot be imported: {error}", stacklevel=2)
    return found


def renamed(module: str, name: str, names: Mapping[str, str]) -> Any:
    """Returns a module's object under the new name of `name`, with a DeprecationWarning.

    A module's `__getattr__` calls it with the new names of its objects by their old names.

    Raises:
      AttributeError: The name is not an old name.
    """
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is deprecated: use {names[name]}", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[module], names[name])
