"""Where the examples of a source come from: their names, and their rows in the file that they were read from."""

import numpy as np

from jaxvae.data.source import Source, Wrapper
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Subset
from jaxvae.data.table import IN_ORDER, Origin, Table


def origin_of(source: Source) -> Origin:
    """Returns the names and rows of the examples of a source, in its order. Wrappers do not change them.

    A source of your own may have an attribute `ids` with as many names as examples.
    """
    if isinstance(source, Table):
        return source.origin
    if isinstance(source, Streamed):
        return source.table.origin
    if isinstance(source, Subset):
        inner, index = origin_of(source.source), np.asarray(source.index)
        names = None if inner.ids is None else [inner.ids[i] for i in index]
        groups = None if inner.groups is None else inner.groups[index]
        parts = None if inner.parts is None else tuple(inner.parts[i] for i in index)
        return Origin(names, index if inner.rows is None else inner.rows[index], groups, inner.label_values, parts)
    if (ids := getattr(source, "ids", None)) is not None:
        return Origin(ids, None)
    return origin_of(source.source) if isinstance(source, Wrapper) else IN_ORDER
