"""The queue of published settings: its order, its rows, and that it goes on where it was stopped."""

import json

import jax
import numpy as np
import pytest

from experiments import published
from experiments.published import BLOCKS, Args, Block, Job, Setting, in_order, jobs, main
from jaxvae.runs.build import build
from jaxvae.runs.load import load_run
from jaxvae.training import train

TINY = Block(
    "tiny",
    (Setting("vae", "vae", {}), Setting("beta-vae, beta 4", "beta-vae", {"beta": 4.0})),
    {"data": "sprites", "image_size": 16, "network": "mlp-small", "steps": 100, "batch_size": 8},
    0.0,
)


def test_every_job_can_be_built_and_has_its_own_place(tmp_path):
    assert len({job.key for job in jobs()}) == len({job.folder(tmp_path) for job in jobs()}) == len(jobs())
    for block in BLOCKS:
        for setting in block.settings:
            config = Job(block, setting, 3).config()
            assert (config.training.seed, config.source.image_size) == (3, 64)
    factor = Job(BLOCKS[0], BLOCKS[0].settings[1], 0).config()
    assert (factor.hyperparameters.gamma, factor.hyperparameters.learning_rate) == (35.0, 1e-4)
    assert (factor.networks.network, factor.training.batch_size, factor.training.steps) == ("conv", 64, 100_000)
    # 30 epochs of 737,280 images.
    assert Job(BLOCKS[2], BLOCKS[2].settings[0], 0).config().training.steps == 345_600
    assert Job(BLOCKS[3], BLOCKS[3].settings[0], 0).config().training.steps == 10_800


def test_first_what_was_interrupted_then_what_the_table_lacks_most(tmp_path):
    first = [job.key for job in in_order([], tmp_path)]
    assert first[0] == "sprites, 100,000 steps | vae | seed 0"
    assert first.index("sprites, 100,000 steps | vae | seed 1") < first.index("rooms, 100,000 steps | vae | seed 0")
    assert first.index("rooms, 100,000 steps | vae | seed 0") < first.index("sprites, 100,000 steps | vae | seed 2")
    assert in_order(first[:1], tmp_path)[0].key == first[1]
    (in_order([], tmp_path)[40].folder(tmp_path) / "checkpoints" / "7").mkdir(parents=True)
    assert in_order([], tmp_path)[0].key == first[40]


@pytest.mark.slow
def test_rows_are_written_and_a_stopped_queue_ends_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "BLOCKS", (TINY,))
    monkeypatch.setattr(published, "SEEDS", range(1))
    monkeypatch.setattr(published, "give_way", lambda: None)  # the priority of the tests is not theirs
    args = Args(hours=1.0, folder=tmp_path / "runs", table=tmp_path / "table.json", num_samples=200)
    asked = iter([False, False, True])
    assert not published.train_jobs([jobs()[0]], args.folder, lambda: next(asked))  # as SIGTERM would
    first = jobs()[0].folder(args.folder)
    assert published.newest_saved(first) == 3
    main(args)
    rows = json.loads(args.table.read_text())["rows"]
    assert [row["key"] for row in rows] == [job.key for job in jobs()]
    for row in rows:
        assert row["steps"] == 100
        assert 0 <= row["means"]["mig"] <= 1
        assert set(row["kl_terms"]) == {"mutual_information", "total_correlation", "dimensionwise_kl"}
        assert set(row["last_row"]) == {"loss", "reconstruction", "kl"}
    source, method = build(jobs()[0].config())
    whole = train(method, source, steps=100, batch_size=8)
    for a, b in zip(*map(jax.tree.leaves, (load_run(first).state.params, whole.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    main(args)  # nothing is left to do
    assert json.loads(args.table.read_text())["rows"] == rows
