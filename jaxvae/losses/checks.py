"""Checks of arguments, and the precision that kernels work in. All of it happens at trace time."""

import jax
import jax.numpy as jnp


def working_floats(**arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays in at least float32, all of one type. ValueError for one that is not floating."""
    for name, array in arrays.items():
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise ValueError(
                f"{name} must be floating, got {jnp.result_type(array)}: cast it, and scale images to [0, 1]"
            )
    values = [jnp.asarray(array) for array in arrays.values()]
    dtype = jnp.float64 if any(value.dtype == jnp.float64 for value in values) else jnp.float32
    return tuple(value.astype(dtype) for value in values)


def check_same_shape(**arrays: jax.Array) -> None:
    """ValueError that names every shape unless they are equal."""
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"these must have one shape: {listed}")
