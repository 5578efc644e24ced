"""A population is its members, trained together."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import choose_devices, make_train_step, population, train, train_population
from jaxvae.training.devices import Devices, DoesNotFit
from tests.methods.tiny_networks import tiny_autoencoder

SOURCE = Sprites(16)


def method(**hp):
    return beta_vae(tiny_autoencoder(SOURCE.event_shape, 3), hyperparameters=BetaVAE(**hp))


TOGETHER = pytest.param((1, 2), marks=pytest.mark.slow)
"""Neither the loop over members nor the two axes: a slow case where both are tried."""


@pytest.fixture(
    params=[pytest.param((1, 1), marks=pytest.mark.process), TOGETHER, (2, 2)], ids=["in turn", "together", "two-level"]
)
def devices(request):
    data, population = request.param
    return choose_devices(data, population=population)


@functools.cache
def alone(seed, steps, batch_size, **hp):
    """The rows and the state of one run."""
    rows = []
    settings = {"steps": steps, "batch_size": batch_size, "seed": seed, "log_every": 2}
    return rows, train(method(**hp), SOURCE, writers=[lambda step, row: rows.append(row)], **settings)


@pytest.mark.parametrize(
    "layout",
    [pytest.param((1, 1), marks=pytest.mark.process), (1, 3), pytest.param((2, 3), marks=pytest.mark.process)],
    ids=["in turn", "together", "two-level"],
)
def test_each_member_is_trained_as_if_alone(layout):
    results = list(
        train_population(
            method(learning_rate=1e-3),
            SOURCE,
            seeds=[3, 4, 3],
            steps=5,
            batch_size=8,
            log_every=2,
            sweep={"beta": [1.0, 2.0, 4.0]},
            devices=choose_devices(layout[0], population=layout[1]),
        )
    )
    assert [step for step, _, _ in results] == [2, 4, 5]
    for member, (seed, beta) in enumerate([(3, 1.0), (4, 2.0), (3, 4.0)]):
        rows, state = alone(seed, 5, 8, learning_rate=1e-3, beta=beta)
        for row, (_, _, terms) in zip(rows, results, strict=True):
            for name, mean in terms.items():
                np.testing.assert_allclose(mean[member], row[name], rtol=1e-4)
        for together, leaf in zip(*map(jax.tree.leaves, (results[-1][1].opt_state, state.opt_state)), strict=True):
            one = np.asarray(together)[member]
            np.testing.assert_allclose(one, leaf, rtol=1e-2, atol=1e-3 * max(1e-3, np.abs(leaf).max()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "needs seeds and steps"),
        ({"steps": 0}, "needs seeds and steps"),
        ({"sweep": {"gamma": [1.0]}}, "no hyperparameter 'gamma'; there are learning_rate, beta, warmup"),
        ({"sweep": {"beta": [1.0, 2.0]}}, "one value per seed: 1, got 2"),
        ({"seeds": [0, 1, 2], "devices": choose_devices(population=2)}, "3 members can't be split over 2"),
    ],
)
def test_what_can_not_be(settings, message):
    with pytest.raises(ValueError, match=message):
        next(train_population(method(), SOURCE, **{"seeds": [0], "steps": 1, "batch_size": 4, **settings}))


def test_a_member_that_diverges_is_frozen_and_the_others_go_on(devices):
    settings = {"seeds": [0, 1], "steps": 6, "batch_size": 4, "log_every": 3, "devices": devices}
    sweep = {"learning_rate": [1e30, 1e-3]}
    results = list(train_population(method(), SOURCE, sweep=sweep, **settings))
    for _, _, terms in results:
        assert all(np.isnan(mean[0]) and np.isfinite(mean[1]) for mean in terms.values())
    states = results[-1][1]
    assert states.step.tolist() == [1, 6]
    _, expected = alone(1, 6, 4, learning_rate=1e-3)
    for a, b in zip(jax.tree.leaves(states.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(np.asarray(a)[1], b, rtol=1e-3, atol=1e-4)


@pytest.mark.process
def test_going_on_from_states_is_never_having_stopped(devices):
    settings = {"seeds": [0, 1], "batch_size": 4, "devices": devices}
    *_, (_, whole, _) = train_population(method(), SOURCE, steps=5, **settings)
    *_, (_, states, _) = train_population(method(), SOURCE, steps=2, **settings)
    (step, resumed, _), *_ = train_population(method(), SOURCE, steps=5, states=states, **settings)
    assert step == 5
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_with_convolutions_take_turns_on_tpus(monkeypatch):
    """In a loop of the program: here on CPUs that pass for TPUs, with a network that passes for one of convolutions."""
    settings = {"seeds": range(4), "steps": 3, "batch_size": 4, "sweep": {"beta": [1.0, 2.0, 4.0, 8.0]}}
    *_, (_, together, terms) = train_population(method(), SOURCE, devices=choose_devices(population=2), **settings)
    turns, in_turn = [], population._in_turn
    monkeypatch.setattr(population, "_in_turn", lambda step: turns.append(step) or in_turn(step))
    monkeypatch.setattr(Devices, "platform", "tpu")
    for convolutions in (False, True):
        monkeypatch.setattr(population, "_has_convolutions", lambda states, found=convolutions: found)
        *_, (_, states, means) = train_population(method(), SOURCE, devices=choose_devices(population=2), **settings)
        assert bool(turns) is convolutions
        for a, b in zip(
            jax.tree.leaves((together.params, terms)), jax.tree.leaves((states.params, means)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "expected"), [("conv", True), ("mlp-small", False)])
def test_networks_of_convolutions_are_known_by_their_kernels(network, expected):
    shape = (64, 64, 1) if expected else SOURCE.event_shape
    init, _ = make_train_step(beta_vae(autoencoder(network, shape, 3)), dataset_size=9)
    states = jax.eval_shape(lambda seeds: jax.vmap(lambda seed: init(jax.random.key(seed)))(seeds), jnp.zeros(2, int))
    assert population._has_convolutions(states) is expected


WAVES = {"seeds": range(6), "steps": 3, "batch_size": 4, "log_every": 2}


@functools.cache
def all_at_once():
    """Six members that fit together, and the memory that a pair of them needs."""
    devices = choose_devices(population=2)
    *_, (_, whole, terms) = train_population(method(), SOURCE, devices=devices, **WAVES)
    with pytest.raises(DoesNotFit) as one_each:
        next(train_population(method(), SOURCE, devices=replace(devices, memory=0), **WAVES))
    return whole, terms, one_each.value.needs


@pytest.mark.process
@pytest.mark.parametrize(("pairs", "wave"), [pytest.param(10.0, 6, marks=pytest.mark.slow), (2.6, 4), (1.1, 2)])
def test_members_that_do_not_fit_together_take_turns_in_waves(pairs, wave, monkeypatch):
    sizes = []

    def compile_steps(method, step, feed, state, *arguments, **flags):
        sizes.append(len(state.step))
        return original(method, step, feed, state, *arguments, **flags)

    whole, terms, needs = all_at_once()
    original = population.compile_steps
    monkeypatch.setattr(population, "compile_steps", compile_steps)
    little = replace(choose_devices(population=2), memory=int(pairs * needs))
    *_, (_, waves, terms_of_waves) = train_population(method(), SOURCE, devices=little, **WAVES)
    assert sizes[-1] == wave
    for a, b in zip(
        jax.tree.leaves((whole.params, terms)), jax.tree.leaves((waves.params, terms_of_waves)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_too_little_memory_for_one_member_is_told():
    little = replace(choose_devices(), memory=1000)
    with pytest.raises(ValueError, match=r"needs \d+ MB of each device's memory.*0 are free: take smaller batches"):
        next(train_population(method(), SOURCE, seeds=[0], steps=1, batch_size=4, devices=little))
    with pytest.raises(ValueError, match="are free: take smaller batches"):
        train(method(), SOURCE, steps=1, batch_size=4, devices=little)
