"""Columns of a table: their kinds, and the encoding of their values as numbers that networks see and predict.

A row of a table is a vector x [D]. A real column gives one standardized number, a count the count itself, a binary
column 0 or 1, and a categorical column one number per category, which is 1 for the row's category and 0 otherwise. A
missing value is NaN in x. Constant columns and identifiers are left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from jaxvae.choose import choose
from jaxvae.dates import holds_dates
from jaxvae.texts import Cells, first_word, is_missing, text_of, texts_or_numbers

Kind: TypeAlias = Literal["real", "count", "binary", "categorical", "constant", "identifier"]
FEW = 20
"""Number of different values, the first ones, that decide whether a column of words holds dates."""
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_CATEGORIES = 100
"""Largest number of different words in a categorical column; a column with more of them is text."""
MOST_COUNT = 1e6
"""Larger whole numbers are treated as real."""
ROUNDING = 1e-6
"""Largest relative distance of a count from a whole number."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    mean: float = 0.0
    """Mean of the observed values of a real column or a count."""
    scale: float = 1.0
    """Standard deviation of the observed values of a real column; 1 if it is 0."""
    values: tuple[str, ...] = ()
    """Values of a binary or categorical column, as texts. The first value of a binary column is 0."""
    has_missing: bool = False
    """Whether some value is missing."""

    @property
    def width(self) -> int:
        """Number of entries of x that hold the column."""
        if self.kind in ("constant", "identifier"):
            return 0
        return len(self.values) if self.kind == "categorical" else 1


@dataclass(frozen=True, eq=False)
class Schema:
    """The columns of a table, in the order of x. Two schemas are equal if they are the same object."""

    columns: tuple[Column, ...]
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names of the labels beside x and the texts of their values, in the order of their numbers."""
    log_size_unit: float | None = None
    """Logarithm of the counts that a size factor of 1 stands for; None for rows without size factors."""

    @cached_property
    def used(self) -> tuple[Column, ...]:
        """The columns that x holds."""
        return tuple(column for column in self.columns if column.width)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first entry of x of each used column."""
        ends = np.cumsum([0, *(column.width for column in self.used)])
        return tuple(int(end) for end in ends[:-1])

    @property
    def width(self) -> int:
        """Number of entries D of x."""
        return sum(column.width for column in self.used)

    def entries(self, *kinds: Kind) -> np.ndarray:
        """Returns the entries of x that hold columns of these kinds: int [n]."""
        places = [
            range(start, start + column.width)
            for column, start in zip(self.used, self.starts, strict=True)
            if column.kind in kinds
        ]
        return np.array([place for several in places for place in several], int)

    @cached_property
    def first_entries_with_missing(self) -> np.ndarray:
        """The first entry of x of each column that has missing values: int [m]."""
        return np.array([s for c, s in zip(self.used, self.starts, strict=True) if c.has_missing], int)

    @property
    def entry_names(self) -> tuple[str, ...]:
        """Names of the entries of x: the column, or "column=category"."""
        names: list[str] = []
        for column in self.used:
            several = column.kind == "categorical"
            names += [f"{column.name}={value}" for value in column.values] if several else [column.name]
        return tuple(names)

    def encode(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Converts the columns of a table, numbers or words, to x: float32 [N, D], NaN where a value is missing.

        Raises:
          ValueError: A column is missing, is new, or has values that it did not have. The message names it.
        """
        known = {column.name for column in self.columns}
        if absent := [column.name for column in self.used if column.name not in table]:
            raise ValueError(f"the table lacks {_listed('column', absent)}")
        if new := [name for name in table if name not in known]:
            raise ValueError(
                f"the table has {_listed('column', new)}, which the model was not trained on: remove "
                f"{'it' if len(new) == 1 else 'them'} from the table"
            )
        parts = [_encoded(column, table[column.name]) for column in self.used]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def decode(self, expected: np.ndarray) -> dict[str, np.ndarray]:
        """Converts expected rows [N, D] to columns on the scale of the table, [N] each.

        A binary column gives the probability of its second value, and a categorical one the likeliest category.
        """
        columns: dict[str, np.ndarray] = {}
        for column, start in zip(self.used, self.starts, strict=True):
            values = np.asarray(expected, np.float64)[:, start : start + column.width]
            if column.kind == "categorical":
                columns[column.name] = np.array(column.values, object)[values.argmax(axis=1)]
            else:
                real = column.kind == "real"
                columns[column.name] = values[:, 0] * column.scale + column.mean if real else values[:, 0]
        return columns

    def to_json(self) -> list[dict[str, Any]]:
        """Converts the columns to JSON values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(
        cls, columns: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]] | None = None
    ) -> "Schema":
        """Creates a schema from the JSON values of `to_json`, and the values of labels by name."""
        known = tuple((name, tuple(values)) for name, values in (labels or {}).items())
        return cls(tuple(Column(**{**column, "values": tuple(column["values"])}) for column in columns), known)

    def __str__(self) -> str:
        """Names the kinds of the columns in one line each, for a terminal."""
        lines = []
        for kind in KINDS:
            names = [column.name + "?" * column.has_missing for column in self.columns if column.kind == kind]
            if names:
                shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
                lines.append(f"{len(names):>6} {kind:12} {shown}")
        return "\n".join(lines)


