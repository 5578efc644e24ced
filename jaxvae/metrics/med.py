"""Mutual-information-based entropy disentanglement (MED): DCI's entropies of mutual information instead of learners."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.dci import completeness_of, disentanglement_of
from jaxvae.metrics.information import information_of
from jaxvae.metrics.inputs import Binning, enough_factors, examples
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class MED(Result):
    """Disentanglement as the score, with completeness and the quantities that they are computed from."""

    disentanglement: float
    completeness: float
    per_code: np.ndarray
    """Disentanglement of each code [D]; NaN for codes that are not among the best of their factor."""
    importance: np.ndarray
    """Share of code d in the information about factor k [D, K]; NaN for ignored factors."""
    chosen: np.ndarray
    """Mask of the codes that are counted [D]."""
    ignored_factors: tuple[int, ...]
    num_bins: int
    num_samples: int


def med(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    best: int | None = None,
    binning: Binning | None = None,
) -> MED:
    """MED: disentanglement and completeness from the entropies of mutual information, as DCI from importances.

    The importance R[d, k] = I(z_d; y_k) / sum_d I(z_d; y_k) takes the place of the importance of `dci`; nothing is
    learned. The estimate of the information of codes without any is not 0: 2,000 perfect codes of four uniform factors,
    cut into 10 bins, score 0.79. With many codes the score falls further, and `best` is the authors' remedy for
    representations of hundreds of codes ("top-k MED").

    The public code also fits a logistic regression, whose accuracy it returns next to the score (see `downstream`), and
    it divides by zero if no code is informative about a factor; here, such a factor has no weight.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      best: Number of codes per factor that are counted: those with the highest disentanglement among the codes that are
        most important for it. By default, all codes are counted.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: The warnings of `mig`; or only one factor varies, so that disentanglement is undefined.

    Raises:
      ValueError: The errors of `mig`; or `best` is below 1.

    Reference: Cao et al. (2022).
    """
    if best is not None and best < 1:
        raise ValueError(f"best must be at least 1, got {best}")
    data = examples(codes, factors, binning)
    enough_factors(data, "MED")
    mutual = information_of(data, num_bins).mutual
    total = mutual.sum(axis=0)
    importance = mutual / np.where(total > 0, total, 1)
    per_code = disentanglement_of(importance)[1]
    chosen = np.ones(len(importance), bool) if best is None else _best(importance, per_code, best)
    disentanglement = disentanglement_of(importance[chosen])[0]
    which = "" if best is None else f", best {best} of each factor"
    return MED(
        score=disentanglement,
        definition=data.describe(f"MED, disentanglement of information, {num_bins} equal-width bins per code{which}"),
        disentanglement=disentanglement,
        completeness=completeness_of(importance[chosen])[0],
        per_code=np.where(chosen, per_code, np.nan),
        importance=data.spread(importance),
        chosen=chosen,
        ignored_factors=data.ignored_factors,
        num_bins=num_bins,
        num_samples=len(data.codes),
    )


def _best(importance: Array[np.float64], per_code: Array[np.float64], number: int) -> Array[np.bool_]:
    """Finds the codes [D] that are among the `number` most disentangled ones of the factor they are important for."""
    chosen, factor = np.zeros(len(importance), bool), importance.argmax(axis=1)
    for k in range(importance.shape[1]):
        mine = np.flatnonzero(factor == k)
        chosen[mine[np.argsort(-per_code[mine], kind="stable")][:number]] = True
    return chosen
