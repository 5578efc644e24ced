"""Gradient-boosted trees as scikit-learn grows them, many times faster, with importances that redundant codes share.

The model is that of `sklearn.ensemble.GradientBoostingClassifier` with its defaults: 100 rounds of one tree per class
(one for two classes) of depth 3 at rate 0.1. LightGBM grows the trees on the residuals with second derivatives of 1, so
that its gains are the reductions of squared error that scikit-learn splits by and calls importance. The leaves then
take scikit-learn's Newton step. LightGBM's own classifier weighs rows by second derivatives in both places.

If several codes split a node equally well, scikit-learn chooses one of them at random, and LightGBM the first column.
Here, codes that are equivalent for a tree share the importance as scikit-learn's choices do on average, and the order
of columns is reversed every other round.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray as Array

ROUNDS, DEPTH, RATE = 100, 3, 0.1
BINS = 1023
"""Largest number of different values of a code for which splits are exactly those of scikit-learn."""
CLOSE = 1e-7
"""Difference of two values of a code, or share of the code's range if that is below 1, at which they count as equal."""
DRAWS = 256
"""Number of random shares of redundant codes, of which the most typical one is taken."""
SMALLEST = 1e-150
"""Second derivative of a leaf below which it does not move, as in scikit-learn."""


class Boosted(NamedTuple):
    """Results of boosted trees for a factor."""

    importance: Array[np.float64]
    """Share of each code in the reduction of the residuals' squared error [D]. The shares sum to 1, or are all 0."""
    train: Array[np.int64]
    """Predictions for the training rows [N]."""
    test: Array[np.int64]
    """Predictions for the test rows [M]."""


def boost(train: Array[np.float64], labels: Array[np.int64], test: Array[np.float64], seed: int = 0) -> Boosted:
    """Fits trees to `labels` [N] from the codes `train` [N, D], and predicts labels for these and for `test` [M, D].

    `seed` determines the order of the columns. Labels that do not occur in training are never predicted.
    """
    classes, y = np.unique(labels, return_inverse=True)
    rows, width = train.shape
    if len(classes) < 2:
        return Boosted(np.zeros(width), np.full(rows, classes[0]), np.full(len(test), classes[0]))
    binned = [_bin(train[:, d], test[:, d], y) for d in range(width)]
    if not any(bins[:rows].any() for bins, _ in binned):
        common = classes[np.bincount(y).argmax()]
        return Boosted(np.zeros(width), np.full(rows, common), np.full(len(test), common))
    first, kinds, shares = _kinds([kind for _, kind in binned])
    codes = np.stack([binned[d][0] for d in first], axis=1).astype(np.float64)
    several = len(classes) > 2
    target = (y[:, None] == (np.arange(len(classes)) if several else 1)).astype(np.float64)
    prior = target.mean(axis=0)
    scores = np.tile(np.log(prior) if several else np.log(prior / (1 - prior)), (len(codes), 1))
    rate = RATE * (len(classes) - 1) / len(classes) if several else RATE
    order = np.random.default_rng(seed).permutation(len(first))
    orders = [order, order[::-1]] if len(first) > 1 else [order]
    growers = [_Grower(codes, rows, order, target.shape[1]) for order in orders]
    leaves, ones = 2**DEPTH, np.ones(target.shape, np.float32)
    for number in range(ROUNDS):
        probability = _softmax(scores[:rows]) if several else 1 / (1 + np.exp(-scores[:rows]))
        residual = target - probability
        leaf = growers[number % len(growers)].grow(residual, ones)
        place = leaf + leaves * np.arange(target.shape[1])
        slope, bend = (
            np.bincount(place[:rows].ravel(), each.ravel(), leaves * target.shape[1])
            for each in (residual, probability * (1 - probability))
        )
        step = np.where(bend > SMALLEST, slope / np.maximum(bend, SMALLEST), 0)
        scores += rate * step[place]
    explained = np.concatenate([grower.explained() for grower in growers])
    importance = _shared(explained, kinds, shares, target.shape[1], seed)
    total = importance.sum()
    predicted = classes[scores.argmax(axis=1) if several else (scores[:, 0] >= 0).astype(np.int64)]
    return Boosted(importance / total if total > 0 else importance, predicted[:rows], predicted[rows:])


