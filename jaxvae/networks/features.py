"""Networks whose outputs are features of unit length: points on a sphere, where images differ only in direction."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.linen import from_linen
from jaxvae.networks.shapes import picture_shape

Kind = Literal["mlp", "resnet"]
GROUPS = 32
"""Number of groups of channels in every group norm."""
STAGES = (64, 128, 256, 512)
"""Channels of the stages, each with two blocks."""


class MLPFeatures(nn.Module):
    """Dense layers of 512 units with ReLU."""

    features: int
    widths: tuple[int, ...] = (512, 512)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to unit vectors [B, D], float32."""
        x = image.reshape(image.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x))
        return _on_the_sphere(nn.Dense(self.features, kernel_init=GLOROT, dtype=self.dtype)(x))


class Block(nn.Module):
    """Residual block of two convolutions, with a convolution on the shortcut if the shape changes (He et al., 2016)."""

    channels: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / stride, W / stride, channels]."""
        y = nn.relu(_normed(_convolution(self.channels, 3, self.stride, self.dtype)(x), self.dtype))
        y = _normed(_convolution(self.channels, 3, 1, self.dtype)(y), self.dtype)
        if x.shape != y.shape:
            x = _normed(_convolution(self.channels, 1, self.stride, self.dtype)(x), self.dtype)
        return nn.relu(x + y)


class ResNetFeatures(nn.Module):
    """ResNet-18 for small images, with a head of two dense layers (Yu et al., 2020; from their code).

    The stem is a 3x3 convolution without pooling. Group norm with 32 groups takes the place of batch norm, in the head
    as well.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to unit vectors [B, D], float32."""
        x = nn.relu(_normed(_convolution(STAGES[0], 3, 1, self.dtype)(image), self.dtype))
        for stage, channels in enumerate(STAGES):
            for stride in (1 if stage == 0 else 2, 1):
                x = Block(channels, stride, self.dtype)(x)
        x = x.mean(axis=(1, 2))
        x = nn.Dense(STAGES[-1], use_bias=False, kernel_init=GLOROT, dtype=self.dtype)(x)
        x = nn.relu(_normed(x, self.dtype))
        return _on_the_sphere(nn.Dense(self.features, kernel_init=GLOROT, dtype=self.dtype)(x))


def feature_network(
    event_shape: tuple[int, ...], features: int, kind: Kind = "mlp", dtype: DTypeLike = jnp.float32
) -> Network:
    """Builds a network from examples [B, ...] to features of unit length [B, features]: the "encoder" of MCR^2.

    Args:
      event_shape: Shape of an example; "resnet" needs pictures (height, width, channels).
      features: Number of feature dimensions D.
      kind: Kind of the network: "mlp" has two dense layers of 512; "resnet" is the ResNet-18 of the paper's CIFAR
        experiments.
      dtype: Precision of the computation. Parameters and features are always float32.

    Raises:
      ValueError: The kind is unknown, or the number of dimensions is below 1.
    """
    if features < 1:
        raise ValueError(f"features need at least 1 dimension, got features={features}")
    match kind:
        case "mlp":
            module: nn.Module = MLPFeatures(features, dtype=dtype)
        case "resnet":
            picture_shape(event_shape, "network 'resnet'")
            module = ResNetFeatures(features, dtype)
        case _:
            raise ValueError(f"unknown kind of network {kind!r}; there are mlp, resnet")
    return from_linen(module, event_shape)


def _convolution(channels: int, kernel: int, stride: int, dtype: DTypeLike) -> nn.Conv:
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=GLOROT,
        dtype=dtype,
    )


def _normed(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    return nn.GroupNorm(GROUPS)(x.astype(jnp.float32)).astype(dtype)


def _on_the_sphere(x: jax.Array) -> jax.Array:
    """Computes x / |x| in float32. The result is 0 with a gradient of 0 for x = 0."""
    x = x.astype(jnp.float32)
    squared = (x**2).sum(axis=-1, keepdims=True)
    has_direction = squared > 1e-24
    return jnp.where(has_direction, x / jnp.sqrt(jnp.where(has_direction, squared, 1)), 0)
