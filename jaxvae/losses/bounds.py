"""Bounds on log p(x) from samples of the posterior: the sampled KL to any prior, and the importance-weighted bound."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_same_shape, working_floats
from jaxvae.losses.gaussian import gaussian_log_density


def sampled_kl(
    z: Float[Array, "*batch D"],
    mean: Float[Array, "*batch D"],
    logvar: Float[Array, "*batch D"],
    log_prior: Callable[[jax.Array], jax.Array],
) -> Float[Array, "*batch"]:
    """One-sample estimate of KL( q(z|x) || p(z) ) for a prior without a closed form: log q(z|x) - log p(z).

    The estimate is unbiased for z drawn from q(z|x), and a single value can be negative. If p is Normal, `kl_gaussian`
    has no noise.

    Args:
      z: Sampled codes of the posteriors.
      mean, logvar: Means and log variances of the posteriors, of the same shape.
      log_prior: Log-density [..., D] -> [...] in nats, such as `Prior.log_density`.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or log_prior does not return one value per example.

    Reference: Kingma & Welling (2014).
    """
    check_same_shape(z=z, mean=mean, logvar=logvar)
    z, mean, logvar = working_floats(z=z, mean=mean, logvar=logvar)
    prior = log_prior(z)
    if jnp.shape(prior) != z.shape[:-1]:
        raise ValueError(f"log_prior must sum over the latents: {z.shape[:-1]}, got {jnp.shape(prior)} for z {z.shape}")
    posterior, prior = working_floats(posterior=gaussian_log_density(z, mean, logvar).sum(axis=-1), log_prior=prior)
    return posterior - prior


def importance_weighted_bound(
    log_joint: Float[Array, "K *batch"], log_posterior: Float[Array, "K *batch"]
) -> Float[Array, "*batch"]:
    """Lower bound on log p(x) from K samples of q(z|x): logsumexp_k( log p(x, z_k) - log q(z_k|x) ) - log K.

    K = 1 gives the one-sample ELBO. In expectation, the bound increases with K and tends to log p(x) for K -> infinity.
    It equals log p(x) for every K if q is the exact posterior.

    Args:
      log_joint: Log-densities log p(x|z_k) + log p(z_k) in nats, including constants.
      log_posterior: Log-densities log q(z_k|x) in nats, summed over the latents, of the same shape.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: The shapes differ, there is no sample axis or no sample, or an input is not floating-point.

    Reference: Burda, Grosse & Salakhutdinov (2016).
    """
    check_same_shape(log_joint=log_joint, log_posterior=log_posterior)
    if jnp.ndim(log_joint) == 0 or jnp.shape(log_joint)[0] == 0:
        raise ValueError(f"the first axis must be one or more samples, got shape {jnp.shape(log_joint)}")
    log_joint, log_posterior = working_floats(log_joint=log_joint, log_posterior=log_posterior)
    return jax.nn.logsumexp(log_joint - log_posterior, axis=0) - math.log(log_joint.shape[0])
