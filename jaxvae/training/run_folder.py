"""The folder of a run: its files, and the conditions for writing to it again.

config.json       configuration of a run started by the command, see jaxvae.runs.config
trained.json      arguments of `train`: the method's name and hyperparameters, data, batch size and seed;
                  for a baseline, which is fitted again whenever it is loaded, only the data
metrics.jsonl     one row per logging interval
checkpoints/      one checkpoint per saved step, named by its step
lock              locked by the process that is writing; the lock is released when the process ends for any reason
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from filelock import FileLock, Timeout

from jaxvae.files import inside, read_json, write_json, write_text

LOCK = "lock"
TRAINED = "trained.json"
HISTORY = "metrics.jsonl"
CORES = "cores"
"""Key in trained.json of the number of cores of the CPU that trained the run. Rounding depends on it."""


class RunFolderError(ValueError):
    """The folder cannot be used as requested; the message says what to do."""


class MissingRows(UserWarning):
    """Rows of metrics.jsonl before the checkpoint are missing."""


class OtherCores(UserWarning):
    """A run resumes on another number of cores than it was trained on."""


class OtherData(UserWarning):
    """The data has changed since the run was trained."""


def note_trained(folder: Path, given: Mapping[str, Any], cores: int | None = None) -> None:
    """Writes trained.json for a new run, or checks that a run with checkpoints was given the same.

    Warns with OtherCores if the run has used another number of cores so far.

    Args:
      folder: Folder of the run.
      given: Arguments of `train`, from `jaxvae.training.steps.described`.
      cores: Number of cores of the CPU that trains the run; None for other devices.

    Raises:
      RunFolderError: The run in the folder was given something else; see `check_trained`.
    """
    saved = any(path.name.isdecimal() for path in (folder / "checkpoints").glob("*"))
    if not saved or not (folder / TRAINED).exists():
        write_json(folder / TRAINED, {**given, **({} if cores is None else {CORES: cores})})
        return
    check_trained(folder, given)
    before = read_trained(folder).get(CORES, cores)
    if before != cores:
        warnings.warn(
            f"the run in {folder} was trained on {_cores(before)} and continues on {_cores(cores)}: its numbers are "
            "those of an uninterrupted run up to rounding, not bit by bit",
            OtherCores,
            stacklevel=3,
        )


def note_data(folder: Path, data: Mapping[str, Any]) -> None:
    """Writes trained.json for a fitted baseline. It holds only the description of the data, for `check_data`."""
    write_json(folder / TRAINED, {"data": dict(data)})


def check_trained(folder: Path, given: Mapping[str, Any]) -> None:
    """Checks that the run in the folder was given the same arguments.

    Raises:
      RunFolderError: An argument differs; the message lists the differences.
    """
    old, new = _comparable(read_trained(folder), given)
    if found := changes(old, new):
        raise RunFolderError(
            f"the run in {folder} was started with other settings: {'; '.join(found)}. For a new run, choose another "
            "folder"
        )


def check_data(folder: Path, data: Mapping[str, Any]) -> None:
    """Warns with OtherData if the run in the folder was given data of another content, size or shape.

    If both fingerprints of the content are known, the name of the data does not matter.
    """
    if not (folder / TRAINED).exists():
        return
    old, new = _comparable(read_trained(folder), {"data": data})
    if found := differences({"data": old.get("data")}, new):
        changed = ", ".join(f"{name} {one!r} and now {two!r}" for name, one, two in found)
        warnings.warn(f"the run in {folder} was trained on other data: {changed}", OtherData, stacklevel=3)


def same_content(folder: Path, data: Mapping[str, Any]) -> bool:
    """Whether the run in the folder was trained on data with the same fingerprint."""
    noted = read_trained(folder).get("data") if (folder / TRAINED).exists() else None
    return isinstance(noted, dict) and noted.get("fingerprint") == data.get("fingerprint") is not None


def _comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns two descriptions of a run, reduced to the settings that both have and that tell runs apart."""
    old, new = ({name: value for name, value in each.items() if name != CORES} for each in (old, new))
    before, after = old.get("data"), new.get("data")
    if isinstance(before, dict) and isinstance(after, dict):
        content = "fingerprint" in before and "fingerprint" in after
        apart = {"images", "shape", "fingerprint" if content else "name"}
        old, new = (
            {**each, "data": {name: value for name, value in each["data"].items() if name in apart}}
            for each in (old, new)
        )
    return old, new


