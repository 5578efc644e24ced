"""Tables with named columns, in memory or in files, by the kinds of their columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.choose import unknown
from jaxvae.data.cache import in_order
from jaxvae.data.contents import suffix_of
from jaxvae.data.table import MISSING, Origin, Table, number_factors, pack
from jaxvae.data.table_files import READERS
from jaxvae.files import printable
from jaxvae.schema import Schema, find_schema, is_missing, text_of


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
    """
    suffix = suffix_of(path)
    if suffix not in READERS:
        raise ValueError(f"{path}: tables come from {', '.join(READERS)} files, not from {suffix!r}")
    found = READERS[suffix](path)
    name = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    try:
        return from_columns(found, columns, schema, name=printable(name))
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
    arrays = {str(key): column_array(table[key]) for key in table}
    rows = {len(values) for values in arrays.values()}
    if len(rows) != 1 or not min(rows):
        raise ValueError(
            f"the columns of a table must have the same number of rows, and at least 1; got {sorted(rows)}"
        )
    if schema is not None:  # new rows need no labels, and the schema reports missing columns
        columns = present(columns, arrays)
    columns = expanded(columns, arrays)
    chosen = {each: arrays[each] for each in learned(columns, list(arrays))}
    if schema is None:
        schema = find_schema(chosen, kinds_of(columns.kinds, list(chosen)))
    elif not columns.use:  # columns that were left out of the training data are left out here as well
        kept = {column.name for column in schema.columns}
        chosen = {each: values for each, values in chosen.items() if each in kept or each not in _idle(chosen)}
    x = schema.encode(chosen)
    named = next((each.name for each in schema.columns if each.kind == "identifier"), None)
    return table_of(x, schema, arrays, columns, ids=arrays.get(columns.id or named or ""), name=name)


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
    origin = Origin(None if ids is None else ids.astype(str).tolist(), order, groups, texts, told)
    pixels, storage = pack(x, name, real=True, missing=True)
    return Table(name, pixels, factors, x.shape[1:], columns.labels, sizes, storage, schema=schema, origin=origin)


def schema_on(table: Table, rows: np.ndarray) -> Schema | None:
    """Returns the columns of a table with the means and standard deviations of some rows [n], such as those to train
    on; None for other data.
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
    return replace(table.schema, columns=tuple(columns.values()))


def learned(columns: Columns, names: Sequence[str]) -> list[str]:
    """Returns the names of the columns to learn from."""
    special = {*columns.labels, *columns.drop, columns.id, columns.group, columns.split}
    used = {*(columns.use or names)} - special
    return [name for name in names if name in used]


def _idle(table: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the constant columns, which carry no information and may occur anywhere in a table of new rows."""
    return [name for name, values in table.items() if len(set(values[~is_missing(values)].tolist())) < 2]


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
    if not truths and all(isinstance(value, bool | np.bool_ | int | float | np.number) for value in observed):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = observed.astype(np.float64)
        return numbers
    cleaned = values.copy()
    cleaned[missing] = None
    return cleaned
