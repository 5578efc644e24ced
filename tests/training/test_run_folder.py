"""A run's folder: its configuration, when it may be used again, and its rows."""

import json
import os
import warnings

import numpy as np
import pytest

from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run, read_config
from jaxvae.training import run_folder
from jaxvae.training.run_folder import MissingRows, RunFolderError, cut_history, read_history, read_history_until

CONFIG = default_config("beta-vae").with_flags(steps=10)


def test_a_new_folder_gets_the_configuration(tmp_path):
    open_run(tmp_path / "a" / "b", CONFIG, resume=False)
    assert read_config(tmp_path / "a" / "b") == CONFIG.to_json()
    open_run(tmp_path / "c", CONFIG, resume=True)
    assert read_config(tmp_path / "c") == CONFIG.to_json()


def test_resuming_may_raise_the_steps_and_nothing_else(tmp_path):
    open_run(tmp_path / "r", CONFIG, resume=False)
    longer = CONFIG.with_flags(steps=20)
    open_run(tmp_path / "r", longer, resume=True)
    assert read_config(tmp_path / "r")["training"]["steps"] == 20
    with pytest.raises(
        RunFolderError, match=r"hyperparameters.beta was 4.0 and is now 5.0; source.data was 'scene' and"
    ):
        open_run(tmp_path / "r", longer.with_flags(beta=5.0, data="sprites"), resume=True)
    with pytest.raises(RunFolderError, match="is of the method beta-vae, not factor-vae: leave the method out"):
        open_run(tmp_path / "r", default_config("factor-vae").with_flags(steps=20, learning_rate=1e-4), resume=True)
    (tmp_path / "r" / "checkpoints" / "15").mkdir(parents=True)
    with pytest.raises(RunFolderError, match="training.steps was 20 and its newest checkpoint is of step 15: it can't"):
        open_run(tmp_path / "r", CONFIG, resume=True)
    with pytest.raises(RunFolderError, match="config.json cannot be read"):
        open_run(tmp_path / "r", BaselineConfig("pca"), resume=True)
    assert read_config(tmp_path / "r") == longer.to_json()


def test_a_run_may_be_declared_finished_at_fewer_steps(tmp_path):
    open_run(tmp_path, CONFIG, resume=False)
    (tmp_path / "checkpoints" / "6").mkdir(parents=True)
    open_run(tmp_path, CONFIG.with_flags(steps=6), resume=True)
    assert read_config(tmp_path)["training"]["steps"] == 6


def test_an_existing_run_or_other_files_are_not_touched(tmp_path):
    open_run(tmp_path / "r", CONFIG, resume=False)
    with pytest.raises(RunFolderError, match="holds a run already: add --resume"):
        open_run(tmp_path / "r", CONFIG, resume=False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    for resume in (False, True):
        with pytest.raises(RunFolderError, match="has files but no run"):
            open_run(tmp_path / "photos", CONFIG, resume=resume)
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]


def test_what_can_not_be_written_or_read_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="can't write to the run folder"):
        open_run(tmp_path / "file" / "r", CONFIG, resume=False)
    with pytest.raises(RunFolderError, match="no run in .*config.json is missing"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunFolderError, match="can't read"):
        read_config(tmp_path)


def test_a_folder_left_by_a_kill_while_it_was_made_can_be_used(tmp_path):
    (tmp_path / "config.json.partial").touch()
    open_run(tmp_path, CONFIG, resume=True)
    assert read_config(tmp_path) == CONFIG.to_json()


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1}',
        "#{}",
        '{"step": true}',
        '{"step": -1}',
        '{"step": 1.5}',
        '{"step": 1, "loss": "low"}',
        '{"step": 1, "loss": 1' + 400 * "0" + "}",
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_line_that_is_no_row_is_named_and_nothing_is_dropped(tmp_path, line):
    text = '{"step": 5}\n' + line + '\n{"step": 15}\n'
    (tmp_path / "metrics.jsonl").write_text(text, encoding="latin-1")
    for read in (read_history, lambda folder: read_history_until(folder, 5), lambda folder: cut_history(folder, 5)):
        with pytest.raises(RunFolderError, match="metrics.jsonl holds .* no row of metrics: line 2, ") as no:
            read(tmp_path)
        assert len(str(no.value)) < 300 + len(str(tmp_path))
    assert (tmp_path / "metrics.jsonl").read_text(encoding="latin-1") == text


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_rows_are_read_from_regular_files(tmp_path, kind):
    path = tmp_path / "metrics.jsonl"
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}
    make[kind](path)
    for read in (read_history, lambda folder: cut_history(folder, 5)):
        with pytest.raises(RunFolderError, match="metrics.jsonl is not a regular file: remove it"):
            read(tmp_path)


def test_a_number_that_is_not_finite_is_a_number(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "loss": NaN, "kl": Infinity, "seconds": 1}\n')
    (row,) = read_history(tmp_path)
    assert np.isnan(row["loss"])
    assert row["kl"] == np.inf


def test_history_survives_a_cut_off_line(tmp_path):
    assert read_history(tmp_path) == []
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (5, 10, 15)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 2')
    assert [row["step"] for row in read_history(tmp_path)] == [5, 10, 15]
    cut_history(tmp_path, 15)
    assert (tmp_path / "metrics.jsonl").read_text() == "\n".join(lines) + "\n"
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))  # the next row must not be written behind the last
    cut_history(tmp_path, 15)
    assert (tmp_path / "metrics.jsonl").read_text() == "\n".join(lines) + "\n"
    cut_history(tmp_path, 10)
    assert (tmp_path / "metrics.jsonl").read_text() == "\n".join(lines[:2]) + "\n"


def test_rows_that_end_before_the_checkpoint_are_missed(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 5}\n{"step": 10}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut_history(tmp_path, 10)
        assert read_history_until(tmp_path, 5) == [{"step": 5}]
    for read in (cut_history, read_history_until):
        with pytest.warns(MissingRows, match="end at step 10, and the checkpoint is of step 20: those in between are"):
            read(tmp_path, 20)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.warns(MissingRows, match="end at step 0"):
        cut_history(tmp_path, 20)


def test_each_row_is_decoded_once_however_many(tmp_path, monkeypatch):
    """A million rows took 27 seconds to resume. The bound is one decoding of each row, none by json, and no writing."""
    rows = 50_000
    text = "".join(f'{{"step": {step}, "loss": {step / 7}, "seconds": 0.5}}\n' for step in range(1, rows + 1))
    (tmp_path / "metrics.jsonl").write_text(text)
    decoded, decode = [], run_folder._decode_row
    monkeypatch.setattr(run_folder, "_decode_row", lambda line: decoded.append(1) or decode(line))
    monkeypatch.setattr(run_folder.json, "loads", None)
    before = (tmp_path / "metrics.jsonl").stat()
    cut_history(tmp_path, rows)
    assert len(decoded) == rows
    assert (tmp_path / "metrics.jsonl").stat().st_ino == before.st_ino  # it was not written again
    assert len(read_history_until(tmp_path, rows)) == rows
    assert len(decoded) == 2 * rows
    cut_history(tmp_path, 10)
    assert len(decoded) == 3 * rows
    assert [row["step"] for row in read_history(tmp_path)] == [*range(1, 11)]
