"""Three squares on a grid, one for each colour channel, for which distances between pixels tell nothing."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.data.grid import FactorGrid

PLACES = 8
"""Number of columns, and of rows."""


@dataclass(frozen=True)
class XYSquares(FactorGrid):
    """A square in each colour channel, at one of 8 x 8 places that do not overlap (Michlo, James & Klein, 2021).

    The squared distance of two images depends only on how many of their squares are at different places, and not on how
    far these places are apart. Losses on pixels therefore do not order the places, and reconstructions are of no help
    for disentangling x and y of a square.
    """

    resolution: int = 64

    name = "xy-squares"
    factor_names = ("x_red", "y_red", "x_green", "y_green", "x_blue", "y_blue")
    factor_sizes = (PLACES,) * 6
    channels = 3

    @partial(jax.jit, static_argnums=0)
    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, 6] -> float32 [n, resolution, resolution, 3], with values 0 or 1."""
        place = jnp.arange(self.resolution, dtype=jnp.int32) // (self.resolution // PLACES)
        x, y = factors[:, None, 0::2], factors[:, None, 1::2]
        across, down = (place[None, :, None] == each for each in (x, y))
        return (down[:, :, None, :] & across[:, None, :, :]).astype(jnp.float32)
