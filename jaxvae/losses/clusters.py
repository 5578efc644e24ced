"""Mixtures with learned components, in log space, so that a vanishing component gives no NaN."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_positive, working_floats
from jaxvae.losses.gaussian import MAX_DEVIATIONS


def component_log_densities(
    z: Float[Array, "*batch D"],
    means: Float[Array, "K D"],
    log_weights: Float[Array, " K"],
    *,
    variance: float = 1.0,
) -> Float[Array, "*batch K"]:
    """Computes log w_k + log Normal(z; means_k, variance I) for every component.

    The logsumexp over the components is the log-density of the mixture, the softmax gives the responsibilities, and the
    argmax is the cluster.

    Args:
      z: Points.
      means: Means of the components.
      log_weights: Log weights, usually the `log_softmax` of learned logits; they are not normalised here.
      variance: Variance of every latent in every component, positive.

    Returns:
      Nats, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, or the variance is not positive.
    """
    shapes = jnp.shape(z), jnp.shape(means), jnp.shape(log_weights)
    if len(shapes[1]) != 2 or shapes[0][-1:] != shapes[1][1:] or shapes[2] != shapes[1][:1]:
        raise ValueError("z must be [..., D], means [K, D] and log_weights [K], got {}, {} and {}".format(*shapes))
    check_positive(variance=variance)
    z, means, log_weights = working_floats(z=z, means=means, log_weights=log_weights)
    leading = (1,) * (z.ndim - 1)
    deviations = (z[..., None, :] - means.reshape(*leading, *means.shape)) / math.sqrt(variance)
    squares = jnp.clip(deviations, -MAX_DEVIATIONS, MAX_DEVIATIONS) ** 2
    constant = -0.5 * means.shape[1] * math.log(2 * math.pi * variance)
    return constant - 0.5 * squares.sum(axis=-1) + log_weights.reshape(*leading, -1)
