"""Lists where the time of the tests goes: seconds, CPU seconds, compilation and compiled programs of every test file.

    python -m benchmarks.suite                    # the default tests
    python -m benchmarks.suite -m process         # arguments are those of pytest

Compilation is what JAX reports for tracing, lowering and XLA in the process of the test. That of subprocesses is part
of the seconds only. CPU seconds are those of all threads and finished subprocesses; they depend least on other load
of the machine. The table is written to results/suite.json, under the name of the marker expression.
"""

import json
import os
import sys
import time
from collections import defaultdict
from typing import Any

import jax
import pytest

from benchmarks.record import path, record

COMPILATION = ("/jax/core/compile/", "/jax/compilation_cache/cache_retrieval")
PROGRAM = "/jax/core/compile/backend_compile_duration"
EMPTY = {"cpu_seconds": 0.0, "compile_seconds": 0.0, "programs": 0}
SLOWEST = 40


class Timing:
    """A pytest plugin: a worker measures the compilation of each test, the controller adds everything up by file."""

    def __init__(self) -> None:
        self.compiled, self.cpu = dict(EMPTY), sum(os.times()[:4])
        self.cases: dict[str, dict[str, float]] = defaultdict(lambda: {"seconds": 0.0, **EMPTY})
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, seconds: float, **_: Any) -> None:
        if event.startswith(COMPILATION):
            self.compiled["compile_seconds"] += seconds
            self.compiled["programs"] += event == PROGRAM

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> Any:
        """Runs in the worker, after each phase of a test."""
        outcome = yield
        before, self.cpu = self.cpu, sum(os.times()[:4])
        self.compiled["cpu_seconds"] += self.cpu - before
        outcome.get_result().compiled, self.compiled = self.compiled, dict(EMPTY)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Runs in the controller too, which alone writes."""
        case = self.cases[report.nodeid]
        case["seconds"] += report.duration
        for key, value in getattr(report, "compiled", EMPTY).items():
            case[key] += value


TIMING = Timing()


def pytest_configure(config: pytest.Config) -> None:
    """Lets `-p benchmarks.suite` measure in every worker."""
    config.pluginmanager.register(TIMING, "jaxvae-timing")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Starts the clock."""
    session.config.jaxvae_start = time.perf_counter()  # type: ignore[attr-defined]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the table, once, where the reports of all workers have arrived."""
    if hasattr(session.config, "workerinput"):
        return
    wall = time.perf_counter() - session.config.jaxvae_start  # type: ignore[attr-defined]
    files: dict[str, dict[str, float]] = defaultdict(lambda: {"cases": 0, "seconds": 0.0, **EMPTY})
    for name, case in TIMING.cases.items():
        file = files[name.split("::")[0]]
        file["cases"] += 1
        for key, value in case.items():
            file[key] += value
    total = {"wall_seconds": round(wall), "cases": len(TIMING.cases)}
    total |= {key: round(sum(file[key] for file in files.values())) for key in ("seconds", *EMPTY)}
    rows = [{"file": name, **file} for name, file in sorted(files.items(), key=lambda item: -item[1]["seconds"])]
    slowest = sorted(TIMING.cases.items(), key=lambda item: -item[1]["seconds"])[:SLOWEST]
    layer = session.config.option.markexpr or "default"
    layers = json.loads(path("suite").read_text("utf-8"))["layers"] if path("suite").exists() else {}
    layers[layer] = {
        "total": total,
        "slowest": [{"case": name, **_rounded(case)} for name, case in slowest],
        "files": [_rounded(row) for row in rows],
    }
    record("suite", {"workers": session.config.option.numprocesses}, [], {}, layers=layers)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}


if __name__ == "__main__":
    sys.exit(pytest.main(["-p", "benchmarks.suite", *sys.argv[1:]]))
