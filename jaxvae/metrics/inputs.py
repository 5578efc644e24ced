"""Codes and factors as inputs of metrics, and their checks."""

import math
import warnings
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

SPLIT_SEED = 0
"""Random seed for the choice of the training rows."""
CONVENTIONS = ("reference", "paper")
NOT_WHOLE = (
    "factors must be whole numbers, one per value of the factor: bin continuous factors first, as binning=Binning(10) "
    "does in the metrics that take it"
)


class Binning(NamedTuple):
    """How a metric cuts continuous factors into bins. Factors of whole numbers keep their values."""

    num_bins: int = 10
    """Number of bins, at least 2."""
    kind: Literal["width", "quantiles"] = "width"
    """Edges of the bins: of equal width between the lowest and the highest value, or quantiles of the values."""


class Examples(NamedTuple):
    """Checked codes and factors."""

    codes: Array[np.float64]
    """Codes [N, D]."""
    factors: Array[np.int64]
    """Factors that vary [N, K'], with values 0..S-1, and -1 where the value is missing."""
    kept: Array[np.int64]
    """Columns of these factors in the input [K']."""
    num_factors: int
    """Number of factors K, including constant ones."""
    values: Array[np.float64]
    """The same factors as numbers [N, K']: the values of continuous factors, 0..S-1 of others, NaN where missing."""
    note: str = ""
    """What was done to the factors, for definitions: how they were cut into bins, and rows that were left out."""

    def describe(self, definition: str) -> str:
        """Returns a definition with the binning of factors and the number of rows left out, if there are any."""
        return definition + self.note

    @property
    def complete(self) -> bool:
        """Whether every factor is known for every example."""
        return bool((self.factors >= 0).all())

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


def examples(
    codes: ArrayLike, factors: ArrayLike, binning: Binning | None = None, *, continuous: bool = False
) -> Examples:
    """Checks codes [N, D] and factors [N, K] for a metric.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], with NaN or None where a value is missing.
      binning: Bins of factors that are not whole numbers. Without it, such factors are refused.
      continuous: Whether the metric takes factors that are not whole numbers as they are.

    Warns:
      UserWarning: A factor is constant and left out, or is missing in some examples, which are left out for it.

    Raises:
      ValueError: The shapes do not match, the codes are not finite, or the factors are not integers or all constant.
    """
    real = checked_codes(codes)
    discrete, values, note = checked_factors(factors, binning, continuous=continuous)
    if len(real) != len(discrete):
        raise ValueError(f"codes and factors must have as many rows; got {len(real)} and {len(discrete)}")
    varies = discrete.max(axis=0) > 0
    if not varies.any():
        raise ValueError("every factor is constant in these examples: there is nothing to be informed about")
    if not varies.all():
        constant = np.flatnonzero(~varies).tolist()
        warnings.warn(f"factors {constant} are constant in these examples and left out", stacklevel=3)
    missing = (discrete < 0).sum(axis=0) * varies
    if missing.any():
        note += missing_note(missing, len(real), stacklevel=4)
    return Examples(real, discrete[:, varies], np.flatnonzero(varies), discrete.shape[1], values[:, varies], note)


def missing_note(missing: Array[np.int64], rows: int, stacklevel: int = 3) -> str:
    """Warns with UserWarning that some of the rows miss some factors [K], and returns the addition to a definition."""
    words = ", ".join(f"{missing[k]} of {rows} rows without factor {k}" for k in np.flatnonzero(missing))
    warnings.warn(f"{words}, which are left out for that factor", stacklevel=stacklevel)
    return f", {words} left out"


def known_rows(factor: Array[np.int64], rows: Array[np.int64]) -> Array[np.int64]:
    """Returns those of `rows` in which a factor [N] is known.

    Raises:
      ValueError: There is none.
    """
    known = rows[factor[rows] >= 0]
    if not len(known):
        raise ValueError(f"a factor is missing in all of {len(rows)} rows: leave out this factor")
    return known


def warn_of_fine_factors(data: Examples, num_bins: int, stacklevel: int = 3) -> None:
    """Warns with UserWarning if a factor has more values than there are bins."""
    fine = data.kept[data.sizes > num_bins].tolist()
    if fine:
        warnings.warn(
            f"factors {fine} take more values than the {num_bins} bins can tell apart: "
            "a perfect code scores below 1; raise num_bins",
            stacklevel=stacklevel,
        )


def without_mask(what: str, array: ArrayLike) -> ArrayLike:
    """Returns the array, or raises ValueError if some of its values are masked: NumPy would drop the mask."""
    if np.ma.is_masked(array):
        raise ValueError(f"{what} are a masked array, whose mask is not read: call its method filled")
    return array


