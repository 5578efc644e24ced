"""Mutual information of discretised codes with discrete factors, as plug-in estimates in nats."""

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import checked_codes


def discretise(codes: ArrayLike, num_bins: int) -> Array[np.int64]:
    """Cuts each code, between its own minimum and maximum, into bins of equal width, closed on the left.

    Edges come from `linspace` and are compared with the values. `floor(num_bins * (z - min) / (max - min))` would put
    values on an edge, which noise-free codes have, into other bins.

    Args:
      codes: Codes [N, D], finite.
      num_bins: Number of bins per code.

    Returns:
      Bins 0..num_bins-1, [N, D]. The maximum is in the last bin. A constant code fills one bin.
    """
    array = checked_codes(codes)
    return np.stack([_bins(code, num_bins) for code in array.T], axis=1)


def contingency(left: Array[np.int64], right: Array[np.int64]) -> Array[np.int64]:
    """Counts the pairs of values of two columns [N] with values from 0 up: [max(left) + 1, max(right) + 1].

    Rows in which a value is missing (-1) are left out.
    """
    if min(left.min(), right.min()) < 0:
        known = (left >= 0) & (right >= 0)
        left, right = left[known], right[known]
    rows, columns = int(left.max()) + 1, int(right.max()) + 1
    return np.bincount(left * columns + right, minlength=rows * columns).reshape(rows, columns)


def plug_in_mutual_information(counts: Array[np.int64]) -> float:
    """Computes the mutual information in nats of the empirical distribution given by a contingency table [R, C].

    It is exactly 0 if either variable takes one value, as the ratio of integer counts is then exactly 1. Independent
    variables score about (R - 1)(C - 1) / (2 N), the bias of this estimate.
    """
    total = counts.sum()
    independent = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True)
    seen = counts > 0
    log_ratio = np.log(counts[seen] * total / independent[seen])
    return max(0.0, float((counts[seen] / total * log_ratio).sum()))


def mutual_information_matrix(bins: Array[np.int64], factors: Array[np.int64]) -> Array[np.float64]:
    """Computes the plug-in mutual information of columns of `bins` [N, D] and of `factors` [N, K], nats [D, K].

    Both have values from 0 up.
    """
    return np.array([[plug_in_mutual_information(contingency(b, f)) for f in factors.T] for b in bins.T])


def entropy(factors: Array[np.int64]) -> Array[np.float64]:
    """Computes the empirical entropy of each column of `factors` [N, K] (values from 0 up), nats [K]."""
    return np.array([plug_in_mutual_information(contingency(factor, factor)) for factor in factors.T])


def _bins(code: Array[np.float64], num_bins: int) -> Array[np.int64]:
    edges = np.linspace(code.min(), code.max(), num_bins + 1)
    return np.searchsorted(edges[:-1], code, side="right") - 1
