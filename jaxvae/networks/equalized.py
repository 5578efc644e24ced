"""Layers with an equalised learning rate (Karras et al., 2018), and the networks of the ALAE, which consist of them.

A layer stores weights of unit variance and multiplies them by sqrt(2 / inputs) when it is applied, so that all layers
learn at the same speed under Adam. ALAE's code stores scaled weights and scales Adam's steps instead. The two are
equivalent if Adam's epsilon is 0.
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
from jaxvae.networks.shapes import picture_shape

Shape = tuple[int, ...]
WIDTHS = {"small": 256, "paper": 1024}
CHANNELS = (32, 64, 64, 64, 64)
SLOW = 0.1
"""Learning rate of the mapping and the discriminator, relative to the other networks."""


def equalized(module: nn.Module, shape: Sequence[int], inputs: int, rate: float) -> tuple[jax.Array, jax.Array]:
    """Creates the weights and biases of a layer, ready to be applied. The last axis of the weights is that of the
    outputs.

    Weights are initialized from N(0, 2 / inputs), whatever `rate` is. Steps of weights and biases are scaled by `rate`.
    """
    weights = module.param("kernel", nn.initializers.normal(1 / rate), tuple(shape))
    bias = module.param("bias", nn.initializers.zeros_init(), (shape[-1],))
    dtype = module.dtype
    return (rate * math.sqrt(2 / inputs) * weights).astype(dtype), (rate * bias).astype(dtype)


class EqualizedDense(nn.Module):
    """Dense layer with an equalised learning rate."""

    features: int
    rate: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, I] to [B, features]."""
        weights, bias = equalized(self, (x.shape[-1], self.features), x.shape[-1], self.rate)
        return x.astype(self.dtype) @ weights + bias[None]


class EqualizedConv(nn.Module):
    """Convolution, or with `larger` transposed convolution, with a 4x4 kernel, stride 2 and an equalised learning
    rate.
    """

    features: int
    larger: bool = False
    rate: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H/2, W/2, features], or with `larger` to [B, 2H, 2W, features]."""
        channels = x.shape[-1]
        # 4 of the 16 weights of a transposed convolution with stride 2 contribute to each pixel.
        inputs = (4 if self.larger else 16) * channels
        weights, bias = equalized(self, (4, 4, channels, self.features), inputs, self.rate)
        return (double if self.larger else halve)(x.astype(self.dtype), weights) + bias[None, None, None]


class Mapping(nn.Module):
    """Mapping network F: a pixel norm, then six layers at the reduced learning rate, each followed by leaky ReLU."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps latents z [B, D] to codes w [B, D], float32."""
        x = pixel_norm(z)
        for _ in range(6):
            x = nn.leaky_relu(EqualizedDense(self.latent_dim, SLOW, self.dtype)(x), SLOPE)
        return x.astype(jnp.float32)


class Generator(nn.Module):
    """Generator G: dense layers, then transposed convolutions if there are any, with a linear output."""

    event_shape: Shape
    width: int
    halvings: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, w: jax.Array) -> jax.Array:
        """Maps codes w [B, D] to examples [B, *event_shape], float32."""
        x = nn.leaky_relu(EqualizedDense(self.width, dtype=self.dtype)(w), SLOPE)
        if not self.halvings:
            x = nn.leaky_relu(EqualizedDense(self.width, dtype=self.dtype)(x), SLOPE)
            x = EqualizedDense(math.prod(self.event_shape), dtype=self.dtype)(x)
            return x.reshape(-1, *self.event_shape).astype(jnp.float32)
        height, width, channels = self.event_shape
        first = (height >> self.halvings, width >> self.halvings, CHANNELS[self.halvings - 1])
        x = nn.leaky_relu(EqualizedDense(math.prod(first), dtype=self.dtype)(x), SLOPE).reshape(-1, *first)
        for features in CHANNELS[self.halvings - 2 :: -1] if self.halvings > 1 else ():
            x = nn.leaky_relu(EqualizedConv(features, True, dtype=self.dtype)(x), SLOPE)
        return EqualizedConv(channels, True, dtype=self.dtype)(x).astype(jnp.float32)


class Encoder(nn.Module):
    """Encoder E: the generator mirrored. Its last layer has a leaky ReLU as well, so that its range is that of the
    mapping.
    """

    latent_dim: int
    width: int
    halvings: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to codes w [B, D], float32."""
        x = image
        for features in CHANNELS[: self.halvings]:
            x = nn.leaky_relu(EqualizedConv(features, dtype=self.dtype)(x), SLOPE)
        x = x.reshape(x.shape[0], -1)
        for width in (self.width, *[self.width] * (not self.halvings), self.latent_dim):
            x = nn.leaky_relu(EqualizedDense(width, dtype=self.dtype)(x), SLOPE)
        return x.astype(jnp.float32)


class LinearDiscriminator(nn.Module):
    """Discriminator D: three layers at the reduced learning rate without nonlinearities, which form one linear map."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, w: jax.Array) -> jax.Array:
        """Maps codes w [B, D] to logits [B], float32."""
        x = w
        for features in (self.latent_dim, self.latent_dim, 1):
            x = EqualizedDense(features, SLOW, self.dtype)(x)
        return x[:, 0].astype(jnp.float32)


def pixel_norm(z: jax.Array) -> jax.Array:
    """Computes z / sqrt( mean of squares + 1e-8 ), with the mean over the last axis."""
    return z * jax.lax.rsqrt((z**2).mean(axis=-1, keepdims=True) + 1e-8)


def latent_adversarial_networks(
    event_shape: Shape,
    latent_dim: int = 50,
    *,
    architecture: Literal["mlp", "conv"] = "mlp",
    size: Literal["small", "paper"] = "small",
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """Builds the networks of the ALAE.

    Args:
      event_shape: Shape of an example; "conv" needs pictures (height, width, channels) with both sides even.
      latent_dim: Size D of z and w.
      architecture: Kind of the networks: "mlp" has two hidden layers each way; "conv" has one, and as many layers of
        stride 2 as reduce the sides to 4 pixels. The "conv" architecture is ours.
      size: Size of the networks: "small" has 256 units; "paper" has the 1,024 of Pidhorskyi et al. (2020) for MNIST.
      dtype: Precision of the computation. Parameters and outputs are always float32.

    Returns:
      The networks "mapping", z -> w; "decoder", w -> image; "encoder", image -> w; and "discriminator", w -> logit [B].

    Raises:
      ValueError: The architecture or size is unknown, latent_dim < 1, or the sides are odd or below 8 for "conv".
    """
    if architecture not in ("mlp", "conv") or size not in WIDTHS:
        raise ValueError(f"networks are mlp or conv, small or paper; got {architecture!r} and {size!r}")
    if latent_dim < 1:
        raise ValueError(f"a code needs at least 1 latent, got latent_dim={latent_dim}")
    halvings = 0
    if architecture == "conv":
        height, width, _ = picture_shape(event_shape, "network 'conv'")
        if min(height, width) < 8 or height % 2 or width % 2:
            raise ValueError(f"conv networks need even sides of at least 8 pixels, got {height}x{width}")
        halvings = min(burgess_halvings(event_shape), len(CHANNELS))
    return {
        "mapping": from_linen(Mapping(latent_dim, dtype), (latent_dim,)),
        "decoder": from_linen(Generator(event_shape, WIDTHS[size], halvings, dtype), (latent_dim,)),
        "encoder": from_linen(Encoder(latent_dim, WIDTHS[size], halvings, dtype), event_shape),
        "discriminator": from_linen(LinearDiscriminator(latent_dim, dtype), (latent_dim,)),
    }
