"""The folder of a run of the command: its config.json, and the conditions for writing to it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from jaxvae.data import Source
from jaxvae.files import PARTIAL, LeadsOutside, write_json
from jaxvae.runs.build import with_likelihood
from jaxvae.runs.config import Config, names_with_role
from jaxvae.training.run_folder import (
    LOCK,
    TRAINED,
    RunFolderError,
    changes,
    flatten,
    only_writer,
    read_history,
    read_settings,
    same_content,
)
from jaxvae.training.steps import described_data

MODEL = "model.safetensors"
"""Weights and settings of a run, which `jaxvae.runs.export` writes and `jaxvae.load` reads."""
DATA = "source.data"
"""Dotted name, as in config.json, of the setting that names the data or its path."""


class Written(Protocol):
    """A configuration of a method or of a baseline."""

    def to_json(self) -> dict[str, Any]:
        """Returns the configuration as JSON values."""
        ...

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Returns the configuration with these JSON values, the inverse of `to_json`.

        Raises:
          ValueError: The values are not those of a configuration; the message is one line.
        """
        ...


W = TypeVar("W", bound=Written)


def history_of(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics that a run has written to its folder, by step.

    Raises:
      RunFolderError: A line is not a row of numbers.
    """
    return read_history(folder)


def open_run(folder: Path, config: Written, *, resume: bool, source: Source | None = None) -> None:
    """Creates the folder and writes config.json, or checks that the run in the folder has the same configuration.

    Args:
      folder: Folder of the run.
      config: Configuration of the run. When resuming, it may have another number of steps, as long as that is not less
        than the newest checkpoint's, and other limits that stop the run early.
      resume: Whether to resume the run in the folder if there is one.
      source: Opened data of `config`. If it is given and its content is that of the run in the folder, its path may
        differ.

    Raises:
      RunFolderError: There is a run and `resume` is False, the run has another configuration, or the folder cannot be
        written to.
    """
    if resume and is_pulled(folder):
        raise RunFolderError(
            f"the run in {folder} was pulled, without the state of its optimizer, and cannot be resumed: leave out "
            "--resume, and choose another --run"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config.json").exists():
            check_new(folder)
        config = _settled(config, source)
        with only_writer(folder):
            if resume and (folder / "config.json").exists():
                _check_same(
                    folder, _settled(known_as(type(config), folder), source).to_json(), config.to_json(), source
                )
            else:
                check_new(folder)
            write_json(folder / "config.json", config.to_json())
    except LeadsOutside as error:
        raise RunFolderError(str(error)) from error
    except OSError as error:
        raise RunFolderError(f"can't write to the run folder {folder}: {error.strerror or error}") from error


def _settled(config: W, source: Source | None) -> W:
    """Returns the configuration with the likelihood that suits the data, if it was left open."""
    if not isinstance(config, Config) or source is None:
        return config
    return with_likelihood(config, source)  # type: ignore[return-value]


def check_new(folder: Path) -> None:
    """Checks that a folder can be used for a new run.

    Raises:
      RunFolderError: The folder holds a run or other files.
    """
    if (folder / "config.json").exists():
        raise RunFolderError(f"{folder} holds a run already: add --resume to continue it, or choose another --run")
    # A process that was killed while it created the folder leaves the lock and an incomplete file.
    if folder.exists() and any(path.name != LOCK and path.suffix != PARTIAL for path in folder.iterdir()):
        raise RunFolderError(f"{folder} has files but no run in it: choose another --run folder")


def is_pulled(folder: Path) -> bool:
    """Whether the folder holds the weights of a run in place of checkpoints, as `jaxvae.runs.hub.pull` writes them."""
    return (folder / MODEL).exists() and not (folder / "checkpoints").exists()


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the content of the run's config.json.

    Raises:
      RunFolderError: There is no config.json in the folder, or it cannot be read.
    """
    if (folder / TRAINED).exists() and not (folder / "config.json").exists():
        raise RunFolderError(
            f"the run in {folder} was trained in Python, and its method is known there alone: "
            "see jaxvae.runs.load_own_run, and jaxvae.report.write_report"
        )
    return read_settings(folder, "config.json")


def known_as(kind: type[W], folder: Path) -> W:
    """Returns the configuration of the run in `folder` as an instance of `kind`.

    Raises:
      RunFolderError: There is no configuration, or it cannot be read.
    """
    try:
        return kind.from_json(read_config(folder))
    except RunFolderError:
        raise
    except ValueError as error:
        raise RunFolderError(f"{folder / 'config.json'}: {error}") from error


def newest_saved(folder: Path) -> int:
    """Returns the step of the newest checkpoint in a run's folder, or 0 without checkpoints."""
    return max((int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdecimal()), default=0)


def _check_same(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], source: Source | None) -> None:
    before, after = flatten(old), flatten(new)
    if before.get("method") != after.get("method"):
        raise RunFolderError(
            f"the run in {folder} is of the method {before.get('method')}, not {after.get('method')}: leave the method "
            f"out (jaxvae train --run {folder} --resume), or choose another --run"
        )
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
            f"the run in {folder} was started with other settings: {'; '.join(found)}. For a new run, choose another "
            "--run"
        )
