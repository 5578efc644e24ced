"""Runs small reproductions of faults, and prints a table of how each ends, beside what is right.

    python -m tests.reproductions FOLDER                 # all of them
    python -m tests.reproductions FOLDER --only 01 c1_   # those whose names begin like this

A reproduction is a folder with run.sh and a RIGHT.txt that says what is right, or a single script (.sh or .py). Each
runs in a temporary folder of its own, with the `jaxvae` and `python` of this environment. "traceback" and "stopped"
(after --limit seconds) are never right; the rest is for the reader, who compares the end of the output with RIGHT.txt.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro


@dataclass
class Args:
    """Flags of the script."""

    folder: tyro.conf.Positional[Path]
    """Folder of the reproductions."""
    only: tuple[str, ...] = ()
    """First characters of the names to run; by default, all."""
    limit: int = 600
    """Seconds for each."""


def found(folder: Path) -> list[Path]:
    """Scripts of the folder and of the folders in it, by name."""
    whole = {path.parent for path in folder.rglob("run.sh")}
    alone = [path for path in folder.rglob("*") if path.suffix in (".sh", ".py") and path.parent not in whole]
    return sorted([*(path / "run.sh" for path in whole), *(path for path in alone if path.name != "env.sh")])


def name_of(script: Path) -> str:
    """The name of the folder of a run.sh, and of another script its own."""
    return script.parent.name if script.name == "run.sh" else script.stem


def ended(script: Path, limit: int) -> tuple[str, str]:
    """How the script ended, and the end of its output."""
    command = ["bash" if script.suffix == ".sh" else sys.executable, str(script.resolve())]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for those that go on as another user
        try:
            run = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                cwd=folder,
                env={**os.environ, "PATH": path, "TMPDIR": folder},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return "stopped", _last_lines(error.stdout or b"")
    output = run.stdout.decode(errors="replace")
    return "traceback" if "Traceback (most recent call last)" in output else f"exit {run.returncode}", _last_lines(
        run.stdout
    )


def _last_lines(output: bytes) -> str:
    return " / ".join(output.decode(errors="replace").split("\n")[-8:]).strip(" /")[-500:]


def main(args: Args) -> None:
    """Prints a row for each reproduction; the exit status is 1 if one ended in a traceback or was stopped."""
    wrong = 0
    for script in found(args.folder):
        name = name_of(script)
        if args.only and not name.startswith(args.only):
            continue
        how, output = ended(script, args.limit)
        wrong += how in ("traceback", "stopped")
        right = script.with_name("RIGHT.txt")
        print(f"| {name} | {how} | {output} | {right.read_text().strip() if right.exists() else ''} |", flush=True)
    if wrong:
        sys.exit(f"{wrong} ended in a traceback, or not at all")


if __name__ == "__main__":
    main(tyro.cli(Args))
