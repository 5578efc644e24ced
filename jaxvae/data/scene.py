"""Pictures for a first run, with four factors that a small model disentangles in minutes."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.data.grid import FactorGrid

NIGHT, DAY = (0.05, 0.05, 0.25), (0.6, 0.8, 0.95)
SHADE, LIGHT = (0.1, 0.2, 0.05), (0.7, 0.8, 0.3)
YELLOW, RED = (1.0, 0.9, 0.4), (0.7, 0.2, 0.15)


@dataclass(frozen=True)
class Scene(FactorGrid):
    """A landscape: brightness of the sky, brightness of the ground, height of the sun, height of a tower.

    The data are easy on purpose, so that a first model is ready in minutes. Every factor changes a part of the picture
    that no other factor changes, by an amount of its own, and none of the factors is periodic. Objectives with a
    Gaussian code identify factors by their unequal strength; they mix factors of equal strength, such as the x and y of
    a sprite. A score on these data says nothing about harder data; use `sprites` for that.
    """

    resolution: int = 32

    name = "scene"
    factor_names = ("sky", "ground", "sun", "tower")
    factor_sizes = (8, 8, 8, 8)
    channels = 3

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, 4] -> float32 [n, resolution, resolution, 3] in [0, 1]."""
        sky, ground, sun, tower = (
            factors[:, k, None, None, None].astype(jnp.float32) / (values - 1)
            for k, values in enumerate(self.factor_sizes)
        )
        # The image is the square [0, 1]^2, with the origin in the upper left.
        pixels = (jnp.arange(self.resolution, dtype=jnp.float32) + 0.5) / self.resolution
        right, down = pixels[None, None, :, None], pixels[None, :, None, None]
        image = self._paint(
            _mix(_colour(NIGHT), _colour(DAY), sky), _mix(_colour(SHADE), _colour(LIGHT), ground), down - 0.65
        )
        to_sun = jnp.sqrt((right - 0.3) ** 2 + (down - _mix(0.48, 0.17, sun)) ** 2)
        image = self._paint(image, _colour(YELLOW), 0.11 - to_sun)
        beside_walls = jnp.minimum(right - 0.58, 0.86 - right)
        below_top = jnp.minimum(down - _mix(0.6, 0.15, tower), 0.8 - down)
        return self._paint(image, _colour(RED), jnp.minimum(beside_walls, below_top))

    def _paint(self, image: jax.Array, colour: jax.Array, depth: jax.Array) -> jax.Array:
        """Paints `colour` over `image` where `depth` > 0. The edge, where depth is 0, is blurred over one pixel."""
        return _mix(image, colour, jnp.clip(depth * self.resolution + 0.5, 0.0, 1.0))


def _colour(rgb: Sequence[float]) -> jax.Array:
    return jnp.array(rgb, jnp.float32)[None, None, None, :]


def _mix(start: jax.Array | float, end: jax.Array | float, share: jax.Array) -> jax.Array:
    return start + (end - start) * share
