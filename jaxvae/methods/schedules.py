"""Weights that change during training: pure functions of the step."""

import jax
import jax.numpy as jnp


def linear_ramp(start: float | jax.Array, end: jax.Array, step: jax.Array, steps: jax.Array) -> jax.Array:
    """From `start` at the first update to `end` at update number `steps`, and `end` from there on, or at once for 0."""
    share = jnp.where(steps > 0, jnp.minimum(1.0, step.astype(jnp.float32) / jnp.maximum(steps, 1.0)), 1.0)
    return start + (end - start) * share


def geometric_ramp(start: jax.Array, end: jax.Array, step: jax.Array, steps: jax.Array) -> jax.Array:
    """The same in equal ratios, between positive numbers."""
    return jnp.exp(linear_ramp(jnp.log(start), jnp.log(end), step, steps))
