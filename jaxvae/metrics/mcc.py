"""Mean correlation coefficient (MCC)."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from jaxvae.metrics.inputs import checked_codes, choose, known_rows, missing_note, without_mask
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class MCC(Result):
    """Mean correlation coefficient, with the quantities that it is computed from."""

    over_factors: float
    """Sum over the matched pairs divided by the number of factors that vary, also those without a code of their own."""
    match: np.ndarray
    """Code of each factor [K]; -1 for none, and for a constant factor."""
    correlation: np.ndarray
    """Absolute correlations [K, D]; 0 if the factor or the code is constant."""
    num_samples: int


def mcc(codes: ArrayLike, factors: ArrayLike, *, correlation: Literal["pearson", "spearman"] = "pearson") -> MCC:
    """Mean correlation coefficient: mean absolute correlation of factors and codes under the best matching.

    Each factor is matched to its own code such that the sum of absolute correlations is largest. The score is the mean
    over the min(D, K) pairs of codes and factors that vary. With fewer codes than factors, it ignores the missing
    factors; see `over_factors`. Chance level is of order 1 / sqrt(N), and higher with many codes.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], real, with NaN or None where a value is missing; they need not be integers here.
      correlation: Kind of correlation: Pearson's, or Spearman's rank correlation (ties get their mean rank).

    Warns:
      UserWarning: A factor is constant and left out, or is missing in some examples, which are left out for it.

    Raises:
      ValueError: The codes or factors are not finite, a factor is always missing, all factors are constant, or the
        shapes do not match.

    Reference: Hyvärinen & Morioka (2016); Khemakhem et al. (2020).
    """
    choose("correlation", correlation, ("pearson", "spearman"))
    continuous, sources = checked_codes(codes), np.asarray(without_mask("factors", factors)).astype(np.float64)
    known = ~np.isnan(sources)
    try:
        checked_codes(np.where(known, sources, 0) if known.any() else sources)
    except ValueError as error:
        raise ValueError(str(error).replace("codes", "factors")) from error
    if len(continuous) != len(sources):
        raise ValueError(f"codes and factors must have as many rows; got {len(continuous)} and {len(sources)}")
    low, high = np.where(known, sources, np.inf).min(axis=0), np.where(known, sources, -np.inf).max(axis=0)
    varies = (low < high) | ~known.any(axis=0)  # one that is always missing is refused below
    if not varies.any():
        raise ValueError("every factor is constant in these examples: there is nothing to correlate with")
    if not varies.all():
        constant = np.flatnonzero(~varies).tolist()
        warnings.warn(f"factors {constant} are constant in these examples and left out", stacklevel=2)
    if known.all():
        strength, note = _strength(sources, continuous, correlation), ""
    else:
        rows = [known_rows(np.where(column, 0, -1), np.arange(len(known))) for column in known.T]
        parts = [_strength(sources[row, k : k + 1], continuous[row], correlation) for k, row in enumerate(rows)]
        strength, note = np.concatenate(parts), missing_note((~known).sum(axis=0), len(known))
    rows, columns = linear_sum_assignment(strength[varies], maximize=True)
    rows = np.flatnonzero(varies)[rows]
    match = np.full(len(strength), -1)
    match[rows] = columns
    return MCC(
        score=float(strength[rows, columns].mean()),
        definition=f"MCC, {correlation}, mean over matched pairs{note}",
        over_factors=float(strength[rows, columns].sum() / varies.sum()),
        match=match,
        correlation=strength,
        num_samples=len(continuous),
    )


def amari_index(product: ArrayLike) -> float:
    """Computes the distance of a matrix from a scaled permutation: 0 for one, and 1 if all entries are equally large.

        [ sum_i (sum_j |p_ij| / max_j |p_ij| - 1) + sum_j (sum_i |p_ij| / max_i |p_ij| - 1) ] / (2 n (n - 1))

    Args:
      product: Product of an unmixing matrix and the true mixing matrix [n, n], n >= 2.

    Raises:
      ValueError: The matrix is not [n, n] with n >= 2, is not finite, or has a row or column of zeros.

    Reference: Amari, Cichocki & Yang (1996), scaled to [0, 1].
    """
    strength = np.abs(checked_codes(product))
    size = len(strength)
    if strength.shape != (size, size) or size < 2:
        raise ValueError(f"the matrix must be square, at least 2 x 2, got shape {strength.shape}")
    if not (strength.any(axis=0).all() and strength.any(axis=1).all()):
        raise ValueError("the matrix has a row or column of zeros: a source or component that is not there")
    parts = [(strength / strength.max(axis=axis, keepdims=True)).sum() - size for axis in (0, 1)]
    return float(sum(parts) / (2 * size * (size - 1)))


def _strength(factors: np.ndarray, codes: np.ndarray, correlation: str) -> np.ndarray:
    """Computes the absolute correlations of factors [N, K] and codes [N, D]: [K, D]."""
    if correlation == "spearman":
        codes, factors = rankdata(codes, axis=0), rankdata(factors, axis=0)
    return np.abs(_unit(factors).T @ _unit(codes))


def _unit(columns: np.ndarray) -> np.ndarray:
    """Centres columns and scales them to length 1; constant columns become 0."""
    centred = np.where(np.ptp(columns, axis=0) > 0, columns - columns.mean(axis=0), 0)
    length = np.linalg.norm(centred, axis=0)
    return centred / np.where(length > 0, length, 1)
