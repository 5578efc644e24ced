"""Layers with an equalised learning rate (Karras et al., 2018), and the networks of the ALAE that are made of them.

A layer keeps weights of unit variance and multiplies them by sqrt(2 / inputs) when it is applied, so that under Adam
all layers learn at one speed. ALAE's code keeps scaled weights and scales Adam's steps instead: with no epsilon in
Adam the two are the same.
"""

import math
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.conv import burgess_halvings
from jaxvae.networks.discriminator import SLOPE
from jaxvae.networks.layers import double, halve
from jaxvae.networks.linen import from_linen

Shape = tuple[int, int, int]
WIDTHS = {"small": 256, "paper": 1024}
CHANNELS = (32, 64, 64, 64, 64)
SLOW = 0.1
"""How much slower than the rest the mapping and the discriminator learn."""


def equalized(module: nn.Module, shape: Sequence[int], inputs: int, rate: float) -> tuple[jax.Array, jax.Array]:
    """Weights of a shape, whose last axis is the outputs, and biases, ready to be applied.

    Weights start at N(0, 2 / inputs), whatever `rate` is; their steps, and those of the biases, are `rate` times as
    large.
    """
    weights = module.param("kernel", nn.initializers.normal(1 / rate), tuple(shape))
    bias = module.param("bias", nn.initializers.zeros_init(), (shape[-1],))
    dtype = module.dtype
    return (rate * math.sqrt(2 / inputs) * weights).astype(dtype), (rate * bias).astype(dtype)


class EqualizedDense(nn.Module):
    """[B, I] -> [B, features]"""

    features: int
    rate: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, I] -> [B, features]"""
        weights, bias = equalized(self, (x.shape[-1], self.features), x.shape[-1], self.rate)
        return x.astype(self.dtype) @ weights + bias[None]


class EqualizedConv(nn.Module):
    """4x4 kernel, stride 2: [B, H, W, C] -> [B, H/2, W/2, features], or twice the sides."""

    features: int
    larger: bool = False
    rate: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H/2, W/2, features], or [B, 2H, 2W, features]"""
        channels = x.shape[-1]
        # Of the 16 weights of a transposed convolution with stride 2, 4 meet in a pixel.
        inputs = (4 if self.larger else 16) * channels
        weights, bias = equalized(self, (4, 4, channels, self.features), inputs, self.rate)
        return (double if self.larger else halve)(x.astype(self.dtype), weights) + bias[None, None, None]


class Mapping(nn.Module):
    """F: a pixel norm, then six slow layers; leaky ReLU after each."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """[B, D] -> [B, D], float32"""
        x = pixel_norm(z)
        for _ in range(6):
            x = nn.leaky_relu(EqualizedDense(self.latent_dim, SLOW, self.dtype)(x), SLOPE)
        return x.astype(jnp.float32)


class Generator(nn.Module):
    """G: dense layers, and transposed convolutions where it has any; a linear output."""

    image_shape: Shape
    width: int
    halvings: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, w: jax.Array) -> jax.Array:
        """[B, D] -> [B, H, W, C], float32"""
        height, width, channels = self.image_shape
        x = nn.leaky_relu(EqualizedDense(self.width, dtype=self.dtype)(w), SLOPE)
        if not self.halvings:
            x = nn.leaky_relu(EqualizedDense(self.width, dtype=self.dtype)(x), SLOPE)
            x = EqualizedDense(math.prod(self.image_shape), dtype=self.dtype)(x)
            return x.reshape(-1, *self.image_shape).astype(jnp.float32)
        first = (height >> self.halvings, width >> self.halvings, CHANNELS[self.halvings - 1])
        x = nn.leaky_relu(EqualizedDense(math.prod(first), dtype=self.dtype)(x), SLOPE).reshape(-1, *first)
        for features in CHANNELS[self.halvings - 2 :: -1] if self.halvings > 1 else ():
            x = nn.leaky_relu(EqualizedConv(features, True, dtype=self.dtype)(x), SLOPE)
        return EqualizedConv(channels, True, dtype=self.dtype)(x).astype(jnp.float32)


class Encoder(nn.Module):
    """E: the generator mirrored. A leaky ReLU after the last layer too makes its range that of the mapping."""

    latent_dim: int
    width: int
    halvings: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, D], float32"""
        x = image
        for features in CHANNELS[: self.halvings]:
            x = nn.leaky_relu(EqualizedConv(features, dtype=self.dtype)(x), SLOPE)
        x = x.reshape(x.shape[0], -1)
        for width in (self.width, *[self.width] * (not self.halvings), self.latent_dim):
            x = nn.leaky_relu(EqualizedDense(width, dtype=self.dtype)(x), SLOPE)
        return x.astype(jnp.float32)


class LinearDiscriminator(nn.Module):
    """D: three slow layers with nothing between them, which is one linear map."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, w: jax.Array) -> jax.Array:
        """[B, D] -> logits [B], float32"""
        x = w
        for features in (self.latent_dim, self.latent_dim, 1):
            x = EqualizedDense(features, SLOW, self.dtype)(x)
        return x[:, 0].astype(jnp.float32)


def pixel_norm(z: jax.Array) -> jax.Array:
    """z / sqrt( mean of squares + 1e-8 ), over the last axis."""
    return z * jax.lax.rsqrt((z**2).mean(axis=-1, keepdims=True) + 1e-8)


def latent_adversarial_networks(
    image_shape: Shape,
    latent_dim: int = 50,
    *,
    architecture: Literal["mlp", "conv"] = "mlp",
    size: Literal["small", "paper"] = "small",
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """The networks of the ALAE: {"mapping": z -> w, "decoder": w -> image, "encoder": image -> w, "discriminator": w ->
    logit [B]}.

    Args:
      image_shape: (height, width, channels); for "conv" both sides even.
      latent_dim: D, the size of z and w.
      architecture: "mlp", two hidden layers each way; or "conv", one, and as many layers of stride 2 as bring the sides
        to 4 pixels, which is ours.
      size: "small", 256 units; "paper", the 1,024 of Pidhorskyi et al. (2020) for MNIST.
      dtype: of the computation; parameters and outputs are float32 whatever it is.

    Raises:
      ValueError: an unknown architecture or size, latent_dim < 1, or sides that are odd or below 8 for "conv".
    """
    if architecture not in ("mlp", "conv") or size not in WIDTHS:
        raise ValueError(f"networks are mlp or conv, small or paper; got {architecture!r} and {size!r}")
    if latent_dim < 1:
        raise ValueError(f"a code needs at least 1 latent, got latent_dim={latent_dim}")
    height, width, _ = image_shape
    halvings = 0
    if architecture == "conv":
        if min(height, width) < 8 or height % 2 or width % 2:
            raise ValueError(f"conv networks need even sides of at least 8 pixels, got {height}x{width}")
        halvings = min(burgess_halvings(image_shape), len(CHANNELS))
    return {
        "mapping": from_linen(Mapping(latent_dim, dtype), (latent_dim,)),
        "decoder": from_linen(Generator(image_shape, WIDTHS[size], halvings, dtype), (latent_dim,)),
        "encoder": from_linen(Encoder(latent_dim, WIDTHS[size], halvings, dtype), image_shape),
        "discriminator": from_linen(LinearDiscriminator(latent_dim, dtype), (latent_dim,)),
    }
