"""AnnData files, .h5ad and .zarr: a matrix of cells x genes, or of any other observations x variables.

The rows of X, or of a layer, are the examples; the variables are their columns, and columns of `obs` are labels. The
whole matrix is of one kind: counts, if no value is negative and all are whole numbers, else real numbers. Found gene by
gene, a gene that is rarely seen would be a binary column. Constant genes, such as those without any count, are left
out.

Memory: x is dense, float32 [N, D], where D is the number of genes that vary: 4 N D bytes, such as 8 GB for a million
cells and 2,000 genes. The matrix is read twice, in blocks of 32 MiB, so that a sparse one is never dense as a whole
besides x; reading 20,000 cells x 5,000 genes took 210 MB more than x. `obs` and the names of the variables are read as
a whole, and no other part of the file is read. With --stream, x is in a file on the disk instead. A matrix that is
stored by columns (csc) is slow to stream, as each block of it is in all rows: store it by rows (csr).
"""

import importlib.util
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.choose import choose, unknown
from jaxvae.data.cache import scratch_rows
from jaxvae.data.contents import check_kind, content_of, suffix_of
from jaxvae.data.in_file import TrainingRows, rows_of_file
from jaxvae.data.moments import Block, Moments, is_fractional, moments_of
from jaxvae.data.table import Table, aligned
from jaxvae.data.tabular import (
    Columns,
    LeftOut,
    check_labels,
    column_array,
    expanded,
    listed,
    present,
    table_of,
)
from jaxvae.files import printable
from jaxvae.schema import Column, Schema

BLOCK = 4 << 20
"""Number of values of the matrix that are read at a time."""
KINDS = ("real", "count", "binary", "constant", "identifier")


class NotCounts(UserWarning):
    """The values of a matrix could be meant as counts, and some are no whole numbers."""


def anndata_file(
    path: Path,
    layer: str | None = None,
    columns: Columns = Columns(),
    schema: Schema | None = None,
    training_rows: TrainingRows | None = None,
) -> Table:
    """A matrix of observations x variables in an AnnData file.

    Args:
      path: File .h5ad, which may be packed as .gz, or folder .zarr.
      layer: Name of a layer; by default, the matrix is X.
      columns: Roles and kinds of the columns. `use`, `drop` and `kinds` name variables (`var_names`), and the kind of
        "*" is that of all. `labels`, `group`, `split` and `id` name columns of `obs`; without `id`, `obs_names` name
        the rows.
      schema: Columns that a model was trained on, for new rows. They are found by their names, in any order, and all
        other variables are left out. By default, the kind of the matrix is found by its values.
      training_rows: Function that returns the rows to train on of a table that stays on the disk: x is then in a
        scratch file, see `jaxvae.data.in_file`. By default, it is in memory.

    Raises:
      ValueError: The file cannot be read, or its matrix cannot be learned from. The message says what to do.

    Warns:
      LeftOut: The file has variables that the schema does not name.
      NotCounts: No value is negative, and some are no whole numbers. They are read as real numbers.
    """
    if importlib.util.find_spec("anndata") is None:
        raise ValueError(f"{path}: {suffix_of(path)} files need anndata: pip install 'jaxvae[anndata]'")
    content = _content(path)
    name = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    try:
        with _opened(content) as file:
            return _table(file, layer, columns, schema, training_rows, printable(name))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def split_layer(where: str) -> tuple[Path, str | None]:
    """Splits "FILE:LAYER" into the path and the layer, which is None where there is only a path."""
    path, colon, layer = where.rpartition(":")
    if colon and path and not Path(where).expanduser().exists():
        return Path(path).expanduser(), layer
    return Path(where).expanduser(), None


def _content(path: Path) -> Path | BytesIO:
    if path.is_dir():
        if not any((path / name).exists() for name in ("zarr.json", ".zgroup")):
            raise ValueError(f"{path}: this folder is no zarr file: it has neither zarr.json nor .zgroup")
        return path
    if suffix_of(path) != ".h5ad":
        raise ValueError(f"{path}: AnnData comes from .h5ad files and .zarr folders, not from {suffix_of(path)!r}")
    content = content_of(path)
    check_kind(path, content, "hdf5")
    return content


