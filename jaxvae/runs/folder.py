"""The folder of a run of the command: its config.json, and when the folder may be used again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from jaxvae.data import Source
from jaxvae.files import PARTIAL, LeadsOutside, write_json
from jaxvae.runs.config import names_with_role
from jaxvae.training.run_folder import (
    LOCK,
    TRAINED,
    RunFolderError,
    changes,
    flatten,
    only_writer,
    read_settings,
    same_content,
)
from jaxvae.training.steps import described_data

DATA = "source.data"
"""Dotted name, as in config.json, of where the data lies."""


class Written(Protocol):
    """A configuration, of a method or of a baseline."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        ...

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. ValueError, in one line, for anything else."""
        ...


W = TypeVar("W", bound=Written)


def open_run(folder: Path, config: Written, *, resume: bool, source: Source | None = None) -> None:
    """Makes the folder and writes config.json, or checks that the run in it is the same one.

    Args:
      folder: of the run.
      config: of the run. It may ask for more steps than the one in the folder, or declare that finished at fewer, of
        which it has a checkpoint already or which it has not reached. What stops it early may be anything else.
      resume: go on with the run in the folder if there is one.
      source: data of `config`, opened. With it, the place of the data may be another one than that of the run in the
        folder, where the content is the same.

    Raises:
      RunFolderError: there is a run and `resume` is off; it has another configuration; or it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").exists():
            check_new(folder)
        with only_writer(folder):
            if resume and (folder / "config.json").exists():
                _check_same(folder, known_as(type(config), folder).to_json(), config.to_json(), source)
            else:
                check_new(folder)
            write_json(folder / "config.json", config.to_json())
    except LeadsOutside as error:
        raise RunFolderError(str(error)) from error
    except OSError as error:
        raise RunFolderError(f"can't write to the run folder {folder}: {error.strerror or error}") from error


def check_new(folder: Path) -> None:
    """RunFolderError for a folder with a run in it, or with other files."""
    if (folder / "config.json").exists():
        raise RunFolderError(f"{folder} holds a run already: add --resume to go on with it, or choose another --run")
    # A kill while the folder was made leaves the lock, and a file that was not whole yet.
    if folder.exists() and any(path.name != LOCK and path.suffix != PARTIAL for path in folder.iterdir()):
        raise RunFolderError(f"{folder} has files but no run in it: choose another --run folder")


def read_config(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was asked to do. RunFolderError where there is none."""
    if (folder / TRAINED).exists() and not (folder / "config.json").exists():
        raise RunFolderError(
            f"the run in {folder} was trained in Python, and its method is known there alone: "
            "see jaxvae.runs.load_own_run, and jaxvae.report.write_report"
        )
    return read_settings(folder, "config.json")


def known_as(kind: type[W], folder: Path) -> W:
    """The configuration of the run in `folder`, of a kind. RunFolderError where there is none, or it can't be read."""
    try:
        return kind.from_json(read_config(folder))
    except RunFolderError:
        raise
    except ValueError as error:
        raise RunFolderError(f"{folder / 'config.json'}: {error}") from error


def newest_saved(folder: Path) -> int:
    """The step of the newest checkpoint in a run's folder; 0 without any."""
    return max((int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdecimal()), default=0)


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], source: Source | None) -> None:
    before, after = flatten(old), flatten(new)
    found = []
    elsewhere = source is not None and before.get(DATA) != after.get(DATA)
    if elsewhere and source is not None and same_content(folder, described_data(source)):
        before.pop(DATA)
        after.pop(DATA)
    for name in names_with_role("length"):
        had, wanted = before.pop(name, 0), after.pop(name, 0)
        if wanted < had and wanted < (done := newest_saved(folder)):
            found.append(f"{name} was {had} and its newest checkpoint is of step {done}: it can't end at {wanted}")
    for name in names_with_role("limit"):
        before.pop(name, None)
        after.pop(name, None)
    found = changes(before, after) + found
    if found:
        raise RunFolderError(
            f"the run in {folder} is another one: {'; '.join(found)}. For a new run choose another --run"
        )
