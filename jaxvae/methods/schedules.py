"""Weights that change during training: pure functions of the step."""

import jax
import jax.numpy as jnp

from jaxvae.method import END


def linear_ramp(start: float | jax.Array, end: jax.Array, step: jax.Array, steps: jax.Array) -> jax.Array:
    """From `start` at the first update to `end` at update number `steps`, and `end` from there on, or at once for 0."""
    share = jnp.where(steps > 0, jnp.minimum(1.0, step.astype(jnp.float32) / jnp.maximum(steps, 1.0)), 1.0)
    return start + (end - start) * share


def geometric_ramp(start: jax.Array, end: jax.Array, step: jax.Array, steps: jax.Array) -> jax.Array:
    """The same in equal ratios, between positive numbers."""
    return jnp.exp(linear_ramp(jnp.log(start), jnp.log(end), step, steps))


def cyclical_ramp(start: float | jax.Array, end: jax.Array, step: jax.Array, steps: jax.Array, cycle: int) -> jax.Array:
    """The linear ramp, which starts again every `cycle` steps until the end (Fu et al., 2019); one ramp for 0."""
    return linear_ramp(start, end, jnp.where(step < END, step % cycle, step) if cycle else step, steps)


def controlled_weight(
    error: jax.Array,
    integral: jax.Array,
    *,
    proportional_gain: jax.Array,
    integral_gain: jax.Array,
    least: jax.Array,
    most: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The weight that a proportional-integral controller gives a term, and what to add to its integral (Shao et al.,
    2020).

    A positive error, of a term below its set point, lowers the weight. The integral changes by -integral_gain error,
    unless the weight is at a bound that this change would take it beyond.
    """
    proportional = proportional_gain * jax.nn.sigmoid(-error)
    move = -integral_gain * error
    free = proportional + integral + move + least
    stuck = ((free > most) & (move > 0)) | ((free < least) & (move < 0))
    move = jnp.where(stuck, 0.0, move)
    return jnp.clip(proportional + integral + move + least, least, most), move
