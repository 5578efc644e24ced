"""Downstream accuracy of classifiers on the codes, by the number of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import KFold

from jaxvae.metrics.boosting import boost
from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import SPLIT_SEED, Binning, choose, examples, known_rows
from jaxvae.metrics.results import Result

Kind = Literal["logistic", "lightgbm", "scikit-learn"]


@dataclass(frozen=True, eq=False)
class Downstream(Result):
    """Downstream accuracy with the largest number of labels as the score, and with smaller numbers."""

    accuracy: dict[int, float]
    """Test accuracy, averaged over factors, by number of labelled examples."""
    per_factor: dict[int, np.ndarray]
    """Test accuracy of each factor [K], by number of labelled examples; NaN for ignored factors."""
    sample_efficiency: float
    """Mean accuracy with 100 labels divided by that with the largest number of labels."""
    ignored_factors: tuple[int, ...]
    num_test: int


def downstream(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    sizes: Sequence[int] = (10, 100, 1000, 10_000),
    num_test: int | None = None,
    learner: Kind = "logistic",
    shuffle: bool = True,
    seed: int = 0,
    binning: Binning | None = None,
) -> Downstream:
    """Downstream accuracy and sample efficiency: test accuracy by number of labels, averaged over factors.

    "logistic" is the reference's LogisticRegressionCV (10 penalties, 5 folds that are not shuffled). If a value of the
    factor has too few labels for the folds, it is a logistic regression with the default penalty. The other learners
    are boosted trees, as in `dci`. Values that do not occur in training are never predicted.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      sizes: Numbers of labelled examples. Numbers that exceed the rows left by the test are skipped.
      num_test: Number of test rows, none of which is labelled; by default, a third of the rows.
      learner: Kind of the classifiers.
      shuffle: Whether to take the rows in a random order; otherwise, the first rows are labelled and the last are for
        testing.
      seed: Random seed for the trees.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Raises:
      ValueError: The errors of `mig`; or none of the sizes fits.

    Reference: Locatello et al. (2019), section 5.5.
    """
    choose("learner", learner, ("logistic", "lightgbm", "scikit-learn"))
    data = examples(codes, factors, binning)
    rows = len(data.codes)
    tested = rows // 3 if num_test is None else num_test
    fitting = sorted(size for size in sizes if 0 < size <= rows - tested)
    if not fitting or tested < 1:
        raise ValueError(
            f"{rows} rows leave {rows - tested} to learn from and {tested} to test on: too few for {sizes}"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(rows) if shuffle else np.arange(rows)
    ordered, columns = data.codes[order], data.factors[order].T
    # The most expensive fits come first, so that no core is left alone with one at the end.
    pairs = [(size, k) for size in reversed(fitting) for k in np.argsort(-data.sizes, kind="stable")]
    tasks = [(ordered, columns[k], size, rows - tested, learner, seed) for size, k in pairs]
    accuracy = {size: np.zeros(len(columns)) for size in fitting}
    for (size, k), value in zip(pairs, in_threads(_accuracy, tasks), strict=True):
        accuracy[size][k] = value
    per_factor = {size: data.spread(accuracy[size]) for size in fitting}
    mean = {size: float(np.nanmean(values)) for size, values in per_factor.items()}
    most = fitting[-1]
    return Downstream(
        score=mean[most],
        definition=data.describe(f"downstream accuracy, {learner}, {most} labels, {tested} test rows"),
        accuracy=mean,
        per_factor=per_factor,
        sample_efficiency=mean[100] / mean[most] if 100 in mean and most > 100 else float("nan"),
        ignored_factors=data.ignored_factors,
        num_test=tested,
    )


def _accuracy(
    codes: Array[np.float64], factor: Array[np.int64], size: int, first: int, learner: Kind, seed: int
) -> float:
    rows = np.arange(len(factor))
    train, test = known_rows(factor, rows[:size]), known_rows(factor, rows[first:])
    classes, labels = np.unique(factor[train], return_inverse=True)
    predicted = np.full(len(test), classes[0])
    if learner == "lightgbm":
        predicted = boost(codes[train], factor[train], codes[test], seed).test
    elif len(classes) > 1:
        model = _model(learner, labels, seed).fit(codes[train], labels)
        predicted = classes[model.predict(codes[test])]
    return float((predicted == factor[test]).mean())


def _model(learner: Kind, labels: Array[np.int64], seed: int) -> Any:
    if learner == "scikit-learn":
        return GradientBoostingClassifier(random_state=seed)
    folds = KFold(5)
    everywhere = len(labels) >= 5 and all(
        len(set(labels[train])) == len(set(labels)) for train, _ in folds.split(labels)
    )
    if not everywhere:
        return LogisticRegression()
    return LogisticRegressionCV(Cs=10, cv=folds)
