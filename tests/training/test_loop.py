"""Training runs: resumed bits, rows, checkpoints, and what happens when a number is not finite."""

import itertools
import json
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import encode_samples
from jaxvae.data import Epochs, Shard, Sprites, from_arrays
from jaxvae.method import Method, Network, Objective
from jaxvae.methods import BetaTCVAE, FactorVAE, beta_tc_vae, beta_vae, factor_vae
from jaxvae.networks import discriminator
from jaxvae.training import NonFiniteLoss, check, choose_devices, run_folder, train, train_population
from jaxvae.training.checkpoints import Checkpoints, best_step, newest_step, restore, saved_steps
from jaxvae.training.engine import make_train_step
from jaxvae.training.run_folder import read_history
from jaxvae.training.steps import batch_of_step, draw_batch
from jaxvae.training.writers import MACHINE_COLUMNS
from tests.methods.tiny_networks import tiny_autoencoder

SOURCE = Sprites(16)
METHOD = beta_tc_vae(tiny_autoencoder(SOURCE.event_shape, 4), hyperparameters=BetaTCVAE(1e-3))


def run(folder, steps, **settings):
    settings = {"batch_size": 16, "log_every": 4, "checkpoint_every": 6, **settings}
    return train(METHOD, SOURCE, steps=steps, folder=folder, **settings)


def rows(folder):
    return [{k: v for k, v in row.items() if k not in MACHINE_COLUMNS} for row in read_history(folder)]


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder and the state of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, run(folder, 14)


@pytest.mark.parametrize("first_part", [3, *(pytest.param(steps, marks=pytest.mark.process) for steps in (6, 10))])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, first_part, whole_run):
    folder, whole = whole_run
    run(tmp_path / "parts", first_part)
    (tmp_path / "parts" / "metrics.jsonl").open("a").write('{"step": 99, "loss": 0}\n{"step": 1')  # killed here
    resumed = run(tmp_path / "parts", 14)
    assert_same_bits(whole, resumed)
    assert int(resumed.step) == 14
    done = [row for row in rows(tmp_path / "parts") if row["step"] > first_part]
    assert done[-1] == rows(folder)[-1]
    assert [row["step"] for row in rows(folder)] == [4, 6, 8, 12, 14]


def test_a_resumed_run_reads_its_rows_once(tmp_path, monkeypatch):
    """And once more with validation, whose earlier losses it needs; what is logged later reads none."""
    decoded, decode = [], run_folder._decode_row
    monkeypatch.setattr(run_folder, "_decode_row", lambda line: decoded.append(1) or decode(line))
    run(tmp_path / "r", 2)
    for steps, times, validation in ((6, 1, {}), (10, 2, {"validation": SOURCE, "validate_every": 2})):
        rows = f'{{"step": {steps - 4}, "loss": 1.5, "seconds": 0.5}}\n' * 2000
        (tmp_path / "r" / "metrics.jsonl").write_text(rows)
        decoded.clear()
        run(tmp_path / "r", steps, log_every=1, **validation)
        assert len(decoded) == times * 2000


def scheduled():
    """FactorVAE whose autoencoder moves in every third update."""
    networks = tiny_autoencoder(SOURCE.event_shape, 4) | {"discriminator": discriminator(4, 2, (16,))}
    method = factor_vae(networks, hyperparameters=FactorVAE(1e-3))
    first, second = method.objectives
    return method._replace(objectives=(first._replace(active=lambda step: step % 3 == 2), second))


@pytest.fixture(scope="module")
def step_by_step():
    """The state after seven updates made one by one, of which the autoencoder moves in every third."""
    init, update = make_train_step(scheduled(), dataset_size=SOURCE.size)
    state, decoders = jax.jit(init)(jax.random.key(1)), []
    step = jax.jit(lambda state: update(state, draw_batch(scheduled(), SOURCE, 16, state)))
    for _ in range(7):
        state, _ = step(state)
        decoders.append(np.asarray(jax.tree.leaves(state.params["decoder"])[1]))
    moved = [not np.array_equal(a, b) for a, b in itertools.pairwise(decoders)]
    assert moved == [False, True, False, False, True, False]
    return state


def close(found, expected):
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_objectives_move_when_they_are_due(devices, tmp_path, step_by_step):
    """In a resumed run as in updates made one by one."""
    settings = {"seed": 1, "batch_size": 16, "log_every": 1, "devices": choose_devices(devices), "folder": tmp_path}
    train(scheduled(), SOURCE, steps=4, **settings)
    close(train(scheduled(), SOURCE, steps=7, **settings).params, step_by_step.params)


@pytest.mark.process
def test_objectives_of_members_move_when_they_are_due(step_by_step):
    *_, (_, states, _) = train_population(scheduled(), SOURCE, seeds=[0, 1], steps=7, batch_size=16)
    close(jax.tree.map(lambda leaf: np.asarray(leaf)[1], states.params), step_by_step.params)


@pytest.mark.process
def test_logging_does_not_change_the_bits(tmp_path):
    assert_same_bits(run(tmp_path / "a", 9, log_every=2), run(tmp_path / "b", 9, log_every=5, checkpoint_every=100))
    assert_same_bits(run(tmp_path / "a", 9), run(None, 9))


def test_seeds_differ_and_a_finished_run_is_left_alone(tmp_path):
    first = run(tmp_path / "a", 4)
    assert not np.array_equal(*(jax.tree.leaves(s.params)[0] for s in (first, run(tmp_path / "b", 4, seed=1))))
    assert_same_bits(first, run(tmp_path / "a", 4))


