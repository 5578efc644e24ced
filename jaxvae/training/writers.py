"""Where the numbers of a run go: metrics.jsonl, TensorBoard, and the terminal."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Writer(Protocol):
    """Takes one row of named numbers per logging interval."""

    def __call__(self, step: int, row: Mapping[str, float]) -> None:
        """`step` updates are done; `row` holds means over the interval that ended there."""
        ...


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Writer]:
    """Appends {"step": step, **row} as a line, flushed at once."""
    with path.open("a") as file:

        def write(step: int, row: Mapping[str, float]) -> None:
            file.write(json.dumps({"step": step, **row}) + "\n")
            file.flush()

        yield write


@contextmanager
def tensorboard_writer(folder: Path) -> Iterator[Writer]:
    """TensorBoard event files. ImportError where tensorboardX is missing."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as summary:

        def write(step: int, row: Mapping[str, float]) -> None:
            for name, value in row.items():
                summary.add_scalar(name, value, step)

        yield write


@contextmanager
def progress_writer(total: int, start: int = 0) -> Iterator[Writer]:
    """A progress bar with the loss terms, the speed and the time left; nothing where stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, completed=start, terms="compiling", speed="")

        def write(step: int, row: Mapping[str, float]) -> None:
            speed = f"{row['steps_per_second']:.0f} steps/s" if "steps_per_second" in row else ""
            terms = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in MACHINE_COLUMNS)
            progress.update(task, completed=step, terms=terms, speed=speed)

        yield write


MACHINE_COLUMNS = ("seconds", "steps_per_second")
"""Columns of a row that depend on the machine, not on the run."""


class Stopwatch:
    """Seconds since it was last read."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last
