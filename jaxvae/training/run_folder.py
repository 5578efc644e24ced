"""The folder of a run: what is written beside its checkpoints, and when it may be used again.

config.json       configuration of a run of the command, see jaxvae.runs.config
trained.json      what `train` was given: the method's name and hyperparameters, data, batch size, seed
metrics.jsonl     one row per logging interval
checkpoints/      by step
lock              held by the process that writes; free again when that ends, however it ends
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jaxvae.files import inside, read_json, write_json, write_text

LOCK = "lock"
TRAINED = "trained.json"


class RunFolderError(ValueError):
    """The folder can't be used as asked; the message says what to do."""


class OtherData(UserWarning):
    """The data has changed since the run was trained."""


def note_trained(folder: Path, given: Mapping[str, Any]) -> None:
    """Writes trained.json; where there are checkpoints of what it says, `check_trained` instead."""
    saved = any(path.name.isdecimal() for path in (folder / "checkpoints").glob("*"))
    if saved and (folder / TRAINED).exists():
        check_trained(folder, given)
    else:
        write_json(folder / TRAINED, given)


def check_trained(folder: Path, given: Mapping[str, Any]) -> None:
    """RunFolderError where the run in the folder was not given the same."""
    if found := changes(read_trained(folder), given):
        raise RunFolderError(
            f"the run in {folder} is another one: {'; '.join(found)}. Choose another folder for a new run"
        )


def check_data(folder: Path, data: Mapping[str, Any]) -> None:
    """An OtherData warning where the run in the folder was given data of another name, number or shape of images."""
    if not (folder / TRAINED).exists():
        return
    if found := differences({"data": read_trained(folder).get("data")}, {"data": data}):
        changed = ", ".join(f"{name} {one!r} and now {two!r}" for name, one, two in found)
        warnings.warn(f"the run in {folder} was trained on other data: {changed}", OtherData, stacklevel=3)


def read_trained(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was given. RunFolderError where there is none."""
    return read_settings(folder, TRAINED)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Nobody else writes to the run meanwhile. RunFolderError where another process does."""
    try:
        with FileLock(inside(folder, LOCK), timeout=0, is_singleton=True):
            yield
    except Timeout:
        raise RunFolderError(f"another process is writing to the run in {folder}: wait for it, or stop it") from None


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """What a JSON file of the run holds. RunFolderError where there is none, or it can't be read."""
    try:
        settings = read_json(folder / name)
    except FileNotFoundError:
        raise RunFolderError(f"there is no run in {folder}: {name} is missing") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"can't read {folder / name}: {error}") from error
    if not isinstance(settings, dict):
        raise RunFolderError(f"can't read {folder / name}: it holds no settings")
    return settings


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, in order; a last line that was cut off is left out."""
    path = folder / "metrics.jsonl"
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            break
        numbers = isinstance(row, dict) and all(isinstance(value, int | float) for value in row.values())
        if not numbers or not isinstance(row.get("step"), int):
            raise RunFolderError(f"{path} holds a line that is no row of metrics: {line[:60].decode(errors='replace')}")
        rows.append(row)
    return rows


def cut_history(folder: Path, step: int) -> None:
    """Drops the rows after `step`, which the resumed run will write again."""
    write_history(folder, [row for row in read_history(folder) if row["step"] <= step])


def write_history(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes metrics.jsonl whole or not at all."""
    write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


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


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that are not the same, in words."""
    return [f"{name} was {one!r} and is now {two!r}" for name, one, two in differences(old, new)]
