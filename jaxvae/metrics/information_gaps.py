"""Gaps of mutual information besides the MIG: MIG-sup, JEMMIG and DCIMIG, and all four from one pass.

The differences between public codes are large. Of 2,000 rows of four uniform factors, with a fifth of noise in the
codes and 10 bins, the review's MIG is 0.529 and Chen et al.'s is 0.514; on three discrete factors with two codes of
noise, they are 0.579 and 0.809. Each function says which form it computes and how to get the others.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.information import Information, Normalise, check_normalisation, information_of, said
from jaxvae.metrics.inputs import CONVENTIONS, Binning, Examples, choose, enough_factors, examples, second_best
from jaxvae.metrics.mig import MIG, mig_of
from jaxvae.metrics.results import Result

ACTIVE_VARIANCE = 0.01
"""Variance of a code up to which it is inactive in the authors' MIG-sup."""


@dataclass(frozen=True, eq=False)
class InformationGap(Result):
    """A gap of mutual information, with the quantities that all its public forms are computed from."""

    per_factor: np.ndarray
    """Value of each factor [K]; NaN for ignored factors, and for a score that is a mean over codes."""
    per_code: np.ndarray
    """Value of each code [D]; NaN for a score that is a mean over factors."""
    mutual_information: np.ndarray
    """Mutual information of binned codes and factors in nats [D, K]; NaN for ignored factors."""
    factor_entropy: np.ndarray
    """Entropy of each factor in nats [K]; NaN for ignored factors."""
    code_entropy: np.ndarray
    """Entropy of each binned code on all rows in nats [D]."""
    ignored_factors: tuple[int, ...]
    num_bins: int
    num_samples: int


class InformationGaps(NamedTuple):
    """The four gaps of the same codes."""

    mig: MIG
    mig_sup: InformationGap
    jemmig: InformationGap
    dcimig: InformationGap


def information_gaps(
    codes: ArrayLike, factors: ArrayLike, *, num_bins: int = 20, binning: Binning | None = None
) -> InformationGaps:
    """Computes MIG, MIG-sup, JEMMIG and DCIMIG with their defaults from one pass over the contingency tables.

    One after another, the four and MED take a single pass as well: that of the last examples is kept.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: The warnings of `mig`; or only one factor varies, so that MIG-sup and DCIMIG are undefined.

    Raises:
      ValueError: The errors of `mig`.
    """
    data = examples(codes, factors, binning)
    found = information_of(data, num_bins)
    enough_factors(data, "MIG-sup and DCIMIG")
    return InformationGaps(
        mig_of(data, found),
        _mig_sup(data, found, "factor", "reference"),
        _jemmig(data, found, "review"),
        _dcimig(data, found, "entropy"),
    )


def mig_sup(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    normalise: Normalise = "factor",
    convention: Literal["reference", "paper"] = "reference",
    binning: Binning | None = None,
) -> InformationGap:
    """MIG-sup: the gap between the two factors that each code is most informative about.

    MIG-sup is the mean over codes d of the gap between the largest and the second-largest I(z_d; y_k) / H(y_k) over
    factors. It is the counterpart of MIG: it falls if a code mixes factors, and does not see that a factor is in
    several codes, so read it together with MIG. One factor gives NaN.

    The review's public code is `normalise="code"` with all codes. The authors' code estimates the information from
    samples of the posteriors, divides it by the logarithm of the number of values, and takes the mean over codes
    whose means have a variance above 0.01.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      normalise: What each information is divided by: the entropy of the "factor", of the binned "code", or "none",
        which gives nats.
      convention: "reference" counts every code, and constant codes as 0; "paper" leaves out codes with a variance of at
        most 0.01.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: The warnings of `mig`; or only one factor varies, so that MIG-sup is undefined.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Li et al. (2020, "proVLAE"); Carbonneau et al. (2020).
    """
    check_normalisation(normalise)
    choose("convention", convention, CONVENTIONS)
    data = examples(codes, factors, binning)
    enough_factors(data, "MIG-sup")
    return _mig_sup(data, information_of(data, num_bins), normalise, convention)


