"""Values read from a file, checked against the types of the fields that they are for."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

T = TypeVar("T")


def typed(kind: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Creates `kind(**values)` and converts lists to tuples for fields that are tuples.

    Args:
      kind: Dataclass or NamedTuple to create.
      values: JSON values by field name; missing fields have their defaults.

    Raises:
      ValueError: A name is not a field, or a value has the wrong type. The message names the field.
    """
    hints = get_type_hints(kind, include_extras=False)
    if not isinstance(values, Mapping):
        raise ValueError(f"expected settings by name, got {values!r}")
    if unknown := [name for name in values if name not in hints]:
        raise ValueError(f"unknown setting {unknown[0]!r}")
    given: dict[str, Any] = {}
    for name, value in values.items():
        try:
            given[name] = msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            raise ValueError(f"{name}: {error}, got {value!r}") from error
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error
