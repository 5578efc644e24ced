"""Sources whose images stay in a file on the host, for data larger than the device's memory."""

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
"""Number of batches that are read ahead."""
MOST_AT_ONCE = 16
"""Largest number of batches that are read at once."""
GROUP_BYTES = 1 << 20
"""Largest size of several batches that are read at once."""
READERS = 4
"""Number of threads that read them."""


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Streamed:
    """A `Table` whose images stay in its memory-mapped array. Only some batches are in memory at any time.

    Its batches are bit-identical to those of the table, also in `Epochs`, so that a run gives the same results with
    either. The training loop reads batches ahead (`read_ahead`). Elsewhere, the compiled function fetches rows by a
    callback and waits for them.
    """

    table: Table

    name = property(lambda self: self.table.name)
    event_shape = property(lambda self: self.table.event_shape)
    schema = property(lambda self: self.table.schema)
    channel_schema = property(lambda self: self.table.channel_schema)
    factor_names = property(lambda self: self.table.factor_names)
    factor_sizes = property(lambda self: self.table.factor_sizes)
    size = property(lambda self: self.table.size)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        kept = self.rows(np.zeros(0, np.int32))
        rows = jax.pure_callback(
            lambda index: self.rows(np.asarray(index)),
            {name: jax.ShapeDtypeStruct((*index.shape, *row.shape[1:]), row.dtype) for name, row in kept.items()},
            index,
            vmap_method="broadcast_all",
        )
        return self.table.unpack(rows)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns the same examples as `Table.sample`."""
        return self.at(self.table.draw(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the same batch as `Table.batch`."""
        return independent_batch(self, key, step, n, part)

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Reads the rows with these indices from the file, as the table stores them."""
        return {name: np.ascontiguousarray(column[index]) for name, column in self.table.columns().items()}


@partial(jax.tree_util.register_dataclass, data_fields=["source", "rows"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class _Read(Wrapper[Streamed]):
    """A `Streamed` source with the batch of the coming step in memory."""

    source: Streamed
    rows: dict[str, Any]

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the batch that was read ahead, or this device's shard of it. The arguments are ignored."""
        return self.source.table.unpack(self.rows)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Numbers:
    """A source of the indices of examples instead of the examples."""

    table: Table
    size = property(lambda self: self.table.size)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        return {"index": index}

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        return independent_batch(self, key, step, n, part)  # type: ignore[arg-type]

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        return self.at(self.table.draw(key, n, first))


def is_streamed(source: Source) -> bool:
    """Whether `read_ahead` reads from the source: it is a `Streamed`, or `Epochs` or a `Subset` of one."""
    return isinstance(_inmost(source), Streamed)


def _inmost(source: Source) -> Source:
    while isinstance(source, Epochs | Subset):
        source = source.source
    return source


def _replaced(source: Source, inmost: Any) -> Any:
    """Returns the source with its innermost source, inside of epochs and subsets, replaced."""
    return replace(source, source=_replaced(source.source, inmost)) if isinstance(source, Epochs | Subset) else inmost


def split_leaves(source: Source, split: Any, whole: Any) -> Any:
    """Returns a tree like the source, with `split` for rows of a batch that was read ahead, and `whole` elsewhere."""
    tree = jax.tree.map(lambda _: whole, source)
    return replace(tree, rows=dict.fromkeys(source.rows, split)) if isinstance(source, _Read) else tree


def read_ahead(
    source: Source, key: jax.Array, first: int, last: int, n: int, sharding: NamedSharding | None = None
) -> Iterator[Source]:
    """Yields a source for each step, whose batch Grain has read ahead.

    The batch of step s is `source.batch(key, s, n)` for any `first`, so a resumed run needs no state of an iterator.

    Args:
      source: Source of the batches. If it is not streamed, it is yielded itself.
      key: Random key of the batches.
      first: First step (0-based).
      last: End of the steps, exclusive.
      n: Number of examples per batch.
      sharding: Sharding of the rows over devices, with which every process reads only the rows of its own devices.

    Raises:
      ValueError: Grain is not installed.
    """
    if not is_streamed(source):
        return itertools.repeat(source, last - first)
    if importlib.util.find_spec("grain") is None:
        raise ValueError("--stream needs Grain to read ahead: pip install 'jaxvae[stream]'")
    import grain

    streamed: Streamed = _inmost(source)  # type: ignore[assignment]
    order = _replaced(source, _Numbers(streamed.table))
    # Indices are drawn on the host's CPU, so that they need not wait for the steps on the device, and from a copy of
    # the key, because the training state that holds the key is donated to the first step.
    host = jax.local_devices(backend="cpu")[0]
    with jax.default_device(host):
        key = jax.random.wrap_key_data(jnp.asarray(np.array(jax.random.key_data(key))), impl=jax.random.key_impl(key))
    order = jax.device_put(order, host)
    # Small batches are drawn and read several at a time, as each call takes longer than its work. The steps are not
    # mapped by vmap, in which some kinds of random keys give other numbers.
    draw = jax.jit(lambda order, key, steps: jax.lax.map(lambda step: order.batch(key, step, n)["index"], steps))
    size = sum(n * max(1, column[:1].nbytes) for column in streamed.table.columns().values())
    group = 1 if sharding is not None else min(MOST_AT_ONCE, max(1, GROUP_BYTES // size))

    def read(number: int) -> dict[str, Any]:
        with jax.default_device(host):
            index = np.asarray(draw(order, key, group * number + jnp.arange(group)))
        return streamed.rows(index) if sharding is None else sharded_rows(index[0], sharding)

    def sharded_rows(index: np.ndarray, sharding: NamedSharding) -> dict[str, jax.Array]:
        def read_part(column: Any, part: tuple[slice, ...]) -> np.ndarray:
            return np.ascontiguousarray(column[index[part[0]]])

        return {
            name: jax.make_array_from_callback((n, *column.shape[1:]), sharding, partial(read_part, column))
            for name, column in streamed.table.columns().items()
        }

    ahead = max(2, AHEAD // group)
    options = grain.ReadOptions(num_threads=min(READERS, ahead), prefetch_buffer_size=ahead)
    numbers = range(first // group, -(-last // group))
    groups = grain.MapDataset.range(numbers.start, numbers.stop).map(read).to_iter_dataset(options)

    def batches() -> Iterator[_Read]:
        for number, rows in zip(numbers, groups, strict=True):
            if sharding is not None:
                yield _Read(streamed, rows)
                continue
            for step in range(max(first, group * number), min(last, group * (number + 1))):
                yield _Read(streamed, {name: column[step - group * number] for name, column in rows.items()})

    return batches()
