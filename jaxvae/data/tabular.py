"""Tables with named columns, in memory or in files, by the kinds of their columns."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.choose import unknown
from jaxvae.data.cache import in_order
from jaxvae.data.contents import suffix_of
from jaxvae.data.table import MISSING, Origin, Table, number_factors, pack
from jaxvae.data.table_files import READERS, Found, Names, Texts
from jaxvae.files import printable
from jaxvae.schema import Schema, find_schema
from jaxvae.texts import is_missing, text_of, texts_or_numbers

NUMBERS = (bool, np.bool_, int, float, np.number, Decimal)
MOST_CLASSES = 20
"""Largest number of different values of labels that are real numbers."""
SHOWN = 5
"""Number of names that a message lists."""


class LeftOut(UserWarning):
    """New rows have columns that the model was not trained on, and that are left out."""


@dataclass(frozen=True)
class Columns:
    """Roles and kinds of the columns of a table. A name that ends in * stands for all columns that begin with it."""

    use: tuple[str, ...] = ()
    """Columns to learn from. By default, all that are not named otherwise."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    labels: tuple[str, ...] = ()
    """Columns that are labels: they are not learned from, but scored and drawn as factors."""
    id: str | None = None
    """Column that names the rows."""
    group: str | None = None
    """Column of groups of rows, which a split keeps together."""
    split: str | None = None
    """Column of the words train, validation and test, which say which part of a split each row is in."""
    kinds: tuple[str, ...] = ()
    """Kinds of columns, NAME=KIND each, where the values do not tell. A name without * takes precedence."""


def table_file(path: Path, columns: Columns = Columns(), schema: Schema | None = None) -> Table:
    """A table in a CSV, TSV, Parquet, Feather, npy or npz file, with one example per row.

    Args:
      path: File, .csv, .tsv, .txt, .parquet, .feather, .npy or .npz; text files may be packed as .gz.
      columns: Roles and kinds of the columns.
      schema: Columns that a model was trained on, for new rows: they may be in another order. By default, the columns'
        kinds are found by their values.

    Raises:
      ValueError: The file cannot be read, or its columns are other than these. The message says what to do.

    Warns:
      LeftOut: The file has columns that the schema does not name, and that hold a single value.
    """
    suffix = suffix_of(path)
    if suffix not in READERS:
        raise ValueError(f"{path}: tables come from {', '.join(READERS)} files, not from {suffix!r}")
    found = READERS[suffix](path, _texts(columns, schema))
    name = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    try:
        return _from_found(found, columns, schema, printable(name))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_columns(
    table: Mapping[str, Any], columns: Columns = Columns(), schema: Schema | None = None, *, name: str = "table"
) -> Table:
    """Builds a source of the rows of a table that is in memory.

    Args:
      table: Columns by name, [N] each: a mapping to arrays, or a DataFrame.
      columns: Roles and kinds of the columns.
      schema: Columns that a model was trained on. By default, the columns' kinds are found by their values.
      name: Name of the data.

    Raises:
      ValueError: There is no such column, or the columns cannot be learned from. The message says what to do.
    """
    return _from_found(Found(table), columns, schema, name)


def _from_found(found: Found, columns: Columns, schema: Schema | None, name: str) -> Table:
    """Builds a source of the rows of a table, whose index, if it has one, is an identifier unless it is named as a
    column to learn from.
    """
    arrays = {str(key): column_array(found.columns[key]) for key in found.columns}
    rows = {len(values) for values in arrays.values()}
    if len(rows) != 1 or not min(rows):
        raise ValueError(
            f"the columns of a table must have the same number of rows, and at least 1; got {sorted(rows)}"
        )
    if schema is not None:  # new rows need no labels, and the schema reports missing columns
        columns = present(columns, arrays)
    index = None if found.index in columns.use else found.index
    columns = expanded(columns, arrays)
    chosen = {each: arrays[each] for each in learned(columns, list(arrays))}
    if schema is None:
        kinds = kinds_of(columns.kinds, list(chosen))
        check_labels(columns.labels, arrays)
        schema = find_schema(chosen, {index: "identifier", **kinds} if index is not None and index in chosen else kinds)
    elif not columns.use:  # columns that were left out of the training data are left out here as well
        kept = {column.name for column in schema.columns}
        levels = {index, *found.levels}
        new = {each: values for each, values in chosen.items() if each not in kept and each not in levels}
        note_left_out(idle := _idle(new))
        chosen = {each: values for each, values in chosen.items() if each in kept or each not in {*levels, *idle}}
    x = schema.encode(chosen)
    named = columns.id or next((each.name for each in schema.columns if each.kind == "identifier"), None) or ""
    ids = arrays.get(named) if found.ids is None else np.array(found.ids, object)
    return table_of(x, schema, arrays, columns, ids=ids, name=name)


