"""The aggregate posterior q(z) = mean_n q(z | x_n), estimated from a batch, and the terms it splits the KL into."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_same_shape, working_floats
from jaxvae.losses.gaussian import gaussian_log_density
from jaxvae.losses.mixture import PairWeights, mixture_log_density

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
    block_size: int | None = None,
) -> LogQz:
    """log q(z_i) and log q(z_ij) estimated from the batch: log sum_k W_ik q(z_i | x_k), and the same per latent.

    With N = dataset_size and B the global batch, M = B - 1, the weights W_ik are

        uniform  1/N for k = i, (N-1)/(N M) else        unbiased for q(z_i), rows sum to 1, exact for B = N
        mss      1/N for k = i, (N-M)/(N M) for k = i+1 (cyclic), 1/M else    the paper's stratified weights, unbiased
        mws      1/(N B)         the paper's minibatch weights: low by up to log N, with the gradients of "batch"
        batch    1/B             the batch taken for the data set

    "Unbiased" is about q, with a batch drawn without replacement; its logarithm is biased low, and the more so the more
    nats beyond log B the code carries. Public code often shifts the self weight of mss off the diagonal.

    The pairs of the batch are streamed in blocks, forwards and backwards, in O(B D) memory. Split over devices, each
    has its own z and gathers the posteriors of all, 2 B D numbers: the same value and gradient as on one device.

    Args:
      z: sampled codes, z_i from the posterior of example i.
      mean, logvar: posteriors, in the same order.
      dataset_size: N, number of examples in the set that the batch was drawn from.
      weighting: "uniform", "mss", "mws" or "batch".
      axis_name: axis that the batch is split over, in equal parts; B and the sum over k are then global.
      block_size: posteriors per block; None chooses. With B or more nothing is streamed: [B, B, D] numbers in memory,
        and forward-mode derivatives (`jax.jvp`, `jax.hessian`), which the streamed form does not have.

    Returns:
      LogQz of the local z, at least float32.

    Raises:
      ValueError: shapes differ or are not [B, D], an input is not floating, B < 2, N < B, block_size < 1, or an unknown
        weighting.

    Reference: Chen, Li, Grosse & Duvenaud (2018), appendix C (mws, mss). "uniform" spreads the weight of mss's last
    example over all others: the same expectation with less variance (derived here).
    """
    check_same_shape(z=z, mean=mean, logvar=logvar)
    if jnp.ndim(z) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(z)}; use vmap for further axes")
    z, mean, logvar = working_floats(z=z, mean=mean, logvar=logvar)
    rows = global_rows(z.shape[0], axis_name)
    if axis_name is not None:
        mean, logvar = jax.lax.all_gather((mean, logvar), axis_name, axis=0, tiled=True)
    weights = _pair_weights(mean.shape[0], dataset_size, weighting)
    return LogQz(*mixture_log_density(z, mean, logvar, rows, weights, block_size))


def _pair_weights(batch: int, dataset_size: int, weighting: str) -> PairWeights:
    if batch < 2:
        raise ValueError(f"the aggregate posterior needs a batch of at least 2 examples, got {batch}")
    if dataset_size < batch:
        raise ValueError(f"dataset_size must be at least the batch size, got {dataset_size} < {batch}")
    n, others = dataset_size, batch - 1
    match weighting:
        case "uniform":
            other = math.log((n - 1) / (n * others))
            return PairWeights(same=-math.log(n), next=other, rest=other)
        case "mss":
            return PairWeights(same=-math.log(n), next=math.log((n - others) / (n * others)), rest=-math.log(others))
        case "mws":
            return _equal_weights(n * batch)
        case "batch":
            return _equal_weights(batch)
    raise ValueError(f"unknown weighting {weighting!r}; there are uniform, mss, mws, batch")


def _equal_weights(count: int) -> PairWeights:
    return PairWeights(*[-math.log(count)] * 3)


def exact_log_qz(
    z: Float[Array, "B D"],
    means: Float[Array, "N D"],
    logvars: Float[Array, "N D"],
    *,
    block_size: int | None = None,
) -> LogQz:
    """log q(z_i) and log q(z_ij) under the posteriors of a whole data set: q(z) = mean_n q(z | x_n), no estimate.

    Streamed like `minibatch_log_qz`, in O((B + N) D) memory and O(B N D) time.

    Args:
      z: any codes.
      means, logvars: posteriors of all examples.
      block_size: as in `minibatch_log_qz`.

    Returns:
      LogQz, at least float32.

    Raises:
      ValueError: shapes are not [B, D] and twice [N, D], an input is not floating, or block_size < 1.

    Reference: Chen, Li, Grosse & Duvenaud (2018), section 3.
    """
    check_same_shape(means=means, logvars=logvars)
    if jnp.ndim(z) != 2 or jnp.ndim(means) != 2 or jnp.shape(z)[1] != jnp.shape(means)[1]:
        raise ValueError(f"z must be [B, D] and means [N, D]; got {jnp.shape(z)} and {jnp.shape(means)}")
    z, means, logvars = working_floats(z=z, means=means, logvars=logvars)
    rows = jnp.zeros(z.shape[0], jnp.int32)
    return LogQz(*mixture_log_density(z, means, logvars, rows, _equal_weights(means.shape[0]), block_size))


def inclusive_kl(
    prior_samples: Float[Array, "M D"],
    log_prior: Float[Array, " M"],
    mean: Float[Array, "B D"],
    logvar: Float[Array, "B D"],
    *,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> Float[Array, " M"]:
    """KL(p(z) || q(z)) sampled from the prior: log p(s_i) - log mean_k q(s_i | x_k), with k over the batch.

    Its mean over the samples is 0 in expectation where q(z) is the prior. Samples far from every code give large values
    and gradients: warm its weight up.

    Args:
      prior_samples: s_i, drawn from the prior.
      log_prior: log p(s_i), nats.
      mean, logvar: posteriors.
      axis_name: axis that posteriors and samples are split over; the mean over k is then global.
      block_size: as in `minibatch_log_qz`.

    Returns:
      Nats per (local) sample, at least float32.

    Raises:
      ValueError: shapes do not fit, an input is not floating, or block_size < 1.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019): the divergence "kld_inc" of its code.
    """
    check_same_shape(mean=mean, logvar=logvar)
    if jnp.shape(log_prior) != jnp.shape(prior_samples)[:1]:
        raise ValueError(
            f"log_prior must have one value per sample; got {jnp.shape(log_prior)} for {jnp.shape(prior_samples)}"
        )
    if axis_name is not None:
        mean, logvar = jax.lax.all_gather((mean, logvar), axis_name, axis=0, tiled=True)
    joint = exact_log_qz(prior_samples, mean, logvar, block_size=block_size).joint
    return working_floats(log_prior=log_prior)[0].astype(joint.dtype) - joint


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
