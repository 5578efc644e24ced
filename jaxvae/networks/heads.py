"""Parts that encoders share: their initializer and their output layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Posterior

GLOROT = nn.initializers.glorot_uniform()


def gaussian_head(x: jax.Array, latent_dim: int, dtype: DTypeLike) -> Posterior:
    """Applies two linear layers inside a compact module: features [B, F] -> float32 mean and logvar [B, D]."""
    mean = nn.Dense(latent_dim, kernel_init=GLOROT, dtype=dtype, name="mean")(x)
    logvar = nn.Dense(latent_dim, kernel_init=GLOROT, dtype=dtype, name="logvar")(x)
    return Posterior(mean.astype(jnp.float32), logvar.astype(jnp.float32))
