"""What the benchmarks conclude from, not how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import accelerator, cells_curves, check, record, tpu, turns
from benchmarks.collectives import received
from benchmarks.train_step import jax_training, multiply_adds
from benchmarks.turns import Worker, take_turns
from jaxvae.networks import autoencoder

ROOT = Path(__file__).parent.parent


def test_only_what_fell_by_more_than_allowed_is_reported():
    before = {"level": 1.0, "a little": 1.0, "fell": 2.0, "gone": 3.0}
    now = {"level": 1.0, "a little": 0.9, "fell": 1.6, "new": 0.1}
    found = {change.name: change.fell(0.15) for change in check.changes(before, now)}
    assert found == {"level": False, "a little": False, "fell": True, "new": False, "gone": False}


def test_the_check_compares_with_a_commit(tmp_path, monkeypatch, capsys):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    monkeypatch.setattr(record, "FOLDER", tmp_path)
    monkeypatch.setattr(check, "FOLDER", tmp_path)
    record.record("speed", {"repeats": 1}, [{"ms": 2}], {"against a peer": 2.0})
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "results")
    check.main(check.Args())
    record.record("speed", {"repeats": 1}, [{"ms": 3}], {"against a peer": 1.5})
    with pytest.raises(SystemExit, match="1 ratios fell by more than 15%"):
        check.main(check.Args())
    assert "2.00 ->    1.50  against a peer   FELL" in capsys.readouterr().out
    assert {"processor", "cores", "devices", "python", "jax"} <= set(
        json.loads((tmp_path / "speed.json").read_text())["machine"]
    )


def test_committed_results_name_their_machine():
    for file in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert {"machine", "settings", "ratios", "rows"} <= set(json.loads(file.read_text())), file.name


def test_arithmetic_of_the_study_s_network_is_counted():
    networks = autoencoder("conv", (64, 64, 1))
    inputs = {"encoder": jnp.zeros((3, 64, 64, 1)), "decoder": jnp.zeros((3, 10))}
    counted = {
        name: multiply_adds(jax.make_jaxpr(net.apply)(jax.eval_shape(net.init, jax.random.key(0)), inputs[name]).jaxpr)
        for name, net in networks.items()
    }
    convolutions = 32**2 * 16 * 32 + 16**2 * 16 * 32 * 32 + 8**2 * 4 * 32 * 64 + 4**2 * 4 * 64 * 64
    transposed = 4**2 * 16 * 64 * 64 + 8**2 * 16 * 64 * 32 + 16**2 * 16 * 32 * 32 + 32**2 * 16 * 32
    assert counted == {
        "encoder": 3 * (convolutions + 1024 * 256 + 2 * 256 * 10),
        "decoder": 3 * (10 * 256 + 256 * 1024 + transposed),
    }


@pytest.mark.process
def test_peers_take_turns():
    program = "import time; from benchmarks.turns import serve; serve(lambda steps: time.sleep(0.001 * steps))"
    workers = {name: Worker([sys.executable, "-c", program], {"PYTHONPATH": str(ROOT)}) for name in ("one", "other")}
    found = take_turns(workers, 2)
    assert set(found) == {"one", "other"}
    assert all(set(medians) == {"wall_ms", "cpu_ms"} and medians["wall_ms"] > 0 for medians in found.values())


@pytest.mark.process
def test_a_peer_that_ends_early_is_named():
    with pytest.raises(RuntimeError, match="a peer ended early: .*exit"):
        Worker([sys.executable, "-c", "exit(3)"])


@pytest.mark.process
@pytest.mark.parametrize("method", ["beta-vae", pytest.param("factor-vae", marks=pytest.mark.process)])
def test_our_own_peer_runs(method):
    run = jax_training("jaxvae, as shipped", "mlp", 2, method)
    assert [run(2), run(3)] == [2, 5]


@pytest.mark.slow
def test_the_benchmark_of_accelerators_runs_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    sizes = {"networks": ("mlp",), "batches": (2,), "members": (2,), "pairs": (16,), "methods": ("vae",)}
    accelerator.main(accelerator.Args(**sizes, precisions=("bfloat16",), repeats=1, seconds=0.01, torch=False))
    (file,) = tmp_path.glob("accelerator-*.json")
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == ["step", "total correlation", "population", "resumed", "method"]
    assert all(row["images per second, jaxvae"] > 0 for row in rows[:1])
    assert rows[3]["same_bits"]
    assert rows[4]["finite"]


def test_a_collective_in_pieces_is_counted_once():
    piece = '= f32[8,64]{1,0} all-gather(%a), channel_id=1, frontend_attributes={chain_id="0"}'
    whole = "= f32[8,32]{1,0} all-gather(%b), channel_id=1"
    program = "\n".join([piece, whole, piece, "= (f32[10]{0}, f32[5]{0}) all-reduce(%c, %d), channel_id=2"])
    assert received(program) == {"all-gather": 4 * 8 * (64 + 32), "all-reduce": 60}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["beta-tc-vae", "factor-vae", "oi-vae"])
def test_methods_compile_for_tpus(method):
    pytest.importorskip("libtpu", reason="needs pip install libtpu")
    row = tpu.in_own_process(tpu.Program(method, chips=8), limit=900)
    assert "failed" not in row
    assert row["flops"] > 0
    assert row["collectives"]["all-reduce"] >= 4 * row["parameters"]


def test_time_to_the_loss_that_both_peers_reach():
    def run(seconds, loss):
        return {"seconds": seconds, "cpu_seconds": [2 * each for each in seconds], "loss": loss, "reconstruction": loss}

    runs = {
        "jaxvae, drvi": [run([3.0, 4.0, 5.0], [9.0, 7.0, 5.0]), run([3.0, 4.0, 5.0], [9.0, 6.9, 6.0])],
        "scvi-tools, drvi": [run([2.0, 6.0, 10.0], [9.0, 8.0, 7.0]), run([2.0, 6.0, 10.0], [9.0, 6.5, 6.8])],
        "jaxvae, vae": [run([1.0], [4.0])],
    }
    rows, speeds, targets = cells_curves.compared(runs)
    assert targets == {"DRVI, against scvi-tools": 7.0}
    ours, theirs, alone = rows
    assert (ours["first_epoch_seconds"], ours["epoch_seconds"], ours["epoch_cpu_seconds"]) == (3.0, 1.0, 2.0)
    assert ours["seconds_to_loss, DRVI, against scvi-tools"] == 4.0
    assert theirs["seconds_to_loss, DRVI, against scvi-tools"] == 8.0  # of 10 and 6 seconds
    assert theirs["best_loss"] == 6.75
    assert "seconds_to_loss, DRVI, against scvi-tools" not in alone
    assert speeds == {
        "DRVI, against scvi-tools, time per epoch": 4.0,
        "DRVI, against scvi-tools, CPU time per epoch": 4.0,
        "DRVI, against scvi-tools, time to the same validation loss": 2.0,
    }
    with pytest.raises(ValueError, match="the lowest loss is 4.0, and 3.0 was to be reached"):
        cells_curves.seconds_to(runs["jaxvae, vae"][0], 3.0)


def test_the_clock_stands_still_during_validation(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(turns.time, "perf_counter", lambda: now[0])

    def terms(loss):
        now[0] += 100
        return {"loss": loss}

    curve = turns.Curve(terms)
    for loss in (2.0, 1.0):
        now[0] += 3
        curve.note(loss)
    assert curve.to_json()["seconds"] == [3.0, 6.0]
    assert curve.to_json()["loss"] == [2.0, 1.0]
