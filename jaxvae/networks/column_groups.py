"""Groups of the columns of a table, which a grouped decoder gives a generator each."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from jaxvae.schema import Schema

PREFIX = "prefix"
WANTED = f'--groups takes the word {PREFIX}, or a CSV file with the header "column,group"'


def column_groups(schema: Schema, how: str | None = None) -> dict[str, list[int]]:
    """Groups the columns of a table.

    Args:
      schema: Columns of the table.
      how: "prefix", for the part of a column's name before its last "_" or "."; or CSV text, or the path of a CSV file,
        with a row for each column, whose header names the fields "column" and "group". By default, each column is a
        group.

    Returns:
      Name of a group -> places of its entries in a row x, in the order of the groups' first columns. The entries of a
      categorical column stay together.

    Raises:
      ValueError: The file cannot be read, names a column twice, or does not name a column of the table.
    """
    names = [column.name for column in schema.used]
    if how is None:
        group_of: Mapping[str, str] = {name: name for name in names}
    elif how == PREFIX:
        group_of = {name: _prefix(name) for name in names}
    else:
        content = content_of_groups(how)
        where = "--groups" if content == how else how
        group_of = _read_groups(content, where)
        if absent := [name for name in names if name not in group_of]:
            raise ValueError(
                f"{where} has no group for {', '.join(map(repr, absent[:5]))}"
                f"{f' and {len(absent) - 5} more columns' if len(absent) > 5 else ''}: add a row for each column"
            )
    groups: dict[str, list[int]] = {}
    for column, start in zip(schema.used, schema.starts, strict=True):
        groups.setdefault(group_of[column.name], []).extend(range(start, start + column.width))
    return groups


def content_of_groups(how: str) -> str:
    """Returns the text of the CSV file if `how` is the path of one, and `how` itself if it is CSV text or "prefix".

    Raises:
      ValueError: The file cannot be read.
    """
    if how == PREFIX or "\n" in how:
        return how
    path = Path(how).expanduser()
    if not path.is_file():
        raise ValueError(f"{WANTED}; there is no file {path}")
    try:
        return "\n".join([*path.read_text("utf-8-sig").splitlines(), ""])
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def groups_as_text(group_of: Mapping[str, str]) -> str:
    """Returns the CSV text of the groups of columns by their names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("column", "group"))
    writer.writerows(group_of.items())
    return text.getvalue()


def _prefix(name: str) -> str:
    """Returns the part of a name before its last "_" or ".", or the name itself if there is none."""
    end = max(name.rfind("_"), name.rfind("."))
    return name[:end] if end > 0 else name


def _read_groups(content: str, where: str) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(io.StringIO(content, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        column, group = (row.get("column") or "").strip(), (row.get("group") or "").strip()
        if not column or not group:
            raise ValueError(f"{WANTED}; {where} has no column or no group in row {number}")
        if column in found:
            raise ValueError(f"{where} names the column {column!r} twice: keep one row")
        found[column] = group
    if not found:
        raise ValueError(f"{WANTED}; {where} has no rows")
    return found
