"""Mutual information gap (MIG)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.information import Information, Normalise, check_normalisation, information_of, said
from jaxvae.metrics.inputs import Binning, Examples, examples, second_best
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
    code_entropy: np.ndarray
    """Entropy of each binned code on all rows in nats [D]. With it, every normalisation can be computed again."""
    live_codes: int
    """Number of codes that are not constant."""
    ignored_factors: tuple[int, ...]
    """Factors that are constant in these examples and are left out of the score."""
    num_bins: int
    num_samples: int


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    normalise: Normalise = "factor",
    binning: Binning | None = None,
) -> MIG:
    """Mutual information gap: the gap between the two codes that are most informative about each factor.

    MIG is the mean over factors k of (I_1 - I_2) / H(y_k), where I_1 >= I_2 are the two largest mutual informations of
    factor k with the codes. Each code is cut into `num_bins` bins of equal width between its extremes, so an outlier
    lowers the score. Information and entropy are plug-in estimates. With a single code, I_2 = 0. The best score is 1,
    and chance level is 0.

    The public code of the review by Carbonneau et al. divides each information by the entropy of the code instead,
    which gives other numbers unless both are uniform with as many values as bins: `normalise="code"`.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code. A factor with more values than bins keeps the score of a perfect code below 1.
      normalise: What each information is divided by: the entropy of the "factor" (Chen et al.), the entropy of the
        binned "code", or "none", which gives nats.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out, is missing in some examples, or has more values than there are
        bins.

    Raises:
      ValueError: The shapes do not match, the codes are not finite, or the factors are not integers or all constant.

    Reference: Chen et al. (2018), section 4; binned as in Locatello et al. (2019).
    """
    check_normalisation(normalise)
    data = examples(codes, factors, binning)
    return mig_of(data, information_of(data, num_bins), normalise)


def mig_of(data: Examples, information: Information, normalise: Normalise = "factor") -> MIG:
    """Computes the MIG of checked examples from their information."""
    first, second = second_best(information.mutual)
    if normalise == "code":
        first, second = second_best(information.normalised("code"))
    gaps = (first - second) / (information.factor_entropy if normalise == "factor" else 1)
    known = {
        "mutual_information": data.spread(information.mutual),
        "factor_entropy": data.spread(information.factor_entropy[None])[0],
    }
    bins = f"{information.num_bins} equal-width bins per code"
    return MIG(
        score=float(gaps.mean()),
        definition=data.describe(f"discretised MIG, {bins}{said(normalise)}"),
        per_factor=data.spread(gaps),
        **{name: np.nan_to_num(array) for name, array in known.items()},
        code_entropy=information.own_entropy,
        live_codes=int(data.live.sum()),
        ignored_factors=data.ignored_factors,
        num_bins=information.num_bins,
        num_samples=len(data.codes),
    )
