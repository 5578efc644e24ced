"""Convolutional encoders and decoders. Images are [B, H, W, C] with H and W divisible by 16."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Posterior
from jaxvae.networks.heads import GLOROT, gaussian_head
from jaxvae.networks.layers import Conv, ConvTranspose, in_parts


def _convolved(layers: Sequence[Conv], image: jax.Array) -> jax.Array:
    """Applies convolutions with ReLU after each: [B, H, W, C] -> features [B, F]."""

    def apply(x: jax.Array) -> jax.Array:
        for layer in layers:
            x = nn.relu(layer(x))
        return x.reshape(x.shape[0], -1)

    return in_parts(apply, image)


def _drawn(module: nn.Module, layers: Sequence[ConvTranspose], features: jax.Array) -> jax.Array:
    """Applies transposed convolutions with ReLU after each but the last: [B, h, w, F] -> [B, H, W, C], float32."""

    module.sow("intermediates", "features", features)

    def apply(x: jax.Array) -> jax.Array:
        for place, layer in enumerate(layers[:-1]):
            x = nn.relu(layer(x))
            module.sow("intermediates", f"stage{place}", x)
        return layers[-1](x).astype(jnp.float32)

    return in_parts(apply, features)


class StudyEncoder(nn.Module):
    """Encoder of the large-scale study (Locatello et al., 2019): 4 convolutions and 1 dense layer.

    The kernels of the last two convolutions are 2x2, as in the study's code; those of Higgins et al. (2017) are 4x4.
    """

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps images [B, H, W, C] to means and log variances [B, D]."""
        layers = [Conv(features, kernel, self.dtype) for features, kernel in ((32, 4), (32, 4), (64, 2), (64, 2))]
        x = _convolved(layers, image)
        x = nn.relu(nn.Dense(256, kernel_init=GLOROT, dtype=self.dtype)(x))
        return gaussian_head(x, self.latent_dim, self.dtype)


class StudyDecoder(nn.Module):
    """Decoder of the large-scale study (Locatello et al., 2019): 2 dense layers and 4 transposed convolutions."""

    event_shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, H, W, C], float32. They are logits for a Bernoulli likelihood."""
        height, width, channels = self.event_shape
        x = nn.relu(nn.Dense(256, kernel_init=GLOROT, dtype=self.dtype)(z))
        x = nn.relu(nn.Dense((height // 16) * (width // 16) * 64, kernel_init=GLOROT, dtype=self.dtype)(x))
        x = x.reshape(x.shape[0], height // 16, width // 16, 64)
        return _drawn(self, [ConvTranspose(features, self.dtype) for features in (64, 32, 32, channels)], x)


def burgess_halvings(event_shape: tuple[int, ...]) -> int:
    """Returns the number of stride-2 layers that reduce an image to 4x4, as long as both sides stay even.

    It is 3 for 32x32 and 4 for 64x64 images.
    """
    height, width, _ = event_shape
    halvings = int(math.log2(min(height, width) / 4))
    while math.gcd(height, width) % 2**halvings:
        halvings -= 1
    return halvings


class BurgessEncoder(nn.Module):
    """Encoder of Burgess et al. (2018): 4x4 convolutions with 32 channels down to 4x4, and 2 dense layers."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps images [B, H, W, C] to means and log variances [B, D]."""
        x = _convolved([Conv(32, 4, self.dtype) for _ in range(burgess_halvings(image.shape[1:]))], image)
        for _ in range(2):
            x = nn.relu(nn.Dense(256, kernel_init=GLOROT, dtype=self.dtype)(x))
        return gaussian_head(x, self.latent_dim, self.dtype)


class BurgessDecoder(nn.Module):
    """Decoder of Burgess et al. (2018), which mirrors the encoder."""

    event_shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, H, W, C], float32."""
        height, width, channels = self.event_shape
        halvings = burgess_halvings(self.event_shape)
        height, width = height // 2**halvings, width // 2**halvings
        x = z
        for features in (256, 256, height * width * 32):
            x = nn.relu(nn.Dense(features, kernel_init=GLOROT, dtype=self.dtype)(x))
        x = x.reshape(x.shape[0], height, width, 32)
        widths = [32] * (halvings - 1) + [channels]
        return _drawn(self, [ConvTranspose(features, self.dtype) for features in widths], x)


class KimEncoder(nn.Module):
    """Encoder of Kim & Mnih (2018) for dSprites: 4 convolutions and 1 dense layer of 128; all kernels are 4x4."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> Posterior:
        """Maps images [B, H, W, C] to means and log variances [B, D]."""
        x = _convolved([Conv(features, 4, self.dtype) for features in (32, 32, 64, 64)], image)
        x = nn.relu(nn.Dense(128, kernel_init=GLOROT, dtype=self.dtype)(x))
        return gaussian_head(x, self.latent_dim, self.dtype)


class KimDecoder(nn.Module):
    """Decoder of Kim & Mnih (2018): 1 dense layer of 128 and 5 transposed convolutions, the first from a single pixel.

    The first one is written as a dense layer with one bias per channel, as in public code.
    """

    event_shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, D] to raw outputs [B, H, W, C], float32. They are logits for a Bernoulli likelihood."""
        height, width, channels = self.event_shape
        x = nn.relu(nn.Dense(128, kernel_init=GLOROT, dtype=self.dtype)(z))
        first = (height // 16) * (width // 16) * 64
        x = nn.Dense(first, use_bias=False, kernel_init=GLOROT, dtype=self.dtype)(x)
        bias = self.param("bias", nn.initializers.zeros_init(), (64,)).astype(self.dtype)
        x = nn.relu(x.reshape(x.shape[0], height // 16, width // 16, 64) + bias.reshape(1, 1, 1, -1))
        return _drawn(self, [ConvTranspose(features, self.dtype) for features in (64, 32, 32, channels)], x)
