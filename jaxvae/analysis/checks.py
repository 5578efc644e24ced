"""Checks of numeric tables."""

import numpy as np
from numpy.typing import ArrayLike


def checked_table(name: str, values: ArrayLike) -> np.ndarray:
    """Returns the values as a float64 table [N, K].

    Raises:
      ValueError: The values do not have two axes, are empty, or are not finite.
    """
    array = np.asarray(values).astype(np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have two axes, examples and columns, and not be empty; got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=0)).tolist()
    if bad:
        raise ValueError(f"{name} must be finite; columns {bad} are not")
    return array
