"""What it takes to mean the global batch where this is one device's part of it."""

import jax
import jax.numpy as jnp


def global_rows(count: int, axis_name: str | None) -> jax.Array:
    """Places in the global batch of the `count` examples that are here: int32 [count]."""
    rows = jnp.arange(count)
    return rows if axis_name is None else rows + jax.lax.axis_index(axis_name) * count


def global_mean(local_mean: jax.Array, axis_name: str | None) -> jax.Array:
    """The mean over the global batch, of the means over equal parts of it."""
    return local_mean if axis_name is None else jax.lax.pmean(local_mean, axis_name)
