"""DCI-ES: explicitness from loss-capacity curves, and size."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.ensemble import RandomForestClassifier

from jaxvae.metrics.dci import completeness_of, disentanglement_of
from jaxvae.metrics.inputs import Binning, examples, known_rows, split_rows
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class DCIES(Result):
    """Explicitness as the score, with disentanglement, completeness and informativeness at the best capacity, and
    size.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    """Best test accuracy, averaged over factors."""
    size: float
    """Number of factors divided by the number of codes, K / D."""
    per_factor: np.ndarray
    """Explicitness of each factor [K]; NaN for ignored factors."""
    capacities: tuple[int, ...]
    losses: np.ndarray
    """Loss, 1 - test accuracy, at each capacity [P, K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int
    num_train: int
    """Number of training rows."""
    num_test: int
    """Number of test rows, which are disjoint from the training rows."""


def dci_es(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    depths: Sequence[int] = (1, 2, 3, 4, 8, 12, 16, 20),
    trees: int = 100,
    train_fraction: float = 2 / 3,
    shuffle: bool = True,
    seed: int = 0,
    jobs: int = -1,
    binning: Binning | None = None,
) -> DCIES:
    """DCI with explicitness and size: the capacity that a probe needs to predict the factors from the codes.

    The probes are random forests of increasing depth. The explicitness of a factor is 1 - 2 A, where A is the area
    between its loss curve and that curve's minimum, in units of the capacity range and of the loss of guessing, 1 -
    1/S. It is between -1 and 1, and 0 for a straight line. A useless code has explicitness 1, as its curve never falls,
    so read explicitness together with informativeness.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      depths: Depths of the forests, which are the capacities, increasing.
      trees: Number of trees in a forest.
      train_fraction: Share of the rows to train on; the other rows are for testing.
      shuffle: Whether to draw the training rows at random; otherwise, they are the first ones, as in the reference.
      seed: Random seed for the forests.
      jobs: Number of threads; -1 uses all cores.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Raises:
      ValueError: The errors of `mig`; there are fewer than two depths, or they do not increase; or the rows cannot be
        split.

    Reference: Eastwood et al. (2023).
    """
    if len(depths) < 2 or any(a >= b for a, b in itertools.pairwise(depths)) or depths[0] < 1:
        raise ValueError(f"depths must be at least two rising numbers from 1, got {tuple(depths)}")
    data = examples(codes, factors, binning)
    train, test = split_rows(len(data.codes), train_fraction, shuffle)
    losses = np.zeros((len(depths), data.factors.shape[1]))
    importance = np.zeros((len(depths), data.codes.shape[1], data.factors.shape[1]))
    unlimited = np.zeros(data.factors.shape[1], bool)
    for p, depth in enumerate(depths):
        for k, factor in enumerate(data.factors.T):
            if unlimited[k]:  # the forest would be the same one
                losses[p, k], importance[p, :, k] = losses[p - 1, k], importance[p - 1, :, k]
                continue
            learned, tested = known_rows(factor, train), known_rows(factor, test)
            forest = RandomForestClassifier(trees, max_depth=depth, random_state=seed, n_jobs=jobs)
            forest.fit(data.codes[learned], factor[learned])
            losses[p, k] = 1 - (forest.predict(data.codes[tested]) == factor[tested]).mean()
            importance[p, :, k] = forest.feature_importances_
            unlimited[k] = all(tree.get_depth() < depth for tree in forest.estimators_)
    best = losses.mean(axis=1).argmin()
    curves = [explicitness_of(depths, loss, 1 - 1 / size) for loss, size in zip(losses.T, data.sizes, strict=True)]
    return DCIES(
        score=float(np.mean(curves)),
        definition=data.describe(
            f"DCI-ES explicitness, forests of depth {depths[0]} to {depths[-1]}, "
            f"{len(train)} training and {len(test)} test rows"
        ),
        disentanglement=disentanglement_of(importance[best])[0],
        completeness=completeness_of(importance[best])[0],
        informativeness=float((1 - losses.min(axis=0)).mean()),
        size=data.factors.shape[1] / data.codes.shape[1],
        per_factor=data.spread(np.array(curves)),
        capacities=tuple(depths),
        losses=data.spread(losses),
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
        num_train=len(train),
        num_test=len(test),
    )


def explicitness_of(
    capacities: ArrayLike, losses: ArrayLike, baseline_loss: float, largest: float | None = None
) -> float:
    """Computes the explicitness of a loss-capacity curve: 1 - 2 * area above its minimum / (capacity range * baseline
    loss).

    Args:
      capacities: Capacities [P], increasing.
      losses: Losses at each capacity [P], of which the running minimum is used.
      baseline_loss: Loss of guessing.
      largest: Capacity up to which the curve is extended by its last value, if other curves of the set go further.
    """
    x, curve = np.asarray(capacities, np.float64), np.minimum.accumulate(np.asarray(losses, np.float64))
    if largest is not None and largest > x[-1]:
        x, curve = np.append(x, largest), np.append(curve, curve[-1])
    area = np.trapezoid(curve - curve.min(), x)
    return float(1 - 2 * area / ((x[-1] - x[0]) * baseline_loss))
