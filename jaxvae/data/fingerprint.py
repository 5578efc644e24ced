"""What a data set holds, as a short text: the same wherever its files lie."""

import hashlib
from typing import Any

import jax
import numpy as np

from jaxvae.data.grid import FactorGrid
from jaxvae.data.source import Source, Wrapper
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Subset
from jaxvae.data.table import Table
from jaxvae.data.videos import MovingSprites

LIMIT = 64 * 2**20
"""Bytes of an array that are looked at."""


def fingerprint(source: Source) -> str | None:
    """Sixteen hexadecimal digits that tell the content of one data set from another; None for generated data.

    They are of a SHA-256 of the arrays of the data: images as they are stored, factors and further columns, with their
    shapes and types. Of an array larger than 64 MiB it takes 64 MiB in rows at equal distances, so that data which is
    larger than memory need not be read. Of a subset, it also takes the indices of its examples;
    a subset of generated data is told from others by these and the name of the data.
    """
    chosen, name = [], source.name
    while isinstance(source, Wrapper):  # the data itself, not what is added to it
        chosen += [np.asarray(source.index)] if isinstance(source, Subset) else []
        source = source.source
    arrays = chosen if isinstance(source, FactorGrid | MovingSprites) else [*_arrays(source), *chosen]
    if not arrays:
        return None
    digest = hashlib.sha256(name.encode() if len(arrays) == len(chosen) else b"")
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(_some_rows(array)).view(np.uint8).data)
    return digest.hexdigest()[:16]


def _arrays(source: Any) -> list[Any]:
    source = source.table if isinstance(source, Streamed) else source
    tree = source.columns() if isinstance(source, Table) else source
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, np.ndarray | jax.Array)]
    return [
        leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
        for leaf in leaves
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended) and leaf.size
    ]


def _some_rows(array: np.ndarray) -> np.ndarray:
    if array.nbytes <= LIMIT:
        return array
    if array.ndim == 0 or len(array) == 1:
        return array.reshape(-1)[np.linspace(0, array.size - 1, LIMIT // array.itemsize).astype(np.int64)]
    rows = max(2, min(len(array), LIMIT // (array.nbytes // len(array))))
    return array[np.linspace(0, len(array) - 1, rows).astype(np.int64)]