class _Grower:
    """Grows trees on the columns in one order."""

    def __init__(self, codes: Array[np.float64], rows: int, order: Array[np.int64], trees: int) -> None:
        """Takes the codes [N + M, D], of which the first `rows` are for training."""
        from lightgbm import Booster, Dataset

        settings: dict[str, Any] = {
            "objective": "none",
            "num_class": trees,
            "learning_rate": 1.0,
            "max_depth": DEPTH,
            "num_leaves": 2**DEPTH,
            "min_data_in_leaf": 1,
            "min_sum_hessian_in_leaf": 0.0,
            "max_bin": BINS + 1,
            "min_data_in_bin": 1,
            "bin_construct_sample_cnt": rows,
            "enable_bundle": False,
            "feature_pre_filter": False,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        self.order, self.trees = order, trees
        self.codes = np.ascontiguousarray(codes[:, order])
        data = Dataset(self.codes[:rows], np.zeros(rows), params=settings, free_raw_data=False)
        self.booster = Booster(settings, data)
        self.round = 0

    def grow(self, residual: Array[np.float64], ones: Array[np.float32]) -> Array[np.int64]:
        """Grows one tree per column of `residual` [N, T], and returns the leaf of each row in each tree [N + M, T]."""
        slopes = -residual.astype(np.float32)
        self.booster.update(fobj=lambda *_: (slopes, ones) if self.trees > 1 else (slopes[:, 0], ones[:, 0]))
        leaf = self.booster.predict(
            self.codes, start_iteration=self.round, num_iteration=1, pred_leaf=True, num_threads=1
        )
        self.round += 1
        return np.asarray(leaf, np.int64).reshape(len(self.codes), self.trees)

    def explained(self) -> Array[np.float64]:
        """Computes the reduction of squared error by each code in each round, [rounds, D]."""
        gains = np.zeros((self.round, len(self.order)))
        for number in range(self.round):
            gains[number, self.order] = self.booster.feature_importance("gain", iteration=number + 1)
        return np.diff(gains, axis=0, prepend=0)


def _shared(
    explained: Array[np.float64], kinds: Array[np.int64], shares: Array[np.float64], trees: int, seed: int
) -> Array[np.float64]:
    """Distributes the importance of each kind of code in each round [rounds, D'] over the codes of that kind: [D].

    The shares that n random choices give have the covariance (diag(s) - s s') / n around their mean s, and so have
    draws from a Dirichlet distribution of concentration n - 1. The shares here are the draw whose entropy is nearest to
    the mean entropy of `DRAWS`, so that completeness equals that of scikit-learn on average, whatever the seed.
    """
    rng = np.random.default_rng(seed)
    importance = np.zeros(len(kinds))
    for kind, whole in enumerate(explained.sum(axis=0)):
        codes = np.flatnonzero(kinds == kind)
        share = shares[codes]
        if len(codes) > 1 and whole > 0:
            choices = trees * whole**2 / (explained[:, kind] ** 2).sum()
            draws = rng.dirichlet(share * max(choices - 1, 1e-3), DRAWS)
            entropy = -(draws * np.log(np.maximum(draws, SMALLEST))).sum(axis=1)
            share = draws[np.abs(entropy - entropy.mean()).argmin()]
        importance[codes] = whole * share
    return importance


def _bin(
    train: Array[np.float64], test: Array[np.float64], labels: Array[np.int64]
) -> tuple[Array[np.int64], Array[np.int32]]:
    """Computes the bins of a code [N + M], and its kind for a tree [N].

    If there are more values than bins, bins end where labels change, as far as there are enough of them. The kind is
    the order of the training rows, without differences between neighbours that all have the same label.
    """
    # scikit-learn reads codes as float32, and treats values this close as equal.
    train, test = (part.astype(np.float32).astype(np.float64) for part in (train, test))
    values, rank = np.unique(train, return_inverse=True)
    gaps = np.flatnonzero(np.diff(values) > CLOSE * min(1, values[-1] - values[0]))
    rank = np.searchsorted(gaps, rank)
    counts = np.bincount(rank)
    lowest, highest = np.full(len(counts), labels.max()), np.zeros(len(counts), np.int64)
    np.minimum.at(lowest, rank, labels)
    np.maximum.at(highest, rank, labels)
    changes = np.flatnonzero((lowest[:-1] != highest[1:]) | (highest[:-1] != lowest[1:]))
    kind = np.searchsorted(changes, rank).astype(np.int32)
    ends = np.arange(len(gaps))
    if len(counts) > BINS:
        if len(changes) > BINS // 2:
            changes = changes[np.linspace(0, len(changes) - 1, BINS // 2).round().astype(np.int64)]
        even = np.searchsorted(np.cumsum(counts), np.linspace(0, len(train), BINS - len(changes) + 1)[1:-1])
        ends = np.unique(np.concatenate([changes, np.minimum(even, len(gaps) - 1)]))
    cuts = values[gaps[ends]] + (values[gaps[ends] + 1] - values[gaps[ends]]) / 2
    return np.concatenate([np.searchsorted(ends, rank), np.searchsorted(cuts, test)]), kind


def _kinds(orders: list[Array[np.int32]]) -> tuple[list[int], Array[np.int64], Array[np.float64]]:
    """Finds the codes that are equivalent for a tree: those with the same order of rows, forwards or backwards.

    Returns:
      The first code of each kind [D'], the kind of each code [D], and the share of each code in the importance of its
      kind [D]. In scikit-learn, chance decides among codes of one direction, and rounding, evenly, between the two
      directions.
    """
    known: dict[bytes, int] = {}
    first: list[int] = []
    kinds, backwards = np.zeros(len(orders), np.int64), np.zeros(len(orders), bool)
    for d, order in enumerate(orders):
        one, other = order.tobytes(), (order.max() - order).tobytes()
        kinds[d] = known.setdefault(min(one, other), len(first))
        backwards[d] = other < one
        if kinds[d] == len(first):
            first.append(d)
    alike = (kinds == kinds[:, None]) & (backwards == backwards[:, None])
    directions = np.array([len(set(backwards[kinds == kind])) for kind in kinds])
    return first, kinds, 1 / (alike.sum(axis=1) * directions)


def _softmax(scores: Array[np.float64]) -> Array[np.float64]:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
