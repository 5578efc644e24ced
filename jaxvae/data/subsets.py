"""Subsets of a data set and correlated factors, to test generalisation."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.shuffle import Epochs
from jaxvae.data.source import GroundTruth, S, Source, Wrapper, grid_index

G = TypeVar("G", bound=GroundTruth)
TRIES = 64
"""Number of combinations that are tried for one inside a part of a grid."""


@partial(jax.tree_util.register_dataclass, data_fields=["source", "index"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Subset(Wrapper[S]):
    """Some examples of a source. Example i of the subset is example index[i] of the source."""

    source: S
    index: jax.Array | np.ndarray
    """Indices into the source, int32 [M]."""

    @property
    def size(self) -> int:
        """Number of examples in the subset."""
        return self.index.shape[0]

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self.source.at(jnp.asarray(self.index)[index])

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns independent random examples of the subset, as in `Source`."""

        return self.at(self._draw(key, n, first))

    def _draw(self, key: jax.Array, n: int, first: int | jax.Array) -> jax.Array:
        """Returns the indices in the subset of the examples that `sample` returns: int32 [n]."""

        def index(place: jax.Array) -> jax.Array:
            return jax.random.randint(jax.random.fold_in(key, place), (), 0, self.size)

        return jax.vmap(index)(first + jnp.arange(n))


@partial(jax.tree_util.register_dataclass, data_fields=["source", "index"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class GridSubset(Subset[G]):
    """Some combinations of a grid of factors, which are still drawn and rendered by their factors.

    Combination number i of the grid must be example number i of the source. `index` is sorted.
    """

    source: G

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples factors, as in `GroundTruth`: those of the rows that `sample` returns."""
        number = jnp.asarray(self.index)[self._draw(key, n, first)]
        return jnp.stack(jnp.unravel_index(number, self.factor_sizes), axis=-1).astype(jnp.int32)

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`, also those of combinations outside of the subset."""
        return self.source.render(factors)

    def contains(self, factors: jax.Array) -> jax.Array:
        """Whether combinations of factors, int32 [..., K], are in the subset: bool [...]."""
        index, number = jnp.asarray(self.index), grid_index(factors, self.factor_sizes)
        return index[jnp.minimum(jnp.searchsorted(index, number), self.size - 1)] == number


def combined(
    source: GroundTruth,
    combine: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    anchor: jax.Array,
    also: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Combines the factors of different examples, without leaving the source where that is part of a grid.

    Args:
      source: Source that the combinations are to be of.
      combine: Function key -> combinations, int32 [n, K]. For part of a grid it is called with up to 64 keys, and the
        first combination of each row that is in the part counts.
      key: Random key.
      anchor: Combinations in the source, int32 [n, K], for rows without such a combination.
      also: Function from combinations, int32 [..., n, K], to others, of the same shape, that must be in the part as
        well for a combination to count.

    Returns:
      Combinations, int32 [n, K].
    """
    if not isinstance(source, GridSubset):
        return combine(key)
    tried = jax.vmap(lambda number: combine(jax.random.fold_in(key, number)))(jnp.arange(TRIES))
    inside = source.contains(tried)
    if also is not None:
        inside &= source.contains(also(tried))
    first = jnp.take_along_axis(tried, jnp.argmax(inside, axis=0)[None, :, None], axis=0)[0]
    return jnp.where(inside.any(axis=0)[:, None], first, anchor)


def hold_out(source: S, combination: Mapping[str, Collection[int]]) -> tuple[Subset[S], Subset[S]]:
    """Splits a source into training examples and held-out examples, which have a combination of factor values.

    `hold_out(Sprites(), {"shape": [2], "x": range(16, 32)})` holds out every heart in the right half. Hearts in the
    left half, and other shapes in the right half, stay in the training examples.

    Args:
      source: Source with known factors.
      combination: Values by factor. An example is held out if all factors have one of their values.

    Returns:
      The subsets (training, held out).

    Raises:
      ValueError: A factor or value does not exist, or one of the subsets is empty.
    """
    names, sizes = source.factor_names, source.factor_sizes
    if not combination:
        raise ValueError("name at least one factor to hold out")
    if unknown := [name for name in combination if name not in names]:
        raise ValueError(f"{source.name} has no factor {unknown[0]!r}; there are {', '.join(names) or 'none'}")
    for name, values in combination.items():
        bad = next((value for value in values if not 0 <= value < sizes[names.index(name)]), None)
        if bad is not None:
            raise ValueError(f"factor {name!r} takes 0 to {sizes[names.index(name)] - 1}, not {bad}")
    factors = all_factors(source)
    held = np.ones(len(factors), bool)
    for name, values in combination.items():
        held &= np.isin(factors[:, names.index(name)], list(values))
    if held.all() or not held.any():
        raise ValueError(f"{'nothing' if held.all() else 'everything'} of {source.name} would be left to train on")
    return tuple(Subset(source, np.flatnonzero(part).astype(np.int32)) for part in (~held, held))  # type: ignore[return-value]


def all_factors(source: Source) -> np.ndarray:
    """Returns the factors of every example, in order: int32 [size, K].

    Raises:
      ValueError: The factors are unknown.
    """
    if not source.factor_names:
        raise ValueError(f"the factors of {source.name} are not known")
    if isinstance(source, Subset):
        return all_factors(source.source)[np.asarray(source.index)]
    if isinstance(source, Epochs):
        return all_factors(source.source)
    known = getattr(source, "factors", None)
    if known is not None:
        return np.asarray(known)
    return np.stack(np.unravel_index(np.arange(source.size), source.factor_sizes), axis=1).astype(np.int32)


@partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["factor", "follows", "strength"])
@dataclass(frozen=True)
class Correlated(Wrapper[G]):
    """A source with two correlated factors. With probability `strength` one factor follows the other; otherwise it is
    independent.

    If `factor` follows, it takes the value at the same relative position in its range as the value of `follows`. The
    correlation of the two factors is then `strength` if they have the same number of values, and approximately
    `strength` otherwise. All other factors stay independent.
    """

    source: G
    factor: str
    follows: str
    strength: float

    def __post_init__(self) -> None:
        if not isinstance(self.strength, int | float) or not 0 <= self.strength <= 1:
            raise ValueError(f"strength is a probability, got {self.strength}")
        names = self.source.factor_names
        if self.factor not in names or self.follows not in names or self.factor == self.follows:
            raise ValueError(
                f"tie two different factors of {', '.join(names)}; got {self.factor!r} and {self.follows!r}"
            )

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        return self.source.render(factors)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples factors, as in `GroundTruth`, with one factor following the other."""
        factors = self.source.sample_factors(key, n, first)
        names, sizes = self.factor_names, self.factor_sizes
        one, other = names.index(self.factor), names.index(self.follows)

        def ties(place: jax.Array) -> jax.Array:
            return jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, place), 1), self.strength)

        share = factors[:, other].astype(jnp.float32) / max(1, sizes[other] - 1)
        followed = jnp.round(share * (sizes[one] - 1)).astype(jnp.int32)
        tied = jax.vmap(ties)(first + jnp.arange(n))
        return factors.at[:, one].set(jnp.where(tied, followed, factors[:, one]))

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        factors = self.sample_factors(key, n, first)
        return {"x": self.render(factors), "factors": factors}