def kinds_of(pairs: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Parses kinds, NAME=KIND each, and returns them by the names of columns; NAME* stands for all that begin so.

    Raises:
      ValueError: No column begins so. Names without * are not checked.
    """
    kinds: dict[str, str] = {}
    exact: dict[str, str] = {}
    for pair in pairs:
        name, _, kind = pair.partition("=")
        if name in names or not name.endswith("*"):
            exact[name] = kind
            continue
        matching = [each for each in names if each.startswith(name[:-1])]
        if not matching:
            raise ValueError(unknown("column", name, names))
        kinds |= dict.fromkeys(matching, kind)
    return kinds | exact


def _texts(columns: Columns, schema: Schema | None) -> Texts:
    """Returns which columns of a file of text need not be numbers, although they may look so."""
    told = (pair.partition("=") for pair in columns.kinds)
    words = (name for name, _, kind in told if kind not in ("real", "count"))
    roles = filter(None, (*columns.drop, *columns.labels, columns.group, columns.split))
    known = Names((*words, *roles))
    if schema is None:
        return Texts(columns.id, known, Names(columns.use) if columns.use else None)
    numbers = Names([column.name for column in schema.columns if column.kind in ("real", "count")])
    return Texts(columns.id, known, numbers)


def check_labels(labels: Sequence[str], table: Mapping[str, np.ndarray]) -> None:
    """Checks that labels are classes.

    Args:
      labels: Names of the columns of labels.
      table: These columns among others, [N] each, as `column_array` gives them.

    Raises:
      ValueError: A label has more than 20 different real numbers. The message names it.
    """
    for name in labels:
        values = table[name]
        if values.dtype.kind != "f":
            continue
        different = np.unique(values[np.isfinite(values)])
        if len(different) > MOST_CLASSES and (different != np.floor(different)).any():
            raise ValueError(
                f"label {name!r} has {len(different):,} different real numbers, and each would be a class: cut it into "
                f"at most {MOST_CLASSES} bins, or leave it among the columns"
            )


def table_of(
    x: np.ndarray,
    schema: Schema,
    arrays: Mapping[str, np.ndarray],
    columns: Columns,
    *,
    ids: np.ndarray | None,
    name: str,
) -> Table:
    """Builds a source of rows that are encoded already.

    Args:
      x: Rows as the schema encodes them, float32 [N, D].
      schema: Columns of x.
      arrays: Labels, groups and the split among others, [N] each, as `column_array` gives them.
      columns: Roles of the columns, of which only those of labels, groups and the split are used.
      ids: Names of the rows [N], or None.
      name: Name of the data.
    """
    groups = None if columns.group is None else _numbered_as(_value_texts(arrays[columns.group]), arrays[columns.group])
    parts = None if columns.split is None else arrays[columns.split].astype(str)
    factors: np.ndarray | None = None
    sizes: tuple[int, ...] = ()
    order = None
    known = dict(schema.labels)
    texts = tuple(_value_texts(arrays[each], known.get(each, ())) for each in columns.labels)
    if columns.labels:
        pairs = zip(columns.labels, texts, strict=True)
        numbered = np.stack([_numbered_as(values, arrays[each]) for each, values in pairs], axis=1)
        factors, sizes = numbered.astype(np.int32), tuple(len(values) for values in texts)
        _, different, order = number_factors(numbered, len(x), name)
        order = order if different == sizes else None
    if order is not None:  # one row per combination of labels: rows are put into the order of the grid
        x, factors = in_order(x, order), None if factors is None else factors[order]
        ids, groups, parts = (None if each is None else each[order] for each in (ids, groups, parts))
    if not known:
        schema = replace(schema, labels=tuple(zip(columns.labels, texts, strict=True)))
    told = None if parts is None else tuple(parts.tolist())
    origin = Origin(None if ids is None else _id_texts(ids), order, groups, texts, told)
    pixels, storage = pack(x, name, real=True, missing=True)
    return Table(name, pixels, factors, x.shape[1:], columns.labels, sizes, storage, schema=schema, origin=origin)


def schema_on(table: Table, rows: np.ndarray) -> Schema | None:
    """Returns the columns of a table with the means, standard deviations and unit of size factors of some rows [n],
    such as those to train on; None for other data.
    """
    if table.schema is None:
        return None
    x = np.asarray(table.pixels)[rows].astype(np.float64)
    columns = {column.name: column for column in table.schema.columns}
    for column, start in zip(table.schema.used, table.schema.starts, strict=True):
        values = x[~np.isnan(x[:, start]), start]
        if not len(values):
            continue
        if column.kind == "count":
            columns[column.name] = replace(column, mean=float(values.mean()))
        elif column.kind == "real":
            mean, scale = column.mean + column.scale * float(values.mean()), column.scale * float(values.std())
            columns[column.name] = replace(column, mean=mean, scale=scale or 1.0)
    unit = table.schema.log_size_unit
    if unit is not None:
        unit += float((np.log(np.nansum(x, axis=1)) - np.asarray(table.extras["log_size"], np.float64)[rows]).mean())
    return replace(table.schema, columns=tuple(columns.values()), log_size_unit=unit)


def rescaled(table: Table, schema: Schema) -> Table:
    """Returns a table on the means and standard deviations of another schema of the same columns.

    Raises:
      ValueError: The columns of the schema are others.
    """
    before = table.schema
    if before is None or [(c.name, c.kind, c.width) for c in before.used] != [
        (c.name, c.kind, c.width) for c in schema.used
    ]:
        raise ValueError(f"the columns of {table.name} are not those that the model was trained on")
    x = np.array(table.pixels)
    for old, new, start in zip(before.used, schema.used, before.starts, strict=True):
        if old.kind == "real" and (old.mean, old.scale) != (new.mean, new.scale):
            x[:, start] = (x[:, start].astype(np.float64) * old.scale + old.mean - new.mean) / new.scale
    return replace(table, pixels=x, schema=schema)


def learned(columns: Columns, names: Sequence[str]) -> list[str]:
    """Returns the names of the columns to learn from."""
    special = {*columns.labels, *columns.drop, columns.id, columns.group, columns.split}
    used = {*(columns.use or names)} - special
    return [name for name in names if name in used]


def _idle(table: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the constant columns, which carry no information and may occur anywhere in a table of new rows."""
    return [
        name for name, values in table.items() if len(set(texts_or_numbers(values[~is_missing(values)]).tolist())) < 2
    ]


def note_left_out(idle: Sequence[str]) -> None:
    """Warns of new columns that are left out, as they hold a single value."""
    if idle:
        warnings.warn(
            f"columns that hold a single value, and that the model was not trained on, are left out: {listed(idle)}",
            LeftOut,
            stacklevel=5,
        )


def listed(names: Sequence[Any] | np.ndarray) -> str:
    """Returns the first names in quotes, and the number of the others."""
    shown = ", ".join(repr(str(name)) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def present(columns: Columns, table: Mapping[str, Any]) -> Columns:
    """Returns the columns without those that are not in the table."""

    def there(name: str | None) -> bool:
        return name in table or (name is not None and any(fnmatchcase(each, name) for each in table))

    return Columns(
        tuple(filter(there, columns.use)),
        tuple(filter(there, columns.drop)),
        tuple(filter(there, columns.labels)),
        columns.id if there(columns.id) else None,
        columns.group if there(columns.group) else None,
        columns.split if there(columns.split) else None,
    )


def expanded(columns: Columns, table: Mapping[str, Any]) -> Columns:
    """Returns the columns with all names that end in * replaced by the names that they stand for.

    Raises:
      ValueError: A name is not in the table.
    """

    def several(names: Sequence[str]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in names:
            matching = [name] if name in table else []
            if not matching and name.endswith("*"):
                matching = [each for each in table if each.startswith(name[:-1])]
            if not matching:
                raise ValueError(unknown("column", name, list(table)))
            found |= dict.fromkeys(matching)
        return tuple(found)

    for one in (columns.id, columns.group, columns.split):
        if one is not None and one not in table:
            raise ValueError(unknown("column", one, list(table)))
    for pair in columns.kinds:
        if "=" not in pair:
            raise ValueError(f"--kind takes NAME=KIND, such as age=real, got {pair!r}")
    return replace(columns, use=several(columns.use), drop=several(columns.drop), labels=several(columns.labels))


def _id_texts(ids: np.ndarray) -> list[str]:
    """Returns ids as texts. Whole numbers have no decimal point, and a missing id is empty."""
    if ids.dtype.kind not in "fO":
        return ids.astype(str).tolist()
    return ["" if gone else text_of(value) for value, gone in zip(ids, is_missing(ids), strict=True)]


def _value_texts(values: np.ndarray, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the texts of the different values: those that are known first, then the others in their order."""
    missing = is_missing(values)
    words = values.dtype.kind not in "biuf"
    different = np.unique([str(value) for value in values[~missing]] if words else values[~missing])
    texts = (*(text_of(value) for value in different), *([MISSING] if missing.any() else []))
    return tuple(dict.fromkeys((*known, *texts)))


def _numbered_as(texts: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    """Returns the index of each value among the texts of `_value_texts`: int [N]."""
    number = {text: place for place, text in enumerate(texts)}
    gone = is_missing(values)
    different, inverse = np.unique(np.where(gone, MISSING, [text_of(value) for value in values]), return_inverse=True)
    return np.array([number[str(text)] for text in different], int)[inverse]


def column_array(values: Any) -> np.ndarray:
    """Returns a column as an array of numbers, times, or objects in which None is missing."""
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if hasattr(values, "to_numpy"):
        extension = not isinstance(values.dtype, np.dtype)
        if extension and kind and kind in "iuf":
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            values = values.to_numpy(dtype=object, na_value=None) if extension else values.to_numpy()
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"a column of a table must have one value per row, got shape {values.shape}")
    if values.dtype.kind != "O":
        return values
    missing = is_missing(values)
    observed = values[~missing]
    truths = all(isinstance(value, bool | np.bool_) for value in observed)  # whose texts are True and False
    if not truths and all(isinstance(value, NUMBERS) for value in observed):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = observed.astype(np.float64)
        return numbers
    cleaned = values.copy()
    cleaned[missing] = None
    return cleaned
