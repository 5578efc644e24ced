"""Measures the speed and the memory of training on a table that stays on the disk, against one in memory.

    python -m benchmarks.streamed_table

The default VAE of the command line trains on a table of 1,000,000 x 100 float32 in an npy file. One process holds the
table in memory, and one streams it (`--stream`); they take turns. Speeds are medians over the turns. Memory is the
largest anonymous memory of the process (RssAnon), after the packages were imported: pages of files, which the system
drops where it needs room, are not in it.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.record import record

KINDS = ("memory", "stream")


@dataclass
class Args:
    """Flags of the benchmark."""

    rows: int = 1_000_000
    columns: int = 100
    batch_size: int = 128
    turns: int = 15
    steps: int = 500
    """per turn"""
    serve: str | None = None
    """The file, in a worker"""
    kind: str = "memory"
    """How the worker holds the table: memory or stream"""


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    line = next(
        line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024


class Peak(threading.Thread):
    """Watches the anonymous memory."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.bytes = anonymous()

    def run(self) -> None:
        """Looks every five milliseconds."""
        while True:
            self.bytes = max(self.bytes, anonymous())
            time.sleep(0.005)


def serve(args: Args) -> None:
    """Opens the table and trains; a line of input starts a turn, and a line of output ends it."""
    from jaxvae.runs.build import build_parts, parts_kept_once
    from jaxvae.runs.config import default_config
    from jaxvae.training import train, tune_allocator

    tune_allocator()
    peak = Peak()
    peak.start()
    config = default_config("vae").with_flags(data=f"table:{args.serve}", stream=args.kind == "stream")
    began = time.perf_counter()
    parts, method = build_parts(config)
    parts = parts_kept_once(parts)
    opened = time.perf_counter() - began
    turns = iter(sys.stdin)
    start = 0.0
    ended = False

    def answer(step: int, state: Any, row: Mapping[str, float]) -> None:
        nonlocal start, ended
        end = time.perf_counter()
        memory = {"open_mb": peak_opened / 1e6, "peak_mb": (peak.bytes - peak.start_bytes) / 1e6, "open_s": opened}
        print(json.dumps({"step_ms": (end - start) / args.steps * 1e3, **memory}), flush=True)
        ended = next(turns, None) is None
        start = time.perf_counter()

    peak_opened = peak.bytes - peak.start_bytes
    settings: dict[str, Any] = {"steps": 10**9, "batch_size": args.batch_size, "log_every": args.steps}
    train(method, parts.training, **settings, on_row=answer, stop=lambda: ended)


def main(args: Args) -> None:
    """Prints rows and writes results/streamed_table.json."""
    if args.serve is not None:
        serve(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        rng = np.random.default_rng(0)
        table = np.lib.format.open_memmap(path, "w+", np.float32, (args.rows, args.columns))
        mixing = rng.normal(size=(10, args.columns))
        for first in range(0, args.rows, 10_000):
            part = table[first : first + 10_000]
            part[:] = rng.normal(size=(len(part), 10)) @ mixing + rng.normal(size=part.shape)
        table.flush()
        del table, part
        command = [sys.executable, "-m", "benchmarks.streamed_table", "--serve", str(path)]
        sizes = [f"--{name}={getattr(args, name.replace('-', '_'))}" for name in ("steps", "batch-size")]
        workers = {
            kind: subprocess.Popen(
                [*command, *sizes, "--kind", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for kind in KINDS
        }
        turns: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for worker in workers.values():  # the first interval contains the compilation
            assert worker.stdout is not None
            worker.stdout.readline()
        for _ in range(args.turns):
            for kind, worker in workers.items():
                assert worker.stdin is not None
                assert worker.stdout is not None
                worker.stdin.write("\n")
                worker.stdin.flush()
                turns[kind].append(json.loads(worker.stdout.readline()))
        for worker in workers.values():
            worker.communicate()
    rows = [
        {
            "table": kind,
            "step_ms": round(statistics.median(turn["step_ms"] for turn in mine), 3),
            **{name: round(mine[-1][name], 1) for name in ("open_s", "open_mb", "peak_mb")},
        }
        for kind, mine in turns.items()
    ]
    print(*rows, sep="\n")
    ratio = rows[0]["step_ms"] / rows[1]["step_ms"]  # type: ignore[operator]
    print(f"speed of streaming: {ratio:.3f} of that in memory")
    settings = {name: value for name, value in vars(args).items() if name not in ("serve", "kind")}
    record("streamed_table", settings, rows, {"streamed, speed against in memory": ratio})


if __name__ == "__main__":
    main(tyro.cli(Args))
