"""Runs a preset of the large-scale study on this machine: all shards in parallel, their table, and its page.

python experiments/study.py --preset small --processes 2
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "study"


@dataclass
class Args:
    """Flags of the script."""

    preset: Literal["tiny", "small", "full"] = "tiny"
    processes: int = os.cpu_count() or 1
    """shards that run beside each other, each on one core"""
    num_samples: int = 3000
    """examples that each model is scored on"""
    folder: Path | None = None
    """of the models; studies/PRESET if not given. What is there already is not done again"""
    results: Path = RESULTS
    """for PRESET.parquet and PRESET.html"""
    speed: bool = True
    """measure what the published grid would take on this machine: some minutes"""


def main(args: Args) -> None:
    """Runs the commands that a job array would."""
    folder = args.folder or Path("studies") / args.preset
    table, page = (args.results / f"{args.preset}.{kind}" for kind in ("parquet", "html"))
    command = [sys.executable, "-m", "jaxvae", "study"]
    train = [*command, "--preset", args.preset, "--folder", str(folder), "--num-samples", str(args.num_samples)]
    shards = [
        subprocess.Popen(
            [*train, "--shard", f"{number}/{args.processes}"], preexec_fn=lambda number=number: one_core(number)
        )
        for number in range(args.processes)
    ]
    codes = [shard.wait() for shard in shards]
    if any(codes):
        sys.exit("a shard failed: the same command goes on with it")
    subprocess.run([*command, "merge", str(folder), "--out", str(table)], check=True)
    more = []
    if args.speed:
        subprocess.run([*command, "speed", "--out", str(args.results / "speed.json")], check=True)
        more = ["--speed", str(args.results / "speed.json")]
    subprocess.run([*command, "report", str(table), "--out", str(page), *more], check=True)


def one_core(number: int) -> None:
    """Where the system can: small networks gain nothing from a second core that a second shard would not use better."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


if __name__ == "__main__":
    main(tyro.cli(Args))