def checked_codes(codes: ArrayLike) -> Array[np.float64]:
    """Returns codes as float64 [N, D].

    Raises:
      ValueError: The codes do not have two axes, are empty, or their values (or the range of these) are not finite.
    """
    array = np.asarray(without_mask("codes", codes)).astype(np.float64)
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


class Factors(NamedTuple):
    """Checked factors."""

    numbers: Array[np.int64]
    """Numbers 0..S-1 of the sorted values of each factor [N, K], with -1 for missing values."""
    values: Array[np.float64]
    """Values of continuous factors, and the numbers of others [N, K]; NaN where missing."""
    note: str
    """Description of the bins, empty if there are none."""


def checked_factors(factors: ArrayLike, binning: Binning | None = None, *, continuous: bool = False) -> Factors:
    """Numbers the values of factors [N, K]; see `examples` for the arguments.

    Raises:
      ValueError: The factors do not have two axes, are empty, or contain a value that is not a whole number and must be
        one; or the binning is invalid.
    """
    if binning is not None:
        choose("kind", binning.kind, ("width", "quantiles"))
        if binning.num_bins < 2:
            raise ValueError(f"factors need at least 2 bins, got {binning.num_bins}")
    array = np.asarray(without_mask("factors", factors))
    _require_table("factors", array)
    if array.dtype.kind == "O":
        array = _numbers_of(array)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and np.isinf(array).any()):
        raise ValueError(NOT_WHOLE)
    numbers, values = np.full(array.shape, -1, np.int64), np.full(array.shape, np.nan)
    cut = []
    for k, column in enumerate(array.T):
        known = ~np.isnan(column) if array.dtype.kind == "f" else np.ones(len(column), bool)
        there = column[known]
        if array.dtype.kind == "f" and not (there == np.floor(there)).all():
            if binning is not None and not continuous:
                cut.append(str(k))
                there = np.searchsorted(inner_edges(there, *binning), there, side="right")
            elif not continuous:
                raise ValueError(NOT_WHOLE)
            else:
                values[known, k] = there
        numbers[known, k] = np.unique(there, return_inverse=True)[1]
        if np.isnan(values[known, k]).any():
            values[known, k] = numbers[known, k]
    if not cut or binning is None:
        return Factors(numbers, values, "")
    edges = "equal width" if binning.kind == "width" else "about equal counts"
    plural = "s" if len(cut) > 1 else ""
    return Factors(numbers, values, f", factor{plural} {', '.join(cut)} cut into {binning.num_bins} bins of {edges}")


def inner_edges(column: Array[np.float64], num_bins: int, kind: str) -> Array[np.float64]:
    """Computes the edges between the bins of a column [N], closed on the left: of equal "width", or at "quantiles"."""
    values = np.unique(column)
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    low, high = float(values[0]), float(values[-1])
    edges = np.quantile(column, inner) if kind == "quantiles" else low + (high - low) * inner
    # The lowest value, such as 0, may be most of them.
    return np.unique(np.where(edges > low, edges, values[min(1, len(values) - 1)]))


def _numbers_of(array: np.ndarray) -> np.ndarray:
    """Converts objects to numbers, None to NaN. Raises ValueError for others."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(NOT_WHOLE) from error


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


def numbered_labels(labels: ArrayLike) -> Array[np.float64]:
    """Numbers labels of any type [N] in their order; NaN where they are None, NaN or pandas' NA."""
    labels = np.asarray(labels)
    known = np.array([_is_known(label) for label in labels.tolist()], bool)
    numbers = np.full(len(labels), np.nan)
    there = labels[known]
    if there.dtype.kind == "O":
        there = there.astype(str)
    numbers[known] = np.unique(there, return_inverse=True)[1]
    return numbers


def _is_known(label: object) -> bool:
    same = label == label  # False for NaN, and NA for pandas' NA
    return label is not None and isinstance(same, bool | np.bool_) and bool(same)


def rows_in_words(train: Array[np.int64], test: Array[np.int64]) -> str:
    """Describes the rows that a metric learned from and was tested on, which are the same ones in some public code."""
    if np.array_equal(train, test):
        return f"{len(train)} rows for training and testing alike"
    return f"{len(train)} training and {len(test)} test rows"


def enough_factors(data: Examples, metric: str, stacklevel: int = 3) -> bool:
    """Whether at least two factors vary. Warns with UserWarning if not, as a single factor cannot be told from
    others.
    """
    if data.factors.shape[1] < 2:
        warnings.warn(f"{metric} needs two factors that vary, and these examples have one", stacklevel=stacklevel)
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
