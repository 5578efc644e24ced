"""Tables that are larger than memory: their rows are read in blocks, and kept in a scratch file as they are encoded.

An npy file or a Parquet file is read twice. The first pass finds the kinds of the columns, with means and standard
deviations of the rows to train on. The second one encodes the rows and writes them, as float32, to a file without a
name in `jaxvae.data.cache.cache_folder`, from which batches are read; it takes 4 N D bytes on the disk and is deleted
with the table. With a known schema, there is only the second pass.

Memory: a block of 4 million values and what pandas or NumPy make of it, and of the whole file only the columns of
labels, ids, groups and the split. A table of 1,000,000 x 100 took 135 MB while it was opened (benchmarks/README.md).
The system may keep pages of the scratch file in memory while there is room.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from jaxvae.data.cache import scratch_rows
from jaxvae.data.contents import DAMAGED, check_kind, suffix_of, unreadable
from jaxvae.data.table import Table
from jaxvae.data.table_files import (
    check_names,
    index_levels,
    matrix_names,
    require_arrow,
    unnamed_index,
    with_named_index,
)
from jaxvae.data.tabular import (
    Columns,
    check_labels,
    column_array,
    expanded,
    kinds_of,
    learned,
    note_left_out,
    present,
    table_of,
)
from jaxvae.files import printable
from jaxvae.schema import MOST_CATEGORIES, Schema, Summary, check_kinds, schema_of_columns
from jaxvae.texts import is_missing, text_of

BLOCK = 4 << 20
"""Number of values that are read at a time."""
STREAMED = (".npy", ".parquet")
"""Endings of files whose rows can be read in blocks."""
TrainingRows: TypeAlias = Callable[[Table], np.ndarray | None]
"""Function that returns the rows to train on of a table without columns, or None for all rows."""


class _Rows(Protocol):
    """Rows of a file."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        ...

    @property
    def size(self) -> int:
        """Number of rows."""
        ...

    @property
    def levels(self) -> Sequence[str]:
        """Names of the columns that are levels of an index, which new rows may have."""
        ...

    @property
    def ids(self) -> np.ndarray | None:
        """Names of the rows, or None if there are none besides the columns."""
        ...

    def blocks(self, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields these columns in blocks of rows, in the order of the file."""
        ...


def streamed_table(path: Path, columns: Columns, schema: Schema | None, training_rows: TrainingRows) -> Table:
    """A table in an npy or Parquet file whose rows stay on the disk, with the columns that `table_file` would find.

    Args:
      path: File, .npy or .parquet.
      columns: Roles and kinds of the columns.
      schema: Columns that a model was trained on. By default, they are found by their values.
      training_rows: Function that returns the rows whose means and standard deviations standardize the columns.

    Raises:
      ValueError: The file cannot be read, or its columns cannot be learned from. The message says what to do.
    """
    if path.suffix.lower() not in STREAMED:
        raise ValueError(
            f"{path}: --stream reads tables from npy, Parquet, h5ad and zarr files, and {suffix_of(path)} files as a "
            "whole: leave it out, or convert the file to Parquet"
        )
    try:
        rows: _Rows = _Matrix(path) if path.suffix.lower() == ".npy" else _Parquet(path)
        return _table(rows, columns, schema, training_rows, printable(path.stem))
    except DAMAGED as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise error if str(error).startswith(f"{path}: ") else ValueError(f"{path}: {error}") from error


def is_streamable(path: Path) -> bool:
    """Whether the rows of a table in such a file can be read in blocks. A file that cannot be read has no rows."""
    if path.suffix.lower() != ".parquet":
        return path.suffix.lower() in STREAMED
    try:
        return bool(_Parquet(path).size)
    except ValueError:
        return False


def rows_of_file(
    training_rows: TrainingRows, size: int, arrays: Mapping[str, np.ndarray], columns: Columns, name: str
) -> np.ndarray | None:
    """Returns which rows of a file are to train on, bool [N], or None for all of them.

    Args:
      training_rows: Function of a table with the labels, groups and split of the rows.
      size: Number of rows N.
      arrays: These columns by name, [N] each.
      columns: Roles of the columns.
      name: Name of the data.
    """
    table = table_of(np.zeros((size, 1), np.float32), Schema(()), arrays, columns, ids=None, name=name)
    chosen = training_rows(table)
    if chosen is None:
        return None
    counted = np.zeros(size, bool)
    counted[chosen if table.origin.rows is None else table.origin.rows[chosen]] = True
    return counted


def _table(rows: _Rows, columns: Columns, schema: Schema | None, training_rows: TrainingRows, name: str) -> Table:
    names = dict.fromkeys(rows.names)
    columns = expanded(columns if schema is None else present(columns, names), names)
    chosen = learned(columns, rows.names)
    special = (*columns.labels, columns.id, columns.group, columns.split)
    arrays = _whole(rows, [name for name in special if name is not None])
    if schema is None:
        check_labels(columns.labels, arrays)
        counted = rows_of_file(training_rows, rows.size, arrays, columns, name)
        schema = _found(rows, chosen, columns, counted)
    else:
        chosen = _known(rows, chosen, columns, schema)
    named = next((each.name for each in schema.columns if each.kind == "identifier"), None)
    ids = arrays.get(columns.id) if columns.id else rows.ids
    if ids is None and named in names:
        ids = _whole(rows, [named])[named]
    x, first = scratch_rows((rows.size, schema.width)), 0
    if not chosen:
        schema.encode({})
    for block in rows.blocks(chosen):
        encoded = schema.encode(block)
        x[first : first + len(encoded)] = encoded
        first += len(encoded)
    return table_of(x, schema, arrays, columns, ids=ids, name=name)


def _whole(rows: _Rows, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads whole columns."""
    parts = list(rows.blocks(names)) if names else []
    return {name: column_array(np.concatenate([part[name] for part in parts])) for name in names}


def _found(rows: _Rows, chosen: Sequence[str], columns: Columns, counted: np.ndarray | None) -> Schema:
    """Finds the columns in one pass over the file."""
    kinds = kinds_of(columns.kinds, chosen)
    check_kinds(kinds, chosen)
    summaries = {name: Summary(name, MOST_CATEGORIES + 1) for name in chosen}
    first = 0
    for block in rows.blocks(chosen):
        for name, values in block.items():
            summaries[name].add(values, None if counted is None else counted[first : first + len(values)])
        first += len(values)

    def is_unique(name: str) -> bool:
        values = _whole(rows, [name])[name]
        return not is_missing(values).any() and len(set(map(text_of, values))) == rows.size

    return schema_of_columns(
        summary.column(kinds.get(name), partial(is_unique, name)) for name, summary in summaries.items()
    )


def _known(rows: _Rows, chosen: Sequence[str], columns: Columns, schema: Schema) -> list[str]:
    """Returns the columns to encode by a known schema, without new ones that hold a single value."""
    kept = {column.name for column in schema.columns}
    if columns.use or not (new := [name for name in chosen if name not in kept]):
        return list(chosen)
    summaries = {name: Summary(name, MOST_CATEGORIES + 1) for name in new}
    for block in rows.blocks(new):
        for name, values in block.items():
            summaries[name].add(values)
    idle = [name for name in new if summaries[name].number_of_different < 2 and name not in rows.levels]
    note_left_out(idle)
    return [name for name in chosen if name not in {*idle, *rows.levels}]


class _Matrix:
    """The rows of an npy file."""

    def __init__(self, path: Path):
        check_kind(path, path, "npy")
        try:
            self._matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise unreadable(path, error) from error
        self.names = matrix_names(path, self._matrix)
        self.size = len(self._matrix)
        self.ids: np.ndarray | None = None
        self.levels = ()

    def blocks(self, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields these columns in blocks of rows."""
        places = {name: place for place, name in enumerate(self.names)}
        step = max(1, BLOCK // max(1, len(self.names)))
        for first in range(0, self.size, step):
            block = np.array(self._matrix[first : first + step])
            yield {name: block[:, places[name]] for name in names}


class _Parquet:
    """The rows of a Parquet file."""

    def __init__(self, path: Path):
        require_arrow(path)
        import pyarrow
        import pyarrow.parquet

        try:
            self._file = pyarrow.parquet.ParquetFile(path, memory_map=True)
        except (pyarrow.ArrowException, OSError) as error:
            raise unreadable(path, error) from error
        index = (self._file.schema_arrow.pandas_metadata or {}).get("index_columns", [])
        if named := [each["name"] for each in index if isinstance(each, dict) and each.get("name")]:
            raise ValueError(
                f"{path}: its index {named[0]!r} is not stored as a column, and is lost when rows are streamed: write "
                "the table after reset_index(), or leave --stream out"
            )
        empty = self._file.schema_arrow.empty_table()
        self.levels = index_levels(empty.to_pandas())
        self.names = check_names(path, self._frame(empty).columns)
        self.size = self._file.metadata.num_rows
        if not self.size:
            raise ValueError("the file has no rows")

    def blocks(self, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields these columns in blocks of rows."""
        stored = set(self._file.schema_arrow.names)
        wanted = [name for name in names if name in stored] if stored.issuperset(names) else None
        for batch in self._file.iter_batches(max(1, BLOCK // max(1, len(self.names))), columns=wanted):
            frame = self._frame(batch)
            frame.columns = [str(name) for name in frame.columns]
            yield {name: column_array(frame[name]) for name in names}

    @property
    def ids(self) -> np.ndarray | None:
        """Texts of an index that names the rows, or None."""
        stored = [name for name in self._file.schema_arrow.names if name == "__index_level_0__"]
        ids = unnamed_index(self._file.read(columns=stored, use_pandas_metadata=True).to_pandas()) if stored else None
        return None if ids is None else np.array(ids, object)

    def _frame(self, rows: Any) -> Any:
        """Returns rows as a DataFrame with the columns that `jaxvae.data.tabular` finds in the whole file."""
        return with_named_index(rows.to_pandas())
