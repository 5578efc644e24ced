"""Sparsity of codes and of loadings: how few latents a code uses, and which latents drive which group of outputs."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.losses import group_norms
from jaxvae.method import Params


def group_loadings(params: Params) -> np.ndarray:
    """Computes how strongly each latent drives each group of outputs of an oi-VAE.

    Args:
      params: Parameters of the networks by name, such as `TrainState.params`; "loadings" has the weights W [G, K, p] of
        `jaxvae.networks.grouped_decoder`.

    Returns:
      Euclidean lengths of the columns of W, float [G, K]. It is 0 where the latent does not drive the group.

    Raises:
      ValueError: There are no loadings.
    """
    if "loadings" not in params:
        raise ValueError(f"only networks with loadings, as those of oi_vae, have groups; got {sorted(params)}")
    return np.asarray(group_norms(params["loadings"]["weights"]))


def hoyer_sparsity(codes: jax.Array) -> jax.Array:
    """Computes the normalised Hoyer sparsity of codes.

        H(v) = ( sqrt(D) - |v|_1 / |v|_2 ) / ( sqrt(D) - 1 ),   v = code / (standard deviation of each latent)

    The sparsity is averaged over the codes. It is 0 if all latents are equally large, and 1 if each code has a single
    nonzero latent. Latents are scaled first, so that a latent with a large variance is not mistaken for sparsity.
    Constant latents are left out of v but counted in D. The sparsity of a code of zeros is 0.

    Args:
      codes: Codes [N, D], such as posterior means; D >= 2.

    Returns:
      A scalar in [0, 1]. It is about 0.23 for 50 independent normal latents.

    Raises:
      ValueError: The codes are not [N, D] with D >= 2.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019), section 5.3, from memory.
    """
    if jnp.ndim(codes) != 2 or jnp.shape(codes)[1] < 2:
        raise ValueError(f"codes must be [examples, at least 2 latents], got shape {jnp.shape(codes)}")
    spread = codes.std(axis=0, keepdims=True)
    # Rounding leaves a constant latent with a standard deviation of some ulps of its value.
    alive = spread > 1e-6 * jnp.maximum(1e-6, jnp.abs(codes).max(axis=0, keepdims=True))
    scaled = jnp.where(alive, codes / jnp.where(alive, spread, 1.0), 0.0)
    ones, twos = jnp.abs(scaled).sum(axis=1), jnp.sqrt((scaled**2).sum(axis=1))
    root = jnp.sqrt(jnp.asarray(codes.shape[1], codes.dtype))
    hoyer = (root - ones / jnp.where(twos > 0, twos, 1.0)) / (root - 1)
    return jnp.where(twos > 0, hoyer, 0.0).mean()
