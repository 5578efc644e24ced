"""Codes and factors of any program, from files: which columns are which, which rows belong together, and their scores.

Metrics need factors with integer values. Columns of words and of whole numbers have them. Columns of other numbers, and
of whole numbers with more than 500 different values, are cut into bins, and what is returned says how, as does the
definition of every metric of factors.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxvae.choose import unknown
from jaxvae.files import printable
from jaxvae.metrics import metric_named
from jaxvae.metrics.inputs import inner_edges
from jaxvae.runs.codes import OWN
from jaxvae.runs.columns import check_cells, listed, numbered, numbers_of, read_columns
from jaxvae.runs.score import score_arrays

MOST_VALUES = 500
"""Largest number of different whole numbers in a factor that is not cut into bins."""
ID = "id"
Binning = Literal["quantiles", "width"]
KINDS: dict[Binning, str] = {"quantiles": "about equal counts", "width": "equal width"}


class Factor(NamedTuple):
    """A factor with integer values."""

    name: str
    values: np.ndarray
    """Values 0 .. S-1, int [N]."""
    different: int
    """Number of different values in the file."""
    edges: tuple[float, ...]
    """Inner edges of the bins, closed on the left; empty if the values are those of the file."""

    def in_words(self, binning: Binning) -> str:
        """Describes the values, and the binning if there is one."""
        if not self.edges:
            return f"{self.name}: {self.different:,} values"
        edges = " ".join(f"{edge:.4g}" for edge in self.edges)
        bins = f"{len(self.edges) + 1} bins of {KINDS[binning]}"
        return f"{self.name}: {self.different:,} different numbers, cut into {bins} at {edges}"


class Foreign(NamedTuple):
    """Codes and factors of the same examples."""

    code_names: tuple[str, ...]
    codes: np.ndarray
    """Codes [N, D]."""
    standard_deviations: np.ndarray | None
    """Posterior standard deviations [N, D], or None if they are not in the file."""
    factors: tuple[Factor, ...]
    matched: str
    """Description of how rows were matched."""


def read_foreign(
    codes: Path,
    factors: Sequence[str] = (),
    *,
    columns: Sequence[str] = (),
    bins: int = 10,
    binning: Binning = "quantiles",
) -> Foreign:
    """Reads codes, and the factors of the same examples.

    Args:
      codes: File of codes, see `jaxvae.runs.columns.read_columns`. Its codes are the columns z0, z1 ... or, where there
        are none, all columns of numbers besides id, cluster and the factors.
      factors: The path of a file, or names of columns of the file of codes. Of a file, all columns are factors but the
        id, those of codes, and the column part that `jaxvae encode` writes. Rows are matched by the column id if both
        files have it, and otherwise by their order.
      columns: Names of the columns that are codes, if they are others.
      bins: Number of bins of factors that are continuous.
      binning: Edges of the bins: "quantiles" of the values, or of equal "width" between the lowest and the highest.

    Raises:
      ValueError: A file cannot be read, a column is missing or holds no finite numbers, or rows do not match. The
        message is one line.
    """
    if bins < 2:
        raise ValueError(f"--bins must be at least 2, got {bins}")
    there = read_columns(codes, "z")
    is_file = len(factors) == 1 and factors[0] not in there and (Path(factors[0]).suffix or Path(factors[0]).exists())
    place = Path(factors[0]) if is_file else None
    if place is None:
        if missing := [name for name in factors if name not in there]:
            raise ValueError(f"{codes}: {unknown('column', missing[0], there)}")
        found, matched = {name: there[name] for name in factors}, "as columns of one file"
    else:
        read = read_columns(place, "factor")
        other, matched = _matched(codes, there, place, read)
        found = {name: column for name, column in other.items() if not _is_of_codes(name, column)}
        if not found:
            raise ValueError(f"{place}: there is no column of factors in it, only {listed(list(other))}")
    names = list(columns) or numbered(there, "z")
    if not names:
        names = [name for name, column in there.items() if name not in found and not OWN.fullmatch(name)]
        check_cells(codes, {name: there[name] for name in names})
        names = [name for name in names if column_is_of_numbers(there[name])]
    if not names:
        raise ValueError(f"{codes}: there is no column of codes in it; name them with --columns NAME NAME ...")
    if both := [name for name in names if name in found and place is None]:
        raise ValueError(f"the column {both[0]!r} can't be a code and a factor: leave it out of one of them")
    spreads = [f"sd{latent}" for latent in range(len(names))]
    own = not columns and names == [f"z{latent}" for latent in range(len(names))]
    deviations = numbers_of(codes, there, spreads) if own and all(name in there for name in spreads) else None
    origin = codes if place is None else place
    made = tuple(_factor(origin, name, column, bins, binning) for name, column in found.items())
    return Foreign(tuple(names), numbers_of(codes, there, names), deviations, made, matched)


def score_foreign(
    foreign: Foreign, metrics: Sequence[str], *, binning: Binning = "quantiles", quantised: bool = False
) -> dict[str, Any]:
    """Scores codes by metrics, as `jaxvae.runs.score` does those of a run.

    Args:
      foreign: Codes and factors. With standard deviations, one sample of each posterior is scored as well.
      metrics: Names of metrics, see `jaxvae.metrics.metric_named`. Without factors, metrics that need them are
        left out.
      binning: Binning that `foreign` was read with, which the result repeats.
      quantised: Whether each code has one of few values, see `jaxvae.runs.score.score_arrays`.

    Returns:
      {"num_samples", "codes" (names), "factors" ({name: {"values", "different", "edges"}}), "binning", "matched",
      "asked", "metrics", "sampled"}. Definitions of metrics of factors end with how these were cut into bins.

    Raises:
      ValueError: There is no such metric, or a quantised code differs in most examples.
    """
    if quantised:
        for name, code in zip(foreign.code_names, foreign.codes.T, strict=True):
            if (different := len(np.unique(code))) > max(1, len(code) // 2):
                raise ValueError(
                    f"the code {name!r} has {different:,} different values in {len(code):,} examples, so it is not "
                    "quantised: leave out --quantised"
                )
    factors = np.stack([factor.values for factor in foreign.factors], axis=1) if foreign.factors else None
    sampled = None
    if foreign.standard_deviations is not None:
        noise = np.random.default_rng(0).standard_normal(foreign.codes.shape)
        sampled = foreign.codes + foreign.standard_deviations * noise
    about = {
        each.name: {"values": int(each.values.max()) + 1, "different": each.different, "edges": list(each.edges)}
        for each in foreign.factors
    }
    scores = score_arrays(foreign.codes, sampled, factors, metrics, quantised=quantised)
    note = _cut_in_words(foreign.factors, binning)
    for results in scores.values():
        for name, result in results.items():
            if result["score"] is not None and metric_named(name).needs_factors:
                result["definition"] += note
    return {
        "num_samples": len(foreign.codes),
        "codes": list(foreign.code_names),
        "factors": about,
        "binning": binning,
        "matched": foreign.matched,
        "asked": list(metrics),
        **scores,
    }


def _cut_in_words(factors: Sequence[Factor], binning: Binning) -> str:
    """Returns what `jaxvae.metrics` adds to the definitions of metrics that cut factors; empty if none is cut."""
    names: dict[int, list[str]] = {}
    for factor in factors:
        if factor.edges:
            names.setdefault(len(factor.edges) + 1, []).append(factor.name)
    return "".join(
        f", factor{'s' * (len(cut) > 1)} {', '.join(cut)} cut into {count} bins of {KINDS[binning]}"
        for count, cut in names.items()
    )


def _is_of_codes(name: str, column: np.ndarray) -> bool:
    """Whether a column is one of those that `jaxvae encode` writes besides factors."""
    is_part = name == "part" and set(column.astype(str).tolist()) <= {"train", "validation", "test"}
    return bool(OWN.fullmatch(name)) or is_part


def column_is_of_numbers(column: np.ndarray) -> bool:
    """Whether a column holds numbers, not words."""
    return column.dtype.kind == "f"


def _matched(
    codes: Path, there: Mapping[str, np.ndarray], place: Path, read: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], str]:
    """Returns the columns of the factors in the order of the codes, and describes how they were matched."""
    rows, others = (len(next(iter(columns.values()))) for columns in (there, read))
    if ID not in there or ID not in read:
        if rows != others:
            raise ValueError(
                f"{codes} has {rows:,} rows and {place} has {others:,}: they are matched by their order, as not both "
                "have a column id, and must have as many"
            )
        return dict(read), "by their order"
    left, right = _ids(codes, there[ID]), _ids(place, read[ID])
    numbers = {name: row for row, name in enumerate(right)}
    missing = [name for name in left if name not in numbers]
    if missing:
        raise ValueError(
            f"{len(missing):,} of the {rows:,} ids of {codes} are not in {place}, such as {printable(missing[0])!r}"
        )
    index = np.array([numbers[name] for name in left])
    return {name: column[index] for name, column in read.items()}, "by the column id"


def _ids(path: Path, column: np.ndarray) -> list[str]:
    """Returns ids as text. Whole numbers give the same text whether they were written as integers or as floats."""
    names = [name.removesuffix(".0") for name in column.astype(str).tolist()]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{path}: the id {printable(twice)!r} is there more than once")
    return names


def _factor(path: Path, name: str, column: np.ndarray, bins: int, binning: Binning) -> Factor:
    shown = printable(name)
    words = not column_is_of_numbers(column)
    missing = column == "" if words else ~np.isfinite(column)
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{path}: the factor {shown!r} has no value in {int(missing.sum()):,} of {len(column):,} rows (the first "
            f"is row {row}): leave out these rows, or this factor"
        )
    values, inverse = np.unique(column, return_inverse=True)
    whole = words or (values == np.floor(values)).all()
    if len(values) == 1 or (whole and (words or len(values) <= MOST_VALUES)):
        return Factor(shown, inverse, len(values), ())
    edges = inner_edges(column, bins, binning)
    cut = np.searchsorted(edges, column, side="right")
    _, numbers = np.unique(cut, return_inverse=True)
    return Factor(shown, numbers, len(values), tuple(edges.tolist()))
