"""Checkpoints that were damaged on the disk: seen, passed over, and the run ends in the same bits."""

import hashlib
import json
import os
import shutil
import time
import warnings

import jax
import numpy as np
import pytest

from jaxvae.training import train
from jaxvae.training.checkpoints import (
    MANIFEST,
    DamagedCheckpoint,
    best_step,
    damage,
    newest_step,
    restore,
    saved_steps,
)
from jaxvae.training.run_folder import RunFolderError
from tests.faults.tiny import SOURCE, rows, same_bits, tiny

SETTINGS = {"batch_size": 2, "log_every": 2, "checkpoint_every": 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 updates with checkpoints at 4, 8 (one is the best) and 12, and its state."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(tiny(), SOURCE, steps=12, folder=folder, **SETTINGS)


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def flip_bit(path, rng):
    data = bytearray(path.read_bytes())
    if not data:
        return False
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)
    return True


def truncate(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(len(data))] if data else b"")
    return bool(data)


def half_written(path, rng):
    """The size is right, the rest was never written."""
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(len(data) - half))
    return any(data[half:])


def delete(path, rng):
    path.unlink()
    return True


def extend(path, rng):
    path.write_bytes(path.read_bytes() + b"\0")
    return True


def manifest_of(checkpoint):
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.name != MANIFEST]
    digests = {path.relative_to(checkpoint).as_posix(): hashlib.sha256(path.read_bytes()) for path in sorted(files)}
    return json.dumps({name: digest.hexdigest() for name, digest in digests.items()}, indent=0) + "\n"


@pytest.mark.parametrize("kind", ["pipe", "deep", "large"])
def test_a_manifest_of_a_stranger_is_damage(copy, kind):
    """A pipe would be waited for, and a hundred thousand brackets end in a traceback."""
    manifest = copy / "checkpoints" / "12" / MANIFEST
    manifest.unlink()
    if kind == "pipe":
        os.mkfifo(manifest)
    else:
        manifest.write_text("[" * 100_000)
        os.truncate(manifest, 65 << 20 if kind == "large" else 100_000)
    assert damage(manifest.parent) == f"not as it was written: {MANIFEST}"
    with pytest.warns(DamagedCheckpoint, match="12 is left out"):
        assert newest_step(manifest.parent.parent) == 8


@pytest.mark.parametrize("losses", ["[" * 100_000, "{}", '{"loss": "low"}', "[1]"])
def test_losses_of_a_stranger_are_one_line(copy, losses):
    checkpoint = copy / "checkpoints" / "12"
    (checkpoint / "metrics" / "metrics").write_text(losses)
    (checkpoint / MANIFEST).write_text(manifest_of(checkpoint))
    assert damage(checkpoint) is None
    with pytest.raises(RunFolderError, match="checkpoints/12 can't be read .its losses"):
        best_step(checkpoint.parent)


@pytest.mark.parametrize("corrupt", [flip_bit, truncate, half_written, delete, extend])
def test_each_kind_of_damage_is_seen_in_each_file(whole, tmp_path, corrupt):
    checkpoint = whole[0] / "checkpoints" / "12"
    assert damage(checkpoint) is None
    rng = np.random.default_rng(0)
    names = [path.relative_to(checkpoint) for path in checkpoint.rglob("*") if path.is_file()]
    assert len(names) >= 8
    for number, name in enumerate(names):
        for trial in range(5):
            place = tmp_path / f"{number}-{trial}"
            shutil.copytree(checkpoint, place)
            if corrupt(place / name, rng):
                assert damage(place) is not None, f"{corrupt.__name__} of {name} was not seen"


def test_a_file_too_many_is_seen(whole, tmp_path):
    shutil.copytree(whole[0] / "checkpoints" / "12", tmp_path / "12")
    (tmp_path / "12" / "state" / "more").touch()
    assert "state/more" in damage(tmp_path / "12")


def test_training_goes_back_to_the_newest_that_verifies_and_ends_in_the_same_bits(whole, copy):
    flip_bit(
        next(path for path in (copy / "checkpoints" / "12").rglob("*") if path.is_file()), np.random.default_rng(1)
    )
    like = jax.eval_shape(lambda: whole[1])
    with pytest.raises(RunFolderError, match="checkpoints/12 can't be read .not as it was written"):
        restore(copy / "checkpoints", 12, like)
    with pytest.warns(DamagedCheckpoint, match="12 is left out, not as it was written"):
        assert newest_step(copy / "checkpoints") == 8
    with pytest.warns(DamagedCheckpoint, match="12 was moved to .*damaged/12"):
        again = train(tiny(), SOURCE, steps=12, folder=copy, **SETTINGS)
    same_bits(again, whole[1])
    assert rows(copy) == rows(whole[0])
    assert damage(copy / "checkpoints" / "12") is None
    assert (copy / "damaged" / "12").is_dir()


def test_a_save_that_was_cut_off_counts_as_none(copy, whole):
    (copy / "checkpoints" / "12" / "manifest.json").unlink()
    with pytest.warns(DamagedCheckpoint, match="12 was moved .* not finished"):
        same_bits(train(tiny(), SOURCE, steps=12, folder=copy, **SETTINGS), whole[1])
    # The very first one: there is nothing to go back to, and nothing was lost.
    for step in saved_steps(copy / "checkpoints"):
        (copy / "checkpoints" / str(step) / "manifest.json").unlink()
    with pytest.warns(DamagedCheckpoint):
        same_bits(train(tiny(), SOURCE, steps=12, folder=copy, **SETTINGS), whole[1])


def test_a_run_all_of_whose_checkpoints_are_damaged_is_not_started_anew(copy):
    for step in saved_steps(copy / "checkpoints"):
        (copy / "checkpoints" / str(step) / "metrics" / "metrics").write_text("{")
    with pytest.raises(RunFolderError, match="no checkpoint in .* can be used .*metrics/metrics.*delete that folder"):
        train(tiny(), SOURCE, steps=12, folder=copy, **SETTINGS)
    with pytest.raises(RunFolderError, match="can be used"):
        newest_step(copy / "checkpoints")
    assert len(saved_steps(copy / "checkpoints")) >= 2


def test_a_clock_that_jumps_changes_nothing(whole, tmp_path, monkeypatch):
    now, year = time.time, 365 * 24 * 3600.0
    for steps, ahead in ((4, year), (8, -year), (12, 0.0)):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: now() + ahead)
        state = train(tiny(), SOURCE, steps=steps, folder=tmp_path, **SETTINGS)
    same_bits(state, whole[1])
    assert all(row["seconds"] >= 0 for row in rows(tmp_path, machine=True))
    assert saved_steps(tmp_path / "checkpoints")[-1] == newest_step(tmp_path / "checkpoints") == 12


def test_an_undamaged_run_warns_of_nothing(copy):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedCheckpoint)
        train(tiny(), SOURCE, steps=16, folder=copy, **SETTINGS)
