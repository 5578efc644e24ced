"""Disentanglement, completeness and informativeness (DCI)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.boosting import Boosted, boost
from jaxvae.metrics.inputs import Binning, choose, enough_factors, examples, known_rows, rows_in_words, split_rows
from jaxvae.metrics.results import Result

Learner = Literal["lightgbm", "scikit-learn", "lasso", "random-forest"]
LEARNERS = {
    "lightgbm": "boosted trees of lightgbm",
    "scikit-learn": "boosted trees of scikit-learn",
    "lasso": "Lasso",
    "random-forest": "random forests",
}
TINY = 1e-11
"""Constant that is added to all importances, as in the reference. A code or factor without importance counts as evenly
spread."""


@dataclass(frozen=True, eq=False)
class DCI(Result):
    """Disentanglement as the score, with completeness, informativeness and the quantities that they are computed
    from.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    """Test accuracy, or for regressions explained share of the variance of test rows, averaged over factors."""
    train_accuracy: float
    """The same on the training rows."""
    per_code: np.ndarray
    """Disentanglement of each code [D]."""
    per_factor: np.ndarray
    """Completeness of each factor [K]; NaN for ignored factors."""
    importance: np.ndarray
    """Importance of code d for factor k [D, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int
    num_train: int
    """Number of training rows."""
    num_test: int
    """Number of test rows, which are disjoint from the training rows unless train_fraction is None."""


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    learner: Learner = "lightgbm",
    train_fraction: float | None = 2 / 3,
    shuffle: bool = True,
    seed: int = 0,
    jobs: int = -1,
    binning: Binning | None = None,
) -> DCI:
    """Disentanglement, completeness and informativeness, from the importances of codes in boosted trees.

    For each factor, trees (100 rounds, depth 3, rate 0.1) predict it from all codes. R[d, k] is the importance of code
    d for factor k, and each column sums to 1.

    With the other learners, of the review, R[d, k] is the absolute coefficient of a Lasso of scaled codes, or the
    importance in a random forest; see `jaxvae.metrics.regressors`. The choice of the learner changes DCI more than the
    choice of the method does: the Lasso gives 2,000 perfect codes and their copies a completeness of 1, as it takes one
    copy, and codes of which noise leaves 6 % of the variance a disentanglement of 0.85. Of independent codes, it may
    keep a single coefficient, which is disentangled: read disentanglement together with informativeness.

        D = sum_d w_d (1 - H_K(R[d, :] / sum)),    w_d = share of row d
        C = sum_k u_k (1 - H_D(R[:, k] / sum)),    u_k = share of column k
        I = mean test accuracy

    The entropies are in base K and D. Disentanglement is NaN for one factor, and completeness is NaN for one code.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      learner: "lasso" (a linear regression) or "random-forest"; or the library of the boosted trees: "scikit-learn" is
        the reference's GradientBoostingClassifier with its defaults; "lightgbm" grows such trees six to eleven times
        faster, see `jaxvae.metrics.boosting`. The agreement of the scores on 169 random cases, with redundant codes
        among them, is in benchmarks/results/dci_learner.json.
      train_fraction: Share of the rows to train on; the other rows are for testing. None trains and tests on all rows,
        as the review's code does.
      shuffle: Whether to draw the training rows at random; otherwise, they are the first ones, as in the reference.
      seed: Random seed for the learner.
      jobs: Number of factors that are learned in parallel, in processes (scikit-learn) or threads (lightgbm); -1 uses
        all cores. Regressions are fitted one after another.
      binning: Bins of factors that are not whole numbers, which are refused without it. The Lasso and random forests
        take such factors as they are.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that disentanglement is undefined.

    Raises:
      ValueError: The errors of `mig`; or the rows cannot be split.

    Reference: Eastwood & Williams (2018), with the learner of Locatello et al. (2019); Carbonneau et al. (2020).
    """
    choose("learner", learner, tuple(LEARNERS))
    regressed = learner in ("lasso", "random-forest")
    data = examples(codes, factors, binning, continuous=regressed and binning is not None)
    enough_factors(data, "disentanglement")
    everything = np.arange(len(data.codes))
    train, test = (
        (everything, everything) if train_fraction is None else split_rows(len(data.codes), train_fraction, shuffle)
    )
    columns = data.values if regressed else data.factors
    # The most expensive factors come first, so that no process is left alone with one at the end.
    order = np.argsort(-data.sizes, kind="stable")
    # scikit-learn's grid search changes the filters of warnings, which threads share.
    fits = Parallel(n_jobs=1 if regressed else jobs, prefer="processes" if learner == "scikit-learn" else "threads")(
        delayed(_fit)(
            data.codes,
            columns[:, k],
            known_rows(data.factors[:, k], train),
            known_rows(data.factors[:, k], test),
            learner,
            seed,
        )
        for k in order
    )
    importance = np.stack([fits[place][0] for place in np.argsort(order)], axis=1)
    accuracies = np.array([accuracy for _, *accuracy in fits])
    disentanglement, per_code = disentanglement_of(importance)
    completeness, per_factor = completeness_of(importance)
    return DCI(
        score=disentanglement,
        definition=data.describe(f"DCI disentanglement, {LEARNERS[learner]}, {rows_in_words(train, test)}"),
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
    """Computes the weighted mean disentanglement, and that of each code [D], of an importance matrix [D, K].

    Both are NaN for a single factor.
    """
    if importance.shape[1] < 2:
        return float("nan"), np.full(len(importance), np.nan)
    per_code = 1 - _entropy(importance + TINY)
    weights = importance.sum(axis=1) if importance.sum() > 0 else np.ones(len(importance))
    return float((per_code * weights).sum() / weights.sum()), per_code


def completeness_of(importance: Array[np.float64]) -> tuple[float, Array[np.float64]]:
    """Computes the weighted mean completeness, and that of each factor [K], of an importance matrix [D, K].

    Both are NaN for a single code.
    """
    return disentanglement_of(importance.T)


def _entropy(rows: Array[np.float64]) -> Array[np.float64]:
    """Computes the entropy of each row, in base of its length."""
    shares = rows / rows.sum(axis=1, keepdims=True)
    return -(shares * np.log(shares)).sum(axis=1) / np.log(rows.shape[1])


def _fit(
    codes: Array[np.float64],
    factor: Array[Any],
    train: Array[np.int64],
    test: Array[np.int64],
    learner: Learner,
    seed: int,
) -> tuple[Array[np.float64], float, float]:
    """Computes importances [D], and the accuracy (or explained variance) on the training and on the test rows."""
    if learner in ("lasso", "random-forest"):
        from jaxvae.metrics.regressors import lasso, random_forest

        values = factor.astype(np.float64)
        if learner == "lasso":
            return lasso(codes, values, train, test)
        return random_forest(codes, values, train, test, seed)
    if learner == "lightgbm" or len(set(factor[train])) < 2:
        found = boost(codes[train], factor[train], codes[test], seed)
    else:
        from sklearn.ensemble import GradientBoostingClassifier

        model = GradientBoostingClassifier(random_state=seed).fit(codes[train], factor[train])
        found = Boosted(model.feature_importances_, model.predict(codes[train]), model.predict(codes[test]))
    right = [float((guess == factor[rows]).mean()) for guess, rows in ((found.train, train), (found.test, test))]
    return found.importance, right[0], right[1]
