"""Unsupervised disentanglement ranking (UDR): agreement between models."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from jaxvae.metrics.inputs import CONVENTIONS, checked_codes, choose
from jaxvae.metrics.results import Result

SWITCHED_OFF = 0.01
"""KL in nats below which a code is inactive."""


@dataclass(frozen=True, eq=False)
class UDR(Result):
    """Best model's score, with the scores of all models."""

    model_scores: np.ndarray
    """Median agreement of each model with the others [M]."""
    pairwise: np.ndarray
    """Agreement of each pair of models [M, M]; 0 on the diagonal."""
    informative: np.ndarray
    """Mask of the codes that are compared [M, D]."""
    num_samples: int


def udr(
    codes: Sequence[ArrayLike],
    kl: ArrayLike,
    *,
    similarity: Literal["lasso", "spearman"] = "lasso",
    kl_threshold: float = SWITCHED_OFF,
    convention: Literal["reference", "paper"] = "reference",
) -> UDR:
    """Unsupervised disentanglement ranking: agreement of models up to the order and the signs of their codes.

    R[a, b] is the similarity of code a of model i and code b of model j, where codes are standardised. Then

        UDR_ij = (mean_b r_b + mean_a r_a) / 2,    r_b = max_a R[a, b]^2 / sum_a R[a, b],  r_a likewise

    over informative codes, and a model's score is the median over the other models. A perfect match scores 1 with
    Spearman's correlation and 0.9 with the Lasso, whose penalty (0.1) shrinks the single coefficient of 1.

    Args:
      codes: Codes of M models, each [N, D], for the same N inputs.
      kl: Mean KL of each code in nats [M, D].
      similarity: Kind of similarity: absolute Lasso coefficients or absolute rank correlations.
      kl_threshold: KL in nats below which a code is left out.
      convention: Convention: "reference" is the mean of two means; "paper" divides the sum of all r by the number of
        codes in both models.

    Raises:
      ValueError: There are fewer than two models, the shapes differ, or the codes are not finite.

    Reference: Duan et al. (2020).
    """
    choose("convention", convention, CONVENTIONS)
    choose("similarity", similarity, ("lasso", "spearman"))
    models = [checked_codes(model) for model in codes]
    information = np.asarray(kl, np.float64)
    if len(models) < 2:
        raise ValueError(f"agreement needs at least two models, got {len(models)}")
    if len({model.shape for model in models}) > 1 or information.shape != (len(models), models[0].shape[1]):
        shapes = sorted({model.shape for model in models})
        raise ValueError(f"codes must all be [N, D] and kl [M, D]; got codes {shapes} and kl {information.shape}")
    informative = information > kl_threshold
    scaled = [_standardised(model) * (kept > SWITCHED_OFF) for model, kept in zip(models, information, strict=True)]
    pairwise = np.zeros((len(models), len(models)))
    for i, one in enumerate(scaled):
        for j, other in enumerate(scaled):
            if i != j:
                similar = _lasso(one, other) if similarity == "lasso" else _spearman(one, other)
                pairwise[i, j] = agreement_of(similar[np.ix_(informative[i], informative[j])], convention)
    scores = np.array([np.median(np.delete(pairwise[:, i], i)) for i in range(len(models))])
    return UDR(
        score=float(scores.max()),
        definition=f"UDR, {similarity}, best of {len(models)} models, {convention} convention",
        model_scores=scores,
        pairwise=pairwise,
        informative=informative,
        num_samples=len(models[0]),
    )


def agreement_of(similarity: Array[np.float64], convention: str = "reference") -> float:
    """Computes the agreement from a similarity matrix [D1, D2] of informative codes; 0 if a model has none."""
    if similarity.size == 0:
        return 0.0
    columns, rows = _strength(similarity), _strength(similarity.T)
    if convention == "paper":
        return float((columns.sum() + rows.sum()) / (len(columns) + len(rows)))
    return float((columns.mean() + rows.mean()) / 2)


def _strength(similarity: Array[np.float64]) -> Array[np.float64]:
    """Computes for each column its largest entry squared divided by its sum; 0 for columns of zeros."""
    total = similarity.sum(axis=0)
    return similarity.max(axis=0) ** 2 / np.where(total > 0, total, 1)


def _standardised(codes: Array[np.float64]) -> Array[np.float64]:
    deviation = codes.std(axis=0)
    return (codes - codes.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def _lasso(one: Array[np.float64], other: Array[np.float64]) -> Array[np.float64]:
    model = Lasso(alpha=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(one, other)
    return np.abs(np.atleast_2d(model.coef_)).T


def _spearman(one: Array[np.float64], other: Array[np.float64]) -> Array[np.float64]:
    """Computes absolute rank correlations of two sets of codes; 0 for constant codes."""
    return np.abs(_standardised(rankdata(one, axis=0)).T @ _standardised(rankdata(other, axis=0))) / len(one)
