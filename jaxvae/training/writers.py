"""Writers of a run's metrics: metrics.jsonl, TensorBoard, Weights & Biases, MLflow, and the terminal."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from jaxvae.files import append_text, inside, write_text
from jaxvae.training.run_folder import flatten

PROJECT = "jaxvae"
"""Project of Weights & Biases, and experiment of MLflow, unless their environment variables name another."""


class Writer(Protocol):
    """Function that takes one row of named numbers per logging interval."""

    def __call__(self, step: int, row: Mapping[str, float]) -> None:
        """Writes a row of means over the interval that ended after `step` steps."""
        ...


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Writer]:
    """Appends {"step": step, **row} as a line, which is flushed immediately."""
    with append_text(path) as file:

        def write(step: int, row: Mapping[str, float]) -> None:
            file.write(json.dumps({"step": step, **row}) + "\n")
            file.flush()

        yield write


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

        yield write


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

        yield write


@contextmanager
def mlflow_writer(folder: Path, config: Mapping[str, Any]) -> Iterator[Writer]:
    """Logs to a run of MLflow with these settings as parameters, or resumes the run that `folder` names in mlflow_id.

    The run is stored at MLFLOW_TRACKING_URI if that is set, otherwise in `folder`/mlflow.db.

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
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{inside(here, 'mlflow.db')}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if experiment := client.get_experiment_by_name(name):
            group = experiment.experiment_id
        else:
            group = client.create_experiment(name)
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

        try:
            yield write
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

        yield write


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