def jemmig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    form: Literal["review", "authors"] = "review",
    binning: Binning | None = None,
) -> InformationGap:
    """JEMMIG: the mutual information gap together with the joint entropy of a factor and its best code.

    For factor k, let d be the code with the largest information I_1, and I_2 the second-largest information. Then

        E_k = H(y_k, z_d) - I_1 + I_2
        review:  mean_k 1 - E_k / (H(y_k) + log num_bins)     1 is best
        authors: mean_k E_k / (H(y_k) + log num_bins)         0 is best

    A single code that holds the factor and nothing else is best. A copy of each code loses exactly half. The two public
    forms go in opposite directions. Independent codes score near 0, but constant codes do not: without information and
    entropy, they score log num_bins / (H(y_k) + log num_bins), which is 0.69 for four values and 20 bins.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width. The score depends on it more than MIG does.
      form: Form of the score, as above.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Returns:
      The score; `per_factor` is E_k in nats.

    Warns:
      UserWarning: The warnings of `mig`.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Do & Tran (2020); Carbonneau et al. (2020).
    """
    choose("form", form, ("review", "authors"))
    data = examples(codes, factors, binning)
    return _jemmig(data, information_of(data, num_bins), form)


def dcimig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    weighting: Literal["entropy", "uniform"] = "entropy",
    binning: Binning | None = None,
) -> InformationGap:
    """DCIMIG: for each factor, the largest gap of a code that is most informative about this factor.

    The gap of a code is between the two factors that it is most informative about, and is credited to the first one. A
    factor has the largest gap that is credited to it, g_k, or 0. A copy of a code changes nothing. One factor gives
    NaN.

        entropy: sum_k g_k / sum_k H(y_k)    (the review's public code)
        uniform: mean_k g_k / H(y_k)         (the code of one of its authors)

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      weighting: Weights of the factors, as above. They agree for factors of equal entropy.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Returns:
      The score; `per_factor` is g_k in nats.

    Warns:
      UserWarning: The warnings of `mig`; or only one factor varies, so that DCIMIG is undefined.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Sepliarskaia et al. (2019); Carbonneau et al. (2020).
    """
    choose("weighting", weighting, ("entropy", "uniform"))
    data = examples(codes, factors, binning)
    enough_factors(data, "DCIMIG")
    return _dcimig(data, information_of(data, num_bins), weighting)


def _mig_sup(data: Examples, found: Information, normalise: Normalise, convention: str) -> InformationGap:
    first, second = second_best(found.normalised(normalise).T)
    gaps = first - second if len(found.factor_entropy) > 1 else np.full(len(first), np.nan)
    counted = gaps[data.codes.var(axis=0) > ACTIVE_VARIANCE] if convention == "paper" else gaps
    which = f", codes of variance above {ACTIVE_VARIANCE:g}" if convention == "paper" else ""
    score = float(counted.mean()) if len(counted) else 0.0
    return _result(data, found, score, f"MIG-sup{said(normalise)}{which}", per_code=gaps)


def _jemmig(data: Examples, found: Information, form: str) -> InformationGap:
    first, second = second_best(found.mutual)
    best = found.mutual.argmax(axis=0), np.arange(found.mutual.shape[1])
    excess = found.joint_entropy[best] - first + second
    shares = excess / (found.factor_entropy + math.log(found.num_bins))
    score = float((1 - shares if form == "review" else shares).mean())
    words = "JEMMIG, 1 is best" if form == "review" else "JEMMIG of its authors, 0 is best"
    return _result(data, found, score, words, per_factor=excess)


def _dcimig(data: Examples, found: Information, weighting: str) -> InformationGap:
    first, second = second_best(found.mutual.T)
    credited = np.zeros(len(found.factor_entropy))
    np.maximum.at(credited, found.mutual.argmax(axis=1), first - second)
    if weighting == "entropy":
        score, words = credited.sum() / found.factor_entropy.sum(), "factors weighted by their entropy"
    else:
        score, words = (credited / found.factor_entropy).mean(), "factors weighted equally"
    undefined = len(credited) < 2
    return _result(data, found, math.nan if undefined else float(score), f"DCIMIG, {words}", per_factor=credited)


def _result(
    data: Examples,
    found: Information,
    score: float,
    words: str,
    *,
    per_factor: np.ndarray | None = None,
    per_code: np.ndarray | None = None,
) -> InformationGap:
    nothing = np.full(found.mutual.shape[1], np.nan)
    return InformationGap(
        score=score,
        definition=data.describe(f"{words}, {found.num_bins} equal-width bins per code"),
        per_factor=data.spread(nothing if per_factor is None else per_factor),
        per_code=np.full(len(found.mutual), np.nan) if per_code is None else per_code,
        mutual_information=data.spread(found.mutual),
        factor_entropy=data.spread(found.factor_entropy),
        code_entropy=found.own_entropy,
        ignored_factors=data.ignored_factors,
        num_bins=found.num_bins,
        num_samples=len(data.codes),
    )
