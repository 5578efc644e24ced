"""Statistics of a study's table. Rows are models, and columns are those of `jaxvae.study.shard.row_of`."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

Rows: TypeAlias = Sequence[Mapping[str, Any]]

DRAWS = 1000


class Estimate(NamedTuple):
    """A value with its 95 % interval; NaN if it is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "unknown"
        if np.isnan(self.low):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


class Shares(NamedTuple):
    """Shares of the variance of a score that are explained by method, strength and seed. They sum to 1."""

    method: float
    strength: float
    """Share of the regularization strength, within methods."""
    seed: float
    """Remaining share."""


def column(rows: Rows, name: str) -> np.ndarray:
    """Returns a column, float64 [len(rows)], with NaN for models without such a number."""
    values = (row.get(name) for row in rows)
    return np.array([np.nan if value is None else value for value in values], float)


def bootstrap(
    values: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Computes a statistic with its 95 % bootstrap interval.

    Args:
      values: Values [N, ...]; rows with NaN are left out.
      statistic: Function from rows to a number.
      draws: Number of resamples.
      seed: Random seed of the resamples.

    Returns:
      The statistic of the rows, and its 2.5 % and 97.5 % quantiles over resampled rows. It is NaN without rows, and the
      interval is NaN for a single row.
    """
    known = values[np.isfinite(values).all(axis=tuple(range(1, values.ndim)))]
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan)
    value = float(statistic(known))
    if len(known) < 2:
        return Estimate(value, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    again = [statistic(known[rng.integers(len(known), size=len(known))]) for _ in range(draws)]
    low, high = np.nanquantile(again, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Computes Spearman's rank correlation over the models that have both numbers.

    It is NaN for fewer than 3 such models, or if a number is constant.
    """
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return float("nan")
    return float(stats.spearmanr(one[both], other[both]).statistic)


def explained(values: np.ndarray, groups: Sequence[Hashable]) -> float:
    """Computes eta squared, the share of the variance that is between groups. NaN values are left out.

    It is NaN if the values are constant.
    """
    known = np.isfinite(values)
    kept, labels = values[known], [group for group, there in zip(groups, known, strict=True) if there]
    total = ((kept - kept.mean()) ** 2).sum() if len(kept) else 0.0
    if total == 0:
        return float("nan")
    between = 0.0
    for group in dict.fromkeys(labels):
        part = kept[[label == group for label in labels]]
        between += len(part) * (part.mean() - kept.mean()) ** 2
    return float(between / total)


def variance_shares(rows: Rows, name: str) -> Shares:
    """Decomposes the variance of a score over the models of one data set."""
    values = column(rows, name)
    method = explained(values, [row["method"] for row in rows])
    both = explained(values, [(row["method"], row["strength"]) for row in rows])
    return Shares(method, both - method, 1 - both)


def transfer(rows: Rows, *, by: str, of: str, target: str, to: str) -> float:
    """Computes how often the best setting on some data beats a random setting on other data.

    The setting (method and strength) with the highest score `by` on data `of` with one seed is compared with all other
    settings by the score `target` on data `to` with another seed. The result is the share of settings that it beats,
    averaged over all pairs of different seeds. Ties count half, and chance level is 0.5. It is NaN with fewer than two
    seeds or two settings.
    """
    source, goal = _by_setting(rows, by, of), _by_setting(rows, target, to)
    seeds = sorted({seed for _, seed in source} & {seed for _, seed in goal})
    wins = []
    for chosen_with in seeds:
        scores = {setting: value for (setting, seed), value in source.items() if seed == chosen_with}
        if len(scores) < 2:
            continue
        best = max(scores, key=lambda setting: scores[setting])
        for judged_with in seeds:
            others = [v for (setting, seed), v in goal.items() if seed == judged_with and setting != best]
            mine = goal.get((best, judged_with))
            if judged_with != chosen_with and mine is not None and others:
                wins.append(np.mean([(mine > value) + 0.5 * (mine == value) for value in others]))
    return float(np.mean(wins)) if wins else float("nan")


def _by_setting(rows: Rows, name: str, data: str) -> dict[tuple[tuple[str, float], int], float]:
    """Returns the finite scores on one data set by ((method, strength), seed)."""
    of_data = [row for row in rows if row["data"] == data]
    values = column(of_data, name)
    return {
        ((row["method"], row["strength"]), row["seed"]): float(value)
        for row, value in zip(of_data, values, strict=True)
        if np.isfinite(value)
    }
