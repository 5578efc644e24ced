"""Dense networks of the identifiable VAE (Khemakhem et al., 2020): tanh with a slope that never vanishes."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network, Posterior
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.linen import from_linen

WIDTHS = (100, 100)
"""Widths of the hidden layers."""


def xtanh(h: jax.Array) -> jax.Array:
    """Computes tanh(h) + h / 10, which is invertible."""
    return jnp.tanh(h) + 0.1 * h


class XtanhMLP(nn.Module):
    """Dense layers with `xtanh` between them."""

    outputs: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps inputs [B, F] to outputs [B, outputs], float32."""
        for width in WIDTHS:
            x = xtanh(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x))
        return nn.Dense(self.outputs, kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)


class XtanhEncoder(nn.Module):
    """One network for the means and another for the log variances."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps inputs [B, ...] to means and log variances [B, D]."""
        x = image.reshape(image.shape[0], -1)
        mean = XtanhMLP(self.latent_dim, self.dtype, name="mean")(x)
        return Posterior(mean, XtanhMLP(self.latent_dim, self.dtype, name="logvar")(x))


class XtanhDecoder(nn.Module):
    """One network from codes to outputs."""

    event_shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, *event_shape], float32."""
        return XtanhMLP(math.prod(self.event_shape), self.dtype)(z).reshape(z.shape[0], *self.event_shape)


def conditional_prior(aux_dim: int, latent_dim: int, dtype: DTypeLike = jnp.float32) -> Network:
    """Builds the "prior" of the iVAE: auxiliary variable [B, aux_dim] -> mean and logvar [B, latent_dim] of the code.

    Raises:
      ValueError: A size is below 1.
    """
    if min(aux_dim, latent_dim) < 1:
        raise ValueError(f"sizes must be at least 1, got aux_dim={aux_dim}, latent_dim={latent_dim}")
    return from_linen(XtanhEncoder(latent_dim, dtype), (aux_dim,))
