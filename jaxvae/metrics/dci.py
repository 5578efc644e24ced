"""Disentanglement, completeness and informativeness (DCI)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import choose, examples, split_rows
from jaxvae.metrics.results import Result

Learner = Literal["lightgbm", "scikit-learn"]
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
    """Test accuracy, averaged over factors."""
    train_accuracy: float
    per_code: np.ndarray
    """Disentanglement of each code [D]."""
    per_factor: np.ndarray
    """Completeness of each factor [K]; NaN for ignored factors."""
    importance: np.ndarray
    """Importance of code d for factor k [D, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    learner: Learner = "lightgbm",
    train_fraction: float = 2 / 3,
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
        trees many times faster, from binned codes, and its scores agree within 0.03.
      train_fraction: share of the rows, the first ones, to learn from.
      seed: of the learner.
      jobs: factors that are learned at once, in processes (scikit-learn) or threads (lightgbm); -1 is all cores.

    Raises:
      ValueError: as `mig`; or rows that can't be split.

    Reference: Eastwood & Williams (2018), with the learner of Locatello et al. (2019).
    """
    choose("learner", learner, ("lightgbm", "scikit-learn"))
    data = examples(codes, factors)
    train, test = split_rows(len(data.codes), train_fraction)
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
        definition=f"DCI disentanglement, boosted trees of {learner}, {train.stop} training rows",
        disentanglement=disentanglement,
        completeness=completeness,
        informativeness=float(accuracies[:, 1].mean()),
        train_accuracy=float(accuracies[:, 0].mean()),
        per_code=per_code,
        per_factor=data.spread(per_factor),
        importance=data.spread(importance),
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
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
    """Of each row, in base of its length."""
    shares = rows / rows.sum(axis=1, keepdims=True)
    return -(shares * np.log(shares)).sum(axis=1) / np.log(rows.shape[1])


def boosted_trees(learner: Learner, seed: int) -> Any:
    """A classifier of 100 rounds of trees of depth 3 at rate 0.1, with `fit` and `predict`."""
    if learner == "scikit-learn":
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(random_state=seed)
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=100,
        learning_rate=0.1,
        max_depth=3,
        num_leaves=8,
        min_child_samples=1,
        boost_from_average=False,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )


def _fit(
    codes: Array[np.float64], factor: Array[np.int64], train: slice, test: slice, learner: Learner, seed: int
) -> tuple[Array[np.float64], float, float]:
    """Importances [D] that sum to 1, or are all 0; accuracy on the training and on the test rows."""
    # Classes that the test rows alone have are never predicted.
    classes, labels = np.unique(factor[train], return_inverse=True)
    if len(classes) < 2:
        return np.zeros(codes.shape[1]), 1.0, float((factor[test] == classes[0]).mean())
    model = boosted_trees(learner, seed)
    model.fit(codes[train], labels)
    found = model.feature_importances_ if learner == "scikit-learn" else _reductions(model, codes.shape[1])
    right = [float((classes[model.predict(codes[rows])] == factor[rows]).mean()) for rows in (train, test)]
    return found / found.sum() if found.sum() > 0 else found, right[0], right[1]


def _reductions(model: Any, num_codes: int) -> Array[np.float64]:
    """Total reduction of the residuals' squared error by each code, [D]: what scikit-learn calls its importance.

    LightGBM's own gains divide by second derivatives and so weigh the last, confident trees more. Its nodes keep what
    is needed: value * weight is the sum of residuals (times the rate), and a node of n rows explains sum^2 / n.
    """
    reductions = np.zeros(num_codes)

    def explained(node: dict[str, Any]) -> float:
        if "split_feature" not in node:
            return (node["leaf_value"] * node.get("leaf_weight", 0.0)) ** 2 / max(1, node.get("leaf_count", 1))
        own = (node["internal_value"] * node["internal_weight"]) ** 2 / node["internal_count"]
        below = explained(node["left_child"]) + explained(node["right_child"])
        reductions[node["split_feature"]] += below - own
        return own

    for tree in model.booster_.dump_model()["tree_info"]:
        explained(tree["tree_structure"])
    return np.maximum(reductions, 0)
