"""Fingerprints of the content of data sets, which do not depend on the place of their files."""

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
"""Largest number of bytes of an array that are hashed."""


def fingerprint(source: Source) -> str | None:
    """Computes a fingerprint of the content of a data set, 16 hexadecimal digits; None for generated data.

    It is the start of a SHA-256 hash of the arrays: images as they are stored, factors and further columns, with their
    shapes and types. For an array of more than 64 MiB, evenly spaced rows of 64 MiB in total are hashed, so that data
    larger than memory need not be read. For a subset, the indices of its examples are hashed as well. The fingerprint
    of a subset of generated data consists of these indices and the name of the data.
    """
    chosen, name = [], source.name
    while isinstance(source, Wrapper):  # only the data itself, without the wrappers
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
