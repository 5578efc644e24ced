"""Images that stay in a file on the host: for data larger than the device's memory."""

import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxvae.data.shuffle import Epochs
from jaxvae.data.source import UNSHARDED, Shard, Source, Wrapper, independent_batch
from jaxvae.data.subsets import Subset
from jaxvae.data.table import Table

AHEAD = 8
"""Batches that are read before they are needed."""
READERS = 4
"""Threads that read them."""


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Streamed:
    """A `Table` whose images stay in its memory-mapped array; only some batches are ever in memory.

    Same rows, same order and same bits as the table itself, so that a run ends the same with either; `Epochs` works as
    ever. The training loop reads batches ahead (`read_ahead`); elsewhere rows are fetched by a callback from the
    compiled function, which waits for them.
    """

    table: Table

    name = property(lambda self: self.table.name)
    event_shape = property(lambda self: self.table.event_shape)
    schema = property(lambda self: self.table.schema)
    factor_names = property(lambda self: self.table.factor_names)
    factor_sizes = property(lambda self: self.table.factor_sizes)
    size = property(lambda self: self.table.size)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """As in `Source`."""
        kept = self.rows(np.zeros(0, np.int32))
        rows = jax.pure_callback(
            lambda index: self.rows(np.asarray(index)),
            {name: jax.ShapeDtypeStruct((*index.shape, *row.shape[1:]), row.dtype) for name, row in kept.items()},
            index,
            vmap_method="broadcast_all",
        )
        return self.table.unpack(rows)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """The rows that `Table.sample` gives."""
        return self.at(self.table.draw(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch that `Table.batch` gives."""
        return independent_batch(self, key, step, n, part)

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of these numbers from the file, as the table keeps them."""
        return {name: np.ascontiguousarray(column[index]) for name, column in self.table.columns().items()}


@partial(jax.tree_util.register_dataclass, data_fields=["source", "rows"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class _Read(Wrapper[Streamed]):
    """A `Streamed` whose coming batch is already here."""

    source: Streamed
    rows: dict[str, Any]

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The batch that was read, or this device's part of it; all arguments are those it was read for."""
        return self.source.table.unpack(self.rows)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Numbers:
    """The numbers of the examples, in place of the examples."""

    table: Table
    size = property(lambda self: self.table.size)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        return {"index": index}

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        return independent_batch(self, key, step, n, part)  # type: ignore[arg-type]

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        return self.at(self.table.draw(key, n, first))


def is_streamed(source: Source) -> bool:
    """Whether `read_ahead` has something to read: a `Streamed`, or `Epochs` or a `Subset` of one."""
    return isinstance(_inmost(source), Streamed)


def _inmost(source: Source) -> Source:
    while isinstance(source, Epochs | Subset):
        source = source.source
    return source


def _replaced(source: Source, inmost: Any) -> Any:
    """The source with something else in place of what its epochs and subsets are of."""
    return replace(source, source=_replaced(source.source, inmost)) if isinstance(source, Epochs | Subset) else inmost


def split_leaves(source: Source, split: Any, whole: Any) -> Any:
    """A tree like the source: `split` for the rows of a batch that was read ahead, `whole` for all other arrays."""
    tree = jax.tree.map(lambda _: whole, source)
    return replace(tree, rows=dict.fromkeys(source.rows, split)) if isinstance(source, _Read) else tree


def read_ahead(
    source: Source, key: jax.Array, first: int, last: int, n: int, sharding: NamedSharding | None = None
) -> Iterator[Source]:
    """For each of the updates first .. last-1 the source that gives its batch, read by Grain before it is needed.

    Batch number s is that of `source.batch(key, s, n)`, whatever `first` is: a resumed run needs no iterator's state.
    With `sharding`, that of rows over devices, every process reads the rows of its own devices only.

    ValueError where Grain is not installed.
    """
    if not is_streamed(source):
        return itertools.repeat(source, last - first)
    if importlib.util.find_spec("grain") is None:
        raise ValueError("--stream needs Grain to read ahead: pip install 'jaxvae[stream]'")
    import grain

    streamed: Streamed = _inmost(source)  # type: ignore[assignment]
    order = _replaced(source, _Numbers(streamed.table))
    # On the host's own processor, so that the numbers don't wait behind the updates on the device; from a copy of the
    # key, as the training state that holds it is donated to the first update.
    host = jax.local_devices(backend="cpu")[0]
    with jax.default_device(host):
        key = jax.random.wrap_key_data(jnp.asarray(np.array(jax.random.key_data(key))), impl=jax.random.key_impl(key))
    order = jax.device_put(order, host)
    draw = jax.jit(lambda order, key, step: order.batch(key, step, n)["index"])

    def read(step: int) -> _Read:
        with jax.default_device(host):
            index = np.asarray(draw(order, key, jnp.int32(step)))
        return _Read(streamed, streamed.rows(index) if sharding is None else sharded_rows(index, sharding))

    def sharded_rows(index: np.ndarray, sharding: NamedSharding) -> dict[str, jax.Array]:
        def read_part(column: Any, part: tuple[slice, ...]) -> np.ndarray:
            return np.ascontiguousarray(column[index[part[0]]])

        return {
            name: jax.make_array_from_callback((n, *column.shape[1:]), sharding, partial(read_part, column))
            for name, column in streamed.table.columns().items()
        }

    options = grain.ReadOptions(num_threads=READERS, prefetch_buffer_size=AHEAD)
    return iter(grain.MapDataset.range(first, last).map(read).to_iter_dataset(options))
