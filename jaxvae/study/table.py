"""The tables of a study: Parquet files of shards, and how they become one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from jaxvae.files import replacing
from jaxvae.study.grid import GRIDS

ABOUT = b"jaxvae.study"


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> None:
    """Writes rows, with a column for every name in any of them, and what must be the same to merge; whole or not."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    table = table.replace_schema_metadata({ABOUT: json.dumps(about).encode()})
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")


def read_table(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows, and what was said of them. ValueError for a file that is none of ours."""
    try:
        table = pyarrow.parquet.read_table(path)
        about = json.loads(table.schema.metadata[ABOUT])
    except (pyarrow.ArrowInvalid, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no table of a study: {error}") from error
    return table.to_pylist(), about


def merge_tables(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of all shards by number, and what is said of them.

    Raises:
      ValueError: no shards, shards of other settings or other code, models that are in two of them, or in none.
    """
    if not paths:
        raise ValueError("there are no shards to merge: run some with `jaxvae study --shard`")
    parts = [(path, *read_table(path)) for path in paths]
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
    """0 to 4, 7, 9 to 12: at most ten of them."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return ", ".join(texts[:10]) + (", ..." if len(texts) > 10 else "")