def schema_of(source: Any) -> Schema | None:
    """Returns the columns of a source, or None if its examples are no rows of a table."""
    return getattr(source, "schema", None)


def find_schema(table: Mapping[str, np.ndarray], kinds: Mapping[str, str] | None = None) -> Schema:
    """Finds the kinds of columns by their values.

    Args:
      table: Columns by name, [N] each: numbers (NaN is missing) or objects (None is missing).
      kinds: Kinds of some columns, which are not looked for.

    Raises:
      ValueError: A column holds dates, text or infinite values, or values of another kind than given. The message says
        what to do.
    """
    kinds = dict(kinds or {})
    check_kinds(kinds, table)
    columns = []
    for name, values in table.items():
        summary = Summary(name)
        summary.add(values)
        columns.append(summary.column(kinds.get(name)))
    return schema_of_columns(columns)


def check_kinds(kinds: Mapping[str, str], names: Iterable[str]) -> None:
    """Raises ValueError, with a suggestion, for kinds that do not exist, or that are given to columns that do not."""
    for name, kind in kinds.items():
        choose("column", name, dict.fromkeys(names))
        choose("kind", kind, dict.fromkeys(KINDS))


def schema_of_columns(columns: Iterable[Column]) -> Schema:
    """Returns the schema of columns; ValueError if there is none to learn from."""
    schema = Schema(tuple(columns))
    if not schema.used:
        raise ValueError("the table has no column to learn from: all are constant or identifiers")
    return schema


