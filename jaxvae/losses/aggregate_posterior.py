"""The aggregate posterior q(z) = mean_n q(z | x_n), estimated from a batch, and the terms it splits the KL into."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_same_shape, working_floats
from jaxvae.losses.gaussian import gaussian_log_density

Weighting = Literal["uniform", "mss", "mws", "batch"]


class LogQz(NamedTuple):
    """Log-densities of sampled codes under the aggregate posterior."""

    joint: Float[Array, " B"]
    """log q(z_i), nats"""
    marginals: Float[Array, "B D"]
    """log q(z_ij) of every latent j, nats"""


class KLTerms(NamedTuple):
    """The KL to the standard normal in three parts, nats per example; the last two are >= 0 in expectation."""

    mutual_information: Float[Array, " B"]
    """log q(z|x) - log q(z): of code and example."""
    total_correlation: Float[Array, " B"]
    """log q(z) - sum_j log q(z_j): dependence among the latents."""
    dimensionwise_kl: Float[Array, " B"]
    """sum_j [ log q(z_j) - log p(z_j) ]: distance of the marginals from the prior."""


def minibatch_log_qz(
    z: Float[Array, "B D"],
    mean: Float[Array, "B D"],
    logvar: Float[Array, "B D"],
    *,
    dataset_size: int,
    weighting: Weighting = "uniform",
    axis_name: str | None = None,
) -> LogQz:
    """log q(z_i) and log q(z_ij) estimated from the batch: log sum_k W_ik q(z_i | x_k), and the same per latent.

    With N = dataset_size and B the global batch, M = B - 1, the weights W_ik are

        uniform  1/N for k = i, (N-1)/(N M) else        unbiased for q(z_i), rows sum to 1, exact for B = N
        mss      1/N for k = i, (N-M)/(N M) for k = i+1 (cyclic), 1/M else    the paper's stratified weights, unbiased
        mws      1/(N B)         the paper's minibatch weights: low by up to log N, with the gradients of "batch"
        batch    1/B             the batch taken for the data set

    "Unbiased" is about q, with a batch drawn without replacement; its logarithm is biased low, and the more so the more
    nats beyond log B the code carries. Public code often shifts the self weight of mss off the diagonal.

    The memory is that of [B, B, D].

    Args:
      z: sampled codes, z_i from the posterior of example i.
      mean, logvar: posteriors, in the same order.
      dataset_size: N, number of examples in the set that the batch was drawn from.
      weighting: "uniform", "mss", "mws" or "batch".
      axis_name: axis that the batch is split over, in equal parts; B and the sum over k are then global.

    Returns:
      LogQz of the local z, at least float32.

    Raises:
      ValueError: shapes differ or are not [B, D], an input is not floating, B < 2, N < B, or an unknown weighting.

    Reference: Chen, Li, Grosse & Duvenaud (2018), appendix C (mws, mss). "uniform" spreads the weight of mss's last
    example over all others: the same expectation with less variance (derived here).
    """
    check_same_shape(z=z, mean=mean, logvar=logvar)
    if jnp.ndim(z) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(z)}; use vmap for further axes")
    z, mean, logvar = working_floats(z=z, mean=mean, logvar=logvar)
    rows = jnp.arange(z.shape[0])
    if axis_name is not None:
        rows += jax.lax.axis_index(axis_name) * z.shape[0]
        mean, logvar = jax.lax.all_gather((mean, logvar), axis_name, axis=0, tiled=True)
    log_weights = _log_weights(rows, mean.shape[0], dataset_size, weighting).astype(z.dtype)
    log_density = gaussian_log_density(z[:, None, :], mean[None, :, :], logvar[None, :, :])
    return LogQz(
        joint=jax.nn.logsumexp(log_density.sum(axis=-1) + log_weights, axis=1),
        marginals=jax.nn.logsumexp(log_density + log_weights[:, :, None], axis=1),
    )


def _log_weights(rows: jax.Array, batch: int, dataset_size: int, weighting: str) -> jax.Array:
    """log W [rows, B], of the examples whose indices in the global batch are `rows`."""
    if batch < 2:
        raise ValueError(f"the aggregate posterior needs a batch of at least 2 examples, got {batch}")
    if dataset_size < batch:
        raise ValueError(f"dataset_size must be at least the batch size, got {dataset_size} < {batch}")
    n, others = dataset_size, batch - 1
    offset = (jnp.arange(batch)[None, :] - rows[:, None]) % batch
    match weighting:
        case "uniform":
            return jnp.where(offset == 0, -math.log(n), math.log((n - 1) / (n * others)))
        case "mss":
            rest = jnp.where(offset == 1, math.log((n - others) / (n * others)), -math.log(others))
            return jnp.where(offset == 0, -math.log(n), rest)
        case "mws":
            return jnp.full(offset.shape, -math.log(n * batch))
        case "batch":
            return jnp.full(offset.shape, -math.log(batch))
    raise ValueError(f"unknown weighting {weighting!r}; there are uniform, mss, mws, batch")


def kl_decomposition(
    z: Float[Array, "B D"], mean: Float[Array, "B D"], logvar: Float[Array, "B D"], log_qz: LogQz
) -> KLTerms:
    """The sampled KL to the standard normal prior, in three parts that add up to log q(z|x) - log p(z) exactly.

    Args:
      z: sampled codes, z_i from the posterior of example i.
      mean, logvar: posteriors, in the same order.
      log_qz: of the same z.

    Returns:
      KLTerms, nats per example, each [B]. Take the mean over the (global) batch for the terms of the bound.

    Raises:
      ValueError: shapes differ, or an input is not floating.

    Reference: Chen, Li, Grosse & Duvenaud (2018), equation 2.
    """
    check_same_shape(z=z, mean=mean, logvar=logvar, marginals=log_qz.marginals)
    log_posterior = gaussian_log_density(z, mean, logvar).sum(axis=-1)
    log_prior = gaussian_log_density(z, jnp.zeros_like(z), jnp.zeros_like(z))
    return KLTerms(
        mutual_information=log_posterior - log_qz.joint,
        total_correlation=log_qz.joint - log_qz.marginals.sum(axis=-1),
        dimensionwise_kl=(log_qz.marginals - log_prior).sum(axis=-1),
    )
