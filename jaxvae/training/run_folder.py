"""The folder of a run: what is written beside its checkpoints, and when it may be used again.

config.json       what was run: everything that decides the numbers
metrics.jsonl     one row per logging interval
checkpoints/      by step
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GROWS = "steps"
"""The one setting that a resumed run may raise: the step at which to stop decides nothing before it."""


class RunFolderError(ValueError):
    """The folder can't be used as asked; the message says what to do."""


def open_run(folder: Path, config: Mapping[str, Any], *, resume: bool) -> None:
    """Makes the folder and writes config.json, or checks that the run in it is the same one.

    Args:
      folder: of the run.
      config: JSON values, nested dicts allowed; `config["steps"]` may be larger than in the folder.
      resume: go on with the run in the folder if there is one.

    Raises:
      RunFolderError: there is a run and `resume` is off; it has another configuration; or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if resume and (folder / "config.json").exists():
            _check_same(folder, read_config(folder), config)
        else:
            check_new(folder)
        write_json(folder / "config.json", config)
    except OSError as error:
        raise RunFolderError(f"can't write to the run folder {folder}: {error.strerror or error}") from error


def check_new(folder: Path) -> None:
    """RunFolderError for a folder with a run in it, or with other files."""
    if (folder / "config.json").exists():
        raise RunFolderError(f"{folder} holds a run already: add --resume to go on with it, or choose another --run")
    if folder.exists() and any(path.name != "config.json.partial" for path in folder.iterdir()):
        raise RunFolderError(f"{folder} has files but no run in it: choose another --run folder")


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was asked to do. RunFolderError where there is none."""
    try:
        return json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise RunFolderError(f"there is no run in {folder}: config.json is missing") from None
    except (OSError, json.JSONDecodeError) as error:
        raise RunFolderError(f"can't read {folder / 'config.json'}: {error}") from error


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, in order; a last line that was cut off is left out."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise RunFolderError(f"{path} holds a line that is no row of metrics: {line[:60]}")
        rows.append(row)
    return rows


def cut_history(folder: Path, step: int) -> None:
    """Drops the rows after `step`, which the resumed run will write again."""
    write_history(folder, [row for row in read_history(folder) if row["step"] <= step])


def write_history(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes metrics.jsonl whole or not at all."""
    _replace(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    """Writes the file whole or not at all."""
    _replace(path, json.dumps(value, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(name, old value, new value) of all settings that are not the same, by dotted name."""
    before, after = flatten(old), flatten(new)
    names = sorted(before.keys() | after.keys())
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    found = [f"{n} was {one!r} and is now {two!r}" for n, one, two in differences(old, new) if n != GROWS]
    if new.get(GROWS, 0) < old.get(GROWS, 0):
        found.append(f"{GROWS} was {old[GROWS]} and can only grow, not shrink to {new[GROWS]}")
    if found:
        raise RunFolderError(f"the run in {folder} is another one: {'; '.join(found)}")
