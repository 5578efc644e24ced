"""Networks that take a frame apart into what moves and what stays, and put it together again."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Network
from jaxvae.networks.discriminator import SLOPE
from jaxvae.networks.heads import GLOROT
from jaxvae.networks.layers import Conv, ConvTranspose
from jaxvae.networks.linen import from_linen

Shape = tuple[int, int, int]
Motion = Literal["translation", "affine"]
WIDTHS = {"small": (16, 8), "paper": (64, 64)}
"""Channels of the hidden layers, and of the maps."""
MOST_TURN = 0.5
"""Bound on how far the matrix of a motion is from the identity, in each entry."""
RARE = 3.0
"""How far the mask's logit is below 0 where the foreground is empty: there, nothing covers the background."""


class ForegroundMap(nn.Module):
    """Every pixel, so that a motion by whole pixels moves it exactly; no normalisation, so that empty stays empty."""

    width: int
    channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, channels], float32"""
        x = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(image), SLOPE)
        x = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x), SLOPE)
        x = nn.Conv(self.channels, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)
        return nn.relu(x)


class BackgroundMap(nn.Module):
    """Half the sides, down to an eighth and back, with shortcuts: what is hidden can be guessed from what is around."""

    width: int
    channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H/2, W/2, channels], float32"""
        half = nn.leaky_relu(Conv(self.width, 4, self.dtype)(image), SLOPE)
        quarter = nn.leaky_relu(Conv(2 * self.width, 4, self.dtype)(half), SLOPE)
        x = nn.leaky_relu(Conv(2 * self.width, 4, self.dtype)(quarter), SLOPE)
        for shortcut in (quarter, half):
            x = nn.leaky_relu(ConvTranspose(shortcut.shape[-1], self.dtype)(x), SLOPE)
            x = jnp.concatenate([x, shortcut], axis=-1)
        return nn.Conv(self.channels, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)


class MotionNetwork(nn.Module):
    """Both frames together, down to a motion that starts as none."""

    kind: Motion
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """[B, H, W, C] twice -> [B, 2, 3], float32"""
        x = jnp.concatenate([second - first, first + second - 1], axis=-1)
        for width in (16, 32, 32):
            x = nn.leaky_relu(Conv(width, 4, self.dtype)(x), SLOPE)
        x = nn.leaky_relu(nn.Dense(64, kernel_init=GLOROT, dtype=self.dtype)(x.reshape(x.shape[0], -1)), SLOPE)
        numbers = 2 if self.kind == "translation" else 6
        x = nn.tanh(nn.Dense(numbers, kernel_init=nn.initializers.zeros, dtype=self.dtype)(x).astype(jnp.float32))
        shift = x[:, -2:, None]
        turn = jnp.zeros((len(x), 2, 2)) if self.kind == "translation" else MOST_TURN * x[:, :4].reshape(-1, 2, 2)
        return jnp.concatenate([jnp.eye(2)[None] + turn, shift], axis=-1)


class Renderer(nn.Module):
    """Each map to pixels, and a mask of the foreground over the background. No biases in front: empty stays empty."""

    channels: int
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, foreground: jax.Array, background: jax.Array) -> jax.Array:
        """[B, H, W, c], [B, H/2, W/2, c] -> [B, H, W, C] in [0, 1], float32"""
        front = nn.leaky_relu(self._conv(self.width)(foreground), SLOPE)
        front = self._conv(self.channels + 1)(front).astype(jnp.float32)
        back = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(background), SLOPE)
        back = nn.sigmoid(ConvTranspose(self.channels, self.dtype)(back).astype(jnp.float32))
        mask = nn.sigmoid(front[..., -1:] - RARE)
        return mask * nn.sigmoid(front[..., :-1]) + (1 - mask) * back

    def _conv(self, outputs: int) -> nn.Conv:
        return nn.Conv(outputs, (3, 3), kernel_init=GLOROT, use_bias=False, dtype=self.dtype)


def layered_networks(
    image_shape: Shape,
    *,
    motion: Motion = "translation",
    size: Literal["small", "paper"] = "small",
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """The networks of equivariant rendering.

    Args:
      image_shape: (height, width, channels), sides divisible by 8.
      motion: what the foreground can do between two frames: a shift, or any affine motion near it.
      size: "small", maps of 8 channels; "paper", of 64, a larger version: the paper's networks could not be read.
      dtype: of the computation; parameters and outputs are float32 whatever it is.

    Returns:
      "foreground": frame -> map [B, H, W, c]; "background": frame -> map [B, H/2, W/2, c]; "motion": two frames ->
      [B, 2, 3], see `jaxvae.losses.affine_warp`; "renderer": the two maps -> frame.

    Raises:
      ValueError: an unknown motion or size, or sides that are not divisible.
    """
    height, width, channels = image_shape
    if motion not in ("translation", "affine") or size not in WIDTHS:
        raise ValueError(f"motions are translation or affine, sizes small or paper; got {motion!r} and {size!r}")
    if math.gcd(height, width) % 8:
        raise ValueError(f"layered networks need image sides divisible by 8, got {height}x{width}")
    hidden, c = WIDTHS[size]
    return {
        "foreground": from_linen(ForegroundMap(hidden, c, dtype), image_shape),
        "background": from_linen(BackgroundMap(hidden, c, dtype), image_shape),
        "motion": from_linen(MotionNetwork(motion, dtype), image_shape, image_shape),
        "renderer": from_linen(Renderer(channels, hidden, dtype), (height, width, c), (height // 2, width // 2, c)),
    }
