"""Weights that change during training: pure functions of the step."""

import jax
import jax.numpy as jnp


def linear_warmup(weight: jax.Array, step: jax.Array, steps: jax.Array) -> jax.Array:
    """`weight` times min(1, step / steps): 0 at the first update, `weight` from `steps` on. No ramp for 0 steps."""
    return weight * jnp.where(steps > 0, jnp.minimum(1.0, step.astype(jnp.float32) / steps), 1.0)
