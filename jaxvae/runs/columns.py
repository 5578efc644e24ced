"""Columns of files of codes or factors, whichever program wrote them, in the formats of `jaxvae.runs.codes`."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.contents import DAMAGED, check_kind, content_of, identified, unreadable
from jaxvae.data.delimited import decimal_mark, delimited
from jaxvae.data.table_files import check_names, decoded
from jaxvae.files import printable
from jaxvae.runs.codes import FORMATS, IN_OBSM, column_of_factor, require_package
from jaxvae.texts import MISSING_TEXTS, Cells, is_number

KINDS = {"means": "z", "codes": "z", "standard_deviations": "sd", "factors": "factor"}
"""Prefixes of the names of columns, by the name of an array [N, D] in an npz file."""
SINGULAR = {"ids": "id", "clusters": "cluster"}
"""Names of columns, by the name of an array [N] in an npz file."""


def read_columns(path: Path, matrix: str) -> dict[str, np.ndarray]:
    """Reads the columns of a file, by name: float64 or str [N] each.

    A column of text is one of numbers if all of its cells that are not missing are numbers; missing ones are NaN, and
    empty in columns of words. Cells are missing if they are empty or NA, NaN, null and so on, but those of the id keep
    their text. Numbers have decimal commas if any has. The columns of a matrix are numbered: z0, z1 ... for `means` and
    `codes` of an npz file and what is in the `obsm` of an h5ad file. The first column of a csv file may have no name,
    as in those that pandas writes; it is then the id.

    Args:
      path: File that ends as one of `jaxvae.runs.codes.FORMATS`.
      matrix: Prefix of the names of the columns in a matrix without a name: "z" for codes, "factor" for factors.

    Raises:
      ValueError: The file does not exist or cannot be read. The message is one line.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: columns come from files that end in {', '.join(FORMATS)}, not from {suffix!r}")
    if not path.is_file():
        raise ValueError(f"{path}: {'it is not a regular file' if path.exists() else 'there is no such file'}")
    require_package(path)
    try:
        match suffix:
            case ".csv" | ".tsv":
                columns = _read_text(path)
            case ".parquet" | ".feather":
                columns = _read_arrow(path)
            case ".npz":
                columns = _read_npz(path, matrix)
            case ".npy":
                columns = _matrix(path, _load(path, "npy"), matrix)
            case _:
                columns = _read_h5ad(path)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError(f"{path}: there are no rows in it")
    return columns


def numbers_of(path: Path, columns: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
    """Returns the columns of these names as one matrix of finite numbers, float64 [N, len(names)].

    Raises:
      ValueError: One is not there, or holds something else. The message names it.
    """
    if missing := [name for name in names if name not in columns]:
        raise ValueError(f"{path}: there is no column {listed(missing)}; there are {listed(list(columns))}")
    for name in names:
        column = columns[name]
        words = column.dtype.kind == "U"
        wrong = np.array([not is_number(cell) for cell in column]) if words else ~np.isfinite(column)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{path}: the column {printable(name)!r} must hold finite numbers, and {int(wrong.sum())} of its "
                f"{len(column)} rows do not; row {row} holds {printable(str(column[row]))[:40]!r}"
            )
    return np.stack([columns[name] for name in names], axis=1).astype(np.float64)


