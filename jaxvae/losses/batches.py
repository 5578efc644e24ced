"""Operations over the global batch when each device has a part of it."""

import jax
import jax.numpy as jnp


def global_rows(count: int, axis_name: str | None) -> jax.Array:
    """Returns the positions in the global batch of the `count` local examples: int32 [count]."""
    rows = jnp.arange(count)
    return rows if axis_name is None else rows + jax.lax.axis_index(axis_name) * count


def global_mean(local_mean: jax.Array, axis_name: str | None) -> jax.Array:
    """Computes the mean over the global batch from the means over its equal parts."""
    return local_mean if axis_name is None else jax.lax.pmean(local_mean, axis_name)
