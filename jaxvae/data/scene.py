"""A room with a ball: a small picture whose factors can be told apart."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.data.grid import FactorGrid


@dataclass(frozen=True)
class Scene(FactorGrid):
    """A ball in a room."""

    resolution: int = 32

    name = "scene"
    factor_names = ("wall", "floor", "size", "x")
    factor_sizes = (8, 8, 8, 16)

    def render(self, factors: jax.Array) -> jax.Array:
        """int32 [n, 4] -> float32 [n, resolution, resolution, 1], 0 to 1."""
        wall, floor, size, x = (
            factors[:, k, None, None].astype(jnp.float32) / (count - 1) for k, count in enumerate(self.factor_sizes)
        )
        pixels = (jnp.arange(self.resolution, dtype=jnp.float32) + 0.5) / self.resolution
        radius = 0.1 + 0.15 * size
        horizon, rest = 0.6, 0.8
        right = pixels[None, None, :] - (0.25 + 0.5 * x)
        down = pixels[None, :, None] - (rest - radius)
        background = jnp.where(pixels[None, :, None] < horizon, 0.1 + 0.7 * wall, 0.1 + 0.5 * floor)
        distance = jnp.sqrt(right * right + down * down)
        inside = jnp.clip((radius - distance) * self.resolution + 0.5, 0.0, 1.0)
        return (background * (1 - inside) + inside)[..., None]