def check_cells(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Checks that no column of words is one of numbers but for some cells.

    Raises:
      ValueError: More than half of the cells of a column are numbers, and some are not. The message names one.
    """
    for name, column in columns.items():
        cells = Cells()
        cells.add(column, column == "" if column.dtype.kind == "U" else np.isnan(column))
        if cells.are_mostly_numbers:
            raise ValueError(
                f"{path}: the column {printable(name)!r} holds numbers, but {cells.word} is none: correct it, or "
                "name the columns of codes with --columns NAME NAME ..."
            )


def numbered(columns: Mapping[str, np.ndarray], prefix: str) -> list[str]:
    """Returns the names of the columns that are a prefix and a number, in the order of the numbers."""
    found = [name for name in columns if re.fullmatch(rf"{prefix}\d+", name)]
    return sorted(found, key=lambda name: int(name.removeprefix(prefix)))


def listed(names: list[str]) -> str:
    """Lists names in a message: the first twelve, and their number if there are more."""
    shown = ", ".join(map(printable, names[:12]))
    return f"{shown} ... ({len(names)} in all)" if len(names) > 12 else shown


def _read_text(path: Path) -> dict[str, np.ndarray]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {identified(path) or 'it is not text in UTF-8: save it so'}") from error
    try:
        cells = delimited(text, "\t" if path.suffix.lower() == ".tsv" else None)
        names = _checked_names(cells.names)
        body = list(cells.rows())
        if ragged := [(line, row) for line, row in body if len(row) != len(names)]:
            raise cells.wrong_length(ragged[0][0], len(ragged[0][1]))
        decimal = decimal_mark(cells, (row for _, row in body), names, lambda name: name == "id")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not body:
        return {}
    columns = zip(names, zip(*(row for _, row in body), strict=True), strict=True)
    return {name: np.array(column) if name == "id" else _typed(column, decimal) for name, column in columns}


def _checked_names(header: Sequence[str]) -> list[str]:
    """Returns the names of the columns in a header, of which the first may be empty and is then "id"."""
    names = list(header)
    if names[0] == "" and "id" not in names:
        names[0] = "id"
    if all(is_number(name) for name in names) and names != [str(number) for number in range(len(names))]:
        raise ValueError(f"its first line must name the columns, and holds numbers: {listed(names)}")
    if "" in names:
        raise ValueError("a column has no name")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"the column {printable(twice[0])!r} is there more than once")
    return names


def _typed(column: Sequence[str], decimal: str) -> np.ndarray:
    """Converts cells of text to numbers if all of them are numbers or missing. Missing ones become NaN, or empty."""
    cells = ["" if cell.strip() in MISSING_TEXTS else cell for cell in column]
    if not any(cells) or any("_" in cell for cell in cells):
        return np.array(cells)
    points = cells if decimal == "." else [cell.replace(decimal, ".") for cell in cells]
    try:
        return np.array([float(cell) if cell else np.nan for cell in points])
    except ValueError:
        return np.array(cells)


def _read_arrow(path: Path) -> dict[str, np.ndarray]:
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    read = pyarrow.parquet.read_table if path.suffix.lower() == ".parquet" else pyarrow.feather.read_table
    try:
        table = read(path)
        index = {"__index_level_0__": "id"} if "id" not in table.column_names else {}
        names = [index.get(name, name) for name in table.column_names]
        columns = {}
        for name, column in zip(names, table.columns, strict=True):
            quick = pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type)
            columns[name] = _plain(path, name, column.to_numpy() if quick else column.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: can't be read ({' '.join(str(error).split())[:200]})") from error
    if len(columns) < len(names):
        raise ValueError(f"{path}: a column is there more than once")
    return columns


def _plain(path: Path, name: str, values: Any) -> np.ndarray:
    """Converts values of any kind to float64 or str [N]. Missing values become NaN or empty."""
    values = values if isinstance(values, np.ndarray) else list(values)
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values.astype(str) if name == "id" else values.astype(np.float64)
    texts = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
    cells = ["" if _is_missing(text) else text for text in texts]
    if any(isinstance(cell, list | dict | tuple | np.ndarray) for cell in cells):
        raise ValueError(f"{path}: the column {printable(name)!r} holds lists, and must hold numbers or words")
    if name != "id" and all(isinstance(cell, int | float | Decimal) or cell == "" for cell in cells):
        return np.array([np.nan if cell == "" else cell for cell in cells], np.float64)
    return np.array([str(cell) for cell in cells])


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, pandas.NA or NaT."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _read_npz(path: Path, matrix: str) -> dict[str, np.ndarray]:
    arrays = _load(path, "npz")
    names = _factor_names(path, arrays)
    arrays = {name: array for name, array in arrays.items() if array.ndim}
    if any(array.ndim < 3 for array in arrays.values()):  # beside images, for example
        arrays = {name: array for name, array in arrays.items() if array.ndim < 3}
    alone = sum(array.ndim == 2 for array in arrays.values()) == 1
    columns: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            name = SINGULAR.get(name, name)
            columns[name] = _plain(path, name, array)
        elif name == "factors" and names is not None and array.ndim == 2:
            if len(names) != array.shape[1]:
                raise ValueError(f"{path}: there are {array.shape[1]} factors, and factor_names has {len(names)} names")
            factors = zip(names, array.T, strict=True)
            columns |= {column_of_factor(each): column.astype(np.float64) for each, column in factors}
        else:
            columns |= _matrix(path, array, KINDS.get(name, matrix if alone else name))
    if len({len(column) for column in columns.values()}) > 1:
        shapes = ", ".join(f"{printable(name)} {list(array.shape)}" for name, array in arrays.items())
        raise ValueError(f"{path}: its arrays must have as many rows as each other, got {shapes}")
    return columns


def _factor_names(path: Path, arrays: dict[str, np.ndarray]) -> list[str] | None:
    """Removes the names of factors from the arrays of an npz file, and returns them or None if there are none."""
    names = arrays.pop("factor_names", None)
    return None if names is None else check_names(path, decoded(path, "factor_names", names.reshape(-1)))


def _load(path: Path, kind: str) -> Any:
    """Loads the array of an npy file, or the arrays of an npz file by name."""
    check_kind(path, content_of(path), kind)
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if kind == "npy" else {name: loaded[name] for name in loaded.files}
    except ValueError as error:
        raise unreadable(path, error) from error


def _matrix(path: Path, array: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected a matrix of numbers, got {array.dtype} of shape {list(array.shape)}")
    return {f"{prefix}{number}": column.astype(np.float64) for number, column in enumerate(array.T)}


def _read_h5ad(path: Path) -> dict[str, np.ndarray]:
    import anndata

    data = anndata.read_h5ad(path)
    there = [name for name in data.obsm if name not in (IN_OBSM, f"{IN_OBSM}_sd")]
    if IN_OBSM not in data.obsm and len(there) > 1:
        raise ValueError(f"{path}: obsm has {listed(there)}: keep one of them, or name it {IN_OBSM}")
    chosen = {IN_OBSM: "z", f"{IN_OBSM}_sd": "sd"} if IN_OBSM in data.obsm else dict.fromkeys(there, "z")
    columns = {"id": data.obs_names.to_numpy().astype(str)}
    for name, prefix in chosen.items():
        if name in data.obsm:
            columns |= _matrix(path, np.asarray(data.obsm[name]), prefix)
    return columns | {str(name): _plain(path, str(name), data.obs[name].tolist()) for name in data.obs.columns}
