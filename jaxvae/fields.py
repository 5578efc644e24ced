"""Values that were read from a file, against the types of the fields that they are for."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from typeguard import TypeCheckError, check_type

T = TypeVar("T")


def typed(kind: Callable[..., T], values: Mapping[str, Any]) -> T:
    """`kind(**values)`. TypeCheckError for a value of another type than its field has, TypeError for other names."""
    for name, hint in get_type_hints(kind).items():
        if name in values and not isinstance(hint, TypeVar):
            try:
                check_type(values[name], hint)
            except TypeCheckError as error:
                raise TypeCheckError(f"{name}: {' '.join(str(error).split())}") from None
    return kind(**values)
