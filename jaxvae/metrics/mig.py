"""Mutual information gap (MIG)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.inputs import examples, second_best, warn_of_fine_factors
from jaxvae.metrics.mutual_information import discretise, entropy, mutual_information_matrix
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class MIG(Result):
    """Mutual information gap, with the quantities that it is computed from."""

    per_factor: np.ndarray
    """Gap between the two largest mutual informations divided by the entropy, for each factor [K]; NaN for ignored
    factors."""
    mutual_information: np.ndarray
    """Mutual information of binned codes and factors in nats [D, K]."""
    factor_entropy: np.ndarray
    """Empirical entropy of each factor in nats [K]."""
    live_codes: int
    """Number of codes that are not constant."""
    ignored_factors: tuple[int, ...]
    """Factors that are constant in these examples and are left out of the score."""
    num_bins: int
    num_samples: int


def mig(codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20) -> MIG:
    """Mutual information gap: the gap between the two codes that are most informative about each factor.

    MIG is the mean over factors k of (I_1 - I_2) / H(y_k), where I_1 >= I_2 are the two largest mutual informations of
    factor k with the codes. Each code is cut into `num_bins` bins of equal width between its extremes, so an outlier
    lowers the score. Information and entropy are plug-in estimates. With a single code, I_2 = 0. The best score is 1,
    and chance level is 0.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers.
      num_bins: Number of bins per code. A factor with more values than bins keeps the score of a perfect code below 1.

    Warns:
      UserWarning: A factor is constant and left out, or has more values than there are bins.

    Raises:
      ValueError: The shapes do not match, the codes are not finite, or the factors are not integers or all constant.

    Reference: Chen et al. (2018), section 4; binned as in Locatello et al. (2019).
    """
    if num_bins < 2:
        raise ValueError(f"num_bins must be at least 2, got {num_bins}")
    data = examples(codes, factors)
    warn_of_fine_factors(data, num_bins)
    information = mutual_information_matrix(discretise(data.codes, num_bins), data.factors)
    factor_entropy = entropy(data.factors)
    first, second = second_best(information)
    gaps = (first - second) / factor_entropy
    known = {"mutual_information": data.spread(information), "factor_entropy": data.spread(factor_entropy[None])[0]}
    return MIG(
        score=float(gaps.mean()),
        definition=f"discretised MIG, {num_bins} equal-width bins per code",
        per_factor=data.spread(gaps),
        **{name: np.nan_to_num(array) for name, array in known.items()},
        live_codes=int(data.live.sum()),
        ignored_factors=data.ignored_factors,
        num_bins=num_bins,
        num_samples=len(data.codes),
    )
