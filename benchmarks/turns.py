"""Runs several implementations in processes of their own that take turns, so that machine noise affects all alike."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

TUNED_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""Settings of the GNU allocator, without which most of PyTorch's time is page faults as well."""
TURN_SECONDS = 0.5


class Worker:
    """A process that runs `serve`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] = {}):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        seconds = self._answer()["step_seconds"]
        self.steps = max(1, round(TURN_SECONDS / seconds))

    def turn(self) -> dict[str, float]:
        """Milliseconds of a step, by the wall and of all cores together."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self.steps}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a peer ended early: {self._process.args}")


def take_turns(workers: Mapping[str, Worker], repeats: int) -> dict[str, dict[str, float]]:
    """Medians over the repeats; then the workers are closed."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(repeats):
        for name, worker in workers.items():
            turns[name].append(worker.turn())
    for worker in workers.values():
        worker.close()
    return {
        name: {key: round(statistics.median(turn[key] for turn in mine), 3) for key in mine[0]}
        for name, mine in turns.items()
    }


def serve(run: Callable[[int], Any]) -> None:
    """In the worker: `run(n)` does n steps and waits for them; the first call may compile."""
    for _ in range(3):
        run(2)
    start = time.perf_counter()
    run(3)
    print(json.dumps({"step_seconds": (time.perf_counter() - start) / 3}), flush=True)
    for line in sys.stdin:
        steps = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        run(steps)
        answer = {
            "wall_ms": (time.perf_counter() - wall) / steps * 1e3,
            "cpu_ms": (time.process_time() - cpu) / steps * 1e3,
        }
        print(json.dumps(answer), flush=True)


class Curve:
    """Seconds of training, by the wall and of all cores, and the loss after each epoch.

    The time that the loss takes is left out.
    """

    def __init__(self, terms: Callable[..., Mapping[str, float]]):
        """`terms` computes the terms of the loss, of which one is "loss", from the arguments of `note`."""
        self._terms = terms
        self._found: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
        self._spent, self._spent_cpu = 0.0, 0.0
        self.start()

    def start(self) -> None:
        """Starts the clock."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def note(self, *arguments: Any) -> None:
        """Notes the end of an epoch."""
        self._spent += time.perf_counter() - self._wall
        self._spent_cpu += time.process_time() - self._cpu
        self._found["seconds"].append(self._spent)
        self._found["cpu_seconds"].append(self._spent_cpu)
        for name, value in self._terms(*arguments).items():
            self._found.setdefault(name, []).append(value)
        self.start()

    def to_json(self) -> dict[str, list[float]]:
        """Returns seconds, cpu_seconds and the terms, one value per epoch each."""
        return {name: [round(value, 4) for value in values] for name, values in self._found.items()}
