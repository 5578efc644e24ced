"""What the training loop, the metrics and the report ask of a data set."""

from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax

from jaxvae.streams import Stream


class Shard(NamedTuple):
    """One of equal parts of a batch, as when devices share it."""

    number: int | jax.Array = 0
    of: int = 1

    def rows(self, n: int) -> tuple[int | jax.Array, int]:
        """The first of its rows, and their number, in a batch of n. ValueError where parts would not be equal."""
        if n % self.of:
            raise ValueError(f"a batch of {n} images can't be split over {self.of} devices: choose a multiple")
        return self.number * (n // self.of), n // self.of


UNSHARDED = Shard()


@runtime_checkable
class Source(Protocol):
    """A data set whose batches are drawn on the device, with its ground-truth factors where they are known.

    A source is a pytree: hand it to a jitted function as an argument, so that images in memory are not compiled in.
    Images are float32 [n, H, W, C] in [0, 1], factors int32 [n, K]; examples are numbered 0 .. size - 1.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        ...

    @property
    def factor_names(self) -> tuple[str, ...]:
        """K names of the generative factors; none where they are not known."""
        ...

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """K numbers of values: factor k takes 0 .. factor_sizes[k] - 1."""
        ...

    @property
    def size(self) -> int:
        """Number of examples."""
        ...

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """The examples of these numbers [n]: {"image": [n, H, W, C]}, and {"factors": [n, K]} where they are known."""
        ...

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Rows first .. first+n-1 of the endless list of random examples that `key` names.

        A row depends on (key, its place) alone, so batches do not change with the number of devices that draw them.
        """
        ...

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch of n examples of update number `step` of the run that `key` names, or a part of it."""
        ...


@runtime_checkable
class GroundTruth(Source, Protocol):
    """A source with an image for every combination of its factors."""

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """The factors of the rows that `sample` gives: int32 [n, K]."""
        ...

    def render(self, factors: jax.Array) -> jax.Array:
        """int32 [n, K] -> images float32 [n, H, W, C] in [0, 1]."""
        ...


S = TypeVar("S", bound=Source)


def on_device(source: S) -> S:
    """The source with its images on the device. TypeError, that says what to do, for one that is no pytree."""
    return jax.device_put(pytree_of(source))


def pytree_of(source: S) -> S:
    """The source itself. TypeError, that says what to do, for one that is no pytree."""
    leaves = jax.tree.leaves(source)
    if len(leaves) == 1 and leaves[0] is source:
        raise TypeError(
            f"{type(source).__name__} must be a pytree to be an argument of compiled functions: decorate it with "
            "jax.tree_util.register_static if it holds no arrays, or see jax.tree_util.register_dataclass"
        )
    return source


def independent_batch(
    source: Source, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED
) -> dict[str, jax.Array]:
    """A `batch` of independent draws: every update has a list of random examples of its own."""
    first, count = part.rows(n)
    return source.sample(jax.random.fold_in(jax.random.fold_in(key, step), Stream.BATCH), count, first)


class Wrapper(Generic[S]):
    """A source made of another one: what a subclass does not say is as it is there, and batches are independent."""

    source: S

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return self.source.name

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return self.source.image_shape

    @property
    def factor_names(self) -> tuple[str, ...]:
        """K names of the generative factors."""
        return self.source.factor_names

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """K numbers of values."""
        return self.source.factor_sizes

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.source.size

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self.source.at(index)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """As in `Source`."""
        return self.source.sample(key, n, first)

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Independent draws of update number `step`."""
        return independent_batch(self, key, step, n, part)


def grid_index(factors: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """[..., K] -> number in the grid, the last factor fastest [...]."""
    index = factors[..., 0]
    for k, size in enumerate(sizes[1:], start=1):
        index = index * size + factors[..., k]
    return index
