"""The grid of dSprites, rendered on the device instead of read from a file."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.data.grid import FactorGrid


@dataclass(frozen=True)
class Sprites(FactorGrid):
    """White shapes on black: 3 shapes x 6 scales x 40 orientations x 32 x 32 positions = 737,280 binary images.

    The factors and their sizes are those of dSprites (Matthey et al., 2017), and the pixels are our own. A pixel is 1
    if its centre lies inside the shape, so images can have any resolution and no file is needed. As in dSprites, a
    square looks the same after a quarter turn and an ellipse after a half turn, so orientation is not a clean factor.
    """

    resolution: int = 64

    name = "sprites"
    factor_names = ("shape", "scale", "orientation", "x", "y")
    factor_sizes = (3, 6, 40, 32, 32)

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, 5] -> float32 [n, resolution, resolution, 1], with values 0 or 1."""
        shape, scale, orientation, x, y = (factors[:, k, None, None].astype(jnp.float32) for k in range(5))
        # The image is the square [0, 1]^2; the largest shape fits into a circle of radius 1/4.
        radius = 0.25 * (0.5 + 0.1 * scale)
        angle = (2 * math.pi / 40) * orientation
        pixels = (jnp.arange(self.resolution, dtype=jnp.float32) + 0.5) / self.resolution
        right = pixels[None, None, :] - (0.25 + 0.5 / 31 * x)
        down = pixels[None, :, None] - (0.25 + 0.5 / 31 * y)
        cos, sin = jnp.cos(angle) / radius, jnp.sin(angle) / radius
        u, v = cos * right + sin * down, cos * down - sin * right
        square = jnp.maximum(jnp.abs(u), jnp.abs(v)) - math.sqrt(0.5)
        ellipse = u * u + 4 * v * v - 1
        # (p^2 + q^2 - 1)^3 = p^2 q^3 is a heart that reaches 1.25 from its middle; q points up, rows go down.
        p, q = 1.32 * u, 0.15 - 1.32 * v
        ring = p * p + q * q - 1
        heart = ring * ring * ring - p * p * q * q * q
        outside = jnp.where(shape == 0, square, jnp.where(shape == 1, ellipse, heart))
        return (outside <= 0).astype(jnp.float32)[..., None]
