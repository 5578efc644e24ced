"""Readers of tables in files: CSV, TSV, Parquet, Feather, npy and npz."""

import csv
import importlib.util
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.contents import DAMAGED, check_kind, content_of, suffix_of, unreadable

SEPARATORS = (",", ";", "\t", "|")


def _pandas(path: Path) -> Any:
    if importlib.util.find_spec("pandas") is None:
        raise ValueError(f"{path}: tables need pandas: pip install 'jaxvae[tables]'")
    import pandas

    return pandas


def _text_table(path: Path) -> Mapping[str, Any]:
    pandas, content = _pandas(path), content_of(path)
    data = content.read_bytes() if isinstance(content, Path) else content.getvalue()
    check_text(path, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the file is not UTF-8 ({error.reason}): save it as UTF-8") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count) if suffix_of(path) != ".tsv" else "\t"
    header = next(csv.reader([first], delimiter=separator), [])
    names = [name.strip() for name in header]
    if names and all(is_number(name) for name in names):
        raise ValueError(f"{path}: the first row must hold the names of the columns, and holds numbers")
    check_names(path, filter(None, names))
    decimal = "," if separator != "," and has_decimal_commas(text, separator) else "."
    try:
        table = pandas.read_csv(
            io.StringIO(text), sep=separator, decimal=decimal, low_memory=False, skipinitialspace=True
        )
    except (*DAMAGED, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: the file is not a table that can be read: {reason}") from error
    table.columns = [str(name).strip() for name in table.columns]
    empty = [place for place, name in enumerate(names) if not name]
    if empty == [0] and len(names) > 1:
        table = table.rename(columns={table.columns[0]: "index"})
    elif empty:
        raise ValueError(f"{path}: column number {empty[0] + 1} has no name: name it")
    return table


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


def has_decimal_commas(text: str, separator: str) -> bool:
    """Whether a number in the first lines of a table of text has a decimal comma."""
    cells = [cell for line in text.splitlines()[1:50] for cell in line.split(separator)]
    return any(is_number(cell.strip().strip('"').replace(",", ".")) and "," in cell for cell in cells)


def is_number(text: str) -> bool:
    """Whether `float` reads the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _arrow_table(path: Path) -> Mapping[str, Any]:
    pandas, content = require_arrow(path), content_of(path)
    read = pandas.read_feather if suffix_of(path) == ".feather" else pandas.read_parquet
    try:
        table = read(content)
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    table = with_named_index(table)
    check_names(path, table.columns)
    return table


def require_arrow(path: Path) -> Any:
    """Returns pandas; ValueError if it or pyarrow is not installed."""
    pandas = _pandas(path)
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{path}: {suffix_of(path)} files need pyarrow: pip install 'jaxvae[tables]'")
    return pandas


def with_named_index(frame: Any) -> Any:
    """Returns a DataFrame with its index as a column if it has a name."""
    return frame.reset_index() if frame.index.name and frame.index.name not in frame.columns else frame


def check_names(path: Path, names: Iterable[Any]) -> list[str]:
    """Returns the names of columns as text; ValueError if two are the same."""
    texts = [str(name) for name in names]
    if twice := [name for name in dict.fromkeys(texts) if texts.count(name) > 1]:
        raise ValueError(f"{path}: two columns are named {twice[0]!r}: rename one")
    return texts


def _npy_table(path: Path) -> Mapping[str, Any]:
    content = content_of(path)
    check_kind(path, content, "npy")
    try:
        matrix = np.load(content, allow_pickle=False)
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    return _matrix(path, matrix)


def _npz_table(path: Path) -> Mapping[str, Any]:
    content = content_of(path)
    check_kind(path, content, "npz")
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    if len(matrices) > 1:
        raise ValueError(f"{path}: there are several matrices, {', '.join(matrices)}: keep the one to learn from")
    table: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 2:
            names = arrays.get("columns")
            table |= _matrix(path, array, names if names is not None and names.shape == array.shape[1:] else None)
        elif name != "columns":
            table[name] = array
    return table


def _matrix(path: Path, matrix: np.ndarray, names: np.ndarray | None = None) -> dict[str, np.ndarray]:
    unnamed = matrix_names(path, matrix)
    words = unnamed if names is None else [str(name) for name in names]
    return {word: matrix[:, d] for d, word in enumerate(words)}


def matrix_names(path: Path, matrix: np.ndarray) -> list[str]:
    """Returns the names of the columns of a matrix without names; ValueError if it is not a matrix of numbers."""
    if matrix.ndim != 2:
        raise ValueError(f"{path}: a table is an array [N, D], got shape {matrix.shape}: pictures are arrays:{path}")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"{path}: a table of numbers is wanted, got values of type {matrix.dtype}")
    return [f"column{d}" for d in range(matrix.shape[1])]


READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {
    ".csv": _text_table,
    ".tsv": _text_table,
    ".txt": _text_table,
    ".parquet": _arrow_table,
    ".feather": _arrow_table,
    ".npy": _npy_table,
    ".npz": _npz_table,
}
"""Ending of the file's name -> reader of its columns."""
