"""Separated attribute predictability (SAP)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.svm import LinearSVC

from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import Binning, Examples, choose, examples, known_rows, second_best, split_rows
from jaxvae.metrics.results import Result

SMALLEST_VARIANCE = 1e-12
"""Variance below which a code predicts nothing."""


@dataclass(frozen=True, eq=False)
class SAP(Result):
    """SAP score, with the quantities that it is computed from."""

    per_factor: np.ndarray
    """Gap between the two best single codes for each factor [K]; NaN for ignored factors."""
    predictability: np.ndarray
    """Squared correlation, or test accuracy, of each code alone [D, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    kind: Literal["continuous", "discrete"] = "continuous",
    train_fraction: float = 2 / 3,
    shuffle: bool = True,
    seed: int = 0,
    binning: Binning | None = None,
) -> SAP:
    """Separated attribute predictability: the gap between the two single codes that best predict each factor.

        continuous: s[d, k] = cov(z_d, y_k)^2 / (var z_d  var y_k), on all rows
        discrete:   s[d, k] = test accuracy of a linear support vector classifier (C = 0.01, balanced classes) on z_d

    Both forms are those of the reference. The continuous form assumes ordered factors and does not depend on scale. The
    discrete form, which the large-scale study uses, depends on the scale of codes. It cannot reach 1 for factors with
    more than a few values, because a linear classifier on one number can only separate the extremes (a perfect code of
    8 values: accuracy 0.26).

    With `binning`, the continuous form takes factors that are not whole numbers as they are, as the review's public
    code does, and the discrete form cuts them into bins.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      kind: Kind of predictability: "continuous" or "discrete".
      train_fraction: Share of the rows that the classifiers are trained on (discrete); the other rows are for testing.
      shuffle: Whether to draw the training rows at random; otherwise, they are the first ones, as in the reference.
      seed: Random seed for the classifiers.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Raises:
      ValueError: The errors of `mig`; or the rows cannot be split.

    Reference: Kumar et al. (2018), section 3; Locatello et al. (2019).
    """
    choose("kind", kind, ("continuous", "discrete"))
    data = examples(codes, factors, binning, continuous=kind == "continuous" and binning is not None)
    if kind == "continuous":
        predictability, definition = _squared_correlation(data), "SAP, squared correlation"
    else:
        train, test = split_rows(len(data.codes), train_fraction, shuffle)
        predictability = _svm_accuracy(data, train, test, seed)
        definition = f"SAP, test accuracy of LinearSVC(C=0.01), {len(train)} training and {len(test)} test rows"
    first, second = second_best(predictability)
    return SAP(
        score=float((first - second).mean()),
        definition=data.describe(definition),
        per_factor=data.spread(first - second),
        predictability=data.spread(predictability),
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
    )


def _squared_correlation(data: Examples) -> np.ndarray:
    if data.complete:
        return _of_columns(data.codes, data.values)
    known = ~np.isnan(data.values)
    columns = [_of_columns(data.codes[rows], data.values[rows, k : k + 1]) for k, rows in enumerate(known.T)]
    return np.concatenate(columns, axis=1)


def _of_columns(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    codes, factors = codes - codes.mean(axis=0), factors - factors.mean(axis=0)
    variance = (codes**2).mean(axis=0)
    enough = variance * len(codes) / max(1, len(codes) - 1) > SMALLEST_VARIANCE
    covariance = codes.T @ factors / len(codes)
    squared = covariance**2 / (np.where(enough, variance, 1)[:, None] * (factors**2).mean(axis=0))
    return np.where(enough[:, None], squared, 0)


def _svm_accuracy(data: Examples, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    pairs = [(code, factor, train, test, seed) for code in data.codes.T for factor in data.factors.T]
    accuracies = in_threads(_accuracy, pairs)
    return np.reshape(accuracies, (data.codes.shape[1], data.factors.shape[1]))


def _accuracy(code: np.ndarray, factor: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int) -> float:
    train, test = known_rows(factor, train), known_rows(factor, test)
    if len(set(factor[train])) < 2:
        return float((factor[test] == factor[train][0]).mean())
    classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=seed).fit(code[train, None], factor[train])
    return float((classifier.predict(code[test, None]) == factor[test]).mean())
