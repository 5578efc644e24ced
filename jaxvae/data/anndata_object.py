"""AnnData objects in memory, as tables."""

from dataclasses import replace
from typing import Any

import numpy as np

from jaxvae.choose import unknown
from jaxvae.data.anndata import table_of_matrix
from jaxvae.data.table import Table
from jaxvae.data.tabular import Columns
from jaxvae.schema import Schema


def anndata_object(
    adata: Any,
    layer: str | None = None,
    *,
    columns: Columns = Columns(),
    size_factor: str | None = None,
    schema: Schema | None = None,
) -> Table:
    """The matrix of an AnnData object, as `jaxvae.data.anndata.anndata_file` reads it from a file.

    Args:
      adata: AnnData object of N observations.
      layer: Name of a layer; by default, the matrix is X.
      columns: Roles and kinds of the variables and of the columns of `obs`.
      size_factor: Column of `obs` with positive size factors in any unit, which then stand in the place of the rows'
        sums of counts. By default, there are none.
      schema: Columns that a model was trained on, for new rows.

    Returns:
      A table. With size factors, "log_size" [N] is in its batches: their logarithms, in the unit that makes their mean
      over the training rows that of the logarithms of these rows' sums. The schema keeps the unit for new rows.

    Raises:
      ValueError: There is no such layer or column, the matrix cannot be learned from, a size factor is not positive, or
        the rows are new and the model was trained without size factors.
    """
    layers = list(adata.layers)
    if layer is not None and layer not in layers:
        raise ValueError(unknown("layer", layer, layers) if layers else f"there is no layer {layer!r}, and no other")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise ValueError("there is no X: name a layer" if layers else "there is no X, and no layer")
    others = [each for each in layers if each != layer]
    names = [str(each) for each in adata.var_names]
    if matrix.shape[0] < 1 or not names:
        raise ValueError(f"there is nothing to learn from: the matrix has the shape {matrix.shape}")
    table = table_of_matrix(matrix, adata.obs, names, columns, schema, "adata", others)
    return table if size_factor is None else _with_sizes(table, adata, size_factor, new_rows=schema is not None)


def _with_sizes(table: Table, adata: Any, name: str, *, new_rows: bool) -> Table:
    if name not in adata.obs:
        raise ValueError(unknown("column", name, [str(each) for each in adata.obs]))
    sizes = np.asarray(adata.obs[name], np.float64)
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        wrong = int((~(np.isfinite(sizes) & (sizes > 0))).sum())
        raise ValueError(f"size factors must be positive numbers, and {wrong} of {len(sizes)} in {name!r} are not")
    assert table.schema is not None
    schema, log_size = table.schema, np.log(sizes[slice(None) if table.origin.rows is None else table.origin.rows])
    if not new_rows:
        totals = np.nansum(np.asarray(table.pixels, np.float64), axis=1)
        schema = replace(schema, log_size_unit=float(np.log(totals).mean() - log_size.mean()))
    elif schema.log_size_unit is None:
        raise ValueError(f"the model was trained without size factors, and has no unit for {name!r}: leave it out")
    log_size += schema.log_size_unit
    return replace(table, schema=schema, extras={**table.extras, "log_size": log_size.astype(np.float32)})
