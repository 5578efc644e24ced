"""Negative log-likelihoods of images: nats per example, summed over every axis but the first."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_positive, check_same_shape, working_floats


def bernoulli_nll(logits: Float[Array, "B ..."], x: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """Binary cross-entropy from logits: -sum_p [ x log s(l) + (1 - x) log(1 - s(l)) ], s the logistic function.

    It is computed as max(l, 0) - l x + log(1 + exp(-|l|)), which is finite at any logit, with a gradient that does not
    vanish for a wrong pixel. For x strictly between 0 and 1, it is a cross-entropy but not a negative log-density, and
    its minimum is the entropy of x, not 0.

    Args:
      logits: Raw decoder output.
      x: Target in [0, 1] (not checked), of the same shape.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.
    """
    logits, x = _flat_events(logits=logits, x=x)
    # One case distinction for both parts, so that their slopes agree at a logit of exactly 0.
    positive = logits >= 0
    size = jnp.where(positive, logits, -logits)
    return jnp.sum(jnp.where(positive, logits, 0) - logits * x + jnp.log1p(jnp.exp(-size)), axis=1)


def continuous_bernoulli_nll(logits: Float[Array, "B ..."], x: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """Continuous Bernoulli likelihood, cross-entropy made a density on [0, 1]: sum_p [ log((e^l - 1) / l) - l x ].

    It is `bernoulli_nll` minus sum_p log C with C = l / tanh(l / 2) (2 at l = 0), which normalises the density for grey
    values. The mean of a pixel is 1 / (1 - e^-l) - 1 / l, not the logistic function of l. The result and its gradients
    are finite at any logit. Unlike a cross-entropy, it can be negative.

    Args:
      logits: Raw decoder output.
      x: Target in [0, 1] (not checked), of the same shape.

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Loaiza-Ganem & Cunningham (2019).
    """
    logits, x = _flat_events(logits=logits, x=x)
    size = jnp.abs(logits)
    small = size < 0.5
    # Each branch sees only harmless logits: its gradient would be NaN even where it is not selected.
    u2 = (0.5 * jnp.where(small, logits, 0)) ** 2
    log_sinhc = u2 * (1 / 6 - u2 * (1 / 180 - u2 * (1 / 2835 - u2 * (1 / 37800 - u2 / 467775))))  # log(sinh(u) / u)
    size = jnp.where(small, 1, size)
    far = jnp.maximum(logits, 0) - logits * x + jnp.log(-jnp.expm1(-size)) - jnp.log(size)
    return jnp.sum(jnp.where(small, logits * (0.5 - x) + log_sinhc, far), axis=1)


def gaussian_nll(
    mean: Float[Array, "B ..."], x: Float[Array, "B ..."], scale: float | Float[Array, ""] = 1.0
) -> Float[Array, " B"]:
    """Normal likelihood with one standard deviation: sum_p [ (x - mean)^2 / (2 scale^2) + log scale + log(2 pi) / 2 ].

    Args:
      mean: Expected image.
      x: Target, of the same shape.
      scale: Standard deviation, positive; a number or a scalar array (which may be learned).

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or scale is not positive (unchecked if traced).
    """
    mean, x = _flat_events(mean=mean, x=x)
    check_positive(scale=scale)
    scale = jnp.asarray(scale, mean.dtype)
    return jnp.sum(0.5 * ((x - mean) / scale) ** 2 + jnp.log(scale) + 0.5 * math.log(2 * math.pi), axis=1)


def laplace_nll(
    loc: Float[Array, "B ..."], x: Float[Array, "B ..."], scale: float | Float[Array, ""] = 1.0
) -> Float[Array, " B"]:
    """Laplace likelihood with one scale: sum_p [ |x - loc| / scale + log(2 scale) ].

    Args:
      loc: Median image.
      x: Target, of the same shape.
      scale: Mean absolute deviation, positive; a number or a scalar array.

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or scale is not positive (unchecked if traced).
    """
    loc, x = _flat_events(loc=loc, x=x)
    check_positive(scale=scale)
    scale = jnp.asarray(scale, loc.dtype)
    return jnp.sum(jnp.abs(x - loc) / scale + jnp.log(2 * scale), axis=1)


def _flat_events(**inputs: jax.Array) -> tuple[jax.Array, ...]:
    """Flattens each array to [B, E], as XLA is slow on CPUs over a last axis of one channel."""
    check_same_shape(**inputs)
    return tuple(array.reshape(array.shape[0], -1) for array in working_floats(**inputs))