class Summary:
    """What is known of a column after some blocks of its values, so that a file may be larger than memory."""

    def __init__(self, name: str, most: int | None = None):
        """`most` is the number of different values that are kept; by default, all of them."""
        self.name, self._most = name, most
        self._rows, self._observed, self._infinite = 0, 0, 0
        self._words, self._times, self._whole, self._running = False, False, True, True
        self._few: list[str] = []
        self._cells = Cells()
        self._last: Any = None
        self._high = 0.0
        self._different: np.ndarray | None = np.zeros(0, bool)
        self._counted, self._mean, self._square = 0, 0.0, 0.0

    def add(self, values: np.ndarray, counted: np.ndarray | None = None) -> None:
        """Adds a block of values [n], of which those `counted`, bool [n], determine mean and scale; by default, all."""
        missing = is_missing(values)
        observed = values[~missing]
        self._cells.add(values, missing)
        self._rows += len(values)
        self._observed += len(observed)
        self._times |= values.dtype.kind in "mM"
        self._words |= values.dtype.kind not in "biuf"
        if self._times or not len(observed):
            return
        if not self._few or (self._words and len(self._few) < FEW):
            some = map(text_of, observed[: 1000 if self._words else 1])
            self._few = list(dict.fromkeys([*self._few, *some]))[:FEW]
        self._note_different(observed)
        if self._words:
            return
        numbers = observed.astype(np.float64)
        self._infinite += int((~np.isfinite(numbers)).sum())
        if self._infinite:
            return
        self._whole &= are_counts(numbers)
        self._high = max(self._high, float(np.abs(numbers).max()))
        steps = numbers if self._last is None else np.concatenate([[self._last], numbers])
        self._running &= bool((np.diff(steps) == 1).all())
        self._last = numbers[-1]
        self._note_moments(numbers if counted is None else numbers[counted[~missing]])

    def column(self, kind: str | None = None, is_unique: Callable[[], bool] | None = None) -> Column:
        """Returns the column, of this kind or of the one that its values tell.

        Args:
          kind: Kind of the column. By default, it is found.
          is_unique: Function that tells whether all values are different, where not all of them were kept.

        Raises:
          ValueError: See `find_schema`.
        """
        name, has_missing = self.name, self._observed < self._rows
        if self._times or (kind is None and self._holds_dates()):
            kept = "" if self._times else f", or say --kind {name}=categorical"
            what = f"column {name!r} holds dates or times: convert it to a number, such as days since a day"
            raise ValueError(f"{what}, or --drop {name}{kept}")
        if self._infinite:
            raise ValueError(
                f"column {name!r} has {self._infinite} infinite values: make them missing, or --drop {name}"
            )
        if kind is None and self._cells.are_mostly_numbers:
            raise ValueError(
                f"column {name!r} holds numbers, but {self._cells.word} is none: empty this cell if its value is "
                f"missing, or say --kind {name}=categorical if the cells are meant as words"
            )
        kind = kind or self._kind(is_unique)
        if kind in ("constant", "identifier"):
            return Column(name, kind, has_missing=has_missing)  # type: ignore[arg-type]
        if kind in ("binary", "categorical"):
            count = self.number_of_different
            if kind == "binary" and count != 2:
                raise ValueError(f"column {name!r} has {self._several()} values, and a binary column has 2")
            if count > MOST_CATEGORIES:
                raise ValueError(
                    f"column {name!r} has {self._several()} different values, more than {MOST_CATEGORIES}: it is text "
                    f"or an identifier; --drop {name}, or name it with --id-column"
                )
            texts = tuple(text_of(value) for value in self._different)  # type: ignore[union-attr]
            return Column(name, kind, values=texts, has_missing=has_missing)  # type: ignore[arg-type]
        if not self._observed:
            raise ValueError(f"column {name!r} has no values: --drop {name}")
        if self._words:
            raise ValueError(
                f"column {name!r} holds words such as {self._cells.word or repr(self._few[0])}, and can't be {kind}"
            )
        if kind == "count":
            if not self._whole:
                raise ValueError(f"column {name!r} has negative or fractional values, and can't be a count")
            return Column(name, "count", self._mean, has_missing=has_missing)
        scale = float(np.sqrt(self._square / max(self._counted, 1)))
        if not np.isfinite([self._mean, scale]).all():
            raise _too_large(name, self._high)
        return Column(name, "real", self._mean, scale if scale > 0 else 1.0, has_missing=has_missing)

    def _kind(self, is_unique: Callable[[], bool] | None) -> Kind:
        count = self.number_of_different
        if count < 2:
            return "constant"
        if count == 2:
            return "binary"
        if self._words:
            kept = self._different is not None
            if count == self._rows if kept or is_unique is None else is_unique():
                return "identifier"
            if count > min(MOST_CATEGORIES, self._rows / 2):
                raise ValueError(
                    f"column {self.name!r} holds text, such as {self._few[0]!r}: convert it to numbers or to "
                    f"at most {MOST_CATEGORIES} categories, or --drop {self.name}"
                )
            return "categorical"
        if not self._whole or self._high > MOST_COUNT:
            return "real"
        return "identifier" if self._running and self._observed == self._rows > 10 else "count"

    def _holds_dates(self) -> bool:
        return self._words and holds_dates(self._few)

    @property
    def number_of_different(self) -> int:
        """Number of different values, or one more than are kept."""
        return (self._most or 0) + 1 if self._different is None else len(self._different)

    def _several(self) -> str:
        return str(self.number_of_different) if self._different is not None else f"more than {self._most}"

    def _note_different(self, observed: np.ndarray) -> None:
        if self._different is None:
            return
        new = np.unique(texts_or_numbers(observed))
        if self._words:
            new = new if new.dtype.kind == "U" else np.array([text_of(value) for value in new])
            known = [text_of(value) for value in self._different]
            self._different = np.unique([*known, *new.tolist()])
        else:
            self._different = np.unique(np.concatenate([self._different, new])) if len(self._different) else new
        if self._most is not None and len(self._different) > self._most:
            self._different = None

    def _note_moments(self, numbers: np.ndarray) -> None:
        """Two parts' squares add up to those of the whole (Chan, Golub and LeVeque, 1983)."""
        if not len(numbers):
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `column` refuses what is too large
            mean = numbers.mean()
            square = np.square(numbers - mean).sum()
            total = self._counted + len(numbers)
            share, difference = len(numbers) / total, mean - self._mean
            self._square = float(square + self._square + difference**2 * self._counted * share)
        self._mean = float(mean) if self._counted == 0 else self._mean + difference * share
        self._counted = total


