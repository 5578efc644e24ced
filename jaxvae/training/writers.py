"""Writers of metrics and pictures: metrics.jsonl, a folder, TensorBoard, Weights & Biases, MLflow, and the terminal."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from jaxvae.files import append_text, inside, replacing, write_text
from jaxvae.training.run_folder import flatten

PROJECT = "jaxvae"
"""Project of Weights & Biases, and experiment of MLflow, unless their environment variables name another."""


class RowWriter(Protocol):
    """Function that takes one row of named numbers per logging interval; a `Writer` is one, too."""

    def __call__(self, step: int, row: Mapping[str, float]) -> None:
        """Writes a row of means over the interval that ended after `step` steps."""
        ...


Arrays: TypeAlias = Mapping[str, np.ndarray]


def _nowhere(step: int, values: Arrays) -> None:
    """Writes nothing."""


@dataclass(frozen=True)
class Writer:
    """Functions that take what a run logs: rows of numbers, pictures and histograms."""

    rows: Callable[[int, Mapping[str, float]], None]
    """Function (step, row), called once per logging interval. Pictures and histograms of a step come before its row."""
    images: Callable[[int, Arrays], None] = _nowhere
    """Function (step, pictures by name), uint8 [H, W, 3] each."""
    histograms: Callable[[int, Arrays], None] = _nowhere
    """Function (step, values by name), [n] each, whose distribution is logged."""

    def __call__(self, step: int, row: Mapping[str, float]) -> None:
        """Writes a row."""
        self.rows(step, row)


def write_entry(writer: RowWriter, step: int, row: Mapping[str, float], images: Arrays, histograms: Arrays) -> None:
    """Writes what is known of a step to a writer, the row last."""
    if isinstance(writer, Writer) and images:
        writer.images(step, images)
    if isinstance(writer, Writer) and histograms:
        writer.histograms(step, histograms)
    writer(step, row)


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Writer]:
    """Appends {"step": step, **row} as a line, which is flushed immediately."""
    with append_text(path) as file:

        def write(step: int, row: Mapping[str, float]) -> None:
            file.write(json.dumps({"step": step, **row}) + "\n")
            file.flush()

        yield Writer(write)


def _file_name(step: int, name: str) -> str:
    return f"{step:08d}-{name.replace(' ', '-').replace('/', '-')}.png"


@contextmanager
def folder_writer(folder: Path, after: int = 0) -> Iterator[Writer]:
    """Writes each picture to a file STEP-NAME.png of a folder, which is created with the first one.

    Spaces and slashes of names become hyphens.

    Args:
      folder: Folder of the pictures.
      after: Step that the run resumes from. Pictures of later steps are deleted, because they will be written again.
    """
    for path in folder.glob("*.png"):
        if (step := path.name.partition("-")[0]).isdecimal() and int(step) > after:
            path.unlink()

    def write(step: int, images: Arrays) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            with replacing(folder / _file_name(step, name)) as file:
                Image.fromarray(image).save(file, format="PNG")

    yield Writer(lambda step, row: None, write)


@contextmanager
def tensorboard_writer(folder: Path) -> Iterator[Writer]:
    """Writes TensorBoard event files.

    Raises:
      ImportError: tensorboardX is not installed.
    """
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as summary:

        def write(step: int, row: Mapping[str, float]) -> None:
            for name, value in row.items():
                summary.add_scalar(name, value, step)

        def write_images(step: int, images: Arrays) -> None:
            for name, image in images.items():
                summary.add_image(name, image, step, dataformats="HWC")

        def write_histograms(step: int, histograms: Arrays) -> None:
            for name, values in histograms.items():
                summary.add_histogram(name, values, step)

        yield Writer(write, write_images, write_histograms)


@contextmanager
def wandb_writer(folder: Path, config: Mapping[str, Any]) -> Iterator[Writer]:
    """Logs to a run of Weights & Biases with these settings, or resumes the run that `folder` names in wandb_id.

    The environment variables of Weights & Biases apply, such as WANDB_MODE=offline. Its local files are in
    `folder`/wandb.

    Raises:
      ImportError: wandb is not installed.
      ConnectionError: No user is logged in, or the server cannot be reached.
    """
    import wandb

    inside(folder, "wandb")
    known = folder / "wandb_id"
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", folder.resolve().name),
            dir=folder,
            id=known.read_text("utf-8") if known.exists() else None,
            resume="allow",
            config=dict(config),
            allow_val_change=True,  # a resumed run may have more steps
        )
    except wandb.Error as error:
        raise ConnectionError(f"Weights & Biases: {error}") from error
    with run:
        write_text(known, run.id)
        first = run.step  # earlier rows are logged already: those after the last checkpoint are repeated

        def write(step: int, row: Mapping[str, float]) -> None:
            if step >= first:
                run.log(dict(row), step=step, commit=True)

        def write_images(step: int, images: Arrays) -> None:
            if step >= first:
                run.log({name: wandb.Image(image) for name, image in images.items()}, step=step, commit=False)

        def write_histograms(step: int, histograms: Arrays) -> None:
            if step >= first:
                run.log(
                    {name: wandb.Histogram(values.tolist()) for name, values in histograms.items()},
                    step=step,
                    commit=False,
                )

        yield Writer(write, write_images, write_histograms)


@contextmanager
def mlflow_writer(folder: Path, config: Mapping[str, Any]) -> Iterator[Writer]:
    """Logs to a run of MLflow with these settings as parameters, or resumes the run that `folder` names in mlflow_id.

    The run is stored at MLFLOW_TRACKING_URI if that is set, otherwise in `folder`/mlflow.db and `folder`/mlartifacts.
    Pictures are artifacts images/STEP-NAME.png. MLflow has no histograms, so it gets the quartiles of their values.

    Raises:
      ImportError: mlflow, or a package that it needs for a database, is not installed.
      ConnectionError: The server cannot be reached.
    """
    import alembic  # noqa: F401 - MLflow's own error doesn't say what is missing
    import sqlalchemy  # noqa: F401
    from mlflow import MlflowClient, MlflowException
    from mlflow.entities import Metric, Param

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs each table that it creates
    known = folder / "mlflow_id"
    here = folder.resolve()
    status = "FAILED"
    try:
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        client = MlflowClient(elsewhere or f"sqlite:///{inside(here, 'mlflow.db')}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if experiment := client.get_experiment_by_name(name):
            group = experiment.experiment_id
        else:
            files = None if elsewhere else inside(here, "mlartifacts").as_uri()
            group = client.create_experiment(name, artifact_location=files)
        # A search instead of a look-up: the run may be in another store, or deleted.
        query = f"attributes.run_id = '{known.read_text('utf-8')}'" if known.exists() else ""
        found = client.search_runs([group], query) if query else []
        run = found[0] if found else client.create_run(group, run_name=here.name)
        key = run.info.run_id
        write_text(known, key)
        if found:
            client.update_run(key, status="RUNNING")
        else:
            params = [Param(name, str(value)) for name, value in flatten(config).items()]
            client.log_batch(key, params=params)
        logged = [client.get_metric_history(key, name)[-1].step for name in run.data.metrics]
        last = max(logged, default=0)

        def write(step: int, row: Mapping[str, float]) -> None:
            if step > last:
                now = int(1000 * time.time())
                client.log_batch(key, [Metric(name, value, now, step) for name, value in row.items()])

        def write_images(step: int, images: Arrays) -> None:
            for name, image in images.items():
                client.log_image(key, image, f"images/{_file_name(step, name)}")

        def write_histograms(step: int, histograms: Arrays) -> None:
            if step > last:
                quartiles = {name: np.quantile(values, (0.25, 0.5, 0.75)) for name, values in histograms.items()}
                now = int(1000 * time.time())
                metrics = [
                    Metric(f"{name}/{level}", float(value), now, step)
                    for name, found in quartiles.items()
                    for level, value in zip(("q25", "q50", "q75"), found, strict=True)
                ]
                client.log_batch(key, metrics)

        try:
            yield Writer(write, write_images, write_histograms)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            client.set_terminated(key, status)
    except MlflowException as error:
        raise ConnectionError(f"MLflow: {error}") from error


@contextmanager
def progress_writer(total: int, start: int = 0) -> Iterator[Writer]:
    """Shows a progress bar with the loss terms, the speed and the time left, on a terminal's stderr or in a
    notebook.
    """
    console = Console(stderr=True)
    whole = Column(no_wrap=True)
    columns = (  # a narrow terminal truncates the terms
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=whole),
        TextColumn("{task.fields[speed]}", table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[terms]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
    )
    with Progress(
        *columns, console=console, expand=True, disable=not (console.is_terminal or console.is_jupyter)
    ) as progress:
        task = progress.add_task("", total=total, completed=start, terms="compiling", speed="")

        def write(step: int, row: Mapping[str, float]) -> None:
            speed = f"{row['steps_per_second']:.0f} steps/s" if "steps_per_second" in row else ""
            terms = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in MACHINE_COLUMNS)
            progress.update(task, completed=step, terms=terms, speed=speed)

        yield Writer(write)


MACHINE_COLUMNS = ("seconds", "steps_per_second")
"""Columns of a row that depend on the machine, not on the run."""


class Stopwatch:
    """Stopwatch for the time since its last reading."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last
