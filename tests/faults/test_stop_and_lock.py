"""Asked to stop, two writers, full disks, numbers that are not finite: nothing is lost, and a line says what to do."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.signals import asked_to_stop, ending_well
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.training import NonFiniteLoss, train, train_members
from jaxvae.training.checkpoints import damage, saved_steps
from jaxvae.training.engine import make_train_step
from jaxvae.training.run_folder import RunFolderError, only_writer
from tests.faults.tiny import SOURCE, rows, same_bits, tiny

pytestmark = pytest.mark.process
SETTINGS = {"batch_size": 2, "log_every": 2, "checkpoint_every": 4}


def after(rows_seen):
    """True from that row on."""
    seen = iter(range(10_000))
    return lambda: next(seen) + 1 >= rows_seen


def test_a_run_that_is_asked_to_stop_saves_and_goes_on_to_the_same_bits(tmp_path):
    whole = train(tiny(), SOURCE, steps=12, folder=tmp_path / "whole", **SETTINGS)
    for rows_seen, at in ((1, 2), (3, 8)):
        stopped = train(tiny(), SOURCE, steps=12, folder=tmp_path / "run", stop=after(rows_seen), **SETTINGS)
        assert int(stopped.step) == at
        assert saved_steps(tmp_path / "run" / "checkpoints")[-1] == at
    same_bits(train(tiny(), SOURCE, steps=12, folder=tmp_path / "run", **SETTINGS), whole)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_a_population_that_is_asked_to_stop_saves_all(tmp_path):
    def members(name, **more):
        folders = [tmp_path / name / str(seed) for seed in range(2)]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return folders, train_members(tiny(), SOURCE, folders, seeds=[0, 1], steps=12, **SETTINGS, **more)

    whole, _ = members("whole")
    stopped, outcomes = members("run", stop=after(3))
    assert [outcome.step for outcome in outcomes] == [6, 6]
    assert [saved_steps(folder / "checkpoints")[-1] for folder in stopped] == [6, 6]
    members("run")
    assert [rows(folder) for folder in stopped] == [rows(folder) for folder in whole]


def test_sigterm_is_an_ask(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with asked_to_stop() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    with pytest.raises(SystemExit) as stop, ending_well("go on"):
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.code == 0
    assert capsys.readouterr().out == "stopped by SIGTERM; go on\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("members", [[], ["--seeds", "0:2"]])
def test_sigterm_in_the_last_row_is_no_end_as_usual(tmp_path, members, monkeypatch, capsys):
    """Nor a reason to score for a minute: whoever asked is waiting."""

    @contextmanager
    def asked_at_once():
        yield lambda: True

    monkeypatch.setattr("jaxvae.cli.train.asked_to_stop", asked_at_once)
    flags = ["--data", "sprites", "--image-size", "16", "--batch-size", "4", "--steps", "5"]
    main(["train", *flags, *members, "--run", str(tmp_path / "run")])
    assert "saved at step 5" in capsys.readouterr().out.splitlines()[-1]
    assert not list(tmp_path.rglob("scores.json"))


def test_a_population_that_diverged_as_a_whole_is_told(tmp_path, capsys):
    flags = ["--data", "sprites", "--image-size", "16", "--batch-size", "4", "--steps", "60", "--learning-rate", "1e18"]
    main(["train", *flags, "--seeds", "0:2", "--run", str(tmp_path / "run")])
    assert capsys.readouterr().out.count("diverged before step") == 2


def test_the_command_stops_with_0_and_says_how_to_go_on(tmp_path):
    flags = ["--data", "sprites", "--image-size", "16", "--batch-size", "4", "--steps", "100000", "--log-every", "5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxvae", "train", *flags, "--run", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not rows_there(tmp_path / "run") and process.poll() is None:
        time.sleep(0.05)
    with pytest.raises(RunFolderError, match="another process is writing to the run in .*: wait for it, or stop it"):
        train(tiny(), SOURCE, steps=4, folder=tmp_path / "run", **SETTINGS)
    process.send_signal(signal.SIGTERM)
    told, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    step = saved_steps(tmp_path / "run" / "checkpoints")[-1]
    assert told.splitlines()[-1] == (
        f"stopped by SIGTERM, saved at step {step}; `jaxvae train --run {tmp_path / 'run'} --resume` goes on"
    )
    assert damage(tmp_path / "run" / "checkpoints" / str(step)) is None
    assert rows(tmp_path / "run")[-1]["step"] == step


def rows_there(folder):
    return (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size


HOLD = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"


def test_two_writers_are_refused_and_a_dead_one_is_forgotten(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    for start in (
        lambda: open_run(folder, default_config("vae"), resume=True),
        lambda: train(tiny(), SOURCE, steps=4, folder=folder, **SETTINGS),
        lambda: train_members(tiny(), SOURCE, [folder], seeds=[0], steps=4, **SETTINGS),
    ):
        with pytest.raises(RunFolderError, match="another process is writing to the run"):
            start()
    assert not (folder / "config.json").exists()
    with pytest.raises(SystemExit):
        main(["train", "--data", "sprites", "--image-size", "16", "--run", str(folder)])
    assert "another process is writing" in capsys.readouterr().err
    holder.kill()
    holder.wait()
    with only_writer(folder):
        train(tiny(), SOURCE, steps=4, folder=folder, **SETTINGS)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one MiB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place, leave):
    """Leaves so many bytes."""
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
    (place / "filler").write_bytes(bytes(max(0, free - leave)))


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384, 32768])
def test_a_full_disk_loses_no_earlier_checkpoint(small_disk, tmp_path, leave):
    whole = train(tiny(), SOURCE, steps=12, folder=tmp_path / "whole", **SETTINGS)
    folder = small_disk / "run"
    train(tiny(), SOURCE, steps=4, folder=folder, **SETTINGS)
    fill(small_disk, leave)
    with pytest.raises((RunFolderError, OSError), match=r"No space left on device"):
        train(tiny(), SOURCE, steps=12, folder=folder, **SETTINGS)
    (small_disk / "filler").unlink()
    assert damage(folder / "checkpoints" / "4") is None
    same_bits(train(tiny(), SOURCE, steps=12, folder=folder, **SETTINGS), whole)
    assert rows(folder) == rows(tmp_path / "whole")


def test_a_folder_that_can_only_be_read(small_disk, tmp_path, capsys):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--data", "sprites", "--image-size", "16", "--run", str(small_disk / "run")])
    assert stop.value.code == 2
    assert "can't write to the run folder" in capsys.readouterr().err
    with pytest.raises(OSError, match="Read-only file system"):
        train(tiny(), SOURCE, steps=4, folder=small_disk / "run", **SETTINGS)


def test_the_batch_of_a_number_that_is_not_finite_is_kept(tmp_path):
    method = tiny(infinite_at=5)
    with pytest.raises(NonFiniteLoss, match="at step 5: loss, strange$"):
        train(method, SOURCE, steps=12, folder=tmp_path, seed=3, **SETTINGS)
    with np.load(tmp_path / "nonfinite" / "5.npz", allow_pickle=False) as kept:
        assert int(kept["step"]) == 5
        assert kept["terms"].tolist() == ["loss", "strange"]
        key = jax.random.wrap_key_data(kept["key"])
        np.testing.assert_array_equal(kept["x"], SOURCE.batch(key, 5, 2)["x"])
    init, _ = make_train_step(method, dataset_size=SOURCE.size)
    assert (jax.random.key_data(key) == jax.random.key_data(init(jax.random.key(3)).key)).all()


def test_an_update_that_is_not_finite_can_be_skipped(tmp_path):
    skipped = train(tiny(infinite_at=5), SOURCE, steps=12, folder=tmp_path / "skip", on_nan="skip", **SETTINGS)
    assert [row["skipped"] for row in rows(tmp_path / "skip")] == [0, 0, 1, 0, 0, 0]
    assert all(np.isfinite(list(row.values())).all() for row in rows(tmp_path / "skip"))
    assert (tmp_path / "skip" / "nonfinite" / "5.npz").exists()
    # Until then the same as without; afterwards as if the update had not been.
    before = train(tiny(infinite_at=5), SOURCE, steps=5, on_nan="skip", **SETTINGS)
    at = train(tiny(infinite_at=5), SOURCE, steps=6, on_nan="skip", **(SETTINGS | {"log_every": 6}))
    same_bits(at.params, before.params)
    assert int(at.step) == 6
    # Resumed in between, it ends the same.
    train(tiny(infinite_at=5), SOURCE, steps=4, folder=tmp_path / "parts", on_nan="skip", **SETTINGS)
    again = train(tiny(infinite_at=5), SOURCE, steps=12, folder=tmp_path / "parts", on_nan="skip", **SETTINGS)
    same_bits(again, skipped)
    with pytest.raises(NonFiniteLoss, match="not a finite number in any of 1 updates up to step 5: loss, strange$"):
        train(tiny(infinite_at=4), SOURCE, steps=6, on_nan="skip", **(SETTINGS | {"log_every": 1}))


def test_an_update_to_parameters_that_are_not_finite_is_skipped_too(tmp_path):
    method = tiny(infinite_slope_from=5)
    state = train(method, SOURCE, steps=6, folder=tmp_path, on_nan="skip", **SETTINGS)
    same_bits(state.params, train(method, SOURCE, steps=5, on_nan="skip", **SETTINGS).params)
    assert [row["skipped"] for row in rows(tmp_path)] == [0, 0, 1]
    with pytest.raises(NonFiniteLoss, match="in any of 2 updates up to step 8: the parameters after the update"):
        train(method, SOURCE, steps=8, folder=tmp_path, on_nan="skip", **SETTINGS)


def test_members_skip_alone(tmp_path):
    folders = [tmp_path / str(seed) for seed in range(2)]
    for folder in folders:
        folder.mkdir()
    train_members(tiny(infinite_at=5), SOURCE, folders, seeds=[0, 1], steps=12, on_nan="skip", **SETTINGS)
    for seed, folder in enumerate(folders):
        train(
            tiny(infinite_at=5),
            SOURCE,
            steps=12,
            seed=seed,
            folder=tmp_path / "one" / str(seed),
            on_nan="skip",
            **SETTINGS,
        )
        for row, alone in zip(rows(folder), rows(tmp_path / "one" / str(seed)), strict=True):
            assert row == pytest.approx(alone, rel=1e-5)
