"""Groups of weights that are switched off together: the group lasso, its proximal step and the prior it comes from."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_at_least, check_positive, working_floats


def group_norms(weights: Float[Array, "*groups p"]) -> Float[Array, "*groups"]:
    """Euclidean length of every group, with a gradient of 0 for a group of zeros.

    Args:
      weights: [..., p], a group along the last axis.

    Returns:
      [...], at least float32. The group lasso is their sum.

    Raises:
      ValueError: not floating, or no axis.
    """
    (weights,) = _groups(weights)
    largest = jnp.abs(weights).max(axis=-1, keepdims=True)
    # Scaled, so that squares neither overflow nor vanish.
    scale = jax.lax.stop_gradient(jnp.where(largest > 0, largest, 1))
    squares = ((weights / scale) ** 2).sum(axis=-1)
    present = squares > 0
    return jnp.where(present, jnp.sqrt(jnp.where(present, squares, 1)), 0) * scale[..., 0]


def group_soft_threshold(
    weights: Float[Array, "*groups p"], threshold: float | Float[Array, ""]
) -> Float[Array, "*groups p"]:
    """The proximal step of the group lasso: argmin_u |u - w|^2 / 2 + threshold |u|, for every group w.

        w max(0, 1 - threshold / |w|)

    Groups shorter than the threshold become exactly 0. After a gradient step of rate r, an objective with the penalty
    lam sum |w| takes threshold r lam, which supposes plain gradient descent: Adam has no one rate.

    Args:
      weights: [..., p], a group along the last axis.
      threshold: >= 0; a number or a scalar array.

    Returns:
      [..., p], at least float32.

    Raises:
      ValueError: not floating, no axis, or a threshold that is known is negative.

    Reference: Ainsworth, Foti, Lee & Fox (2018), section 3.2 by memory.
    """
    check_at_least(0, threshold=threshold)
    (weights,) = _groups(weights)
    length = group_norms(weights)[..., None]
    kept = length > threshold
    share = jnp.where(kept, 1 - jnp.asarray(threshold, weights.dtype) / jnp.where(kept, length, 1), 0)
    return weights * share


def group_laplace_log_density(
    weights: Float[Array, "*groups p"], strength: float | Float[Array, ""]
) -> Float[Array, "*groups"]:
    """Log-density of the prior whose most probable weights are those of the group lasso:

        p(w) = c_p strength^p exp(-strength |w|),   c_p = Gamma(p / 2) / (2 pi^(p/2) Gamma(p))

    It is Normal(0, s I) with s ~ Gamma(shape (p + 1) / 2, rate strength^2 / 2), integrated over s; the Laplace density
    for p = 1.

    Args:
      weights: [..., p], a group along the last axis.
      strength: positive; a number or a scalar array.

    Returns:
      Nats per group [...], at least float32.

    Raises:
      ValueError: not floating, no axis, or a strength that is known is not positive.

    Reference: Ainsworth et al. (2018), for the hierarchy; the constant is derived (and tested by integration).
    """
    check_positive(strength=strength)
    (weights,) = _groups(weights)
    p = weights.shape[-1]
    strength = jnp.asarray(strength, weights.dtype)
    constant = math.lgamma(p / 2) - math.log(2) - p / 2 * math.log(math.pi) - math.lgamma(p)
    return constant + p * jnp.log(strength) - strength * group_norms(weights)


def _groups(weights: jax.Array) -> tuple[jax.Array]:
    if jnp.ndim(weights) < 1:
        raise ValueError("weights must be [..., p], a group along the last axis; got a scalar")
    return (working_floats(weights=weights)[0],)
