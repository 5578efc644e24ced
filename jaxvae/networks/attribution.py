"""A critic of images, and a network that draws a change of them."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.layers import ConvTranspose
from jaxvae.networks.linen import from_linen

Shape = tuple[int, int, int]
NetSize = Literal["small", "paper"]
HE = nn.initializers.he_normal()
GROUPS = 4


class ConvCritic(nn.Module):
    """3x3 convolutions with ReLU, 2x2 maxima between levels, the mean of a last 1x1 convolution. No normalisation."""

    levels: tuple[tuple[int, ...], ...]
    """Channels of the convolutions of every level."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> logits [B], float32"""
        x = image
        for level, widths in enumerate(self.levels):
            x = x if level == 0 else halved(x)
            for width in widths:
                x = nn.relu(nn.Conv(width, (3, 3), kernel_init=HE, dtype=self.dtype)(x))
        return nn.Conv(1, (1, 1), kernel_init=HE, dtype=self.dtype)(x).astype(jnp.float32).mean(axis=(1, 2, 3))


class UNet(nn.Module):
    """Down by 2x2 maxima and up again, every level seen by its mirror image. The change is 0 at the start."""

    widths: tuple[int, ...]
    """Channels of the levels, a multiple of 4."""
    up: int
    """Channels that come up from the level below."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C], float32"""
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
            # Statistics in full precision, whatever the rest is computed in.
            x = nn.relu(nn.GroupNorm(GROUPS)(x.astype(jnp.float32)).astype(self.dtype))
        return x


def halved(x: jax.Array) -> jax.Array:
    """Maxima of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C]. Quicker in second derivatives than a reduced window.

    Pair by pair: the slope of a maximum over axes is divided by the number of values that equal it, which is 0 where
    a compiler has computed them twice and rounded differently.
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
    image_shape: Shape, size: NetSize = "small", dtype: DTypeLike = jnp.float32
) -> dict[str, Network]:
    """The networks of the VA-GAN: {"map": image -> change of it, "critic": image -> logit [B]}.

    Args:
      image_shape: (height, width, channels), sides divisible by 4 (small) or 16 (paper).
      size: "small", three levels of 8, 16 and 32 channels; or "paper", the two-dimensional nets of Baumgartner et al.
        (2018), with GroupNorm where their U-Net has BatchNorm.
      dtype: of the computation; parameters and outputs are float32 whatever it is.

    Raises:
      ValueError: an unknown size, or sides that are not divisible.
    """
    if size not in CRITICS:
        raise ValueError(f"networks are small or paper, got {size!r}")
    widths, up = UNETS[size]
    divisor = 2 ** (max(len(CRITICS[size]), len(widths)) - 1)
    height, width, _ = image_shape
    if height % divisor or width % divisor:
        raise ValueError(f"the {size} networks need image sides divisible by {divisor}, got {height}x{width}")
    return {
        "map": from_linen(UNet(widths, up, dtype), image_shape),
        "critic": from_linen(ConvCritic(CRITICS[size], dtype), image_shape),
    }
