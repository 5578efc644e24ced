"""A full grid of independent factors, rendered instead of stored."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxvae.data.source import UNSHARDED, Shard, independent_batch

LARGEST = 4096


@dataclass(frozen=True)
class FactorGrid:
    """A `Source` whose images are rendered from factors. A subclass names the factors and implements `render`."""

    resolution: int

    name: ClassVar[str]
    factor_names: ClassVar[tuple[str, ...]]
    factor_sizes: ClassVar[tuple[int, ...]]
    channels: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        jax.tree_util.register_static(cls)

    def __post_init__(self) -> None:
        if self.resolution > LARGEST:
            raise ValueError(f"the image size must be at most {LARGEST}, got {self.resolution}")
        if self.resolution < 16 or self.resolution % 16:
            raise ValueError(
                f"the image size must be a positive multiple of 16, got {self.resolution}: "
                f"the nearest is {max(16, round(self.resolution / 16) * 16)}"
            )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of the images (height, width, channels)."""
        return (self.resolution, self.resolution, self.channels)

    @property
    def size(self) -> int:
        """Number of points of the grid."""
        return math.prod(self.factor_sizes)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Returns rows first .. first+n-1 of the infinite sequence of random factors that `key` determines: int32 [n,
        K].
        """
        sizes = jnp.array(self.factor_sizes, jnp.int32)

        def row(index: jax.Array) -> jax.Array:
            return jax.random.randint(jax.random.fold_in(key, index), sizes.shape, 0, sizes, jnp.int32)

        return jax.vmap(row)(first + jnp.arange(n))

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, K] -> images float32 [n, H, W, C] in [0, 1]."""
        raise NotImplementedError

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the points of the grid with these indices, as in `Source`. The last factor varies fastest."""
        factors = jnp.stack(jnp.unravel_index(index, self.factor_sizes), axis=-1).astype(jnp.int32)
        return {"x": self.render(factors), "factors": factors}

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples {"x": [n, H, W, C], "factors": [n, K]}, with the rows of `sample_factors`."""
        factors = self.sample_factors(key, n, first)
        return {"x": self.render(factors), "factors": factors}

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns independent random examples for a step, as in `Source`."""
        return independent_batch(self, key, step, n, part)
