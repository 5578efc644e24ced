"""Fully connected encoders and decoders, for examples of any shape."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Posterior
from jaxvae.networks.heads import GLOROT, gaussian_head


class MLPEncoder(nn.Module):
    """Dense layers. Higgins et al. (2017) use two layers of 1,200 with ReLU on dSprites."""

    latent_dim: int
    widths: tuple[int, ...] = (1200, 1200)
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps examples [B, ...] to means and log variances [B, D]."""
        x = image.reshape(image.shape[0], -1)
        for width in self.widths:
            x = self.activation(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x))
        return gaussian_head(x, self.latent_dim, self.dtype)


class MLPDecoder(nn.Module):
    """Dense layers. Higgins et al. (2017) use three layers of 1,200 with tanh on dSprites."""

    event_shape: tuple[int, ...]
    widths: tuple[int, ...] = (1200, 1200, 1200)
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, *event_shape], float32. They are logits for a Bernoulli likelihood."""
        x = z
        for width in self.widths:
            x = self.activation(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x))
        x = nn.Dense(math.prod(self.event_shape), kernel_init=GLOROT, dtype=self.dtype)(x)
        return x.reshape(x.shape[0], *self.event_shape).astype(jnp.float32)
