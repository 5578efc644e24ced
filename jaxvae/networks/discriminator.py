"""Discriminators of codes."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.linen import from_linen

SLOPE = 0.2
"""Slope of the leaky ReLU below 0. Flax's own default is 0.01; 0 is a plain ReLU."""


class Discriminator(nn.Module):
    """Dense layers with leaky ReLU. Kim & Mnih (2018) use six layers of 1,000 units."""

    widths: tuple[int, ...]
    logits: int
    dtype: DTypeLike = jnp.float32
    slope: float = SLOPE

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to logits [B, K], float32."""
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
    """Builds a discriminator of codes: [B, latent_dim] -> logits [B, logits].

    It is the "discriminator" of FactorVAE (two logits) and of the WAE-GAN (one logit).

    Args:
      latent_dim: Number of latents D.
      logits: Number of outputs.
      widths: Widths of the hidden layers; by default, those of Kim & Mnih (2018).
      dtype: Precision of the computation. Parameters and outputs are always float32.
      slope: Slope of the leaky ReLU below 0; 0 is a plain ReLU.

    Raises:
      ValueError: A size is below 1.
    """
    if min(latent_dim, logits, *widths) < 1:
        raise ValueError(
            f"sizes must be at least 1, got latent_dim={latent_dim}, logits={logits}, widths={tuple(widths)}"
        )
    return from_linen(Discriminator(tuple(widths), logits, dtype, slope), (latent_dim,))
