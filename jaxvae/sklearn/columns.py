"""The columns of X: an array of vectors, or a table whose columns have kinds and may miss values."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from jaxvae.data.tabular import column_array
from jaxvae.schema import Kind, Schema, find_schema
from jaxvae.texts import is_missing, text_of

Kinds: TypeAlias = Kind | Mapping[str, Kind] | None
Categories: TypeAlias = dict[str, dict[str, Any]]
"""Name of a categorical column -> text of a category -> the category as it stands in X."""


class StandardizedCounts(UserWarning):
    """An array holds counts, which are treated as real numbers."""


def is_frame(X: Any) -> bool:
    """Tells whether X is a pandas DataFrame."""
    return hasattr(X, "iloc") and hasattr(X, "columns")


def table_of(X: Any, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the columns of a DataFrame, or of an array [n, d], by name: [n] each.

    Args:
      X: DataFrame, or array.
      names: Names of the columns of an array; by default, x0, x1 and so on.

    Raises:
      ValueError: Two columns have the same name, or a column has several values per row.
    """
    if not is_frame(X):
        names = [f"x{d}" for d in range(np.shape(X)[1])] if names is None else names
        return {name: column_array(column) for name, column in zip(names, np.asarray(X).T, strict=True)}
    names = [str(name) for name in X.columns]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"two columns of X are named {twice[0]!r}: rename one")
    return {name: column_array(X.iloc[:, d]) for d, name in enumerate(names)}


def schema_of_frame(X: Any, kinds: Kinds, *, standardize: bool, named: bool = False) -> Schema | None:
    """Finds the kinds of the columns of a DataFrame.

    Columns of the pandas type "category" with more than two values are categorical.

    Returns:
      The columns, or None if X holds vectors: real and constant numbers only, without missing values, and columns need
      not be `named`.

    Raises:
      ValueError: A column holds dates, text or infinite values, or values of another kind than given.
    """
    table = table_of(X)
    given = {
        name: "categorical"
        for name, dtype in zip(table, X.dtypes, strict=True)
        if str(dtype) == "category" and len(set(table[name][~is_missing(table[name])].tolist())) > 2
    }
    return _schema(table, _by_column(kinds, table, given), standardize=standardize, named=named)


def schema_of_array(X: np.ndarray, kinds: Kinds, *, standardize: bool, named: bool = False) -> Schema | None:
    """Finds the kinds of the columns of an array [n, d], whose columns are real unless their kinds are given.

    Returns:
      The columns, or None if X holds vectors: real and constant numbers only, without missing values, and columns need
      not be `named`.

    Raises:
      ValueError: A column has no values, or values of another kind than given.
    """
    if kinds is None and not named and not np.isnan(X).any():
        return None
    table = table_of(X)
    return _schema(table, _by_column(kinds, table, dict.fromkeys(table, "real")), standardize=standardize, named=named)


def warn_of_counts(X: np.ndarray) -> None:
    """Warns with StandardizedCounts if some columns of an array [n, d] are likely to be counts."""
    low, high = X.min(axis=0), X.max(axis=0)
    counts = int(((low >= 0) & (high > 1) & (np.rint(X) == X).all(axis=0) & (low < high)).sum())
    if counts:
        warnings.warn(
            f"{counts} of the {X.shape[1]} columns of X look like counts, and are standardized like real numbers: set "
            "kinds='count' for a likelihood of counts, or likelihood='gaussian' to keep this without a warning",
            StandardizedCounts,
            stacklevel=3,
        )


def rows_of(schema: Schema, table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Converts the columns of a table to rows: float32 [n, D], NaN where a value is missing.

    Raises:
      ValueError: A value is of another kind than its column, or too large for float32. The message names the column.
    """
    with np.errstate(over="ignore"):
        rows = schema.encode(table)
    if np.isinf(rows).any():
        raise ValueError("X holds values too large for float32")
    return rows


def categories_of(schema: Schema, X: Any) -> Categories:
    """Returns the categories of X as they stand there, because a schema knows their texts only."""
    names = [column.name for column in schema.columns]
    found: Categories = {}
    for place, column in enumerate(schema.columns):
        if column.kind == "categorical":
            values = X.iloc[:, place].tolist() if is_frame(X) else table_of(X, names)[column.name].tolist()
            by_text = {text_of(value): value for value in values}
            found[column.name] = {text: by_text[text] for text in column.values}
    return found


def expected_columns(schema: Schema, categories: Categories, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Converts expected rows [n, D] to the columns that x holds, on their scale in X: [n] each.

    A binary column gives the probability of its second value, and a categorical one the likeliest category.
    """
    columns = schema.decode(rows)
    for name, by_text in categories.items():
        chosen = [by_text[text] for text in columns[name]]
        columns[name] = np.array(chosen, object if any(isinstance(value, str) for value in chosen) else None)
    return columns


def tolerant(schema: Schema) -> Schema:
    """Returns a schema of the same columns in which each may miss values, for the likelihood of new rows."""
    return Schema(tuple(replace(column, has_missing=True) for column in schema.columns))


def _schema(
    table: Mapping[str, np.ndarray], kinds: Mapping[str, str], *, standardize: bool, named: bool
) -> Schema | None:
    schema = find_schema(table, kinds)
    if not named and all(
        column.kind in ("real", "constant") and not column.has_missing and table[column.name].dtype.kind in "biuf"
        for column in schema.columns
    ):
        return None
    if standardize:
        return schema
    return Schema(tuple(replace(each, mean=0.0, scale=1.0) if each.kind == "real" else each for each in schema.columns))


def _by_column(kinds: Kinds, table: Mapping[str, Any], default: Mapping[str, str]) -> dict[str, str]:
    if kinds is None:
        return dict(default)
    if isinstance(kinds, str):
        return dict.fromkeys(table, kinds)
    return {**default, **{str(name): kind for name, kind in kinds.items()}}
