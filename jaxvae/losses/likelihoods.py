"""Negative log-likelihoods of pictures, vectors and tables: nats per example, summed over every axis but the first.

Each takes `observed`, which is True where a value of x is known. A value that is not observed contributes 0 to the
result and to every gradient, and may be NaN in x. Likelihoods of counts are in `jaxvae.losses.counts`.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxvae.losses.checks import check_positive
from jaxvae.losses.events import flat_events, per_value, sum_observed


def bernoulli_nll(
    logits: Float[Array, "B ..."], x: Float[Array, "B ..."], *, observed: Bool[Array, "B ..."] | None = None
) -> Float[Array, " B"]:
    """Binary cross-entropy from logits: -sum_p [ x log s(l) + (1 - x) log(1 - s(l)) ], s the logistic function.

    It is computed as max(l, 0) - l x + log(1 + exp(-|l|)), which is finite at any logit, with a gradient that does not
    vanish for a wrong pixel. For x strictly between 0 and 1, it is a cross-entropy but not a negative log-density, and
    its minimum is the entropy of x, not 0.

    Args:
      logits: Raw decoder output.
      x: Target in [0, 1] (not checked), of the same shape.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or observed is not boolean.
    """
    logits, x = flat_events(observed, logits=logits, x=x)
    # One case distinction for both parts, so that their slopes agree at a logit of exactly 0.
    positive = logits >= 0
    size = jnp.where(positive, logits, -logits)
    return sum_observed(jnp.where(positive, logits, 0) - logits * x + jnp.log1p(jnp.exp(-size)), observed)


def continuous_bernoulli_nll(
    logits: Float[Array, "B ..."], x: Float[Array, "B ..."], *, observed: Bool[Array, "B ..."] | None = None
) -> Float[Array, " B"]:
    """Continuous Bernoulli likelihood, cross-entropy made a density on [0, 1]: sum_p [ log((e^l - 1) / l) - l x ].

    It is `bernoulli_nll` minus sum_p log C with C = l / tanh(l / 2) (2 at l = 0), which normalises the density for grey
    values. The mean of a pixel is 1 / (1 - e^-l) - 1 / l, not the logistic function of l. The result and its gradients
    are finite at any logit. Unlike a cross-entropy, it can be negative.

    Args:
      logits: Raw decoder output.
      x: Target in [0, 1] (not checked), of the same shape.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or observed is not boolean.

    Reference: Loaiza-Ganem & Cunningham (2019).
    """
    logits, x = flat_events(observed, logits=logits, x=x)
    size = jnp.abs(logits)
    small = size < 0.5
    # Each branch sees only harmless logits: its gradient would be NaN even where it is not selected.
    u2 = (0.5 * jnp.where(small, logits, 0)) ** 2
    log_sinhc = u2 * (1 / 6 - u2 * (1 / 180 - u2 * (1 / 2835 - u2 * (1 / 37800 - u2 / 467775))))  # log(sinh(u) / u)
    size = jnp.where(small, 1, size)
    far = jnp.maximum(logits, 0) - logits * x + jnp.log(-jnp.expm1(-size)) - jnp.log(size)
    return sum_observed(jnp.where(small, logits * (0.5 - x) + log_sinhc, far), observed)


def gaussian_nll(
    mean: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    scale: float | Float[Array, "..."] = 1.0,
    *,
    observed: Bool[Array, "B ..."] | None = None,
) -> Float[Array, " B"]:
    """Normal likelihood: sum_p [ (x - mean)^2 / (2 scale^2) + log scale + log(2 pi) / 2 ].

    Args:
      mean: Expected value.
      x: Target, of the same shape.
      scale: Standard deviation, positive; a number or an array that broadcasts to the event shape (may be learned).
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, observed is not boolean, or scale is not
        positive (unchecked if traced).
    """
    event = jnp.shape(x)[1:]
    mean, x = flat_events(observed, mean=mean, x=x)
    check_positive(scale=scale)
    scale = per_value(event, mean.dtype, scale=scale)
    return sum_observed(0.5 * ((x - mean) / scale) ** 2 + jnp.log(scale) + 0.5 * math.log(2 * math.pi), observed)


def laplace_nll(
    loc: Float[Array, "B ..."],
    x: Float[Array, "B ..."],
    scale: float | Float[Array, "..."] = 1.0,
    *,
    observed: Bool[Array, "B ..."] | None = None,
) -> Float[Array, " B"]:
    """Laplace likelihood: sum_p [ |x - loc| / scale + log(2 scale) ].

    Args:
      loc: Median.
      x: Target, of the same shape.
      scale: Mean absolute deviation, positive; a number or an array that broadcasts to the event shape.
      observed: Marks of the known values, of the same shape; by default, all are known.

    Returns:
      Nats per example, constants included, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, observed is not boolean, or scale is not
        positive (unchecked if traced).
    """
    event = jnp.shape(x)[1:]
    loc, x = flat_events(observed, loc=loc, x=x)
    check_positive(scale=scale)
    scale = per_value(event, loc.dtype, scale=scale)
    return sum_observed(jnp.abs(x - loc) / scale + jnp.log(2 * scale), observed)


def categorical_nll(
    logits: Float[Array, "B ... K"], x: Float[Array, "B ... K"], *, observed: Bool[Array, "B ... K"] | None = None
) -> Float[Array, " B"]:
    """Categorical likelihood of one-hot values: -sum_p sum_k x_k log softmax(l)_k, with the K classes on the last axis.

    For other class probabilities x, it is a cross-entropy, and its minimum is the entropy of x, not 0.

    Args:
      logits: Raw decoder output.
      x: Target, of the same shape: 1 for the class and 0 elsewhere (not checked).
      observed: Marks of the known values, of the same shape, equal over the classes; by default, all are known.

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, observed is not boolean, or there is no axis of
        classes.
    """
    shape = jnp.shape(logits)
    if len(shape) < 2:
        raise ValueError(f"logits must have the shape [B, ..., K], with the classes on the last axis, got {shape}")
    logits, x = flat_events(observed, logits=logits, x=x)
    log_shares = jax.nn.log_softmax(logits.reshape(len(logits), -1, shape[-1]), axis=-1)
    return sum_observed(-x * log_shares.reshape(x.shape), observed)
