"""A population leaves ordinary runs behind."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.training import choose_devices, make_train_step, train, train_members
from jaxvae.training.checkpoints import restore, saved_steps
from jaxvae.training.run_folder import read_history
from tests.faults.tiny import tiny
from tests.methods.tiny_networks import tiny_autoencoder

pytestmark = pytest.mark.process

SOURCE = Sprites(16)
SETTINGS = {"batch_size": 8, "log_every": 2, "checkpoint_every": 3}
SEEDS, BETAS = [0, 1], [1.0, 4.0]


def method(**hp):
    return beta_vae(tiny_autoencoder(SOURCE.event_shape, 3), hyperparameters=BetaVAE(learning_rate=1e-3, **hp))


@pytest.fixture
def folders(tmp_path):
    found = [tmp_path / name for name in ("a", "b")]
    for folder in found:
        folder.mkdir()
    return found


def last_state(folder):
    init, _ = make_train_step(method(), dataset_size=SOURCE.size)
    steps = saved_steps(folder / "checkpoints")
    return steps, restore(folder / "checkpoints", steps[-1], jax.eval_shape(init, jax.random.key(0)))


def rows_of(folder):
    return [
        {name: value for name, value in row.items() if not name.startswith(("seconds", "steps"))}
        for row in read_history(folder)
    ]


@pytest.mark.parametrize("population", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["in turn", "together"])
def test_folders_are_those_of_single_runs(population, folders, tmp_path):
    devices = choose_devices(population=population)
    outcomes = train_members(
        method(), SOURCE, folders, seeds=SEEDS, sweep={"beta": BETAS}, steps=7, devices=devices, **SETTINGS
    )
    for folder, seed, beta, outcome in zip(folders, SEEDS, BETAS, outcomes, strict=True):
        alone = tmp_path / f"alone-{seed}"
        expected = train(method(beta=beta), SOURCE, folder=alone, seed=seed, steps=7, **SETTINGS)
        rows, wanted = rows_of(folder), rows_of(alone)
        assert [list(row) for row in rows] == [list(row) for row in wanted]
        for row, want in zip(rows, wanted, strict=True):
            np.testing.assert_allclose(list(row.values()), list(want.values()), rtol=1e-4)
        assert (outcome.step, outcome.diverged) == (7, False)
        assert outcome.terms == {name: value for name, value in rows[-1].items() if name != "step"}
        steps, state = last_state(folder)
        assert steps == last_state(alone)[0]
        assert state.hyperparameters == expected.hyperparameters
        np.testing.assert_array_equal(jax.random.key_data(state.key), jax.random.key_data(expected.key))
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)


def test_a_resumed_population_ends_in_the_same_bits(folders, tmp_path):
    whole = [tmp_path / "whole-a", tmp_path / "whole-b"]
    for folder in whole:
        folder.mkdir()
    settings = {"seeds": SEEDS, "sweep": {"beta": BETAS}, **SETTINGS}
    train_members(method(), SOURCE, whole, steps=8, **settings)
    train_members(method(), SOURCE, folders, steps=6, **settings)
    # One of them stopped before it had saved step 6: both go on from step 3.
    shutil.rmtree(folders[1] / "checkpoints" / "6")
    train_members(method(), SOURCE, folders, steps=8, **settings)
    for folder, expected in zip(folders, whole, strict=True):
        assert rows_of(folder) == rows_of(expected)
        found, wanted = last_state(folder)[1], last_state(expected)[1]
        for a, b in zip(jax.tree.leaves(found.opt_state), jax.tree.leaves(wanted.opt_state), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_member_that_is_ahead_of_the_others_loses_nothing(tmp_path):
    """It was resumed alone, or checkpoints of another one were damaged: no step has a checkpoint of both."""

    def members(name, steps, **more):
        folders = [tmp_path / name / str(seed) for seed in SEEDS]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        settings = {"batch_size": 2, "log_every": 2, "checkpoint_every": 4}
        return folders, train_members(tiny(), SOURCE, folders, seeds=SEEDS, steps=steps, **settings, **more)

    (ahead, behind), _ = members("run", 4)
    train(tiny(), SOURCE, steps=12, folder=ahead, seed=0, batch_size=2, log_every=2, checkpoint_every=4)
    shutil.rmtree(ahead / "checkpoints" / "4", ignore_errors=True)
    before = read_history(ahead)
    resumed = []
    _, outcomes = members("run", 16, on_resume=resumed.append, stop=lambda: True)
    assert resumed == [[12, 4]]
    assert [outcome.step for outcome in outcomes] == [12, 6]
    assert read_history(ahead) == before
    assert saved_steps(ahead / "checkpoints")[-1] == 12
    _, outcomes = members("run", 16)
    assert [outcome.step for outcome in outcomes] == [16, 16]
    assert read_history(ahead)[: len(before)] == before
    whole, _ = members("whole", 16)
    for folder, expected in zip((ahead, behind), whole, strict=True):
        assert rows_of(folder) == rows_of(expected)
    _, outcomes = members("run", 16)
    assert outcomes[0].terms == {name: value for name, value in rows_of(ahead)[-1].items() if name != "step"}


def test_a_member_whose_newest_checkpoints_are_damaged_goes_back_alone(tmp_path):
    """To the newest that verifies, and never to 0; nothing of the others is lost."""
    folders = [tmp_path / str(seed) for seed in SEEDS]
    for folder in folders:
        folder.mkdir()
    settings = {"seeds": SEEDS, "batch_size": 2, "log_every": 2, "checkpoint_every": 2}
    train_members(tiny(), SOURCE, folders, steps=8, **settings)
    intact, damaged = folders
    newest, before = saved_steps(damaged / "checkpoints"), read_history(intact)
    rows = rows_of(damaged)
    assert len(newest) > 1
    for step in newest[1:]:
        parts = [path for path in (damaged / "checkpoints" / str(step)).rglob("*") if path.is_file()]
        largest = max(parts, key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[9] ^= 1
        largest.write_bytes(content)
    resumed = []
    with pytest.warns(UserWarning, match="damaged"):
        train_members(tiny(), SOURCE, folders, steps=10, on_resume=resumed.append, **settings)
    assert resumed == [[8, newest[0]]]
    assert newest[0] > 0
    assert read_history(intact)[: len(before)] == before
    assert rows_of(damaged)[: len(rows)] == rows
    assert rows_of(damaged)[-1]["step"] == 10


def test_a_member_that_diverges_is_marked_and_stays_out_of_the_way(folders):
    settings = {"seeds": SEEDS, "sweep": {"learning_rate": [1e30, 1e-3]}, **SETTINGS}
    bad, good = train_members(method(), SOURCE, folders, steps=4, **settings)
    assert bad.diverged
    assert not good.diverged
    assert json.loads((folders[0] / "diverged.json").read_text()) == {"step": 2}
    assert rows_of(folders[0]) == []
    bad, good = train_members(method(), SOURCE, folders, steps=6, **settings)
    assert (bad.step, bad.diverged, good.step, good.diverged) == (2, True, 6, False)
    assert [row["step"] for row in rows_of(folders[1])] == [2, 3, 4, 6]


def test_one_folder_per_member(folders):
    with pytest.raises(ValueError, match="2 seeds and 1 folders"):
        train_members(method(), SOURCE, folders[:1], seeds=SEEDS, steps=1, **SETTINGS)
