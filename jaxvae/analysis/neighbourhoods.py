"""Scores of how well a low-dimensional code preserves the neighbourhoods of the data."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from jaxvae.analysis.checks import checked_table

FINEST = 10
"""Largest number of neighbours that counts as fine-scale."""


class Neighbourhoods(NamedTuple):
    """Scores of how well codes preserve the structure of the data, from large to small distances. A perfect score is
    1.
    """

    global_pearson: float
    """Pearson correlation of the pairwise distances in the data with those in the codes."""
    global_spearman: float
    """Spearman rank correlation of the same distances."""
    local_topological: float
    """Mean share of a row's `neighbours` nearest neighbours that it has in both spaces. Chance level is neighbours /
    (rows - 1)."""
    local_metric: float
    """Mean Jaccard index of the rows within a radius. The radius of each space covers `fraction` of all its pairs."""
    fine: float
    """Mean of `local_topological` over 1 to 10 neighbours."""
    neighbours: int
    rows: int
    """Number of rows compared."""


def neighbourhood_scores(
    data: ArrayLike, codes: ArrayLike, *, fraction: float = 0.01, max_rows: int = 2000, seed: int = 0
) -> Neighbourhoods:
    """Compares the Euclidean distances between rows of the data with those between their codes.

    Neighbours are counted by rank (topological) or within a radius (metric). No score changes when data or codes are
    rotated, shifted or scaled. Equal distances are ranked in the order of the rows. Rows without neighbours within the
    radius in either space are left out of `local_metric`. The function takes O(rows^2) memory and O(rows^2 log rows)
    time.

    Args:
      data: Data [N, P], such as flattened images.
      codes: Codes [N, D] of the same rows, such as posterior means.
      fraction: Fraction of the N rows that are local neighbours, and of the pairs that the radius covers; in (0, 1).
        Each row has at least one local neighbour and at least one row that is not, because the set of all N - 1 other
        rows is the same in any space.
      max_rows: Largest number of rows to compare. From more rows, this number is drawn without replacement, and N is
        then their number.
      seed: Random seed for that draw.

    Returns:
      The scores, and the numbers of neighbours and rows.

    Raises:
      ValueError: The shapes do not match; there are fewer than 3 rows; values are not finite; data or codes are
        constant or have all rows equally far apart; or the fraction is not in (0, 1).

    Reference: Graving & Couzin (2020) name these measures; the definitions are ours.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    if max_rows < 3:
        raise ValueError(f"max_rows must be at least 3, got {max_rows}")
    x, z = _checked_pair(data, codes)
    if len(x) > max_rows:
        rows = np.sort(np.random.default_rng(seed).choice(len(x), max_rows, replace=False))
        x, z = x[rows], z[rows]
    near, near_codes = _distances("data", x), _distances("codes", z)
    order, order_codes = _by_distance(near), _by_distance(near_codes)
    most = len(x) - 2
    neighbours = min(max(1, round(fraction * len(x))), most)
    fine = [_common_share(order, order_codes, k) for k in range(1, min(FINEST, most) + 1)]
    return Neighbourhoods(
        global_pearson=float(pearsonr(near, near_codes).statistic),
        global_spearman=float(spearmanr(near, near_codes).statistic),
        local_topological=_common_share(order, order_codes, neighbours),
        local_metric=_jaccard(_within(near, fraction), _within(near_codes, fraction)),
        fine=float(np.mean(fine)),
        neighbours=neighbours,
        rows=len(x),
    )


def temporal_correlation(data: ArrayLike, codes: ArrayLike) -> float:
    """Computes the Pearson correlation of the step lengths |x_{t+1} - x_t| of the data and |z_{t+1} - z_t| of the
    codes.

    Args:
      data: Data [N, P], with rows in temporal order.
      codes: Codes [N, D] of the same rows.

    Raises:
      ValueError: The shapes do not match; there are fewer than 3 rows; values are not finite; or all steps have the
        same length, as for constant codes.

    Reference: Graving & Couzin (2020) name this measure; the definition is ours.
    """
    x, z = _checked_pair(data, codes)
    with np.errstate(over="ignore"):
        steps, steps_codes = (np.linalg.norm(np.diff(rows, axis=0), axis=1) for rows in (x, z))
    _require_varied("steps of data", steps)
    _require_varied("steps of codes", steps_codes)
    return float(pearsonr(steps, steps_codes).statistic)


def _distances(name: str, rows: np.ndarray) -> np.ndarray:
    """Computes the distances of all pairs of rows, [N (N - 1) / 2]."""
    distances = pdist(rows)
    _require_varied(f"distances in {name}", distances)
    return distances


def _by_distance(distances: np.ndarray) -> np.ndarray:
    """Returns the other rows of each row, nearest first: [N, N - 1]."""
    square = squareform(distances)
    # A row is the farthest from itself, so that its duplicates come before it.
    np.fill_diagonal(square, np.inf)
    return np.argsort(square, axis=1, kind="stable")[:, :-1]


def _common_share(order: np.ndarray, order_codes: np.ndarray, k: int) -> float:
    """Computes the share of the first k neighbours of each row that are among its first k in the other order."""
    pairs = zip(order[:, :k], order_codes[:, :k], strict=True)
    common = [np.intersect1d(one, other, assume_unique=True).size for one, other in pairs]
    return float(np.mean(common) / k)


def _within(distances: np.ndarray, fraction: float) -> np.ndarray:
    """Tells which pairs of different rows are within the smallest distance that covers `fraction` of the pairs: bool
    [N, N].
    """
    return squareform(distances <= np.quantile(distances, fraction, method="inverted_cdf"))


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Computes the mean Jaccard index of two neighbour masks [N, N], over the rows that have a neighbour in either."""
    both, either = (one & other).sum(axis=1), (one | other).sum(axis=1)
    return float((both[either > 0] / either[either > 0]).mean())


def _checked_pair(data: ArrayLike, codes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, z = _checked("data", data), _checked("codes", codes)
    if len(x) != len(z):
        raise ValueError(f"data and codes must have as many rows; got {len(x)} and {len(z)}")
    return x, z


def _checked(name: str, values: ArrayLike) -> np.ndarray:
    array = checked_table(name, values)
    if len(array) < 3:
        raise ValueError(f"{name} must have at least 3 rows, got {len(array)}")
    if not np.ptp(array, axis=0).any():
        raise ValueError(f"{name} must not be constant: all its rows are equal")
    return array


def _require_varied(name: str, lengths: np.ndarray) -> None:
    """Raises ValueError for lengths that are too large, or all equal up to rounding: they have no correlation."""
    if not np.isfinite(lengths).all():
        raise ValueError(f"{name} must be finite: the values are too far apart")
    if np.ptp(lengths) <= 1e-12 * lengths.max():
        raise ValueError(f"{name} must not all be equal: there is nothing to compare")
