"""Pairs of images that share some of their factors: weak supervision."""

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxvae.data.source import GroundTruth, Wrapper

G = TypeVar("G", bound=GroundTruth)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["shared"])
@dataclass(frozen=True)
class Pairs(Wrapper[G]):
    """A source of pairs: {"image", "image2", "factors", "factors2", "shared" [n, K]}.

    The second image has the same value as the first of `shared` factors, chosen anew for every pair, and independent
    ones of all others, which may happen to agree (Locatello et al., 2020).
    """

    source: G
    shared: int
    """Number of factors that a pair shares, 0 to K - 1."""

    def __post_init__(self) -> None:
        factors = len(self.source.factor_names)
        if not 0 <= self.shared < factors:
            raise ValueError(f"a pair can share 0 to {factors - 1} of the {factors} factors, got {self.shared}")

    def observe(self, factors: jax.Array) -> jax.Array:
        """As in `GroundTruth`."""
        return self.source.observe(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Of the first images of the pairs."""
        return self.source.sample_factors(key, n, first)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Pairs first .. first+n-1 of the endless list that `key` names."""
        other_key, choice_key = jax.random.split(jax.random.fold_in(key, 2**32 - 1))
        factors = self.source.sample_factors(key, n, first)
        others = self.source.sample_factors(other_key, n, first)

        def choose(place: jax.Array) -> jax.Array:
            order = jax.random.permutation(jax.random.fold_in(choice_key, place), factors.shape[1])
            return order < self.shared

        shared = jax.vmap(choose)(first + jnp.arange(n))
        factors2 = jnp.where(shared, factors, others)
        return {
            "image": self.source.observe(factors),
            "image2": self.source.observe(factors2),
            "factors": factors,
            "factors2": factors2,
            "shared": shared,
        }
