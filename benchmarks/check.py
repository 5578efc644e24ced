"""Compares the ratios of the results with those of the last commit, and reports which fell by more than 15%.

    python -m benchmarks --torch-python PATH/TO/python
    python -m benchmarks.check

It compares ratios between implementations within one run only, since absolute times depend on the machine and its
load. The exit status is 1 if a ratio fell.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

FOLDER = Path(__file__).parent / "results"


@dataclass
class Args:
    """Flags of the check."""

    against: str = "HEAD"
    """the commit to compare with"""
    allowed: float = 0.15
    """the part of a ratio that may be lost"""


class Change(NamedTuple):
    """Of one ratio; None where there is none."""

    name: str
    before: float | None
    now: float | None

    def fell(self, allowed: float) -> bool:
        """By more than that part of what it was."""
        return self.before is not None and self.now is not None and self.now < self.before * (1 - allowed)


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Change]:
    """In the order of the results now, then what they no longer have."""
    for name in [*now, *(name for name in before if name not in now)]:
        yield Change(name, before.get(name), now.get(name))


def committed(file: Path, commit: str) -> dict[str, float]:
    """The ratios of the file in that commit; none if it had none."""
    command = ["git", "show", f"{commit}:./{file.name}"]
    shown = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    return json.loads(shown.stdout).get("ratios", {}) if shown.returncode == 0 else {}


def main(args: Args) -> None:
    """Prints a line per ratio."""
    fallen = 0
    for file in sorted(FOLDER.glob("*.json")):
        print(file.stem)
        for change in changes(committed(file, args.against), json.loads(file.read_text("utf-8")).get("ratios", {})):
            before, now = (f"{ratio:7.2f}" if ratio is not None else "      -" for ratio in change[1:])
            fell = change.fell(args.allowed)
            fallen += fell
            print(f"  {before} -> {now}  {change.name}{'   FELL' if fell else ''}")
    if fallen:
        sys.exit(f"{fallen} ratios fell by more than {args.allowed:.0%}")


if __name__ == "__main__":
    main(tyro.cli(Args))
