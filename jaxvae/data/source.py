"""The interface between data sets and the training loop, the metrics and the report."""

from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax

from jaxvae.schema import Schema, schema_of
from jaxvae.streams import Stream


class Shard(NamedTuple):
    """One of several equal shards of a batch that is split over devices."""

    number: int | jax.Array = 0
    of: int = 1

    def rows(self, n: int) -> tuple[int | jax.Array, int]:
        """Returns the first row of the shard in a batch of n, and its number of rows.

        Raises:
          ValueError: The shards would not be equal.
        """
        if n % self.of:
            raise ValueError(f"a batch of {n} images can't be split over {self.of} devices: choose a multiple")
        return self.number * (n // self.of), n // self.of


UNSHARDED = Shard()


@runtime_checkable
class Source(Protocol):
    """A data set whose batches are drawn on the device, with its ground-truth factors if they are known.

    A source is a pytree. Pass it to a jitted function as an argument, so that images in memory are not compiled in.
    Examples are arrays of any shape: pictures are float32 [n, H, W, C] in [0, 1], vectors [n, D] and series [n, T, D]
    are float32 of any size. Factors are int32 [n, K]. Examples have indices 0 .. size - 1.
    """

    @property
    def name(self) -> str:
        """Name of the source on the command line."""
        ...

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an example: (height, width, channels) of a picture, (D,) of a vector, (T, D) of a series."""
        ...

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the K generative factors; empty if they are unknown."""
        ...

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Numbers of values of the K factors. Factor k has the values 0 .. factor_sizes[k] - 1."""
        ...

    @property
    def size(self) -> int:
        """Number of examples."""
        ...

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices [n]: {"x": [n, *event_shape]}, and {"factors": [n, K]} if
        they are known.
        """
        ...

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns rows first .. first+n-1 of the infinite sequence of random examples that `key` determines.

        A row depends only on the key and its position, so batches do not depend on the number of devices that draw
        them.
        """
        ...

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the batch of n examples of a step in the run that `key` determines, or a shard of it."""
        ...


@runtime_checkable
class GroundTruth(Source, Protocol):
    """A source that renders an image for every combination of its factors."""

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Returns the factors of the rows that `sample` returns: int32 [n, K]."""
        ...

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, int32 [n, K] -> images float32 [n, H, W, C] in [0, 1]."""
        ...


S = TypeVar("S", bound=Source)


def on_device(source: S) -> S:
    """Returns the source with its images on the device.

    Raises:
      TypeError: The source is not a pytree. The message says what to do.
    """
    return jax.device_put(pytree_of(source))


def pytree_of(source: S) -> S:
    """Returns the source itself.

    Raises:
      TypeError: The source is not a pytree. The message says what to do.
    """
    leaves = jax.tree.leaves(source)
    if len(leaves) == 1 and leaves[0] is source:
        raise TypeError(
            f"{type(source).__name__} must be a pytree to be an argument of compiled functions: decorate it with "
            "jax.tree_util.register_static if it holds no arrays, or see jax.tree_util.register_dataclass"
        )
    return source


def sharing_arrays(source: S, one: Source, moved: Source) -> S:
    """Returns the source with the arrays that it has in common with `one` replaced by those of `moved`.

    Parts of a data set hold the same arrays, which are then on a device once. `moved` is `one` with its arrays moved.
    """
    known = {id(old): new for old, new in zip(jax.tree.leaves(one), jax.tree.leaves(moved), strict=True)}
    return jax.tree.map(lambda leaf: known.get(id(leaf), leaf), source)


def independent_batch(
    source: Source, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED
) -> dict[str, jax.Array]:
    """Returns a `batch` of independent random examples: every step has its own sequence of them."""
    first, count = part.rows(n)
    return source.sample(jax.random.fold_in(jax.random.fold_in(key, step), Stream.BATCH), count, first)


class Wrapper(Generic[S]):
    """A source that wraps another one. Delegates everything that is not overridden to `source`; batches are
    independent.
    """

    source: S

    @property
    def name(self) -> str:
        """Name of the source on the command line."""
        return self.source.name

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of an example: (height, width, channels) of a picture, (D,) of a vector, (T, D) of a series."""
        return self.source.event_shape

    @property
    def schema(self) -> Schema | None:
        """Columns of a table, or None."""
        return schema_of(self.source)

    @property
    def channel_schema(self) -> Schema | None:
        """Channels of series that were standardized, or None."""
        return getattr(self.source, "channel_schema", None)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the K generative factors."""
        return self.source.factor_names

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Numbers of values of the K factors."""
        return self.source.factor_sizes

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.source.size

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self.source.at(index)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        return self.source.sample(key, n, first)

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns independent random examples for a step."""
        return independent_batch(self, key, step, n, part)


def grid_index(factors: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """Converts factors [..., K] to indices in the grid [...]. The last factor varies fastest."""
    index = factors[..., 0]
    for k, size in enumerate(sizes[1:], start=1):
        index = index * size + factors[..., k]
    return index