def _cores(count: int | None) -> str:
    return "another device than a CPU" if count is None else f"{count} core{'s' if count > 1 else ''}"


def read_trained(folder: Path) -> dict[str, Any]:
    """Returns the arguments of the run in `folder`, as trained.json holds them.

    Raises:
      RunFolderError: There is no run in the folder, or the file cannot be read.
    """
    return read_settings(folder, TRAINED)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Locks the run's folder for writing, as a context manager.

    Raises:
      RunFolderError: Another process is writing to the run.
    """
    try:
        with FileLock(inside(folder, LOCK), timeout=0, is_singleton=True):
            yield
    except Timeout:
        raise RunFolderError(f"another process is writing to the run in {folder}: wait for it, or stop it") from None


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """Returns the settings in a JSON file of the run.

    Raises:
      RunFolderError: The file is missing or cannot be read.
    """
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
    """Returns the rows of metrics.jsonl, in order, without an incomplete last line.

    Raises:
      RunFolderError: Any other line is not a row of numbers; the message names the line. Or it is not a regular file.
    """
    return [row for _, row in _lines(folder)]


def read_history_until(folder: Path, step: int) -> list[dict[str, Any]]:
    """Returns the rows up to the checkpoint of `step`. Warns with MissingRows if they end before it."""
    rows = [row for row in read_history(folder) if row["step"] <= step]
    _warn_of_missing(folder, max((row["step"] for row in rows), default=0), step)
    return rows


def cut_history(folder: Path, step: int) -> None:
    """Removes the rows after `step`, which the resumed run will write again.

    Warns with MissingRows if the rows end before `step`.

    Raises:
      RunFolderError: A line is not a row of numbers, as in `read_history`. Nothing has been written then.
    """
    path = folder / HISTORY
    kept: list[bytes] = []
    last = 0
    for line, row in _lines(folder):
        if row["step"] <= step:
            kept.append(line if line.endswith(b"\n") else line + b"\n")
            last = max(last, row["step"])
    if path.exists() and sum(map(len, kept)) != path.stat().st_size:
        write_text(path, b"".join(kept).decode())
    _warn_of_missing(folder, last, step)


def _lines(folder: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    path = folder / HISTORY
    if not path.exists():
        return
    if not path.is_file():  # opening a pipe would wait for a writer
        raise RunFolderError(f"{path} is not a regular file: remove it, or replace it by the rows of the run")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row, cut_off = _row_of(line)
            if row is not None:
                yield line, row
            elif line.strip() and not cut_off:
                shown = line[:60].decode(errors="replace").strip()
                raise RunFolderError(
                    f"{path} holds a line that is no row of metrics: line {number}, {shown!r}. Correct that line, or "
                    "delete it"
                )


def _row_of(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """Returns the row that a line holds, or None, and whether the line is incomplete."""
    row: Any
    try:
        row = _decode_row(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            row = json.loads(line)  # which reads NaN
        except (ValueError, RecursionError):
            return None, not line.endswith(b"\n")
        if not isinstance(row, dict) or not all(map(_is_number, row.values())):
            return None, False
    step = row.get("step")
    return (row if isinstance(step, int) and step >= 0 else None), False


_decode_row = msgspec.json.Decoder(dict[str, Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float]).decode


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def _warn_of_missing(folder: Path, last: int, step: int) -> None:
    if last < step:
        warnings.warn(
            f"the rows in {folder / HISTORY} end at step {last}, and the checkpoint is of step {step}: those in "
            "between are missing",
            MissingRows,
            stacklevel=4,
        )


def write_history(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes metrics.jsonl atomically."""
    write_text(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Returns (dotted name, old value, new value) of all settings that differ."""
    before, after = flatten(old), flatten(new)
    names = sorted(before.keys() | after.keys())
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Describes all settings that differ, one text each."""
    return [f"{name} was {one!r} and is now {two!r}" for name, one, two in differences(old, new)]
