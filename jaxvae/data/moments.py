"""Moments of the variables of a matrix that is read in blocks."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxvae.schema import ROUNDING

Block: TypeAlias = tuple[slice, np.ndarray, np.ndarray, np.ndarray]
"""The rows of a block; the indices of its variables among the selected ones, int [d]; their values, float64 [n, d],
with NaN for missing values; and whether each of the rows has a value other than 0 in any variable, [n]."""


class Moments(NamedTuple):
    """Moments of each selected variable over its observed values: [D] each."""

    observed: np.ndarray
    """Number of values."""
    counted: np.ndarray
    """Number of values that determine mean and square."""
    mean: np.ndarray
    square: np.ndarray
    """Sum of the squared deviations from the mean."""
    low: np.ndarray
    high: np.ndarray
    filled: np.ndarray
    """Number of values other than 0."""
    fractional: np.ndarray
    """Number of values that are no whole numbers."""


def moments_of(blocks: Iterable[Block], width: int, counted: np.ndarray | None = None) -> Moments:
    """Computes moments in one pass.

    Args:
      blocks: Blocks of the matrix, see `Block`.
      width: Number of selected variables D.
      counted: Rows that determine means and squares, bool [N]; by default, all rows.
    """
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    zeros = np.zeros((6, width))
    found = Moments(zeros[0], zeros[1], zeros[2], zeros[3], low, high, zeros[4], zeros[5])
    for part, at, values, _ in blocks:
        missing = np.isnan(values)
        found.observed[at] += len(values) - missing.sum(axis=0)
        known = np.where(missing, 0, values) if missing.any() else values
        chosen = slice(None) if counted is None else counted[part]
        _add_moments(found, at, known[chosen], missing[chosen])
        found.low[at] = np.fmin(found.low[at], np.fmin.reduce(values, axis=0))
        found.high[at] = np.fmax(found.high[at], np.fmax.reduce(values, axis=0))
        found.filled[at] += np.count_nonzero(known, axis=0)
        found.fractional[at] += is_fractional(values).sum(axis=0)
    return found


def _add_moments(found: Moments, at: np.ndarray, known: np.ndarray, missing: np.ndarray) -> None:
    """Adds rows [n, d], with 0 in place of missing values, to means and squares."""
    count = len(known) - missing.sum(axis=0)
    mean = known.sum(axis=0) / np.maximum(count, 1)
    total, difference = found.counted[at] + count, mean - found.mean[at]
    share = count / np.maximum(total, 1)
    # Two parts' squares add up to those of the whole (Chan, Golub and LeVeque, 1983).
    residual = known - mean
    residual[missing] = 0
    found.square[at] += np.einsum("nd,nd->d", residual, residual)
    found.square[at] += difference**2 * found.counted[at] * share
    found.mean[at] += difference * share
    found.counted[at] = total


def is_fractional(values: np.ndarray) -> np.ndarray:
    """Tells which values are no whole numbers, up to rounding."""
    rounded = np.round(values)
    differs = values != rounded
    return np.abs(values - rounded) > ROUNDING * np.maximum(np.abs(values), 1) if differs.any() else differs
