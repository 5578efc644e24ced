"""Learners of DCI besides boosted trees: the Lasso and random forests, as in the review of metrics.

The review's public code differs in three ways that change its numbers: it scores its training rows; it reports the
informativeness max(1 - 12 MSE, 0), which assumes factors that are uniform on [0, 1]; and its disentanglement stops at
the first code without importance, so that all later codes count as 0.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray as Array
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.model_selection import GridSearchCV, KFold

PENALTIES = (1e-4, 1e-3, 0.01, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Penalties of the Lasso, of which cross-validation takes the best."""
FOREST = {"max_depth": (8, 32), "max_features": (0.2, 0.6, 1.0)}
"""Depths of the forests and shares of the codes that a split chooses from; cross-validation takes the best."""
TREES = 10
FOLDS, FOREST_FOLDS = 10, 5


class Regressed(NamedTuple):
    """Results of a learner for a factor."""

    importance: Array[np.float64]
    """Importance of each code [D], at least 0."""
    train: float
    """Explained share of the variance, at least 0, or the accuracy, on the training rows."""
    test: float
    """The same on the test rows."""


def lasso(
    codes: Array[np.float64], factor: Array[np.float64], train: Array[np.int64], test: Array[np.int64]
) -> Regressed:
    """Fits a Lasso to a factor [N] from codes [N, D], all scaled to [0, 1] on the training rows.

    The penalty has the smallest squared error in ten folds of consecutive rows. Importances are absolute coefficients.
    """
    x, y = (_to_unit(columns, train) for columns in (codes, factor[:, None]))
    y = y[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(Lasso(), {"alpha": PENALTIES}, scoring="neg_mean_squared_error", cv=_folds(train, FOLDS))
        search.fit(x[train], y[train])
    model = search.best_estimator_
    explained = [_explained(y[rows], model.predict(x[rows])) for rows in (train, test)]
    return Regressed(np.abs(model.coef_), *explained)


def random_forest(
    codes: Array[np.float64], factor: Array[np.float64], train: Array[np.int64], test: Array[np.int64], seed: int
) -> Regressed:
    """Fits a forest of ten trees to a factor [N] from codes [N, D].

    It is a classifier for factors of whole numbers, and a regressor for others. Depth and share of codes per split are
    those with the smallest squared error, or the highest accuracy, in five folds of consecutive rows, from fewer
    choices than in the review's code. Importances are reductions of impurity, which sum to 1.
    """
    whole = bool((factor == np.floor(factor)).all())
    kind = RandomForestClassifier if whole else RandomForestRegressor
    scoring = "accuracy" if whole else "neg_mean_squared_error"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a value that is in one fold only
        search = GridSearchCV(kind(TREES, random_state=seed), FOREST, scoring=scoring, cv=_folds(train, FOREST_FOLDS))
        model = search.fit(codes[train], factor[train]).best_estimator_
    guesses = [model.predict(codes[rows]) for rows in (train, test)]
    measure = _accuracy if whole else _explained
    return Regressed(model.feature_importances_, *map(measure, (factor[train], factor[test]), guesses))


def _folds(train: Array[np.int64], number: int) -> KFold:
    if len(train) < number:
        raise ValueError(f"{len(train)} training rows are too few for {number} folds")
    return KFold(number)


def _to_unit(columns: Array[np.float64], train: Array[np.int64]) -> Array[np.float64]:
    low, high = columns[train].min(axis=0), columns[train].max(axis=0)
    return (columns - low) / np.where(high > low, high - low, 1)


def _explained(wanted: Array[np.float64], found: Array[np.float64]) -> float:
    variance = wanted.var()
    return max(0.0, float(1 - ((wanted - found) ** 2).mean() / variance)) if variance > 0 else 0.0


def _accuracy(wanted: Array[np.float64], found: Array[np.float64]) -> float:
    return float((wanted == found).mean())