def test_rows_are_means_over_their_interval(tmp_path):
    run(tmp_path / "each", 4, log_every=1)
    run(tmp_path / "all", 4, log_every=4)
    losses = [row["loss"] for row in rows(tmp_path / "each")]
    assert len(losses) == 4
    (row,) = rows(tmp_path / "all")
    np.testing.assert_allclose(row["loss"], np.mean(losses), rtol=1e-6)
    assert list(row)[:2] == ["step", "loss"]


def test_newest_and_best_checkpoints_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        state = run(None, 1)
        for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 5.0), (5, 4.0)):
            checkpoints.save(state._replace(step=jnp.int32(step)), loss)
    assert saved_steps(tmp_path) == [2, 4, 5]
    assert best_step(tmp_path) == 2
    assert newest_step(tmp_path) == 5
    assert_same_bits(restore(tmp_path, 5, state), state._replace(step=jnp.int32(5)))


def test_every_step_draws_a_batch_of_its_own(tmp_path):
    def loss(net, batch, ctx):
        return net.a(jnp.float32(1)), {"brightness": batch["x"].mean()}

    network = Network(lambda key: {"w": jnp.float32(1.0)}, lambda params, x: params["w"] * x)
    method = Method("watch", {"a": network}, HP(1e-3), (Objective(loss, ("a",)),), None, None)
    train(method, SOURCE, steps=4, batch_size=5, folder=tmp_path, log_every=1)
    state = make_train_step(method, dataset_size=SOURCE.size)[0](jax.random.key(0))
    want = [float(SOURCE.batch(state.key, step, 5)["x"].mean()) for step in range(4)]
    np.testing.assert_allclose([row["brightness"] for row in rows(tmp_path)], want, rtol=1e-5)
    assert len(set(want)) == 4


def test_a_second_batch_is_of_other_examples():
    """On one device and in parts: 8 images and 8 fresh ones are, in epochs, all 16 that there are."""
    images = np.arange(16, dtype=np.float32).reshape(16, 1, 1, 1) / 16
    source, method = Epochs(from_arrays(images)), scheduled()
    assert method.needs == ("x", "fresh_x")

    @partial(jax.jit, static_argnums=1)
    def draw(source, shards):
        return [batch_of_step(method, source, 8, jax.random.key(0), 0, Shard(i, shards)) for i in range(shards)]

    for drawn in (draw(source, 1), draw(source, 2)):
        seen = np.concatenate([np.ravel(part[name]) for part in drawn for name in method.needs])
        np.testing.assert_allclose(np.sort(seen), images.ravel(), atol=1e-6)


def test_the_end_is_a_checkpoint(tmp_path):
    run(tmp_path, 4)
    assert saved_steps(tmp_path / "checkpoints") == [4]


class HP(NamedTuple):
    learning_rate: float = 1.0


def exploding(when, *, in_gradient=False):
    """A method whose term "strange" (or whose gradient) is infinite once `when` steps are done."""

    def loss(net, batch, ctx):
        value = net.a(jnp.float32(1.0))
        bad = jnp.where(ctx.step >= when, jnp.inf, 1.0)
        if in_gradient:
            return jnp.sqrt(value - jax.lax.stop_gradient(value) + 1.0 / bad), {}  # finite itself
        return value, {"strange": bad, "fine": jnp.float32(0.0)}

    network = Network(lambda key: {"w": jnp.float32(1.0)}, lambda params, x: params["w"] * x)
    return Method("exploding", {"a": network}, HP(1e-3), (Objective(loss, ("a",)),), None, None, needs=())


def test_a_non_finite_term_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss, match="not a finite number at step 9: strange$"):
        train(exploding(9), SOURCE, steps=40, batch_size=2, folder=tmp_path, log_every=4, checkpoint_every=6)
    assert saved_steps(tmp_path / "checkpoints") == [6]
    assert [row["step"] for row in read_history(tmp_path)] == [4, 6, 8]


def test_non_finite_parameters_are_never_saved(tmp_path):
    method = exploding(5, in_gradient=True)
    with pytest.raises(NonFiniteLoss, match="at step 6: the parameters"):
        train(method, SOURCE, steps=6, batch_size=2, folder=tmp_path, log_every=6, checkpoint_every=3)
    assert saved_steps(tmp_path / "checkpoints") == [3]
    with pytest.raises(NonFiniteLoss, match="the parameters"):
        train(method, SOURCE, steps=6, batch_size=2)


def test_check_refuses_what_can_not_be_traced():
    with pytest.raises(ValueError, match="2"):
        check(METHOD, SOURCE, batch_size=1)
    check(METHOD, SOURCE, batch_size=2)


def test_writers_get_every_row():
    seen = []
    train(
        METHOD,
        SOURCE,
        steps=5,
        batch_size=4,
        log_every=2,
        writers=[lambda step, row: seen.append((step, row))],
    )
    assert [step for step, _ in seen] == [2, 4, 5]
    assert json.loads(json.dumps(seen[0][1]))["steps_per_second"] > 0


@pytest.mark.process
@pytest.mark.parametrize("wrap", [lambda source: source, Epochs])
def test_a_table_trains_and_its_run_is_resumed(wrap, tmp_path):
    """Its images are an argument of the compiled step, and the order of the epochs goes on where it was."""
    factors = np.stack(np.unravel_index(np.arange(6), (2, 3)), axis=1)
    source = wrap(from_arrays(np.random.default_rng(0).random((6, 4, 4)), factors))
    method = beta_vae(tiny_autoencoder(source.event_shape, 2))
    whole = train(method, source, steps=5, batch_size=4, folder=tmp_path / "whole")
    for steps in (2, 5):
        parts = train(method, source, steps=steps, batch_size=4, folder=tmp_path / "parts")
    assert_same_bits(parts, whole)
    codes = encode_samples(method, whole.params, source, jax.random.key(0), 10)
    assert codes.factors.shape == (6, 2)  # all there are, each once
