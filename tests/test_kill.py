"""SIGKILL at any moment, then --resume: the same bits as a run that was never stopped."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxvae.runs.load import load_run
from jaxvae.training.run_folder import read_history
from jaxvae.training.writers import MACHINE_COLUMNS

pytestmark = pytest.mark.process

SMALL = ["--data", "sprites", "--image-size", "16", "--batch-size", "16", "--steps", "240"]
SMALL += ["--log-every", "10", "--checkpoint-every", "50", "--no-score"]


def start(folder, *arguments):
    command = [sys.executable, "-m", "jaxvae", "train", "--run", str(folder), "--resume", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ, text=True)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors


def kill_when(process, reached):
    while not reached():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def steps_logged(folder):
    rows = read_history(folder)
    return rows[-1]["step"] if rows else 0


def assert_same_run(a, b):
    ours, theirs = load_run(a), load_run(b)
    assert int(ours.state.step) == ours.config.training.steps
    for x, y in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)
    rows = [
        [{k: v for k, v in row.items() if k not in MACHINE_COLUMNS} for row in run.history] for run in (ours, theirs)
    ]
    assert rows[0] == rows[1]


def kill_and_compare(tmp_path, points, arguments):
    finish(tmp_path / "whole", *arguments)
    folder = tmp_path / "killed"
    process = start(folder, *arguments)
    kill_when(process, (folder / "config.json").exists)
    for point in points:
        kill_when(start(folder, *arguments), lambda point=point: steps_logged(folder) >= point)
    finish(folder, *arguments)
    assert_same_run(folder, tmp_path / "whole")


def test_killed_before_and_after_checkpoints(tmp_path):
    kill_and_compare(tmp_path, [140], SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(3))
def test_the_default_run_killed_at_random(tmp_path, trial):
    points = sorted(random.Random(trial).sample(range(1900), 3))
    kill_and_compare(tmp_path, points, ["--steps", "2000", "--checkpoint-every", "250"])