def _encoded(column: Column, values: np.ndarray) -> np.ndarray:
    missing = is_missing(values)
    rows = np.full((len(values), column.width), np.nan)
    if column.kind in ("binary", "categorical"):
        texts = np.array([text_of(value) for value in texts_or_numbers(values[~missing])], object)
        if new := sorted(set(texts) - set(column.values)):
            raise ValueError(
                f"column {column.name!r} has the new value {new[0]!r}; it had {', '.join(column.values[:10])}"
            )
        number = {value: place for place, value in enumerate(column.values)}
        places = np.array([number[text] for text in texts], int)
        observed = places[:, None] if column.kind == "binary" else np.eye(column.width)[places]
    else:
        if values.dtype.kind not in "biuf" and not missing.all():
            found = first_word(values) or repr(text_of(values[~missing][0]))
            raise ValueError(f"column {column.name!r} must hold numbers, found {found}: empty it if it is missing")
        numbers = values[~missing].astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(f"column {column.name!r} has infinite values: make them missing")
        if column.kind == "count":
            if not are_counts(numbers):
                raise ValueError(f"column {column.name!r} has negative or fractional values, and was a count")
            observed = np.round(numbers)[:, None]
        else:
            with np.errstate(over="ignore"):
                observed = ((numbers - column.mean) / column.scale)[:, None]
        if len(observed) and np.abs(observed).max() > np.finfo(np.float32).max:
            raise _too_large(column.name, numbers[np.argmax(np.abs(numbers))])
    rows[~missing] = observed
    return rows


def are_counts(numbers: np.ndarray) -> bool:
    """Whether numbers are whole, up to rounding, and none is negative."""
    whole = np.abs(numbers - np.round(numbers)) <= ROUNDING * np.maximum(np.abs(numbers), 1)
    return bool(whole.all() and (numbers >= 0).all())


def _too_large(name: str, value: float) -> ValueError:
    return ValueError(
        f"column {name!r} has values as large as {abs(value):.4g}, which are too large for float32: make them missing, "
        f"divide the column, or --drop {name}"
    )


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"the {what}{'s' * (len(names) > 1)} {shown}"
