"""Two processes of two devices each are one process of four."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import choose_devices, train
from jaxvae.training.checkpoints import damage, saved_steps

pytestmark = pytest.mark.process

FLAGS = ["--data", "arrays:IMAGES", "--stream", "--batch-size", "8", "--log-every", "5", "--checkpoint-every", "10"]


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), np.uint8))
    return path


def start(number, port, arguments, count=2):
    environment = {
        **os.environ,
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(count),
        "JAX_PROCESS_ID": str(number),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    command = [sys.executable, "-m", "jaxvae", "train", "beta-tc-vae", "--distributed", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def start_both(images, run, *more):
    port = free_port()
    flags = [flag.replace("IMAGES", str(images)) for flag in FLAGS]
    return [start(number, port, [*flags, "--run", run, *more]) for number in range(2)]


def end(processes):
    ended = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def rows_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[value for name, value in row.items() if not name.startswith(("seconds", "steps"))] for row in rows]


def test_a_run_of_two_processes_survives_the_loss_of_one(images, tmp_path):
    run, alone = tmp_path / "run", tmp_path / "alone"
    slow = ("--learning-rate", "1e-4")
    lost = start_both(images, run, "--steps", 10_000, *slow)
    patience = time.monotonic() + 200
    while not (run / "checkpoints" / "10").exists():
        assert time.monotonic() < patience, "no checkpoint was written"
        assert all(process.poll() is None for process in lost), [process.communicate() for process in lost]
        time.sleep(0.05)
    for process in lost[::-1]:  # the other one would notice after a while, in JAX's way: it is ended here
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    steps = 10 + max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    started = json.loads((run / "config.json").read_text())
    started["training"]["steps"] = steps
    (run / "config.json").write_text(json.dumps(started))

    first, second = end(start_both(images, run, "--resume", "--steps", steps, *slow))
    assert first[0] == second[0] == 0, (first, second)
    assert f"{steps} steps of 8 images" in first[1]
    assert "jaxvae report" in first[1]
    assert "steps of" not in second[1]  # one of them talks

    config = default_config("beta-tc-vae")
    source, method = build(config.with_flags(data=f"arrays:{images}", learning_rate=1e-4))
    settings = {"steps": steps, "batch_size": 8, "log_every": 5, "checkpoint_every": 10}
    train(method, source, folder=alone, devices=choose_devices(4), **settings)
    for row, want in zip(rows_of(run), rows_of(alone), strict=True):
        np.testing.assert_allclose(row, want, rtol=1e-5, atol=1e-5 * max(want))


@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_others_of_a_process_that_dies_end_with_a_line(images, tmp_path, lost):
    run = tmp_path / "run"
    processes = start_both(images, run, "--steps", 1_000_000)
    wait_for_a_row(run, processes)
    os.killpg(processes[lost].pid, signal.SIGKILL)
    _, errors = processes[1 - lost].communicate(timeout=60)  # JAX would notice after 100 s
    processes[lost].communicate()
    assert processes[1 - lost].returncode != 0
    if lost == 1:  # where it is the coordinator, JAX's own abort may come first
        assert processes[0].returncode == 1
        assert errors.startswith("jaxvae: process 1 of 2 was lost; "), errors
        assert errors.count("\n") == 1


def wait_for_a_row(run, processes):
    patience = time.monotonic() + 200
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < patience, "no row was written"
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        time.sleep(0.05)


@pytest.mark.parametrize("asked", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_sigterm_of_one_process_stops_both(images, tmp_path, asked):
    """As where one machine of several is taken back."""
    run = tmp_path / "run"
    processes = start_both(images, run, "--steps", 100_000)
    wait_for_a_row(run, processes)
    processes[asked].send_signal(signal.SIGTERM)
    first, second = end(processes)
    assert first[0] == second[0] == 0, (first, second)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert saved_steps(run / "checkpoints")[-1] == last
    assert damage(run / "checkpoints" / str(last)) is None
    assert f"saved at step {last}; " in first[1]
    assert "--resume` goes on" in first[1]
    assert "saved at step" not in second[1]  # one of them talks


def test_processes_that_were_started_differently_are_refused(images, tmp_path):
    port = free_port()
    flags = [flag.replace("IMAGES", str(images)) for flag in FLAGS]
    processes = [start(number, port, [*flags, "--run", tmp_path / "run", "--beta", 1 + number]) for number in range(2)]
    for code, _, errors in end(processes):
        assert code == 2, errors
        assert "processes 0 and 1 were started differently: hyperparameters.beta is 1.0 and 2.0" in errors
    assert not (tmp_path / "run").exists()


def test_a_process_that_never_comes(tmp_path):
    ((code, _, errors),) = end([start(0, free_port(), ["--run", tmp_path / "run", "--coordinator-timeout", "3"])])
    assert code == 1
    assert "not all 2 processes came within 3 s" in errors


def test_what_is_not_for_several_processes(tmp_path):
    ((code, _, errors),) = end([start(0, free_port(), ["--seeds", "0:2", "--run", tmp_path / "run"])])
    assert code == 2
    assert "--distributed trains one run" in errors
