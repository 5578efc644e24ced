"""The aggregate posterior q(z) = mean_n q(z | x_n), estimated from a batch, and the decomposition of the KL by it."""

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
    """Joint log-density log q(z_i) in nats."""
    marginals: Float[Array, "B D"]
    """Marginal log-density log q(z_ij) of every latent j in nats."""


class KLTerms(NamedTuple):
    """Decomposition of the KL to the standard normal, in nats per example. The last two terms are >= 0 in
    expectation.
    """

    mutual_information: Float[Array, " B"]
    """Mutual information of code and example, log q(z|x) - log q(z)."""
    total_correlation: Float[Array, " B"]
    """Total correlation, the dependence among the latents: log q(z) - sum_j log q(z_j)."""
    dimensionwise_kl: Float[Array, " B"]
    """Dimension-wise KL, the distance of the marginals from the prior: sum_j [ log q(z_j) - log p(z_j) ]."""


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
    """Estimates log q(z_i) and log q(z_ij) from the batch: log sum_k W_ik q(z_i | x_k), and the same per latent.

    With N = dataset_size, B the size of the global batch and M = B - 1, the weights W_ik are

        uniform  1/N for k = i, (N-1)/(N M) else        unbiased for q(z_i), rows sum to 1, exact for B = N
        mss      1/N for k = i, (N-M)/(N M) for k = i+1 (cyclic), 1/M else    the paper's stratified weights, unbiased
        mws      1/(N B)         the paper's minibatch weights: low by up to log N, with the gradients of "batch"
        batch    1/B             the batch taken for the data set

    "Unbiased" refers to q, with a batch drawn without replacement. The logarithm of q is biased low, and the bias grows
    with the nats beyond log B that the code carries. Public code often shifts the self weight of mss off the diagonal.

    The pairs of the batch are streamed in blocks, in the forward and in the backward pass, in O(B D) memory. If the
    batch is split over devices, each device has its own z and gathers the posteriors of all devices, 2 B D numbers.
    Value and gradient are the same as on one device.

    Args:
      z: Sampled codes, z_i from the posterior of example i.
      mean, logvar: Means and log variances of the posteriors, in the same order.
      dataset_size: Number of examples N in the set that the batch was drawn from.
      weighting: Kind of weights: "uniform", "mss", "mws" or "batch".
      axis_name: Mesh axis that the batch is split over, in equal parts; B and the sum over k are then global.
      block_size: Number of posteriors per block; None chooses. With B or more, nothing is streamed: this takes [B, B,
        D] numbers in memory, and supports forward-mode derivatives (`jax.jvp`, `jax.hessian`), which the streamed form
        does not.

    Returns:
      LogQz of the local z, at least float32.

    Raises:
      ValueError: The shapes differ or are not [B, D], an input is not floating-point, B < 2, N < B, block_size < 1, or
        the weighting is unknown.

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
    """Computes log q(z_i) and log q(z_ij) under the posteriors of a whole data set: q(z) = mean_n q(z | x_n) exactly.

    The computation is streamed like `minibatch_log_qz`, in O((B + N) D) memory and O(B N D) time.

    Args:
      z: Codes of any origin.
      means, logvars: Means and log variances of the posteriors of all examples.
      block_size: Number of posteriors per block, as in `minibatch_log_qz`.

    Returns:
      LogQz, at least float32.

    Raises:
      ValueError: The shapes are not [B, D] and twice [N, D], an input is not floating-point, or block_size < 1.

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
    """Estimates KL(p(z) || q(z)) from samples of the prior: log p(s_i) - log mean_k q(s_i | x_k), with k over the
    batch.

    The mean over the samples is 0 in expectation if q(z) is the prior. Samples far from every code give large values
    and gradients, so increase the weight of this term gradually from 0.

    Args:
      prior_samples: Samples s_i of the prior.
      log_prior: Log-densities log p(s_i) in nats.
      mean, logvar: Means and log variances of the posteriors.
      axis_name: Mesh axis that posteriors and samples are split over; the mean over k is then global.
      block_size: Number of posteriors per block, as in `minibatch_log_qz`.

    Returns:
      Nats per (local) sample, at least float32.

    Raises:
      ValueError: The shapes do not match, an input is not floating-point, or block_size < 1.

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
    """Splits the sampled KL to the standard normal prior into three terms, which sum to log q(z|x) - log p(z) exactly.

    Args:
      z: Sampled codes, z_i from the posterior of example i.
      mean, logvar: Means and log variances of the posteriors, in the same order.
      log_qz: Log-densities of the same z under the aggregate posterior.

    Returns:
      KLTerms, nats per example, each [B]. Take the mean over the (global) batch for the terms of the bound.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

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
