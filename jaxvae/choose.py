"""Names on the command line: one way to choose among those there are, and to bring one's own.

Another package adds methods, metrics, data and networks through entry points of the groups `jaxvae.methods`,
`jaxvae.metrics`, `jaxvae.data` and `jaxvae.networks`. What is not installed is named by its place:
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
"""Kind of a name -> group of entry points."""
MOST_LISTED = 60
"""Number of known names that a message lists."""


def choose(kind: str, name: str, options: Mapping[str, T]) -> T:
    """`options[name]`, or a ValueError that suggests the nearest name and lists all."""
    if name in options:
        return options[name]
    raise ValueError(unknown(kind, name, options))


def choose_or_import(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """`options[name]`, what another package adds by that name, or what "module:NAME" names.

    Args:
      kind: of the name, a key of `GROUPS`.
      name: to look up.
      options: of this package.

    Raises:
      ValueError: an unknown name, or an import that fails.
    """
    if name in options:
        return options[name]
    return imported(kind, name) if ":" in name else choose(kind, name, with_installed(kind, options))


def with_installed(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, and what other packages add to them."""
    return {**_installed(GROUPS[kind]), **options}


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is none of those known."""
    names = list(known)
    nearest = near(name, names)
    hint = f": did you mean {nearest!r}?" if nearest else "."
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return f"unknown {kind} {name!r}{hint} There are: {', '.join(names[:MOST_LISTED])}{more}."


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that a mistyped one is nearest to, or None; what stands after a colon does not count."""
    heads = {_bare(each): each for each in known}
    return next((heads[head] for head in difflib.get_close_matches(_bare(name), heads, n=1)), None)


def _bare(name: str) -> str:
    """A name without what stands after a colon, hyphens, underscores, and capital letters: FactorVAE is factor-vae."""
    return name.partition(":")[0].replace("-", "").replace("_", "").lower()


def imported(kind: str, place: str) -> Any:
    """The object that "module:NAME" names. ValueError where it cannot be imported."""
    module, _, name = place.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: files in the current folder can be imported
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the {kind} {place} cannot be imported: {error}") from error


@functools.cache
def _installed(group: str) -> dict[str, Any]:
    """What other packages add to a group of entry points, by name; a warning for what cannot be imported."""
    found = {}
    for point in entry_points(group=group):
        try:
            found[point.name] = point.load()
        except Exception as error:
            warnings.warn(f"{point.value}, in the group {group}, cannot be imported: {error}", stacklevel=2)
    return found


def renamed(module: str, name: str, names: Mapping[str, str]) -> Any:
    """What a module has under the new name of `name`, with a DeprecationWarning; for a module's `__getattr__`."""
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is deprecated: use {names[name]}", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[module], names[name])
