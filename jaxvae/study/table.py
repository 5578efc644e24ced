"""Tables of a study: Parquet files of shards, and their merge into one table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow
import pyarrow.parquet

from jaxvae.choose import choose
from jaxvae.files import replacing
from jaxvae.study.grid import GRIDS, number_of

ABOUT = b"jaxvae.study"
Table: TypeAlias = tuple[list[dict[str, Any]], dict[str, str]]
"""Rows of models, and the settings that all shards of a study share."""
WORDS = ("data", "method", "hyperparameter", "failure")
NUMBERS = ("number", "seed", "strength", "steps", "seconds")
"""Numeric columns that every row has in addition to its scores."""


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> None:
    """Writes a table atomically, with a column for every name in any row, and the settings that all shards share."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    table = table.replace_schema_metadata({ABOUT: json.dumps(about).encode()})
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")


def read_table(path: Path) -> Table:
    """Reads the rows and the shared settings of a table.

    Raises:
      ValueError: The file is not the table of a study.
    """
    try:
        table = pyarrow.parquet.read_table(path)
        about = json.loads(table.schema.metadata[ABOUT])
        rows = table.to_pylist()
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError, RecursionError, OSError) as error:
        raise ValueError(f"{path} is not a table of a study: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{path} is not a table of a study: its description is a {type(about).__name__}")
    return rows, about


def read_study(path: Path) -> Table:
    """Reads a table as `read_table` does, with rows sorted by the current numbers of their models.

    Numbers are derived from the settings in a row, so that tables in the former order of methods, in which AnnealedVAE
    was second, get the current numbers.

    Raises:
      ValueError: The table has an unknown preset, no rows, or rows that are not models of the preset.
    """
    rows, about = read_table(path)
    try:
        grid = choose("preset", str(about.get("preset")), GRIDS)
        if not rows:
            raise ValueError("it has no rows")
        for row in rows:
            _check_row(row)
            row["number"] = number_of(grid, row["data"], row["method"], row["strength"], row["seed"])
        if twice := [number for number, rows_of_it in Counter(row["number"] for row in rows).items() if rows_of_it > 1]:
            raise ValueError(f"model {twice[0]} is there twice")
    except ValueError as error:
        raise ValueError(f"{path} is not a table of a study in the current format: {error}") from error
    if same_but_for_order(about.get("grid"), today := json.dumps(grid, default=str)):
        about["grid"] = today
    return sorted(rows, key=lambda row: row["number"]), about


def _check_row(row: Mapping[str, Any]) -> None:
    for name in (*WORDS, *NUMBERS):
        if name not in row:
            raise ValueError(f"it has no column {name!r}")
    for name, value in row.items():
        if name in WORDS:
            right = isinstance(value, str)
        else:
            right = (value is None and name not in NUMBERS) or (isinstance(value, Real) and not isinstance(value, bool))
        if not right:
            kind = "word" if name in WORDS else "number"
            raise ValueError(f"column {name!r} holds {str(value)[:40]!r} where a {kind} is expected")
    if not isinstance(row["seed"], int):
        raise ValueError(f"seeds are whole numbers, got {row['seed']}")


def same_but_for_order(grid: Any, today: str) -> bool:
    """Whether two grids, as JSON, differ at most in the order of their methods."""
    try:
        (data, sweeps, *rest), (data_today, sweeps_today, *rest_today) = json.loads(grid), json.loads(today)
        by_method = {sweep[0]: sweep for sweep in sweeps}
    except (TypeError, ValueError, KeyError, IndexError):
        return False
    return (data, by_method, rest) == (data_today, {sweep[0]: sweep for sweep in sweeps_today}, rest_today)


def merge_tables(paths: Sequence[Path]) -> Table:
    """Merges the tables of all shards, sorted by the numbers of the models.

    Raises:
      ValueError: There are no shards, shards have different settings or code, or a model is in several shards or in
        none.
    """
    if not paths:
        raise ValueError("there are no shards to merge: run some with `jaxvae study --shard`")
    parts = [(path, *read_study(path)) for path in paths]
    first, _, about = parts[0]
    where: dict[int, Path] = {}
    merged: list[dict[str, Any]] = []
    for path, rows, other in parts:
        changed = [name for name in about.keys() | other.keys() if about.get(name) != other.get(name)]
        if changed:
            raise ValueError(f"{first} and {path} are of different studies: {', '.join(sorted(changed))} changed")
        for row in rows:
            if row["number"] in where:
                raise ValueError(f"model {row['number']} is in {where[row['number']]} and in {path}: leave one out")
            where[row["number"]] = path
        merged += rows
    missing = sorted(set(range(GRIDS[about["preset"]].size)) - set(where))
    if missing:
        raise ValueError(f"{len(missing)} models are in no shard: {_ranges(missing)}")
    names = dict.fromkeys(name for row in merged for name in row)
    return sorted(({name: row.get(name) for name in names} for row in merged), key=lambda row: row["number"]), about


def _ranges(numbers: Sequence[int]) -> str:
    """Formats numbers as at most ten ranges, such as "0 to 4, 7, 9 to 12"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return ", ".join(texts[:10]) + (", ..." if len(texts) > 10 else "")
