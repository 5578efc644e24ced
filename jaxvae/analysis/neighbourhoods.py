"""How much of the neighbourhoods of the data a low-dimensional code keeps."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from jaxvae.analysis.checks import checked_table

FINEST = 10
"""Largest number of neighbours that counts as fine-scale."""


class Neighbourhoods(NamedTuple):
    """What codes keep of the data, from large distances to small ones: each at most 1, where all is kept."""

    global_pearson: float
    """Correlation of the distances between two rows, in the data and in the codes."""
    global_spearman: float
    """The same of their ranks."""
    local_topological: float
    """Mean share of the `neighbours` nearest neighbours that are so in both; chance is neighbours / (rows - 1)."""
    local_metric: float
    """Mean Jaccard index of the rows within a radius, that of each space covering `fraction` of all its pairs."""
    fine: float
    """As `local_topological`, meaned over 1 to 10 neighbours."""
    neighbours: int
    rows: int
    """Rows looked at."""


def neighbourhood_scores(
    data: ArrayLike, codes: ArrayLike, *, fraction: float = 0.01, max_rows: int = 2000, seed: int = 0
) -> Neighbourhoods:
    """Compares the Euclidean distances within the data with those within its codes.

    Neighbours are counted by rank (topological) or within a radius (metric). No score depends on a rotation, a shift or
    a scale of data or codes. Equal distances rank in the order of the rows. Rows with nobody within the radius in
    either space are left out of `local_metric`. O(rows^2) memory, O(rows^2 log rows) time.

    Args:
      data: [N, P], such as flat images.
      codes: [N, D] of the same rows, such as posterior means.
      fraction: of the N rows that are local neighbours, and of the pairs that the radius covers; in (0, 1). At least
        one neighbour, and at least one that is none: all N - 1 others are the same in any space.
      max_rows: of more rows, so many are drawn without replacement, and N is their number.
      seed: of that draw.

    Returns:
      Neighbourhoods.

    Raises:
      ValueError: shapes that do not fit, fewer than 3 rows, values that are not finite, data or codes that are constant
        or have all rows equally far apart; a fraction that is not in (0, 1).

    Reference: Graving & Couzin (2020), whose measures these are by name; their definitions are ours.
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
    """Pearson correlation of the lengths of the steps |x_{t+1} - x_t| of the data and |z_{t+1} - z_t| of the codes.

    Args:
      data: [N, P], rows in the order of time.
      codes: [N, D] of the same rows.

    Raises:
      ValueError: shapes that do not fit, fewer than 3 rows, values that are not finite, or steps that are all equally
        long, as those of constant codes.

    Reference: Graving & Couzin (2020), by name; the definition is ours.
    """
    x, z = _checked_pair(data, codes)
    with np.errstate(over="ignore"):
        steps, steps_codes = (np.linalg.norm(np.diff(rows, axis=0), axis=1) for rows in (x, z))
    _require_varied("steps of data", steps)
    _require_varied("steps of codes", steps_codes)
    return float(pearsonr(steps, steps_codes).statistic)


def _distances(name: str, rows: np.ndarray) -> np.ndarray:
    """Of all pairs of rows, [N (N - 1) / 2]."""
    distances = pdist(rows)
    _require_varied(f"distances in {name}", distances)
    return distances


def _by_distance(distances: np.ndarray) -> np.ndarray:
    """The other rows of each row, nearest first: [N, N - 1]."""
    square = squareform(distances)
    # A row is the farthest from itself, so that its duplicates come before it.
    np.fill_diagonal(square, np.inf)
    return np.argsort(square, axis=1, kind="stable")[:, :-1]


def _common_share(order: np.ndarray, order_codes: np.ndarray, k: int) -> float:
    """Share of the first k of each row that are among the first k of the other order."""
    pairs = zip(order[:, :k], order_codes[:, :k], strict=True)
    common = [np.intersect1d(one, other, assume_unique=True).size for one, other in pairs]
    return float(np.mean(common) / k)


def _within(distances: np.ndarray, fraction: float) -> np.ndarray:
    """Whether two different rows are within the smallest distance that covers `fraction` of the pairs: bool [N, N]."""
    return squareform(distances <= np.quantile(distances, fraction, method="inverted_cdf"))


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over the rows that have anything in one or the other: [N, N] twice -> a number."""
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
    """ValueError for lengths that are all equal but for rounding, or too large: nothing correlates with them."""
    if not np.isfinite(lengths).all():
        raise ValueError(f"{name} must be finite: the values are too far apart")
    if np.ptp(lengths) <= 1e-12 * lengths.max():
        raise ValueError(f"{name} must not all be equal: there is nothing to compare")
