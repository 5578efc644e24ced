"""A network that tells codes apart."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.linen import from_linen

SLOPE = 0.2
"""Of the leaky ReLU below 0 (Flax's own default is 0.01); 0 is a plain ReLU."""


class Discriminator(nn.Module):
    """Dense layers with leaky ReLU. Kim & Mnih (2018): six of 1,000."""

    widths: tuple[int, ...]
    logits: int
    dtype: DTypeLike = jnp.float32
    slope: float = SLOPE

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """[B, D] -> logits [B, K], float32"""
        x = z
        for width in self.widths:
            x = nn.leaky_relu(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x), self.slope)
        return nn.Dense(self.logits, kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)


def discriminator(
    latent_dim: int,
    logits: int = 2,
    widths: Sequence[int] = (1000,) * 6,
    dtype: DTypeLike = jnp.float32,
    slope: float = SLOPE,
) -> Network:
    """Codes [B, latent_dim] -> logits [B, logits]: the "discriminator" of FactorVAE (two) and of the WAE-GAN (one).

    Args:
      latent_dim: D, the size of the code.
      logits: number of outputs.
      widths: of the hidden layers; Kim & Mnih's (2018) if not given.
      dtype: of the computation; parameters and outputs are float32 whatever it is.
      slope: of the leaky ReLU below 0; 0 is a plain ReLU.

    Raises:
      ValueError: a size below 1.
    """
    if min(latent_dim, logits, *widths) < 1:
        raise ValueError(
            f"sizes must be at least 1, got latent_dim={latent_dim}, logits={logits}, widths={tuple(widths)}"
        )
    return from_linen(Discriminator(tuple(widths), logits, dtype, slope), (latent_dim,))
