"""Interventional robustness score (IRS)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.inputs import CONVENTIONS, Binning, choose, examples, warn_of_fine_factors
from jaxvae.metrics.mutual_information import discretise
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class IRS(Result):
    """Interventional robustness score, with the quantities that it is computed from."""

    per_code: np.ndarray
    """Score of each code [D]; NaN for constant codes."""
    parent: np.ndarray
    """Factor that each code is most robust for [D]; -1 for constant codes."""
    weights: np.ndarray
    """Largest deviation of each code from its mean [D]."""
    live_codes: int
    ignored_factors: tuple[int, ...]
    quantile: float
    num_samples: int


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    convention: Literal["reference", "paper"] = "reference",
    binning: Binning | None = None,
) -> IRS:
    """Interventional robustness score: how little a code changes, given its factor, when all other factors change.

        Q[d, k] = mean over values v of factor k of the `quantile` of |z_d - mean of z_d given v|
        score_d = max_k 1 - Q[d, k] / T_d,    T_d = max |z_d - mean of z_d|

    The score is the mean over codes, weighted by T_d. Noise does not score 0. Factors with more than `num_bins` values
    are binned.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Largest number of distinct values of a factor.
      convention: Convention: "reference" uses the 99th percentile, and "paper" the largest deviation.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out, or has more values than there are bins.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Suter et al. (2019); Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    quantile = 0.99 if convention == "reference" else 1.0
    data = examples(codes, factors, binning)
    warn_of_fine_factors(data, num_bins)
    centred = data.codes - data.codes.mean(axis=0)
    widest = np.abs(centred).max(axis=0)
    deviation = np.zeros((data.codes.shape[1], data.factors.shape[1]))
    for k, numbers in enumerate(data.factors.T):
        known = numbers >= 0
        factor = discretise(numbers[known, None], num_bins)[:, 0]
        order = np.argsort(factor, kind="stable")
        groups = np.split(centred[known][order], np.flatnonzero(np.diff(factor[order])) + 1)
        spreads = [np.quantile(np.abs(group - group.mean(axis=0)), quantile, axis=0) for group in groups]
        deviation[:, k] = np.mean(spreads, axis=0)
    live = data.live
    robust = 1 - deviation / np.where(live, widest, 1)[:, None]
    per_code = np.where(live, robust.max(axis=1), np.nan)
    weights = np.where(live, widest, 0)
    return IRS(
        score=float(np.nansum(per_code * weights) / weights.sum()) if live.any() else 0.0,
        definition=data.describe(f"IRS, quantile {quantile:g}"),
        per_code=per_code,
        parent=np.where(live, data.kept[robust.argmax(axis=1)], -1),
        weights=weights,
        live_codes=int(live.sum()),
        ignored_factors=data.ignored_factors,
        quantile=quantile,
        num_samples=len(data.codes),
    )
