"""Group sparsity of weights: the group lasso, its proximal step, and the prior that it corresponds to."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_at_least, check_positive, working_floats


def group_norms(weights: Float[Array, "*groups p"]) -> Float[Array, "*groups"]:
    """Computes the Euclidean length of every group, with a gradient of 0 for a group of zeros.

    Args:
      weights: Weights [..., p], with a group along the last axis.

    Returns:
      Lengths [...], at least float32. The group lasso is their sum.

    Raises:
      ValueError: The weights are not floating-point, or have no axis.
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
    """Takes the proximal step of the group lasso: argmin_u |u - w|^2 / 2 + threshold |u|, for every group w.

        w max(0, 1 - threshold / |w|)

    Groups shorter than the threshold become exactly 0. After a gradient step with learning rate r, an objective with
    the penalty lam sum |w| uses the threshold r lam. This requires plain gradient descent, as Adam has no single
    learning rate.

    Args:
      weights: Weights [..., p], with a group along the last axis.
      threshold: Threshold >= 0; a number or a scalar array.

    Returns:
      Weights [..., p], at least float32.

    Raises:
      ValueError: The weights are not floating-point or have no axis, or threshold is negative (unchecked if traced).

    Reference: Ainsworth, Foti, Lee & Fox (2018), section 3.2, from memory.
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

    It is Normal(0, s I) with s ~ Gamma(shape (p + 1) / 2, rate strength^2 / 2), integrated over s. For p = 1, it is the
    Laplace density.

    Args:
      weights: Weights [..., p], with a group along the last axis.
      strength: Strength of the prior, positive; a number or a scalar array.

    Returns:
      Nats per group [...], at least float32.

    Raises:
      ValueError: The weights are not floating-point or have no axis, or strength is not positive (unchecked if traced).

    Reference: Ainsworth et al. (2018) for the hierarchy; the constant is derived (and tested by integration).
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
