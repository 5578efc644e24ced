"""Constraints on one factor: images that share its value, are ordered or compared by it, or form analogies."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from jaxvae.data.source import GroundTruth, Wrapper
from jaxvae.data.subsets import combined
from jaxvae.streams import Stream

G = TypeVar("G", bound=GroundTruth)
Also: TypeAlias = Callable[[jax.Array], jax.Array] | None
Constraint: TypeAlias = Literal["groups", "distances", "ranks", "analogies"]
MEMBERS = {"groups": 2, "distances": 3, "ranks": 2, "analogies": 4}
"""Number of images of a constraint."""


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["factor", "constraint"])
@dataclass(frozen=True)
class Constraints(Wrapper[G]):
    """A source of images {"x", "x2", ..., "factors"} with a known relation in one factor, and independent otherwise:

        groups      x and x2 share the factor's value
        distances   x2 is nearer to x than x3 is, in the factor's index, where "known" [n] is true; otherwise, both are
                    equally far
        ranks       "order" [n, 1] is the sign of the difference of the factor of x and of x2
        analogies   x2 is x with another value of the factor, x3 shares the factor's value of x, and x4 is x3 with the
                    factor's value of x2: x is to x2 as x3 is to x4

    In part of a grid, all images are in the part. Where no analogy is found in it, x2 is x, or x3 is x and x4 is x2.

    "values" [n, 1] holds the factor of x, as its index over its number of values minus 1.
    """

    source: G
    factor: str
    """Name of the factor that the constraint is about."""
    constraint: Constraint

    def __post_init__(self) -> None:
        if self.factor not in self.source.factor_names:
            names = ", ".join(self.source.factor_names)
            raise ValueError(f"{self.source.name} has no factor {self.factor!r}; there are {names}")
        if self.constraint not in MEMBERS:
            raise ValueError(f"unknown constraint {self.constraint!r}; there are {', '.join(MEMBERS)}")
        if self.factor_sizes[self._place] < 2:
            raise ValueError(f"the factor {self.factor!r} has a single value: choose another one")

    @property
    def _place(self) -> int:
        return self.source.factor_names.index(self.factor)

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        return self.source.render(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples the factors of the first images of the constraints."""
        return self.source.sample_factors(key, n, first)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns constraints first .. first+n-1 of the infinite sequence that `key` determines."""
        k, factors = self._place, self.source.sample_factors(key, n, first)
        keys = jax.random.split(jax.random.fold_in(key, Stream.CONSTRAINT), 3)
        size = self.factor_sizes[k]

        def independent(key: jax.Array) -> jax.Array:
            return self.source.sample_factors(key, n, first)

        def with_value(key: jax.Array, value: jax.Array, anchor: jax.Array, also: Also = None) -> jax.Array:
            """Returns independent examples with these values of the factor [n]."""
            return combined(self.source, lambda key: independent(key).at[:, k].set(value), key, anchor, also)

        more = {}
        match self.constraint:
            case "groups":
                members = [factors, with_value(keys[0], factors[:, k], factors)]
            case "ranks":
                members = [factors, independent(keys[0])]
                more["order"] = jnp.sign(members[0][:, k] - members[1][:, k])[:, None]
            case "distances":
                one, other = independent(keys[0]), independent(keys[1])
                near, far = (jnp.abs(each[:, k] - factors[:, k])[:, None] for each in (one, other))
                members = [factors, jnp.where(near <= far, one, other), jnp.where(near <= far, other, one)]
                more["known"] = (near != far)[:, 0]
            case "analogies":

                def changed(key: jax.Array) -> jax.Array:
                    def shift(place: jax.Array) -> jax.Array:
                        return jax.random.randint(jax.random.fold_in(key, place), (), 1, size, jnp.int32)

                    return factors.at[:, k].set((factors[:, k] + jax.vmap(shift)(first + jnp.arange(n))) % size)

                second = combined(self.source, changed, keys[0], factors)

                def fourth(third: jax.Array) -> jax.Array:
                    return third.at[..., k].set(second[:, k])

                third = with_value(keys[1], factors[:, k], factors, fourth)
                members = [factors, second, third, fourth(third)]
        images = {f"x{number + 1 if number else ''}": self.render(each) for number, each in enumerate(members)}
        values = factors[:, k : k + 1].astype(jnp.float32) / (size - 1)
        return {**images, "factors": factors, "values": values, **more}
