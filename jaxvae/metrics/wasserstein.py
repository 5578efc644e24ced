"""Wasserstein dependency gap (WDG)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import Binning, examples, second_best
from jaxvae.metrics.mutual_information import contingency, discretise
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class WassersteinGap(Result):
    """Wasserstein dependency gap, with the quantities that it is computed from."""

    per_factor: np.ndarray
    """Gap between the two codes that depend most on each factor [K]; NaN for ignored factors."""
    dependency: np.ndarray
    """Mean Wasserstein distance between each code given the factor and the code [D, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_bins: int
    num_samples: int


def wasserstein_dependency_gap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    standardise: bool = True,
    binning: Binning | None = None,
) -> WassersteinGap:
    """Wasserstein dependency gap: the gap between the two codes that change most with each factor.

        W[d, k] = sum_v p(y_k = v) W_1(z_d given y_k = v, z_d),    score = mean_k (W_(1) - W_(2))

    W_1 is the Wasserstein distance between histograms of the code. It is in units of the code, and not normalised: a
    perfect standardised code scores up to 1.15 for a uniform factor of many values, and 1 for one of two values.
    The public code does not standardise codes, so that its scores of different models cannot be compared. Its default
    histograms have bins whose masses follow the distribution of the factor; those here have equal width.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      standardise: Whether to divide codes by their standard deviations.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out, or is missing in some examples.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Carbonneau et al. (2020), in the code of one of its authors.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    data = examples(codes, factors, binning)
    bins, width = discretise(data.codes, num_bins), np.ptp(data.codes, axis=0) / num_bins
    deviation = data.codes.std(axis=0)
    unit = np.where(data.live, deviation, 1) if standardise else np.ones(len(width))
    dependency = np.array([[_dependency(contingency(b, f)) for f in data.factors.T] for b in bins.T])
    dependency = dependency * (width / unit)[:, None]
    first, second = second_best(dependency)
    return WassersteinGap(
        score=float((first - second).mean()),
        definition=data.describe(
            f"Wasserstein dependency gap of {'standardised codes' if standardise else 'codes as they are'}, {num_bins} "
            "equal-width bins per code"
        ),
        per_factor=data.spread(first - second),
        dependency=data.spread(dependency),
        ignored_factors=data.ignored_factors,
        num_bins=num_bins,
        num_samples=len(data.codes),
    )


def _dependency(counts: Array[np.int64]) -> float:
    """Computes the mean distance, in bins, between columns of a contingency table [R, S] and their sum."""
    values = counts.sum(axis=0)
    counts, values = counts[:, values > 0], values[values > 0]
    given = np.cumsum(counts / values, axis=0)
    overall = np.cumsum(counts.sum(axis=1, keepdims=True) / counts.sum(), axis=0)
    return float((np.abs(given - overall).sum(axis=0) * values).sum() / values.sum())
