"""Networks that give features of unit length: points on a sphere, where only directions tell images apart."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.linen import from_linen

Kind = Literal["mlp", "resnet"]
GROUPS = 32
"""Of channels, in every norm."""
STAGES = (64, 128, 256, 512)
"""Channels, with two blocks each."""


class MLPFeatures(nn.Module):
    """Dense layers of 512 with ReLU."""

    features: int
    widths: tuple[int, ...] = (512, 512)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> unit vectors [B, D], float32"""
        x = image.reshape(image.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width, kernel_init=GLOROT, dtype=self.dtype)(x))
        return _on_the_sphere(nn.Dense(self.features, kernel_init=GLOROT, dtype=self.dtype)(x))


class Block(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution itself where the shape changes (He et al., 2016)."""

    channels: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H / stride, W / stride, channels]"""
        y = nn.relu(_normed(_convolution(self.channels, 3, self.stride, self.dtype)(x), self.dtype))
        y = _normed(_convolution(self.channels, 3, 1, self.dtype)(y), self.dtype)
        if x.shape != y.shape:
            x = _normed(_convolution(self.channels, 1, self.stride, self.dtype)(x), self.dtype)
        return nn.relu(x + y)


class ResNetFeatures(nn.Module):
    """ResNet-18 in its form for small images, and a head of two dense layers (Yu et al., 2020; from their code).

    A stem of 3x3 without pooling; group norm of 32 groups where they have batch norm, in the head as well.
    """

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> unit vectors [B, D], float32"""
        x = nn.relu(_normed(_convolution(STAGES[0], 3, 1, self.dtype)(image), self.dtype))
        for stage, channels in enumerate(STAGES):
            for stride in (1 if stage == 0 else 2, 1):
                x = Block(channels, stride, self.dtype)(x)
        x = x.mean(axis=(1, 2))
        x = nn.Dense(STAGES[-1], use_bias=False, kernel_init=GLOROT, dtype=self.dtype)(x)
        x = nn.relu(_normed(x, self.dtype))
        return _on_the_sphere(nn.Dense(self.features, kernel_init=GLOROT, dtype=self.dtype)(x))


def feature_network(
    image_shape: tuple[int, int, int], features: int, kind: Kind = "mlp", dtype: DTypeLike = jnp.float32
) -> Network:
    """Images [B, H, W, C] -> features of unit length [B, features]: the "encoder" of MCR^2.

    Args:
      image_shape: (height, width, channels), of any size.
      features: D, number of dimensions.
      kind: "mlp", dense layers of 512, 512; "resnet", the ResNet-18 of the paper's CIFAR experiments.
      dtype: of the computation; parameters and features are float32 whatever it is.

    Raises:
      ValueError: an unknown kind, or no dimensions.
    """
    if features < 1:
        raise ValueError(f"features need at least 1 dimension, got features={features}")
    match kind:
        case "mlp":
            module: nn.Module = MLPFeatures(features, dtype=dtype)
        case "resnet":
            module = ResNetFeatures(features, dtype)
        case _:
            raise ValueError(f"unknown kind of network {kind!r}; there are mlp, resnet")
    return from_linen(module, image_shape)


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
    """x / |x|, float32; 0 for x = 0, with a gradient of 0."""
    x = x.astype(jnp.float32)
    squared = (x**2).sum(axis=-1, keepdims=True)
    has_direction = squared > 1e-24
    return jnp.where(has_direction, x / jnp.sqrt(jnp.where(has_direction, squared, 1)), 0)
