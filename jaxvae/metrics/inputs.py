"""Codes and factors as inputs of metrics, and their checks."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

SPLIT_SEED = 0
"""Random seed for the choice of the training rows."""
CONVENTIONS = ("reference", "paper")


class Examples(NamedTuple):
    """Checked codes and factors."""

    codes: Array[np.float64]
    """Codes [N, D]."""
    factors: Array[np.int64]
    """Factors that vary [N, K'], with values 0..S-1."""
    kept: Array[np.int64]
    """Columns of these factors in the input [K']."""
    num_factors: int
    """Number of factors K, including constant ones."""

    @property
    def ignored_factors(self) -> tuple[int, ...]:
        """Columns of the constant factors, which are left out."""
        return tuple(sorted(set(range(self.num_factors)) - set(self.kept.tolist())))

    @property
    def live(self) -> Array[np.bool_]:
        """Mask of the codes that are not constant [D]."""
        return self.codes.max(axis=0) > self.codes.min(axis=0)

    @property
    def sizes(self) -> Array[np.int64]:
        """Number of values of each factor [K']."""
        return self.factors.max(axis=0) + 1

    def spread(self, per_factor: Array[np.float64]) -> Array[np.float64]:
        """Inserts NaN for the ignored factors: values of the varying factors [..., K'] -> [..., K]."""
        full = np.full((*per_factor.shape[:-1], self.num_factors), np.nan)
        full[..., self.kept] = per_factor
        return full


def examples(codes: ArrayLike, factors: ArrayLike) -> Examples:
    """Checks codes [N, D] and factors [N, K] for a metric.

    Warns:
      UserWarning: A factor is constant and left out.

    Raises:
      ValueError: The shapes do not match, the codes are not finite, or the factors are not integers or all constant.
    """
    continuous, discrete = checked_codes(codes), checked_factors(factors)
    if len(continuous) != len(discrete):
        raise ValueError(f"codes and factors must have as many rows; got {len(continuous)} and {len(discrete)}")
    varies = discrete.max(axis=0) > 0
    if not varies.any():
        raise ValueError("every factor is constant in these examples: there is nothing to be informed about")
    if not varies.all():
        constant = np.flatnonzero(~varies).tolist()
        warnings.warn(f"factors {constant} are constant in these examples and left out", stacklevel=3)
    return Examples(continuous, discrete[:, varies], np.flatnonzero(varies), discrete.shape[1])


def warn_of_fine_factors(data: Examples, num_bins: int) -> None:
    """Warns with UserWarning if a factor has more values than there are bins."""
    fine = data.kept[data.sizes > num_bins].tolist()
    if fine:
        warnings.warn(
            f"factors {fine} take more values than the {num_bins} bins can tell apart: "
            "a perfect code scores below 1; raise num_bins",
            stacklevel=3,
        )


def checked_codes(codes: ArrayLike) -> Array[np.float64]:
    """Returns codes as float64 [N, D].

    Raises:
      ValueError: The codes do not have two axes, are empty, or their values (or the range of these) are not finite.
    """
    array = np.asarray(codes).astype(np.float64)
    _require_table("codes", array)
    if not np.isfinite(array).all():
        rows, columns = (sorted(set(axis.tolist())) for axis in np.nonzero(~np.isfinite(array)))
        shown = f"{', '.join(map(str, rows[:5]))}{' ...' if len(rows) > 5 else ''}"
        raise ValueError(f"codes must be finite; columns {columns} are not, in {len(rows)} rows: {shown}")
    with np.errstate(over="ignore"):
        ranges = array.max(axis=0) - array.min(axis=0)
    if not np.isfinite(ranges).all():
        raise ValueError(
            f"codes must be finite; the range of columns {np.flatnonzero(np.isinf(ranges)).tolist()} is not"
        )
    return array


def checked_factors(factors: ArrayLike) -> Array[np.int64]:
    """Converts factors [N, K] of any integers to int64 [N, K], with the sorted values of each column as 0..S-1.

    Raises:
      ValueError: The factors do not have two axes, are empty, or contain a value that is not an integer.
    """
    array = np.asarray(factors)
    _require_table("factors", array)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and not _all_whole(array)):
        raise ValueError("factors must be whole numbers, one per value of the factor: bin continuous factors first")
    return np.stack([np.unique(column, return_inverse=True)[1] for column in array.T], axis=1).astype(np.int64)


def split_rows(rows: int, train_fraction: float, shuffle: bool = True) -> tuple[Array[np.int64], Array[np.int64]]:
    """Splits the rows into disjoint training and test rows.

    Args:
      rows: Number of rows.
      train_fraction: Share of training rows; there are ceil(rows * train_fraction) of them.
      shuffle: Whether to draw the training rows at random, always the same ones; otherwise, they are the first rows, as
        in the reference.

    Raises:
      ValueError: One of the two parts would be empty.
    """
    train = math.ceil(rows * train_fraction) if 0 < train_fraction < 1 else 0
    if not 0 < train < rows:
        raise ValueError(f"{rows} rows can't be split with train_fraction={train_fraction}: both parts need rows")
    order = np.random.default_rng(SPLIT_SEED).permutation(rows) if shuffle else np.arange(rows)
    return order[:train], order[train:]


def enough_factors(data: Examples, metric: str) -> bool:
    """Whether at least two factors vary. Warns with UserWarning if not, as a single factor cannot be told from
    others.
    """
    if data.factors.shape[1] < 2:
        warnings.warn(f"{metric} needs two factors that vary, and these examples have one", stacklevel=3)
    return data.factors.shape[1] > 1


def choose(kind: str, value: str, options: tuple[str, ...]) -> None:
    """Raises ValueError for a value that is not one of the options, such as a misspelt convention."""
    if value not in options:
        raise ValueError(f"{kind} must be {' or '.join(options)}, got {value!r}")


def second_best(values: Array[np.float64]) -> tuple[Array[np.float64], Array[np.float64]]:
    """Returns the largest and second-largest values over the first axis, [D, K] -> two of [K].

    The second-largest of a single value is 0.
    """
    second, first = np.sort(np.pad(values, ((1, 0), (0, 0))), axis=0)[-2:]
    return first, second


def _require_table(name: str, array: np.ndarray) -> None:
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have two axes, examples and columns, and not be empty; got shape {array.shape}")


def _all_whole(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all() and (array == np.floor(array)).all())
