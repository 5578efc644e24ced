"""Scores of the dependence among codes, without factors. The best score is 0."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import checked_codes
from jaxvae.metrics.mutual_information import (
    contingency,
    discretise,
    mutual_information_matrix,
    plug_in_mutual_information,
)
from jaxvae.metrics.results import Result

MOST_CODES = 64
"""Codes whose pairs are all looked at."""


@dataclass(frozen=True, eq=False)
class Dependence(Result):
    """Score of codes alone, with the quantities that it is computed from."""

    matrix: np.ndarray
    """Covariance (ddof 1) of the codes, or mutual information of binned codes in nats [D, D]."""
    live_codes: int
    """Number of codes that are not constant."""
    num_samples: int


def gaussian_total_correlation(codes: ArrayLike) -> Dependence:
    """Total correlation in nats of a Gaussian with the codes' covariance.

    It is -1/2 log det of the correlation matrix. Constant codes are left out (in the reference, they give NaN). The
    score is 0 for fewer than two live codes, and infinite if codes determine one another. It does not detect nonlinear
    dependence.

    Args:
      codes: Codes [N, D], real.

    Raises:
      ValueError: The codes are not finite, or there are fewer than 2 rows.

    Reference: Locatello et al. (2019), appendix.
    """
    covariance, live = _covariance(codes)
    return Dependence(
        score=total_correlation_of(covariance),
        definition="Gaussian total correlation of the live codes, nats",
        matrix=covariance,
        live_codes=int(live.sum()),
        num_samples=len(np.asarray(codes)),
    )


def gaussian_wasserstein_correlation(codes: ArrayLike, *, normalised: bool = False) -> Dependence:
    """Squared Wasserstein distance between Gaussians with and without the codes' correlations.

    For the covariance S of the codes, it is

        2 tr S - 2 tr (E S E)^(1/2),    E = diag(S)^(1/2)

    Args:
      codes: Codes [N, D], real.
      normalised: Whether to divide by tr S, which makes the score independent of the scale. It is NaN if all codes are
        constant.

    Raises:
      ValueError: The codes are not finite, or there are fewer than 2 rows.

    Reference: Locatello et al. (2019), appendix.
    """
    covariance, live = _covariance(codes)
    distance, trace = wasserstein_of(covariance), float(np.trace(covariance))
    if normalised:
        distance = distance / trace if trace > 0 else float("nan")
    return Dependence(
        score=distance,
        definition="Gaussian Wasserstein correlation" + (", over the total variance" if normalised else ""),
        matrix=covariance,
        live_codes=int(live.sum()),
        num_samples=len(np.asarray(codes)),
    )


def mutual_information_score(codes: ArrayLike, *, num_bins: int = 20) -> Dependence:
    """Mean mutual information in nats of pairs of binned codes; 0 for a single code.

    Independent codes score about (num_bins - 1)^2 / (2 N), the bias of the estimate. Of more than 64 codes, the mean is
    over 4,032 random pairs, always the same ones; the matrix is NaN for the others.

    Args:
      codes: Codes [N, D], real.
      num_bins: Number of bins per code, of equal width.

    Raises:
      ValueError: The codes are not finite.

    Reference: Locatello et al. (2019).
    """
    continuous = checked_codes(codes)
    bins = discretise(continuous, num_bins)
    if bins.shape[1] > MOST_CODES:
        return _of_random_pairs(continuous, bins, num_bins)
    information = mutual_information_matrix(bins, bins)
    pairs = information.size - len(information)
    return Dependence(
        score=float((information.sum() - np.trace(information)) / pairs) if pairs else 0.0,
        definition=f"mean mutual information of two codes, {num_bins} bins",
        matrix=information,
        live_codes=int((np.ptp(continuous, axis=0) > 0).sum()),
        num_samples=len(continuous),
    )


def _of_random_pairs(continuous: Array[np.float64], bins: Array[np.int64], num_bins: int) -> Dependence:
    width, pairs = bins.shape[1], MOST_CODES * (MOST_CODES - 1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(width * (width - 1), pairs, replace=False)
    left, right = chosen // (width - 1), chosen % (width - 1)
    right += right >= left
    information = np.full((width, width), np.nan)
    for i, j in zip(left, right, strict=True):
        information[i, j] = plug_in_mutual_information(contingency(bins[:, i], bins[:, j]))
    return Dependence(
        score=float(information[left, right].mean()),
        definition=f"mean mutual information of two codes, {num_bins} bins, {pairs} random pairs of {width} codes",
        matrix=information,
        live_codes=int((np.ptp(continuous, axis=0) > 0).sum()),
        num_samples=len(continuous),
    )


def total_correlation_of(covariance: Array[np.float64]) -> float:
    """Computes the total correlation of a covariance matrix [D, D]; dimensions without variance are left out."""
    live = np.diag(covariance) > 0
    deviation = np.sqrt(np.diag(covariance)[live])
    sign, logdet = np.linalg.slogdet(covariance[np.ix_(live, live)] / np.outer(deviation, deviation))
    return float(max(0.0, -logdet / 2)) if sign > 0 else float("inf")


def wasserstein_of(covariance: Array[np.float64]) -> float:
    """Computes the squared Wasserstein distance of a covariance matrix [D, D] to its diagonal."""
    deviation = np.sqrt(np.diag(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance * np.outer(deviation, deviation))
    return float(max(0.0, 2 * np.trace(covariance) - 2 * np.sqrt(np.clip(eigenvalues, 0, None)).sum()))


def _covariance(codes: ArrayLike) -> tuple[Array[np.float64], Array[np.bool_]]:
    continuous = checked_codes(codes)
    if len(continuous) < 2:
        raise ValueError("a covariance needs at least 2 rows of codes, got 1")
    live = np.ptp(continuous, axis=0) > 0
    covariance = np.atleast_2d(np.cov(continuous, rowvar=False))
    return np.where(np.outer(live, live), covariance, 0), live
