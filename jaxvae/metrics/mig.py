"""The mutual information gap."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.mutual_information import (
    checked_codes,
    checked_factors,
    discretise,
    entropy,
    mutual_information_matrix,
)


@dataclass(frozen=True, eq=False)
class MIG:
    """A mutual information gap, with what it was computed from."""

    score: float
    """Mean of `per_factor` over the factors that vary: 1 is best, 0 is chance."""
    per_factor: np.ndarray
    """Gap between the two largest mutual informations over the entropy, [K]; NaN for ignored factors."""
    mutual_information: np.ndarray
    """Of binned codes and factors, nats [D, K]."""
    factor_entropy: np.ndarray
    """Empirical, nats [K]."""
    live_codes: int
    """Number of codes that are not constant."""
    ignored_factors: tuple[int, ...]
    """Factors that are constant in these examples; left out of the score."""
    num_bins: int
    num_samples: int

    @property
    def definition(self) -> str:
        """What exactly the score is, in a phrase."""
        return f"discretised MIG, {self.num_bins} equal-width bins per code"

    def to_json(self) -> dict[str, Any]:
        """All fields and the definition as plain Python values; ignored factors' gaps are None."""
        return {
            "score": self.score,
            "definition": self.definition,
            "per_factor": [None if np.isnan(gap) else float(gap) for gap in self.per_factor],
            "mutual_information": self.mutual_information.tolist(),
            "factor_entropy": self.factor_entropy.tolist(),
            "live_codes": self.live_codes,
            "ignored_factors": list(self.ignored_factors),
            "num_bins": self.num_bins,
            "num_samples": self.num_samples,
        }


def mig(codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20) -> MIG:
    """Mutual information gap: is each factor carried by one code and by no second one?

    MIG = mean over factors k of (I_1 - I_2) / H(y_k), where I_1 >= I_2 are the two largest mutual
    informations of factor k with the codes. Each code is cut into `num_bins` bins of equal width between its
    extremes (so an outlier lowers the score); information and entropy are plug-in estimates. With one code,
    I_2 = 0.

    Args:
      codes: [N, D], real.
      factors: [N, K], whole numbers.
      num_bins: bins per code. A factor with more values than bins keeps a perfect code below 1.

    Warns:
      UserWarning: a factor is constant and left out, or has more values than there are bins.

    Raises:
      ValueError: shapes that do not fit, codes that are not finite, factors not whole or all constant.

    Reference: Chen et al. (2018), section 4; binned as in Locatello et al. (2019).
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    continuous, discrete = checked_codes(codes), checked_factors(factors)
    if len(continuous) != len(discrete):
        raise ValueError(f"codes and factors must have as many rows; got {len(continuous)} and {len(discrete)}")
    num_values = discrete.max(axis=0) + 1
    varies = num_values > 1
    if not varies.any():
        raise ValueError("every factor is constant in these examples: there is nothing to be informed about")
    _warn_about(num_values, num_bins)

    information = mutual_information_matrix(discretise(continuous, num_bins), discrete)
    factor_entropy = entropy(discrete)
    gaps = np.full(len(num_values), np.nan)
    gaps[varies] = _gap(information[:, varies]) / factor_entropy[varies]
    return MIG(
        score=float(gaps[varies].mean()),
        per_factor=gaps,
        mutual_information=information,
        factor_entropy=factor_entropy,
        live_codes=int((continuous.max(axis=0) > continuous.min(axis=0)).sum()),
        ignored_factors=tuple(np.flatnonzero(~varies).tolist()),
        num_bins=num_bins,
        num_samples=len(continuous),
    )


def _gap(information: np.ndarray) -> np.ndarray:
    """Largest minus second largest over codes, [D, K] -> [K]; the second of a single code is 0."""
    second, first = np.sort(np.pad(information, ((1, 0), (0, 0))), axis=0)[-2:]
    return first - second


def _warn_about(num_values: np.ndarray, num_bins: int) -> None:
    constant, fine = np.flatnonzero(num_values == 1).tolist(), np.flatnonzero(num_values > num_bins).tolist()
    if constant:
        warnings.warn(f"factors {constant} are constant in these examples and left out of the MIG", stacklevel=3)
    if fine:
        warnings.warn(
            f"factors {fine} take more values than the {num_bins} bins of a code can tell apart: "
            "a perfect code scores below 1; raise num_bins",
            stacklevel=3,
        )
