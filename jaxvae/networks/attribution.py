"""A critic of images, and a network that predicts a change of an image."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.layers import ConvTranspose
from jaxvae.networks.linen import from_linen
from jaxvae.networks.shapes import picture_shape

Shape = tuple[int, ...]
NetSize = Literal["small", "paper"]
HE = nn.initializers.he_normal()
GROUPS = 4


class ConvCritic(nn.Module):
    """Critic of images: 3x3 convolutions with ReLU, 2x2 max pooling between levels, and the mean of a last 1x1
    convolution.

    It has no normalisation layers.
    """

    levels: tuple[tuple[int, ...], ...]
    """Channels of the convolutions of every level."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to logits [B], float32."""
        x = image
        for level, widths in enumerate(self.levels):
            x = x if level == 0 else halved(x)
            for width in widths:
                x = nn.relu(nn.Conv(width, (3, 3), kernel_init=HE, dtype=self.dtype)(x))
        return nn.Conv(1, (1, 1), kernel_init=HE, dtype=self.dtype)(x).astype(jnp.float32).mean(axis=(1, 2, 3))


class UNet(nn.Module):
    """U-Net with 2x2 max pooling and skip connections between equal levels. Its output is 0 at initialization."""

    widths: tuple[int, ...]
    """Channels of the levels, each a multiple of 4."""
    up: int
    """Number of channels that are upsampled from the level below."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to changes of them [B, H, W, C], float32."""
        x, kept = image, []
        for level, width in enumerate(self.widths):
            x = x if level == 0 else halved(x)
            x = self._level(x, width)
            kept.append(x)
        for width, beside in zip(self.widths[-2::-1], kept[-2::-1], strict=True):
            x = jnp.concatenate([ConvTranspose(self.up, self.dtype)(x), beside], axis=-1)
            x = self._level(x, width)
        last = nn.Conv(image.shape[-1], (3, 3), kernel_init=nn.initializers.zeros, dtype=self.dtype)
        return last(x).astype(jnp.float32)

    def _level(self, x: jax.Array, width: int) -> jax.Array:
        for _ in range(2):
            x = nn.Conv(width, (3, 3), kernel_init=HE, use_bias=False, dtype=self.dtype)(x)
            # Statistics are computed in full precision, whatever the precision of the rest.
            x = nn.relu(nn.GroupNorm(GROUPS)(x.astype(jnp.float32)).astype(self.dtype))
        return x


def halved(x: jax.Array) -> jax.Array:
    """Takes maxima of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C].

    Second derivatives of this form are faster than those of `reduce_window`. Maxima are taken pair by pair: the
    gradient of a maximum over axes is divided by the number of values that equal it, and this number can be 0 if a
    compiler computes the values twice and rounds them differently.
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    x = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(x[:, :, :, 0], x[:, :, :, 1])


CRITICS: dict[NetSize, tuple[tuple[int, ...], ...]] = {
    "small": ((8,), (16,), (32,)),
    "paper": ((16,), (32,), (64, 64), (128, 128), (256, 256, 256)),
}
UNETS: dict[NetSize, tuple[tuple[int, ...], int]] = {"small": ((8, 16, 32), 8), "paper": ((16, 32, 64, 128), 16)}


def attribution_networks(
    event_shape: Shape, size: NetSize = "small", dtype: DTypeLike = jnp.float32
) -> dict[str, Network]:
    """Builds the networks of the VA-GAN.

    Args:
      event_shape: Shape of the images (height, width, channels), with sides divisible by 4 (small) or 16 (paper).
      size: Size of the networks: "small" has three levels of 8, 16 and 32 channels; "paper" has the two-dimensional
        networks of Baumgartner et al. (2018), with GroupNorm in place of the BatchNorm in their U-Net.
      dtype: Precision of the computation. Parameters and outputs are always float32.

    Returns:
      The networks "map", from an image to a change of it, and "critic", from an image to a logit [B].

    Raises:
      ValueError: The size is unknown, or the sides are not divisible.
    """
    if size not in CRITICS:
        raise ValueError(f"networks are small or paper, got {size!r}")
    widths, up = UNETS[size]
    divisor = 2 ** (max(len(CRITICS[size]), len(widths)) - 1)
    height, width, _ = picture_shape(event_shape, "va-gan")
    if height % divisor or width % divisor:
        raise ValueError(f"the {size} networks need image sides divisible by {divisor}, got {height}x{width}")
    return {
        "map": from_linen(UNet(widths, up, dtype), event_shape),
        "critic": from_linen(ConvCritic(CRITICS[size], dtype), event_shape),
    }
