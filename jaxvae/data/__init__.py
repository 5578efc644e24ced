"""Sources of batches, with their ground-truth factors."""

from collections.abc import Callable

from jaxvae.data.grid import FactorGrid
from jaxvae.data.scene import Scene
from jaxvae.data.source import Source
from jaxvae.data.sprites import Sprites

__all__ = ["DATA", "FactorGrid", "Scene", "Source", "Sprites"]

DATA: dict[str, Callable[..., FactorGrid]] = {"scene": Scene, "sprites": Sprites}
"""Name on the command line -> constructor; `resolution` is optional everywhere."""
