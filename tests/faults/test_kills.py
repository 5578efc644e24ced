"""A hundred SIGKILLs at random moments, and the run still ends in the bits of one that was left alone."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from jaxvae.training import train
from jaxvae.training.checkpoints import damage, restore, saved_steps
from tests.faults.tiny import SOURCE, rows, same_bits, tiny

SETTINGS = {"steps": 20_000, "batch_size": 2, "log_every": 20, "checkpoint_every": 50}
PROGRAM = (
    "import sys, warnings; from pathlib import Path; warnings.simplefilter('ignore')\n"
    "from jaxvae.training import train; from tests.faults.tiny import SOURCE, tiny\n"
    "train(tiny(), SOURCE, folder=Path(sys.argv[1]), **{settings})"
)


def start(folder, steps):
    program = PROGRAM.format(settings=SETTINGS | {"steps": steps})
    return subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=Path(__file__).parents[2])


def killed(folder, kills, steps, moments):
    """Starts the run so often, and kills it each time; how often it was killed before it was at its end."""
    count = 0
    while count < kills:
        process = start(folder, steps)
        seen = len(rows(folder)) if folder.exists() else 0
        while process.poll() is None and (len(rows(folder)) if folder.exists() else 0) == seen:
            time.sleep(0.001)  # until it moves
        time.sleep(moments.uniform(0, 0.2))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        count += 1
    return count


@pytest.mark.slow
def test_a_hundred_kills(tmp_path):
    moments = random.Random(0)
    folder = tmp_path / "run"
    assert killed(folder, 100, SETTINGS["steps"], moments) == 100
    reached = max(row["step"] for row in rows(folder))
    # To the end of what is left, of both.
    steps = reached + 100
    whole = train(tiny(), SOURCE, folder=tmp_path / "whole", **(SETTINGS | {"steps": steps}))
    process = start(folder, steps)
    assert process.wait() == 0
    assert damage(folder / "checkpoints" / str(steps)) is None
    same_bits(restore(folder / "checkpoints", steps, jax.eval_shape(lambda: whole)), whole)
    assert rows(folder) == rows(tmp_path / "whole")
    assert saved_steps(folder / "checkpoints")[-1] == steps
