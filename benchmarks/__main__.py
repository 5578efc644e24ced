"""Runs the benchmarks one after another, each in its own process, and writes the results to benchmarks/results/.

    python -m benchmarks --torch-python PATH/TO/python     # an environment with torch and numpy
    python -m benchmarks --only train_step startup

It takes half an hour on two cores, nearly half of it for the metrics.
"""

import subprocess
import sys
import time
from dataclasses import dataclass

import tyro

CONV = ("--network", "conv", "--resolution", "64", "--batch-size", "64", "--members", "1", "2", "8")
BENCHMARKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "startup": ((),),
    "train_step": ((),),
    "total_correlation": ((),),
    "population": ((), CONV),
    "data": ((),),
    "streamed_table": ((),),
    "scaling": ((),),
    "metrics": ((),),
    "dci_learner": ((),),
}
"""Name -> the flags of each of its runs."""
WITH_TORCH = ("train_step", "total_correlation")


@dataclass
class Args:
    """Flags."""

    torch_python: str | None = None
    """Python with torch and numpy; without it PyTorch is skipped where it is a peer"""
    only: tuple[str, ...] = tuple(BENCHMARKS)


def main(args: Args) -> None:
    """Stops at the first that fails."""
    if unknown := set(args.only) - set(BENCHMARKS):
        sys.exit(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    for name in args.only:
        torch = ["--torch-python", args.torch_python] if args.torch_python and name in WITH_TORCH else []
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        for flags in BENCHMARKS[name]:
            if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags, *torch]).returncode:
                sys.exit(f"benchmarks.{name} failed")
        print(f"== {name}: {time.perf_counter() - start:.0f} s", flush=True)
    print("`python -m benchmarks.check` compares with the last commit")


if __name__ == "__main__":
    main(tyro.cli(Args))