@contextmanager
def _reading() -> Iterator[None]:
    """Turns errors of readers of damaged files into ValueError."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"can't be read, it may be cut off ({reason})") from error


@contextmanager
def _opened(content: Path | BytesIO) -> Iterator[Any]:
    """Opens a file and yields its root group of HDF5 or zarr."""
    if isinstance(content, Path) and content.is_dir():
        import zarr

        with _reading():
            file = zarr.open_group(content, mode="r")
        yield file
        return
    import h5py

    with _reading():
        file = h5py.File(content, "r")
    with file:
        _check_links(file)
        yield file


def _check_links(file: Any) -> None:
    """Raises ValueError for an HDF5 file that stores values in other files."""
    import h5py

    def elsewhere(name: str, link: Any) -> str | None:
        if isinstance(link, h5py.ExternalLink):
            return name
        item = file[name] if isinstance(link, h5py.HardLink) else None
        return name if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external) else None

    with _reading():
        found = file.visititems_links(elsewhere)
    if found is not None:
        raise ValueError(f"{found!r} is kept in another file, which is not read: write one file with all values")


def _table(
    file: Any,
    layer: str | None,
    columns: Columns,
    schema: Schema | None,
    training_rows: TrainingRows | None,
    name: str,
) -> Table:
    obs, names = _frame(file, "obs"), [str(each) for each in _frame(file, "var").index]
    matrix = _matrix(file, layer, (len(obs), len(names)))
    layers = [each for each in file["layers"] if each != layer] if "layers" in file else []
    return table_of_matrix(matrix, obs, names, columns, schema, name, layers, training_rows)


def table_of_matrix(
    matrix: Any,
    obs: Any,
    names: Sequence[str],
    columns: Columns,
    schema: Schema | None,
    name: str,
    layers: Sequence[str] = (),
    training_rows: TrainingRows | None = None,
) -> Table:
    """A matrix [N, V], dense, sparse or in a file, with `obs` and the names of its variables and of other layers."""
    if twice := [each for each, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"several variables have the name {listed(twice)}: rename them, for example by "
            "adata.var_names_make_unique()"
        )
    there = dict.fromkeys(map(str, obs))
    told = Columns(labels=columns.labels, id=columns.id, group=columns.group, split=columns.split)
    told = expanded(told if schema is None else present(told, there), there)
    wanted = {*told.labels, told.id, told.group, told.split} - {None}
    arrays = {str(each): column_array(obs[each]) for each in obs if str(each) in wanted}
    rows = np.array([str(each) for each in obs.index])
    if schema is None:
        check_labels(told.labels, arrays)
        counted = None if training_rows is None else rows_of_file(training_rows, len(obs), arrays, told, name)
        schema = _schema(matrix, names, columns, layers, counted)
    else:
        _note_left_out(names, columns, schema)
    x = _encoded(matrix, names, rows, schema, in_scratch=training_rows is not None)
    return table_of(x, schema, arrays, told, ids=arrays[told.id] if told.id else rows, name=name)


def _frame(file: Any, name: str) -> Any:
    """Reads obs or var as a DataFrame."""
    from anndata.io import read_elem

    if name not in file:
        raise ValueError(f"there is no {name!r} in it: it is no AnnData file")
    with warnings.catch_warnings(), _reading():
        warnings.simplefilter("ignore")
        frame = read_elem(file[name])
    if not hasattr(frame, "index") or not hasattr(frame, "columns"):
        raise ValueError(f"its {name!r} is not a table: write the file again with anndata 0.8 or newer")
    return frame


def _matrix(file: Any, layer: str | None, shape: tuple[int, int]) -> Any:
    """Opens X or a layer, sparse or dense, as an object with the shape and the type of an array."""
    from anndata.io import sparse_dataset

    with _reading():
        layers = sorted(file["layers"]) if "layers" in file else []
        element = file.get("X") if layer is None else file["layers"].get(layer) if layer in layers else None
    if element is None and layer is not None:
        raise ValueError(unknown("layer", layer, layers) if layers else f"there is no layer {layer!r}, and no other")
    told = "X" if layer is None else f"layer {layer!r}"
    encoding = None if element is None else element.attrs.get("encoding-type")
    if element is None or encoding == "null":
        raise ValueError("there is no X in it" + (f": add one of the layers, {listed(layers)}" if layers else ""))
    with _reading():
        matrix = sparse_dataset(element) if str(encoding)[-7:] == "_matrix" else element
    if not hasattr(matrix, "shape") or not hasattr(matrix, "dtype"):
        raise ValueError(f"{told} is a {encoding}: it must be a dense or sparse matrix")
    if tuple(matrix.shape) != shape:
        raise ValueError(f"{told} has the shape {tuple(matrix.shape)}, and obs and var have {shape}")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"{told} has values of type {matrix.dtype}: it must hold numbers")
    if 0 in shape:
        raise ValueError(f"{told} is empty: it has the shape {shape}")
    return matrix


def _blocks(matrix: Any, places: np.ndarray) -> Iterator[Block]:
    """Reads the matrix in blocks.

    Args:
      matrix: Matrix in the file, [N, V].
      places: Index of each variable among the selected ones, or -1: int [V].

    Yields:
      The blocks; the last of their values also tells of columns that are not selected.
    """
    by_columns = getattr(matrix, "format", "") == "csc"
    length, across = matrix.shape[::-1] if by_columns else matrix.shape
    step = max(1, BLOCK // across)
    for first in range(0, length, step):
        part = slice(first, min(first + step, length))
        with _reading():
            block = matrix[:, part] if by_columns else matrix[part]
            if hasattr(block, "check_format"):
                block.check_format(full_check=True)  # an index beyond the shape would be written beyond the array
                block = block.toarray()
        block = np.asarray(block, np.float64)
        there = places[part] if by_columns else places
        keep = there >= 0
        values = block if keep.all() else block[:, keep]
        if np.isinf(values).any():
            raise ValueError("it has infinite values: make them missing, or 0")
        yield slice(None) if by_columns else part, there[keep], values, (block != 0).any(axis=1)


def _schema(
    matrix: Any, names: Sequence[str], columns: Columns, layers: Sequence[str], counted: np.ndarray | None
) -> Schema:
    """Returns the columns of the selected variables, with the kinds that are given or found by their values."""
    number = {name: place for place, name in enumerate(names)}
    told = expanded(Columns(use=columns.use, drop=columns.drop, kinds=columns.kinds), number)
    left = {*(told.use or names)} - {*told.drop}
    chosen = [name for name in names if name in left]
    if not chosen:
        raise ValueError("there is no variable to learn from: --drop names all of them")
    found = moments_of(_blocks(matrix, _places(number, chosen)), len(chosen), counted)
    kinds = _kinds(chosen, told.kinds)
    whole = found.low.min() >= 0 and not found.fractional.any()
    schema = Schema(
        tuple(
            _column(name, kinds.get(name, "count" if whole else "real"), found, place, matrix.shape[0])
            for place, name in enumerate(chosen)
        )
    )
    if not schema.used:
        raise ValueError("there is no variable to learn from: each has the same value in all rows")
    if not whole and found.low.min() >= 0 and len(kinds) < len(chosen):
        share = f"{100 * found.fractional.sum() / found.filled.sum():.3g} %"
        others = f"; the layers are {listed(layers)}" if layers else ""
        warnings.warn(
            f"{share} of the values other than 0 are no whole numbers: all values are read as real numbers, not as "
            f"counts. If the counts are in a layer, read it as anndata:FILE:LAYER{others}",
            NotCounts,
            stacklevel=6,
        )
    return schema


def _note_left_out(names: Sequence[str], columns: Columns, schema: Schema) -> None:
    """Warns of variables that are neither columns of the schema nor left out by name."""
    told = expanded(present(Columns(use=columns.use, drop=columns.drop), dict.fromkeys(names)), dict.fromkeys(names))
    known = {*(column.name for column in schema.columns), *told.drop}
    if more := [name for name in told.use or names if name not in known]:
        warnings.warn(
            f"{len(more):,} of the {len(names):,} variables are left out, as the model was not trained on them: "
            f"{listed(more)}",
            LeftOut,
            stacklevel=5,
        )


def _kinds(names: Sequence[str], pairs: Sequence[str]) -> dict[str, str]:
    """Parses kinds, NAME=KIND each, and returns them by the names of the variables."""
    kinds: dict[str, str] = {}
    for pair in pairs:
        name, _, kind = pair.rpartition("=")
        choose("kind", kind, dict.fromkeys(KINDS))
        start = name[:-1] if name.endswith("*") else None
        matching = [each for each in names if each == name or (start is not None and each.startswith(start))]
        if not matching:
            raise ValueError(unknown("variable", name, names))
        kinds |= dict.fromkeys(matching, kind)
    return kinds


def _column(name: str, kind: str, found: Moments, place: int, rows: int) -> Column:
    observed, counted, mean, square, low, high, _, fractional = (float(each[place]) for each in found)
    has_missing = observed < rows
    if kind in ("constant", "identifier") or not low < high:
        return Column(name, "constant", has_missing=has_missing)
    if kind == "real":
        return Column(name, "real", mean, float(np.sqrt(square / max(counted, 1))) or 1.0, has_missing=has_missing)
    if low < 0 or fractional:
        raise ValueError(f"{name!r} has negative or fractional values, and can't be a {kind} column")
    if kind == "binary":
        if high > 1:
            raise ValueError(f"{name!r} has values up to {high:g}, and a binary column has 0 and 1")
        return Column(name, "binary", values=("0", "1"), has_missing=has_missing)
    return Column(name, "count", mean, has_missing=has_missing)


def _places(number: Mapping[str, int], chosen: Sequence[str]) -> np.ndarray:
    """Returns the index of each variable among the chosen ones, or -1: int [V]."""
    places = np.full(len(number), -1)
    places[[number[name] for name in chosen]] = np.arange(len(chosen))
    return places


def _encoded(matrix: Any, names: Sequence[str], rows: np.ndarray, schema: Schema, *, in_scratch: bool) -> np.ndarray:
    """Encodes the rows as `Schema.encode` does: float32 [N, D]."""
    used, number = schema.used, {name: place for place, name in enumerate(names)}
    if absent := [column.name for column in used if column.name not in number]:
        raise ValueError(f"there is no variable {listed(absent)}, which the model was trained on")
    kinds = np.array([column.kind for column in used])
    shift, scale = np.array([_line(column) for column in used]).T
    shape, seen = (len(rows), len(used)), np.zeros(len(rows), bool)
    x = scratch_rows(shape) if in_scratch else aligned(shape, np.dtype(np.float32))
    for part, at, values, filled in _blocks(matrix, _places(number, [column.name for column in used])):
        counts = kinds[at] == "count"
        of_counts = values if counts.all() else values[:, counts]
        if (wrong := ((of_counts < 0) | is_fractional(of_counts)).any(axis=0)).any():
            first = used[at[counts][wrong.argmax()]].name
            raise ValueError(f"{first!r} has negative or fractional values, and was a count: is it another layer?")
        values[:, counts] = np.round(of_counts)
        values = (values - shift[at]) / scale[at]
        binary = values[:, kinds[at] == "binary"]
        if ((binary != 0) & (binary != 1) & ~np.isnan(binary)).any():
            raise ValueError("a binary column has a value that it did not have in the training data")
        x[part, at] = values
        seen[part] |= filled
    if "count" in kinds and not seen.all():
        raise ValueError(
            f"{(~seen).sum()} rows have no counts at all: {listed(rows[~seen])}: remove them, for example by "
            "scanpy.pp.filter_cells(adata, min_counts=1)"
        )
    return x


def _line(column: Column) -> tuple[float, float]:
    """Returns the shift that is subtracted from the values of a column, and the scale that they are divided by."""
    if column.kind == "real":
        return column.mean, column.scale
    if column.kind == "count":
        return 0.0, 1.0
    try:
        first, second = map(float, column.values)
    except ValueError as error:
        raise ValueError(f"{column.name!r} was {column.kind} in the training data: it needs words") from error
    return first, second - first
