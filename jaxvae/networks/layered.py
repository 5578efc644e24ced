"""Networks that decompose a frame into a moving foreground and a static background, and render a frame from both."""

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
from jaxvae.networks.shapes import picture_shape

Shape = tuple[int, ...]
Motion = Literal["translation", "affine"]
WIDTHS = {"small": (16, 8), "paper": (64, 64)}
"""Channels of the hidden layers, and of the maps."""
MOST_TURN = 0.5
"""Largest difference of each entry of a motion's matrix from the identity."""
RARE = 3.0
"""Negative of the mask's logit where the foreground is empty; there, nothing covers the background."""


class ForegroundMap(nn.Module):
    """Foreground map at full resolution, so that a motion by whole pixels moves it exactly.

    It has no normalisation layers, so that empty regions stay empty.
    """

    width: int
    channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to foreground maps [B, H, W, channels], float32."""
        x = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(image), SLOPE)
        x = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x), SLOPE)
        x = nn.Conv(self.channels, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)
        return nn.relu(x)


class BackgroundMap(nn.Module):
    """Background map at half the resolution, from a U-Net with three halvings.

    Its receptive field is large enough to predict hidden regions from their surroundings.
    """

    width: int
    channels: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps images [B, H, W, C] to background maps [B, H/2, W/2, channels], float32."""
        half = nn.leaky_relu(Conv(self.width, 4, self.dtype)(image), SLOPE)
        quarter = nn.leaky_relu(Conv(2 * self.width, 4, self.dtype)(half), SLOPE)
        x = nn.leaky_relu(Conv(2 * self.width, 4, self.dtype)(quarter), SLOPE)
        for shortcut in (quarter, half):
            x = nn.leaky_relu(ConvTranspose(shortcut.shape[-1], self.dtype)(x), SLOPE)
            x = jnp.concatenate([x, shortcut], axis=-1)
        return nn.Conv(self.channels, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(x).astype(jnp.float32)


class MotionNetwork(nn.Module):
    """Predicts the motion between two frames. At initialization, it predicts no motion."""

    kind: Motion
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        """Maps two frames [B, H, W, C] to affine motions [B, 2, 3], float32."""
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
    """Renders both maps to pixels, and blends them with a mask of the foreground over the background.

    The foreground's layers have no biases, so that empty regions stay empty.
    """

    channels: int
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, foreground: jax.Array, background: jax.Array) -> jax.Array:
        """Maps foreground [B, H, W, c] and background [B, H/2, W/2, c] to images [B, H, W, C] in [0, 1], float32."""
        front = nn.leaky_relu(self._conv(self.width)(foreground), SLOPE)
        front = self._conv(self.channels + 1)(front).astype(jnp.float32)
        back = nn.leaky_relu(nn.Conv(self.width, (3, 3), kernel_init=GLOROT, dtype=self.dtype)(background), SLOPE)
        back = nn.sigmoid(ConvTranspose(self.channels, self.dtype)(back).astype(jnp.float32))
        mask = nn.sigmoid(front[..., -1:] - RARE)
        return mask * nn.sigmoid(front[..., :-1]) + (1 - mask) * back

    def _conv(self, outputs: int) -> nn.Conv:
        return nn.Conv(outputs, (3, 3), kernel_init=GLOROT, use_bias=False, dtype=self.dtype)


def layered_networks(
    event_shape: Shape,
    *,
    motion: Motion = "translation",
    size: Literal["small", "paper"] = "small",
    dtype: DTypeLike = jnp.float32,
) -> dict[str, Network]:
    """Builds the networks of equivariant rendering.

    Args:
      event_shape: Shape of the images (height, width, channels), with sides divisible by 8.
      motion: Motion of the foreground between two frames: a translation, or any affine motion near it.
      size: Size of the networks: "small" has maps of 8 channels; "paper" is a larger version with maps of 64 channels.
        The architecture is ours, as the paper's could not be read.
      dtype: Precision of the computation. Parameters and outputs are always float32.

    Returns:
      The networks "foreground", frame -> map [B, H, W, c]; "background", frame -> map [B, H/2, W/2, c]; "motion", two
      frames -> [B, 2, 3], see `jaxvae.losses.affine_warp`; and "renderer", the two maps -> frame.

    Raises:
      ValueError: The motion or size is unknown, or the sides are not divisible.
    """
    height, width, channels = picture_shape(event_shape, "equivariant-rendering")
    if motion not in ("translation", "affine") or size not in WIDTHS:
        raise ValueError(f"motions are translation or affine, sizes small or paper; got {motion!r} and {size!r}")
    if math.gcd(height, width) % 8:
        raise ValueError(f"layered networks need image sides divisible by 8, got {height}x{width}")
    hidden, c = WIDTHS[size]
    return {
        "foreground": from_linen(ForegroundMap(hidden, c, dtype), event_shape),
        "background": from_linen(BackgroundMap(hidden, c, dtype), event_shape),
        "motion": from_linen(MotionNetwork(motion, dtype), event_shape, event_shape),
        "renderer": from_linen(Renderer(channels, hidden, dtype), (height, width, c), (height // 2, width // 2, c)),
    }
