"""Images that stay in a file on the host: for data larger than the device's memory."""

from dataclasses import dataclass

import jax
import numpy as np

from jaxvae.data.source import independent_batch
from jaxvae.data.table import Table, unpack


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Streamed:
    """A `Table` whose images are fetched row by row, by a callback from the compiled step, from a memory-mapped array.

    Same rows, same order and same bits as the table itself, so that a run ends the same with either; `Epochs` works as
    ever. Only a batch is ever in memory. The device waits for each batch (there is no prefetching), so prefer the
    table where it fits.
    """

    table: Table

    name = property(lambda self: self.table.name)
    image_shape = property(lambda self: self.table.image_shape)
    factor_names = property(lambda self: self.table.factor_names)
    factor_sizes = property(lambda self: self.table.factor_sizes)
    size = property(lambda self: self.table.size)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """As in `Source`."""
        table = self.table
        kept = [table.pixels] if table.factors is None else [table.pixels, table.factors]
        rows = jax.pure_callback(
            lambda index: [np.ascontiguousarray(array[np.asarray(index)]) for array in kept],
            [jax.ShapeDtypeStruct((*index.shape, *array.shape[1:]), array.dtype) for array in kept],
            index,
            vmap_method="broadcast_all",
        )
        image = unpack(rows[0], table.image_shape, table.storage)
        return {"image": image} if table.factors is None else {"image": image, "factors": rows[1]}

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """The rows that `Table.sample` gives."""
        return self.at(self.table.draw(key, n, first))

    def batch(self, key: jax.Array, step: jax.Array, n: int) -> dict[str, jax.Array]:
        """The batch that `Table.batch` gives."""
        return independent_batch(self, key, step, n)
