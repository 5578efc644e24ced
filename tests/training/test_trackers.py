"""Weights & Biases and MLflow get the rows of metrics.jsonl, and a run that goes on stays one run there."""

import importlib
import json
import math
import os
import shutil
import struct
import sys
import time

import pytest

from jaxvae.cli.main import main
from jaxvae.cli.train import installed
from jaxvae.training.writers import mlflow_writer, wandb_writer

TINY = ["vae", "--data", "sprites", "--image-size", "16", "--batch-size", "8", "--log-every", "2"]
WRITERS = {"wandb": wandb_writer, "mlflow": mlflow_writer}


@pytest.fixture(scope="module", autouse=True)
def nobody_is_called(tmp_path_factory):
    """Nothing of the user's settings and accounts, no network, and no files elsewhere."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("WANDB_", "MLFLOW_")):
                patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, stopped before its last checkpoint was there, that goes on: row 4 is logged twice."""
    folder = tmp_path_factory.mktemp("trackers") / "mine"
    words = ["--run", str(folder), "--wandb", "--mlflow"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.cli.evaluate.score_and_report", lambda args: None)
        patch.chdir(folder.parent)
        main(["train", *TINY, "--steps", "4", "--checkpoint-every", "2", *words])
        ids = [(folder / f"{name}_id").read_text() for name in WRITERS]
        shutil.rmtree(folder / "checkpoints" / "4")
        main(["train", *words, "--resume", "--steps", "8"])
    assert [(folder / f"{name}_id").read_text() for name in WRITERS] == ids
    assert list(folder.parent.iterdir()) == [folder]
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    """The same run, to write to."""
    return shutil.copytree(trained, tmp_path / "copy", symlinks=True)


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    return rows


def finished(file):
    """The records, once the last one is there: W&B's own process writes on for a moment after a run was finished."""
    for _ in range(600):
        records = list(records_of(file))
        if records and records[-1].HasField("exit"):
            return records
        time.sleep(0.1)
    raise AssertionError(f"{file} has no end")


def records_of(file):
    """Of W&B's file: blocks of 32 KiB, in them parts of records, each behind (checksum, length, kind of part)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := -place % 32768) and left < 7:
            place += left
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def offline_runs(folder):
    """(id, name, project, settings, rows by step) of each part of a run that was written offline."""
    runs = []
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        rows, settings = {}, {}
        for record in finished(file):
            if record.HasField("run"):
                run = record.run
                settings |= {one.key: json.loads(one.value_json) for one in run.config.update}
            elif record.HasField("history"):
                row = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in record.history.item}
                rows[record.history.step.num] = {name: row[name] for name in row if not name.startswith("_")}
        runs.append((run.run_id, run.display_name, run.project, settings, rows))
    return runs


def client_of(folder):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def mlflow_runs(client):
    (experiment,) = [one for one in client.search_experiments() if one.name == "jaxvae"]
    return client.search_runs([experiment.experiment_id])


def history(client, run, name):
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


@pytest.mark.process
def test_wandb_has_the_settings_and_the_rows(trained):
    one, two = offline_runs(trained)
    assert one[:3] == two[:3] == ((trained / "wandb_id").read_text(), "mine", "jaxvae")
    config = json.loads((trained / "config.json").read_text())
    for part, steps in ((one, 4), (two, 8)):
        assert {name: part[3][name] for name in config} == {
            **config,
            "training": {**config["training"], "steps": steps},
        }
    rows = {row.pop("step"): row for row in rows_of(trained)}
    assert list(one[4]) == [2, 4]
    assert one[4][2] == rows[2]
    assert one[4][4]["loss"] == rows[4]["loss"]
    assert two[4] == {step: rows[step] for step in (4, 6, 8)}


@pytest.mark.process
def test_mlflow_has_the_settings_and_each_row_once(trained):
    client = client_of(trained)
    (run,) = mlflow_runs(client)
    assert (run.info.run_id, run.info.run_name) == ((trained / "mlflow_id").read_text(), "mine")
    assert run.info.status == "FINISHED"
    assert run.data.params["method"] == "vae"
    assert run.data.params["hyperparameters.learning_rate"] == str(
        json.loads((trained / "config.json").read_text())["hyperparameters"]["learning_rate"]
    )
    rows = rows_of(trained)
    assert set(run.data.metrics) == set(rows[0]) - {"step"}
    for name in set(rows[0]) - {"step", "seconds", "steps_per_second"}:
        assert history(client, run, name) == [(row["step"], row[name]) for row in rows]


@pytest.mark.process
def test_numbers_that_are_not_finite_are_written(copy):
    with mlflow_writer(copy, {}) as mlflow, wandb_writer(copy, {}) as wandb:
        for write in (mlflow, wandb):
            write(10, {"loss": math.nan, "kl": math.inf})
    client = client_of(copy)
    (run,) = mlflow_runs(client)
    step, loss = history(client, run, "loss")[-1]
    assert step == 10
    assert math.isnan(loss)
    assert history(client, run, "kl")[-1][1] > 1e308  # the largest number of a database
    (row,) = offline_runs(copy)[-1][4].values()
    assert math.isnan(row["loss"])
    assert row["kl"] == math.inf


@pytest.mark.process
def test_wandb_is_not_told_again_what_it_has(tmp_path, monkeypatch, capfd):
    """As of a run on the server, which is asked where it was."""
    monkeypatch.setattr("wandb.Run.step", 5)
    with wandb_writer(tmp_path, {}) as write:
        write(4, {"loss": 1.0})
        write(6, {"loss": 2.0})
    assert offline_runs(tmp_path)[0][4] == {6: {"loss": 2.0}}
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_mlflow_knows_how_a_run_ended(error, status, copy):
    def run():
        with mlflow_writer(copy, {}):
            assert mlflow_runs(client_of(copy))[0].info.status == "RUNNING"
            raise error

    with pytest.raises(error):
        run()
    assert mlflow_runs(client_of(copy))[0].info.status == status


@pytest.mark.process
def test_mlflow_elsewhere_if_it_is_told_where(copy, tmp_path, monkeypatch):
    """A store that does not know the run gets another one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy / 'mlflow.db'}")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mlflow_id").write_text("of another store")
    with mlflow_writer(other, {"beta": 2.0}) as write:
        write(1, {"loss": 3.0})
    assert [path.name for path in other.iterdir()] == ["mlflow_id"]
    client = client_of(copy)
    run = client.get_run((other / "mlflow_id").read_text())
    assert run.data.params == {"beta": "2.0"}
    assert history(client, run, "loss") == [(1, 3.0)]
    assert len(mlflow_runs(client)) == 2


@pytest.mark.parametrize("name", WRITERS)
def test_what_to_install(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["train", *TINY, "--run", str(tmp_path / "run"), f"--{name}"])
    assert stop.value.code == 2
    assert f"pip install 'jaxvae[{name}]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError), WRITERS[name](tmp_path, {}):
        pass


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tracker_of_nobody").mkdir()
    assert not installed("tracker_of_nobody")
    (tmp_path / "tracker_of_nobody" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert installed("tracker_of_nobody")


@pytest.mark.parametrize("name", WRITERS)
def test_for_a_single_run(name, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", *TINY, "--run", str(tmp_path / "run"), "--seeds", "0:2", f"--{name}"])
    assert f"--{name} is for a single run" in capsys.readouterr().err


def test_nobody_is_logged_in(tmp_path, monkeypatch):
    import wandb

    def init(**settings):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr("wandb.init", init)
    with pytest.raises(ConnectionError, match="Weights & Biases: No API key"), wandb_writer(tmp_path, {}):
        pass


@pytest.mark.process
def test_no_server_of_mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    with pytest.raises(ConnectionError, match="MLflow: "), mlflow_writer(tmp_path, {}):
        pass
