"""Disentanglement, completeness, informativeness."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.boosting import Boosted, boost
from jaxvae.metrics.inputs import choose, enough_factors, examples, split_rows
from jaxvae.metrics.results import Result

Learner = Literal["lightgbm", "scikit-learn"]
TINY = 1e-11
"""Added to all importances, as in the reference: a code or factor without any counts as spread evenly."""


@dataclass(frozen=True, eq=False)
class DCI(Result):
    """Disentanglement as the score, with completeness, informativeness and what they were computed from."""

    disentanglement: float
    completeness: float
    informativeness: float
    """Mean test accuracy over factors."""
    train_accuracy: float
    per_code: np.ndarray
    """Disentanglement of each code, [D]."""
    per_factor: np.ndarray
    """Completeness of each factor, [K]; NaN for ignored factors."""
    importance: np.ndarray
    """Of code d for factor k, [D, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int
    num_train: int
    """Rows that were learned from."""
    num_test: int
    """Rows that were tested on, none of them learned from."""


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    learner: Learner = "lightgbm",
    train_fraction: float = 2 / 3,
    shuffle: bool = True,
    seed: int = 0,
    jobs: int = -1,
) -> DCI:
    """Disentanglement, completeness, informativeness from the importances of codes to boosted trees

    For each factor, trees (100 rounds, depth 3, rate 0.1) predict it from all codes; R[d, k] is the importance of code
    d for factor k, and each column sums to 1.

        D = sum_d w_d (1 - H_K(R[d, :] / sum)),    w_d = share of row d
        C = sum_k u_k (1 - H_D(R[:, k] / sum)),    u_k = share of column k
        I = mean test accuracy

    with entropies in base K and D. One factor has no disentanglement, one code no completeness: NaN.

    Args:
      codes: [N, D], real.
      factors: [N, K], whole numbers.
      learner: "scikit-learn" is the reference's GradientBoostingClassifier with its defaults; "lightgbm" grows such
        trees more than ten times faster, see `jaxvae.metrics.boosting`. How far the scores agree on 200 random cases,
        with redundant codes among them, is in benchmarks/results/dci_learner.json.
      train_fraction: share of the rows to learn from; the others are tested on.
      shuffle: draws these rows at random; otherwise they are the first ones, as in the reference.
      seed: of the learner.
      jobs: factors that are learned at once, in processes (scikit-learn) or threads (lightgbm); -1 is all cores.

    Warns:
      UserWarning: a factor is constant and left out; or one factor varies, so that there is no disentanglement.

    Raises:
      ValueError: as `mig`; or rows that can't be split.

    Reference: Eastwood & Williams (2018), with the learner of Locatello et al. (2019).
    """
    choose("learner", learner, ("lightgbm", "scikit-learn"))
    data = examples(codes, factors)
    enough_factors(data, "disentanglement")
    train, test = split_rows(len(data.codes), train_fraction, shuffle)
    # The most expensive factors first, so that none of the processes is left alone with one at the end.
    order = np.argsort(-data.sizes, kind="stable")
    fits = Parallel(n_jobs=jobs, prefer="processes" if learner == "scikit-learn" else "threads")(
        delayed(_fit)(data.codes, data.factors[:, k], train, test, learner, seed) for k in order
    )
    importance = np.stack([fits[place][0] for place in np.argsort(order)], axis=1)
    accuracies = np.array([accuracy for _, *accuracy in fits])
    disentanglement, per_code = disentanglement_of(importance)
    completeness, per_factor = completeness_of(importance)
    return DCI(
        score=disentanglement,
        definition=f"DCI disentanglement, boosted trees of {learner}, {len(train)} training and {len(test)} test rows",
        disentanglement=disentanglement,
        completeness=completeness,
        informativeness=float(accuracies[:, 1].mean()),
        train_accuracy=float(accuracies[:, 0].mean()),
        per_code=per_code,
        per_factor=data.spread(per_factor),
        importance=data.spread(importance),
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
        num_train=len(train),
        num_test=len(test),
    )


def disentanglement_of(importance: Array[np.float64]) -> tuple[float, Array[np.float64]]:
    """Of an importance matrix [D, K]: the weighted mean, and each code's [D]. NaN for one factor."""
    if importance.shape[1] < 2:
        return float("nan"), np.full(len(importance), np.nan)
    per_code = 1 - _entropy(importance + TINY)
    weights = importance.sum(axis=1) if importance.sum() > 0 else np.ones(len(importance))
    return float((per_code * weights).sum() / weights.sum()), per_code


def completeness_of(importance: Array[np.float64]) -> tuple[float, Array[np.float64]]:
    """Of an importance matrix [D, K]: the weighted mean, and each factor's [K]. NaN for one code."""
    return disentanglement_of(importance.T)


def _entropy(rows: Array[np.float64]) -> Array[np.float64]:
    """Of each row, in base of its length."""
    shares = rows / rows.sum(axis=1, keepdims=True)
    return -(shares * np.log(shares)).sum(axis=1) / np.log(rows.shape[1])


def _fit(
    codes: Array[np.float64],
    factor: Array[np.int64],
    train: Array[np.int64],
    test: Array[np.int64],
    learner: Learner,
    seed: int,
) -> tuple[Array[np.float64], float, float]:
    """Importances [D] that sum to 1, or are all 0; accuracy on the training and on the test rows."""
    if learner == "lightgbm" or len(set(factor[train])) < 2:
        found = boost(codes[train], factor[train], codes[test], seed)
    else:
        from sklearn.ensemble import GradientBoostingClassifier

        model = GradientBoostingClassifier(random_state=seed).fit(codes[train], factor[train])
        found = Boosted(model.feature_importances_, model.predict(codes[train]), model.predict(codes[test]))
    right = [float((guess == factor[rows]).mean()) for guess, rows in ((found.train, train), (found.test, test))]
    return found.importance, right[0], right[1]
