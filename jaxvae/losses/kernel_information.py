"""Multi-information of the codes of a batch by kernel density estimates, and the spread of each latent in a batch."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_mean, global_rows
from jaxvae.losses.checks import check_positive, working_floats
from jaxvae.losses.mixture import PairWeights, mixture_log_density

LEAST_SCALE = 1e-6
"""Constant that is added to a standard deviation."""


def code_scale(codes: Float[Array, "B D"], *, axis_name: str | None = None) -> Float[Array, " D"]:
    """Computes the standard deviation of every latent over the global batch (divided by B), plus 1e-6.

    The gradient for a latent that is constant over the batch is 0.

    Args:
      codes: Codes.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Scales [D], at least float32, the same on every device.

    Raises:
      ValueError: The shape is not [B, D], or the codes are not floating-point.
    """
    if jnp.ndim(codes) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(codes)}; use vmap for further axes")
    (codes,) = working_floats(codes=codes)
    centred = codes - global_mean(codes.mean(axis=0), axis_name)[None]
    variance = global_mean((centred**2).mean(axis=0), axis_name)
    spread = variance > 0
    return jnp.where(spread, jnp.sqrt(jnp.where(spread, variance, 1)), 0) + LEAST_SCALE


def kernel_multi_information(
    z: Float[Array, "B D"],
    scale: Float[Array, " D"],
    *,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> Float[Array, " B"]:
    """Estimates the dependence among the latents of a batch of codes, with a Gaussian kernel at each code:

        log q(z_i) - sum_k log q_k(z_ik)
        q(z)   = mean_j prod_k Normal(z_k; z_jk, h_k),   h_k = scale_k (4 / (D + 2))^(1 / (D + 4)) B^(-1 / (D + 4))
        q_k(z) = mean_j        Normal(z_k; z_jk, scale_k)

    The bandwidths of the joint density are Silverman's, and those of the marginal densities are not, as in the authors'
    code. The estimate is therefore no divergence: it is not 0 for independent codes, and only its changes have a
    meaning. The sums include j = i.

    The pairs of the batch are streamed in blocks, as in `minibatch_log_qz`, in O(B D) memory. If the batch is split
    over devices, each device gathers the codes of all devices, and value and gradient are those of one device.

    Args:
      z: Codes.
      scale: Standard deviations of the latents, positive, from `code_scale`; the gradient flows through them.
      axis_name: Mesh axis that the batch is split over, in equal parts.
      block_size: Number of codes per block, as in `minibatch_log_qz`.

    Returns:
      Nats per (local) example, at least float32.

    Raises:
      ValueError: The shapes are not [B, D] and [D], an input is not floating-point, a scale is not positive (unchecked
        if traced), or block_size < 1.

    Reference: Hsu, Hamid, Burns, Finn & Wu (2024); Silverman (1986).
    """
    if jnp.ndim(z) != 2 or jnp.shape(scale) != jnp.shape(z)[1:]:
        raise ValueError(f"codes must be [B, D] and scale [D], got {jnp.shape(z)} and {jnp.shape(scale)}")
    check_positive(scale=scale)
    z, scale = working_floats(z=z, scale=scale)
    rows = global_rows(z.shape[0], axis_name)
    everyone = z if axis_name is None else jax.lax.all_gather(z, axis_name, axis=0, tiled=True)
    batch, latents = everyone.shape
    log_factor = (math.log(4 / (latents + 2)) - math.log(batch)) / (latents + 4)
    equal = PairWeights(*[-math.log(batch)] * 3)

    def log_densities(log_bandwidth: jax.Array) -> tuple[jax.Array, jax.Array]:
        logvar = jnp.broadcast_to(2 * log_bandwidth[None], everyone.shape)
        return mixture_log_density(z, everyone, logvar, rows, equal, block_size)

    joint, _ = log_densities(jnp.log(scale) + log_factor)
    _, marginals = log_densities(jnp.log(scale))
    return joint - marginals.sum(axis=-1)
