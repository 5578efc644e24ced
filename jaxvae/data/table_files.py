"""Readers of tables in files: CSV, TSV, Parquet, Feather, npy and npz."""

import importlib.util
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.contents import DAMAGED, check_kind, content_of, suffix_of, unreadable
from jaxvae.data.delimited import Delimited, decimal_mark, delimited
from jaxvae.texts import is_number, text_of


@dataclass(frozen=True)
class Names:
    """Names of columns. One that ends in * stands for all that begin with it."""

    names: Collection[str]

    @cached_property
    def _whole(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _starts(self) -> tuple[str, ...]:
        return tuple(name[:-1] for name in self.names if name.endswith("*"))

    def __contains__(self, name: str) -> bool:
        return name in self._whole or name.startswith(self._starts)


@dataclass(frozen=True)
class Texts:
    """What is known of the columns of a file of text."""

    id: str | None = None
    """Column that names the rows."""
    words: Names = Names(())
    """Columns whose cells are no numbers."""
    only: Names | None = None
    """Columns of which some may hold numbers; None for all of them."""

    def includes(self, name: str) -> bool:
        """Whether a column is known to hold text, or is not used."""
        return name == self.id or name in self.words or (self.only is not None and name not in self.only)


@dataclass(frozen=True)
class Found:
    """What is found in a file."""

    columns: Mapping[str, Any]
    """Columns by name, [N] each."""
    ids: list[str] | None = None
    """Names of the N rows; None if they have none, or if a column names them."""
    index: str | None = None
    """Name that was given to the column of ids, which has none in the file."""
    levels: tuple[str, ...] = ()
    """Names of the columns that are levels of an index of pandas."""


def _pandas(path: Path) -> Any:
    if importlib.util.find_spec("pandas") is None:
        raise ValueError(f"{path}: tables need pandas: pip install 'jaxvae[tables]'")
    import pandas

    return pandas


def _text_table(path: Path, texts: Texts) -> Found:
    pandas, content = _pandas(path), content_of(path)
    data = content.read_bytes() if isinstance(content, Path) else content.getvalue()
    check_text(path, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the file is not UTF-8 ({error.reason}): save it as UTF-8") from error
    try:
        cells = delimited(text, "\t" if suffix_of(path) == ".tsv" else None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if cells.names and all(is_number(name) for name in cells.names):
        raise ValueError(f"{path}: the first row must hold the names of the columns, and holds numbers")
    check_names(path, filter(None, cells.names))
    empty = [place for place, name in enumerate(cells.names) if not name]
    if empty and (empty != [0] or len(cells.names) == 1):
        raise ValueError(f"{path}: column number {empty[0] + 1} has no name: name it")
    try:
        names, ids, rows = _names_and_ids(cells, texts)
        if not rows:
            return Found({name: np.zeros(0) for name in names})
        rows_of_cells = (row for _, row in cells.rows())
        advice = ", or say --kind NAME=categorical of a column of words"
        decimal = decimal_mark(cells, rows_of_cells, names, texts.includes, advice)
        table = pandas.read_csv(
            io.StringIO(cells.text[cells.start :]),
            sep=cells.separator,
            decimal=decimal,
            header=None,
            names=names,
            index_col=False,
            low_memory=False,
            skipinitialspace=True,
        )
        if len(table) != rows:
            raise ValueError(f"its quotes leave {rows} or {len(table)} rows: write two quotes for one inside of a cell")
    except (*DAMAGED, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: the file is not a table that can be read: {reason}") from error
    return Found(table, ids, names[0] if names[0] not in cells.names else None)


def _names_and_ids(cells: Delimited, texts: Texts) -> tuple[list[str], list[str] | None, int]:
    """Returns the names of the columns, the ids as they stand in the file or None if there are none, and the number of
    rows.

    A first column without a name gets one. It holds the ids, as does the first column of R's `write.table`, which the
    header does not count.

    Raises:
      ValueError: A row is longer or shorter than the header. The message names its line.
    """
    width, rows, ends = len(cells.names), 0, True
    place = cells.names.index(texts.id) if texts.id in cells.names else None if cells.names[0] else 0
    ids: list[str] = []
    first: list[str] = []
    wrong: ValueError | None = None
    for rows, (line, row) in enumerate(cells.rows(), 1):
        if len(row) != width:
            wrong = wrong or cells.wrong_length(line, len(row))
            if len(row) != width + 1 or len(first) < rows - 1:
                raise wrong
            first.append(row[0])
            ends = ends and not row[-1].strip()
        elif wrong is not None:
            raise wrong
        if place is not None:
            ids.append(row[place + len(row) - width])
    if wrong is not None and (ends or not cells.names[0] or not _name_rows(first)):
        raise wrong
    if wrong is not None:
        return [_free_name(cells.names), *cells.names], first if place is None else ids, rows
    names = list(cells.names) if cells.names[0] else [_free_name(cells.names), *cells.names[1:]]
    return names, None if place is None else ids, rows


def _name_rows(texts: list[str]) -> bool:
    """Whether cells may be the names of rows that R writes: different words, or the numbers from 1."""
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    words = sum(not is_number(text) for text in texts)
    return (len(texts) > 1 and texts == numbers) or (2 * words > len(texts) == len(set(texts)))


def _free_name(names: Collection[str]) -> str:
    """Returns a name for the index that no column has."""
    name = "index"
    while name in names:
        name = f"_{name}"
    return name


def check_text(path: Path, data: bytes) -> None:
    """Checks that the content of a file is text.

    Raises:
      ValueError: The file is empty, binary, or not a table; the message says what to do.
    """
    if not data.strip():
        raise ValueError(f"{path}: the file is empty")
    if b"\0" in data[:4096]:
        raise ValueError(f"{path}: the file is not text, and cannot be read as CSV (save UTF-16 files as UTF-8)")
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"version https://git-lfs")):
        raise ValueError(f"{path}: the file is a web page or a Git LFS pointer, not a table: download the data again")


def _arrow_table(path: Path, texts: Texts) -> Found:
    pandas, content = require_arrow(path), content_of(path)
    read = pandas.read_feather if suffix_of(path) == ".feather" else pandas.read_parquet
    try:
        table = read(content)
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    ids, levels = None if texts.id in table.columns else unnamed_index(table), index_levels(table)
    table = with_named_index(table)
    check_names(path, table.columns)
    return Found(table, ids, levels=levels)


def require_arrow(path: Path) -> Any:
    """Returns pandas; ValueError if it or pyarrow is not installed."""
    pandas = _pandas(path)
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{path}: {suffix_of(path)} files need pyarrow: pip install 'jaxvae[tables]'")
    return pandas


def unnamed_index(frame: Any) -> list[str] | None:
    """Returns the texts of the index of a DataFrame that names its rows: it has no name and no levels, and is no range.

    Returns:
      The texts, or None if the index does not name the rows.
    """
    if frame.index.name is not None or frame.index.nlevels > 1 or type(frame.index).__name__ == "RangeIndex":
        return None
    return [text_of(value) for value in frame.index]


def index_levels(frame: Any) -> tuple[str, ...]:
    """Returns the names of the levels of the index of a DataFrame; none if it has a single one."""
    if frame.index.nlevels == 1:
        return ()
    return tuple(str(name if name is not None else f"level_{n}") for n, name in enumerate(frame.index.names))


def with_named_index(frame: Any) -> Any:
    """Returns a DataFrame with its index as a column if it has a name, or with the levels of its index as columns."""
    names = index_levels(frame)
    if not names:
        named = frame.index.name and frame.index.name not in frame.columns
        return frame.reset_index() if named else frame
    there = {str(name) for name in frame.columns}
    levels = {name: frame.index.get_level_values(n) for n, name in enumerate(names) if name not in there}
    frame = frame.reset_index(drop=True)
    for place, (name, values) in enumerate(levels.items()):
        frame.insert(place, name, values)
    return frame


def check_names(path: Path, names: Iterable[Any]) -> list[str]:
    """Returns the names of columns as text; ValueError if two are the same."""
    texts = [str(name) for name in names]
    if twice := [name for name, count in Counter(texts).items() if count > 1]:
        raise ValueError(f"{path}: two columns are named {twice[0]!r}: rename one")
    return texts


def _npy_table(path: Path, texts: Texts) -> Found:
    content = content_of(path)
    check_kind(path, content, "npy")
    try:
        matrix = np.load(content, allow_pickle=False)
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    return Found({name: matrix[:, d] for d, name in enumerate(matrix_names(path, matrix))})


def _npz_table(path: Path, texts: Texts) -> Found:
    content = content_of(path)
    check_kind(path, content, "npz")
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: decoded(path, name, file[name]) for name in file.files}
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if len(matrices) > 1:
        raise ValueError(f"{path}: there are several matrices, {', '.join(matrices)}: keep the one to learn from")
    names: list[str] = []
    columns: list[np.ndarray] = []
    for name, array in arrays.items():
        if array.ndim == 2:
            unnamed = matrix_names(path, array)
            words = list(map(str, arrays["columns"].reshape(-1))) if "columns" in arrays else unnamed
            if len(words) != len(unnamed):
                raise ValueError(
                    f"{path}: `columns` has {len(words)} names, and the matrix {name!r} has {len(unnamed)} columns: "
                    "write one name per column"
                )
            names += words
            columns += list(array.T)
        elif name != "columns" or not matrices:
            names.append(name)
            columns.append(array)
    return Found(dict(zip(check_names(path, names), columns, strict=True)))


def decoded(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of bytes as text, and other arrays unchanged.

    Raises:
      ValueError: The bytes are not UTF-8.
    """
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the bytes of {name!r} are not UTF-8 ({error.reason}): save them as text") from error


def matrix_names(path: Path, matrix: np.ndarray) -> list[str]:
    """Returns the names of the columns of a matrix without names; ValueError if it is not a matrix of numbers."""
    if matrix.ndim != 2:
        raise ValueError(f"{path}: a table is an array [N, D], got shape {matrix.shape}: pictures are arrays:{path}")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"{path}: a table of numbers is wanted, got values of type {matrix.dtype}")
    return [f"column{d}" for d in range(matrix.shape[1])]


READERS: dict[str, Callable[[Path, Texts], Found]] = {
    ".csv": _text_table,
    ".tsv": _text_table,
    ".txt": _text_table,
    ".parquet": _arrow_table,
    ".feather": _arrow_table,
    ".npy": _npy_table,
    ".npz": _npz_table,
}
"""Ending of the file's name -> reader of its columns."""
