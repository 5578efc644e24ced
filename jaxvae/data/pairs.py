"""Weak supervision: pairs and groups of images that share some of their factors."""

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxvae.data.source import GroundTruth, Wrapper
from jaxvae.data.subsets import combined
from jaxvae.streams import Stream

G = TypeVar("G", bound=GroundTruth)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["shared"])
@dataclass(frozen=True)
class Pairs(Wrapper[G]):
    """A source of pairs: {"x", "x2", "factors", "factors2", "shared" [n, K]}.

    The second image has the same values as the first of `shared` factors, which are chosen independently for every
    pair. The values of all other factors are independent and may agree by chance (Locatello et al., 2020).
    """

    source: G
    shared: int
    """Number of factors that a pair shares, 0 to K - 1."""

    def __post_init__(self) -> None:
        factors = len(self.source.factor_names)
        if not 0 <= self.shared < factors:
            raise ValueError(f"a pair can share 0 to {factors - 1} of the {factors} factors, got {self.shared}")

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        return self.source.render(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples the factors of the first images of the pairs."""
        return self.source.sample_factors(key, n, first)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns pairs first .. first+n-1 of the infinite sequence that `key` determines."""
        other_key, choice_key = jax.random.split(jax.random.fold_in(key, Stream.PAIR))
        factors = self.source.sample_factors(key, n, first)

        def choose(place: jax.Array) -> jax.Array:
            order = jax.random.permutation(jax.random.fold_in(choice_key, place), factors.shape[1])
            return order < self.shared

        def partner(other_key: jax.Array) -> jax.Array:
            return jnp.where(shared, factors, self.source.sample_factors(other_key, n, first))

        shared = jax.vmap(choose)(first + jnp.arange(n))
        factors2 = combined(self.source, partner, other_key, factors)
        return {
            "x": self.source.render(factors),
            "x2": self.source.render(factors2),
            "factors": factors,
            "factors2": factors2,
            "shared": shared,
        }


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["shared", "members"])
@dataclass(frozen=True)
class Groups(Wrapper[G]):
    """A source of groups: {"x", "factors", "group" int32 [n]}, with the members of a group one after another.

    Members have the same values of the factors named in `shared`, and independent values of all others (Bouchacourt et
    al., 2018). A batch whose size is not a multiple of `members` ends inside a group.
    """

    source: G
    shared: tuple[str, ...]
    """Names of the factors that the members of a group share."""
    members: int
    """Number of images in a group, at least 2."""

    def __post_init__(self) -> None:
        names = self.source.factor_names
        if unknown := [name for name in self.shared if name not in names]:
            raise ValueError(f"{self.source.name} has no factor {unknown[0]!r}; there are {', '.join(names)}")
        if not self.shared or self.members < 2:
            raise ValueError(
                f"a group shares at least one factor and has at least 2 members, got {self.shared} and {self.members}"
            )

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        return self.source.render(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples factors, as in `GroundTruth`, with shared values within a group."""
        group_key = jax.random.fold_in(key, Stream.GROUP)
        common = jax.vmap(lambda group: self.source.sample_factors(group_key, 1, group)[0])(self._group(n, first))
        shared = jnp.array([name in self.shared for name in self.factor_names])

        def member(own_key: jax.Array) -> jax.Array:
            return jnp.where(shared, common, self.source.sample_factors(own_key, n, first))

        return combined(self.source, member, key, common)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns members first .. first+n-1 of the infinite sequence of groups that `key` determines."""
        factors = self.sample_factors(key, n, first)
        return {"x": self.render(factors), "factors": factors, "group": self._group(n, first)}

    def _group(self, n: int, first: int | jax.Array) -> jax.Array:
        return (first + jnp.arange(n, dtype=jnp.int32)) // self.members
