"""Values of events: their flat form, the parameters that each has of its own, and sums over what is observed."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.losses.checks import check_same_shape, working_floats


def flat_events(observed: jax.Array | None, **inputs: jax.Array) -> tuple[jax.Array, ...]:
    """Flattens each array to [B, E], as XLA is slow on CPUs over a last axis of one channel.

    Values that are not observed become 0 in every array, so that no gradient through them can be NaN.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or the marks are not boolean.
    """
    check_same_shape(**inputs)
    flat = tuple(array.reshape(array.shape[0], -1) for array in working_floats(**inputs))
    if observed is None:
        return flat
    if jnp.result_type(observed) != jnp.bool_:
        raise ValueError(f"observed must be boolean (True where a value is known), got {jnp.result_type(observed)}")
    check_same_shape(**inputs, observed=observed)
    marks = jnp.asarray(observed).reshape(flat[0].shape)
    return tuple(jnp.where(marks, array, 0) for array in flat)


def sum_observed(values: jax.Array, observed: jax.Array | None) -> jax.Array:
    """Sums values [B, E] over E, or over those of them that are observed [B, ...]."""
    if observed is not None:
        values = jnp.where(jnp.asarray(observed).reshape(values.shape), values, 0)
    return jnp.sum(values, axis=1)


def per_value(event: tuple[int, ...], dtype: jnp.dtype, **parameter: Any) -> jax.Array:
    """Returns a parameter of events as it broadcasts with their flat form: a scalar if it is one, or else [1, E].

    Raises:
      ValueError: The parameter does not broadcast to the event shape.
    """
    ((name, given),) = parameter.items()
    value = jnp.asarray(given, dtype)
    if value.ndim == 0:
        return value
    sizes = zip(reversed(value.shape), reversed(event), strict=False)
    if value.ndim > len(event) or any(size not in (1, whole) for size, whole in sizes):
        raise ValueError(f"{name} must be a number or broadcast to the event shape {event}, got shape {value.shape}")
    return jnp.broadcast_to(value, event).reshape(1, -1)
