"""Fully connected encoders and decoders, for examples of any shape."""

import math
from collections.abc import Callable
from typing import Any

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
    layer_norm: bool = False
    dropout: float = 0.0
    affine: bool = True
    """Whether layer norms have a learned scale and shift."""

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> Posterior:
        """Maps examples [B, ...] to means and log variances [B, D]; `keys` [B], one per example, are for dropout."""
        x = _hidden(self, x.reshape(x.shape[0], -1), keys)
        return gaussian_head(x, self.latent_dim, self.dtype)


class MLPDecoder(nn.Module):
    """Dense layers. Higgins et al. (2017) use three layers of 1,200 with tanh on dSprites."""

    event_shape: tuple[int, ...]
    widths: tuple[int, ...] = (1200, 1200, 1200)
    activation: Callable[[jax.Array], jax.Array] = nn.tanh
    dtype: DTypeLike = jnp.float32
    layer_norm: bool = False
    dropout: float = 0.0
    affine: bool = True
    """Whether layer norms have a learned scale and shift."""

    @nn.compact
    def __call__(self, z: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, *event_shape], float32. They are logits for a Bernoulli likelihood.

        `keys` [B], one per code, are for dropout.
        """
        x = _hidden(self, z, keys)
        x = nn.Dense(math.prod(self.event_shape), kernel_init=GLOROT, dtype=self.dtype)(x)
        return x.reshape(x.shape[0], *self.event_shape).astype(jnp.float32)


def _hidden(module: MLPEncoder | MLPDecoder, x: jax.Array, keys: jax.Array | None) -> jax.Array:
    """Applies the hidden layers inside a compact module: dense, layer norm, activation, dropout."""
    for layer, width in enumerate(module.widths):
        x = nn.Dense(width, kernel_init=GLOROT, dtype=module.dtype)(x)
        if module.layer_norm:
            plain: Any = {} if module.affine else {"epsilon": 1e-5, "use_bias": False, "use_scale": False}
            x = nn.LayerNorm(**plain)(x.astype(jnp.float32)).astype(module.dtype)
        x = module.activation(x)
        module.sow("intermediates", f"layer{layer}", x)
        if keys is not None and module.dropout:
            x = _dropped(x, jax.vmap(lambda key, layer=layer: jax.random.fold_in(key, layer))(keys), module.dropout)
    return x


def _dropped(x: jax.Array, keys: jax.Array, rate: float) -> jax.Array:
    """Sets a share of the values of each example to 0, and scales the others so that the expectation stays: [B, F]."""
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)
