"""Examples in memory, as bits, bytes or floats, with or without factors."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import UNSHARDED, Shard, grid_index, independent_batch
from jaxvae.schema import Schema

Storage = Literal["bits", "bytes", "floats"]
ROUNDING = 1e-3
"""Largest distance from [0, 1] at which values are clipped: below half a grey level of 255, and above the rounding
error of float16."""
BLOCK = 4096
"""Number of images that are inspected at a time, so that a file may be larger than memory."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where examples come from. Two origins are equal if they are one object, as millions of names take long to compare
    in every call of a compiled function.
    """

    ids: Sequence[str] | None
    """Names of the N examples, such as those of picture files, in their order here; None if they have none."""
    rows: np.ndarray | None
    """Rows of the examples in their file, int [N]; None if they are in the order of the file."""
    groups: np.ndarray | None = None
    """Groups of examples that a split keeps together, int [N]; None if there are none."""
    label_values: tuple[tuple[str, ...], ...] = ()
    """Texts of the values of each factor, in the order of their numbers; empty if they are not known."""
    parts: tuple[str, ...] | None = None
    """Words that say which part of a split each example is in, as `split_as_told` takes them; None if there are none.
    """


MISSING = "missing"
"""Text of the last value of a factor that is not known for all examples."""
IN_ORDER = Origin(None, None)
"""The origin of examples without names, in the order of their file."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["pixels", "factors", "extras"],
    meta_fields=[
        "name",
        "event_shape",
        "factor_names",
        "factor_sizes",
        "storage",
        "schema",
        "origin",
        "channel_schema",
    ],
)
@dataclass(frozen=True, eq=False)
class Table:
    """A `Source` of examples in memory. `from_arrays` creates one.

    Examples are drawn with replacement; wrap a table in `Epochs` to draw without.
    """

    name: str
    pixels: jax.Array | np.ndarray
    """Values of the examples. With the storage "bits", they are uint8 [N, ceil(H W C / 8)] with eight pixels per byte;
    with "bytes", uint8 [N, H, W, C], where 255 stands for 1; and with "floats", float32 [N, *event_shape]."""
    factors: jax.Array | np.ndarray | None
    """Factors, int32 [N, K], or None if they are unknown."""
    event_shape: tuple[int, ...]
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    storage: Storage
    extras: Mapping[str, jax.Array | np.ndarray] = field(default_factory=dict)
    """Further columns of the batches, by name: [N, ...], such as the auxiliary variable "aux"."""
    schema: Schema | None = None
    """Columns of a table, whose rows are the vectors x; None for other data."""
    origin: Origin = IN_ORDER
    """Names of the examples, and their rows in the file."""
    channel_schema: Schema | None = None
    """Channels of series x [T, D] that were standardized, see `jaxvae.data.series`; None for other data."""

    @property
    def ids(self) -> Sequence[str] | None:
        """Names of the examples; None if they have none."""
        return self.origin.ids

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.pixels.shape[0]

    @property
    def is_grid(self) -> bool:
        """Whether example i is combination i of the factors, in an order in which the last factor varies fastest."""
        return bool(self.factor_sizes) and self.size == math.prod(self.factor_sizes)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self.unpack({name: jnp.asarray(column)[index] for name, column in self.columns().items()})

    def columns(self) -> dict[str, jax.Array | np.ndarray]:
        """Returns all stored columns by their names in a batch: [N, ...]. The column "x" is packed."""
        factors = {} if self.factors is None else {"factors": self.factors}
        return {"x": self.pixels, **factors, **self.extras}

    def unpack(self, rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Unpacks rows of the columns into a batch."""
        return {**rows, "x": unpack(rows["x"], self.event_shape, self.storage)}

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Draws independent examples, as in `Source`."""
        return self.at(self.draw(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Draws the independent examples of a step, as in `Source`."""
        return independent_batch(self, key, step, n, part)

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Returns the factors of the examples that `sample` draws: int32 [n, K].

        Raises:
          ValueError: The factors are unknown.
        """
        return self._factors_at(self.draw(key, n, first))

    def render(self, factors: jax.Array) -> jax.Array:
        """Returns the examples with these factors: int32 [n, K] -> [n, *event_shape].

        Raises:
          ValueError: The table does not hold exactly one example per combination of factors.
        """
        if not self.is_grid:
            raise ValueError(f"{self.name} has no image for every combination of factors: sample from it instead")
        return self.at(grid_index(factors, self.factor_sizes))["x"]

    def draw(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Returns the indices of the examples that `sample` draws: int32 [n]."""

        def index(place: jax.Array) -> jax.Array:
            return jax.random.randint(jax.random.fold_in(key, place), (), 0, self.size)

        return jax.vmap(index)(first + jnp.arange(n))

    def _factors_at(self, index: jax.Array) -> jax.Array:
        if self.factors is None:
            raise ValueError(f"the factors of {self.name} are not known")
        return jnp.asarray(self.factors)[index]


def from_arrays(
    examples: np.ndarray,
    factors: np.ndarray | None = None,
    *,
    name: str = "arrays",
    factor_names: Sequence[str] | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
    real: bool = False,
    ids: Sequence[str] | None = None,
) -> Table:
    """Builds a source of examples that are in memory.

    The sorted values of each factor are numbered 0, 1, 2 ... If every combination of values occurs once, the examples
    are sorted into the order of the grid, so that `render` finds them.

    Args:
      examples: Images [N, H, W, C] or [N, H, W]: uint8 (0 to 255; kept as bits if there are only 0 and one other
        value), bool, or floats in [0, 1]; values up to 0.001 outside, as rounding leaves them, are clipped. With
        `real`, examples of any shape: vectors [N, D], series [N, T, D], images [N, H, W, C].
      factors: Factors [N, K], any numbers, or None.
      name: Name of the data.
      factor_names: Names of the K factors. By default, factor0, factor1 ...
      extras: Further columns of the batches, by name: [N, ...], such as the auxiliary variable "aux".
      real: Whether values may be any finite numbers. The Bernoulli likelihood is not for them. uint8 is still 0 to 255.
      ids: Names of the N examples, which files of codes repeat. By default, they have none.

    Warns:
      UserWarning: Factors have the same name; their places are added to the names.

    Raises:
      ValueError: An argument has another shape, type or range; the message says which one was found.
    """
    for what, array in (("examples", examples), ("factors", factors)):
        if np.ma.isMaskedArray(array):
            raise ValueError(f"{name}: {what} are a masked array, whose mask is not read: call its method filled")
    examples = _real(np.asanyarray(examples), name) if real else _images(np.asanyarray(examples), name)
    extras = dict(extras or {})
    for column, values in extras.items():
        if column in ("x", "factors") or len(values) != len(examples):
            raise ValueError(f"{name}: the column {column!r} needs a name of its own and {len(examples)} rows")
    if ids is not None and len(ids) != len(examples):
        raise ValueError(f"{name}: {len(examples)} examples but {len(ids)} ids")
    origin = IN_ORDER if ids is None else Origin(ids, None)
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    columns = None
    if factors is not None:
        columns, sizes, order = number_factors(factors, len(examples), name)
        names = tuple(factor_names or (f"factor{k}" for k in range(columns.shape[1])))
        if len(names) != len(sizes):
            raise ValueError(f"{name}: {len(sizes)} factors but {len(names)} names")
        if len({*names}) < len(names):
            names = tuple(f"{each} {k + 1}" if names.count(each) > 1 else each for k, each in enumerate(names))
            told = f"{name}: factors of one name are told apart by their place: {', '.join(names)}"
            warnings.warn(told, stacklevel=2)
        if order is not None:
            ordered = aligned(examples.shape, examples.dtype)
            examples, columns = np.take(examples, order, axis=0, out=ordered), columns[order]
            extras = {column: values[order] for column, values in extras.items()}
            origin = Origin(None if ids is None else [ids[row] for row in order], order)
    pixels, storage = pack(examples, name, real)
    return Table(name, pixels, columns, examples.shape[1:], names, sizes, storage, extras, origin=origin)


def _images(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 2:
        raise ValueError(
            f"{name}: images must be [N, H, W] or [N, H, W, C], got shape {images.shape}: vectors need real=True"
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name}: images must be [N, H, W] or [N, H, W, C] and not empty, got shape {images.shape}")
    if _is_channels_first(images.shape[1:]):
        raise ValueError(
            f"{name}: images of shape {images.shape} have their channels first; here, channels come last, as "
            "images.transpose(0, 2, 3, 1) puts them"
        )
    return images


def _real(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(
            f"{name}: examples must be vectors [N, D], series [N, T, D] or images [N, H, W, C], and not empty, got "
            f"shape {values.shape}"
        )
    if values.ndim == 4 and _is_channels_first(values.shape[1:]):
        return _images(values, name)
    return values if values.dtype.kind not in "iu" or values.dtype == np.uint8 else values.astype(np.float32)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Allocates an uninitialized array that starts at a multiple of 64 bytes, so that JAX uses it on a CPU without a
    copy.
    """
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def unpack(rows: jax.Array, event_shape: tuple[int, ...], storage: Storage) -> jax.Array:
    """Unpacks rows as a `Table` stores them into examples, float32 [n, *event_shape]."""
    if storage == "bits":
        bits = jnp.unpackbits(rows, axis=-1, count=math.prod(event_shape))
        return bits.reshape(-1, *event_shape).astype(jnp.float32)
    return jnp.asarray(rows).astype(jnp.float32) / 255 if storage == "bytes" else rows


def pack(images: np.ndarray, name: str, real: bool = False, missing: bool = False) -> tuple[np.ndarray, Storage]:
    """Packs examples as a `Table` stores them.

    Args:
      images: Examples [N, ...]: uint8, bool or floats.
      name: Name of the data, for messages.
      real: Whether floats may be outside of [0, 1].
      missing: Whether floats may be NaN, for missing values.

    Returns:
      The packed examples, and the kind of storage.

    Raises:
      ValueError: The type or a value is invalid.
    """
    if images.dtype == np.uint8 or images.dtype == bool:
        blocks = [images[first : first + BLOCK] for first in range(0, len(images), BLOCK)]
        if images.dtype == bool or _is_binary(blocks):
            return np.concatenate([np.packbits(b.reshape(len(b), -1) > 0, axis=1) for b in blocks]), "bits"
        return images, "bytes"
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{name}: images of type {images.dtype}: give uint8 in 0 to 255, bool, or floats in [0, 1]")
    low, high = (
        least.reduce(images, axis=None) for least in ((np.fmin, np.fmax) if missing else (np.minimum, np.maximum))
    )
    if not (np.isfinite(low) and np.isfinite(high)) and not (missing and np.isnan(low)):  # nothing but missing values
        raise ValueError(f"{name}: images hold values that are not finite numbers")
    if not real and (low < 0 or high > 1):
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ValueError(f"{name}: images must be in [0, 1], found {low:.7g} to {high:.7g}: rescale them")
        images = np.clip(images, 0, 1)
    if real and images.dtype.itemsize > 4 and max(abs(low), abs(high)) > np.finfo(np.float32).max:
        raise ValueError(f"{name}: values from {low:g} to {high:g} are beyond float32: rescale them")
    return images if images.dtype == np.float32 else images.astype(np.float32), "floats"


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a shape is more likely [C, H, W] than [H, W, C]: the first axis is at most 4, or only the last two axes
    are square.
    """
    first, middle, last = shape
    return last > 4 and middle > 1 and (first <= 4 or (first < middle and middle == last))


def _is_binary(blocks: Sequence[np.ndarray]) -> bool:
    """Whether uint8 pixels are all 0 or 1, or all 0 or 255."""
    top = max(block.max() for block in blocks)
    return top <= 1 or (top == 255 and not any(((block != 0) & (block != top)).any() for block in blocks))


def number_factors(factors: np.ndarray, rows: int, name: str) -> tuple[np.ndarray, tuple[int, ...], np.ndarray | None]:
    """Numbers the values of factors, and finds the order in which they form a grid.

    Args:
      factors: Factors [N, K], any finite numbers.
      rows: Number of examples N.
      name: Name of the data, for messages.

    Returns:
      The numbered factors, int32 [N, K]; the number of values of each factor; and the order that sorts the rows into a
      grid, int [N]. The order is None if the rows are in this order already or do not form a grid.

    Raises:
      ValueError: The factors have another shape, or are not finite numbers.
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or len(factors) != rows or factors.shape[1] < 1:
        raise ValueError(f"{name}: factors must be [{rows}, K], one row per image, got shape {factors.shape}")
    if not np.issubdtype(factors.dtype, np.number) or not np.isfinite(factors).all():
        raise ValueError(f"{name}: factors must be finite numbers")
    numbered = [np.unique(column, return_inverse=True) for column in factors.T]
    columns = np.stack([inverse for _, inverse in numbered], axis=1).astype(np.int32)
    sizes = tuple(len(values) for values, _ in numbered)
    if math.prod(sizes) != rows:
        return columns, sizes, None
    number = np.ravel_multi_index(tuple(columns.T), sizes)
    if np.array_equal(number, np.arange(rows)):
        return columns, sizes, None
    order = np.argsort(number)
    return columns, sizes, order if np.array_equal(number[order], np.arange(rows)) else None
