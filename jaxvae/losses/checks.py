"""Checks of arguments, and the precision that kernels compute in. Everything happens at trace time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOAT32 = jnp.finfo(jnp.float32)


def working_floats(**arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the arrays in a common floating-point type, at least float32.

    Raises:
      ValueError: An array is not floating-point.
    """
    for name, array in arrays.items():
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise ValueError(
                f"{name} must be floating, got {jnp.result_type(array)}: cast it, and scale images to [0, 1]"
            )
    values = [jnp.asarray(array) for array in arrays.values()]
    dtype = jnp.float64 if any(value.dtype == jnp.float64 for value in values) else jnp.float32
    return tuple(value.astype(dtype) for value in values)


def check_same_shape(**arrays: jax.Array) -> None:
    """Raises ValueError with every shape unless the shapes are equal."""
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"these must have one shape: {listed}")


def check_positive(**values: Any) -> None:
    """Raises ValueError for a value that is not positive, not finite, or rounds to 0 or infinity in float32.

    The value may be a number of any kind (of Python or NumPy, or a fraction) or an array, whose elements are all
    checked. A traced value is unknown and passes.
    """
    for name, value in values.items():
        numbers = _known(value)
        if (wrong := ~(numbers > 0)).any():
            raise ValueError(f"{name} must be positive, got {_first(value, numbers, wrong)}")
        if (wrong := ~((numbers >= FLOAT32.tiny) & (numbers <= FLOAT32.max))).any():
            raise ValueError(
                f"{name} must be between {FLOAT32.tiny:.3g} and {FLOAT32.max:.3g}, got {_first(value, numbers, wrong)}"
            )


def check_at_least(least: int, **values: Any) -> None:
    """Raises ValueError for a value that is below `least` or not a number. Values are as in `check_positive`."""
    for name, value in values.items():
        if not (_known(value, least) >= least).all():
            raise ValueError(f"{name} must be >= {least}, got {value}")


def _first(value: Any, numbers: np.ndarray, wrong: np.ndarray) -> Any:
    """Returns the value itself if it is one number, and of an array the first number that is wrong."""
    return numbers[wrong][0] if numbers.ndim else value


def _known(value: Any, otherwise: int = 1) -> np.ndarray:
    """Returns the numbers of a value, or `otherwise` if they are traced or on another machine."""
    if isinstance(value, jax.core.Tracer) or not getattr(value, "is_fully_addressable", True):
        return np.asarray(otherwise)
    return np.asarray(value, np.float64)
