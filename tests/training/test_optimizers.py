"""Optimizers are Optax's own: functions of the learning rate, or built ones; schedules; averages of the parameters."""

from functools import partial
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxvae.method import Method, Network, Objective
from jaxvae.methods import METHODS
from jaxvae.training import make_train_step, train, train_population
from jaxvae.training.optimizers import (
    OptimizerName,
    ScheduleName,
    evaluation_params,
    make_optimizer,
    make_schedule,
    with_average,
    with_optimizer,
)
from tests.faults.tiny import SOURCE, same_bits, tiny

BATCH = {"x": np.zeros(2, np.float32)}
START = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)


class HP(NamedTuple):
    learning_rate: float = 0.1


def quadratic(optimizer, schedule=None, rate=0.1):
    """w of two axes and b of one, both drawn to 0 by their squares."""
    network = Network(lambda key: {"w": jnp.asarray(START), "b": jnp.ones(3)}, lambda params: params)

    def loss(net, batch, ctx):
        params = net.a()
        return (params["w"] ** 2).sum() + (params["b"] ** 2).sum(), {}

    objective = Objective(loss, ("a",), optimizer, schedule=schedule)
    return Method("quadratic", {"a": network}, HP(rate), (objective,), needs=("x",))


def losses(method, steps=20, hyperparameters=None):
    """Before every step, and the state at the end."""
    init, update = make_train_step(method, dataset_size=2)

    @jax.jit
    def run(hyperparameters):
        state = init(jax.random.key(0), hyperparameters)
        state, terms = jax.lax.scan(lambda state, _: update(state, BATCH), state, None, steps)
        return terms["loss"], state

    return run(method.hyperparameters if hyperparameters is None else hyperparameters)


NAMES = """adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars lbfgs lion
nadam nadamw noisy_sgd novograd optimistic_gradient_descent polyak_sgd radam rmsprop rprop sgd sign_sgd sm3 yogi"""
ALIASES = {name: getattr(optax, name) for name in NAMES.split()}


def of_matrices(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


CHAINS = {
    "decay, not of biases": partial(
        optax.adamw, weight_decay=0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
    ),
    "clipped": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
    "with a schedule of its own": lambda rate: optax.chain(
        optax.adam(rate), optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, 30))
    ),
    "muon": contrib.muon,
    "schedule-free": contrib.schedule_free_adamw,
    "by Optax's injection": lambda rate: optax.inject_hyperparams(optax.adam)(learning_rate=rate),
}


@pytest.mark.parametrize("name", [*ALIASES, *CHAINS])
def test_every_optimizer_of_optax_goes_down(name):
    found, _ = losses(quadratic((ALIASES | CHAINS)[name]))
    assert np.isfinite(found).all()
    assert found[-1] < found[0]


@pytest.mark.parametrize("built", [optax.adam(0.1), optax.chain(optax.clip(1.0), optax.sgd(0.1)), optax.adamw(0.1)])
def test_a_transformation_that_is_built_is_used_with_its_own_rate(built):
    found, state = losses(quadratic(built, rate=1e9))
    assert found[-1] < 0.5 * found[0]
    params = {"w": jnp.asarray(START), "b": jnp.ones(3)}
    memory = built.init(params)
    for _ in range(20):
        updates, memory = built.update(jax.tree.map(lambda leaf: 2 * leaf, params), memory, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(state.params["a"]["w"], params["w"], rtol=1e-5)


@pytest.mark.parametrize("climbing", [optax.scale_by_adam(), optax.identity(), optax.chain(optax.scale_by_rms())])
def test_one_that_would_climb_is_refused(climbing):
    with pytest.raises(
        ValueError, match=r"quadratic: .* climbs its loss. .* such as optax.adam \(without parentheses\)"
    ):
        make_train_step(quadratic(climbing), dataset_size=2)


def test_a_swept_rate_compiles_once_and_is_the_loop():
    rates = np.array([0.01, 0.1, 0.3], np.float32)
    method = quadratic(lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate)))
    built = []
    init, update = make_train_step(method, dataset_size=2)

    def one(rate):
        built.append(rate)
        state = init(jax.random.key(0), HP(rate))
        return jax.lax.scan(lambda state, _: update(state, BATCH), state, None, 5)[0].params["a"]["w"]

    swept = jax.jit(jax.vmap(one))(rates)
    assert len(built) == 1
    for rate, found in zip(rates, swept, strict=True):
        np.testing.assert_allclose(found, losses(method, 5, HP(rate))[1].params["a"]["w"], rtol=1e-5)


@pytest.mark.parametrize("schedule", [s for s in get_args(ScheduleName) if s != "constant"])
def test_schedules_are_optaxs(schedule):
    theirs = {
        "cosine": optax.cosine_decay_schedule(1.0, 100),
        "linear": optax.linear_schedule(1.0, 0.0, 100),
        "exponential": optax.exponential_decay(1.0, 100, 0.01),
    }[schedule]
    ours, steps = make_schedule(schedule, 100), np.arange(0, 101, 10)
    np.testing.assert_allclose(jax.vmap(ours)(steps), jax.vmap(theirs)(steps), rtol=1e-5, atol=1e-6)
    warm = make_schedule(schedule, 100, warmup_steps=20)
    assert warm(0) == pytest.approx(0.05)
    assert warm(19) == pytest.approx(1)
    assert warm(20) == pytest.approx(1)
    assert warm(60) == pytest.approx(float(theirs(50)), abs=1e-6)


def test_a_schedule_multiplies_the_rate():
    halved = losses(quadratic(optax.sgd, schedule=lambda step: jnp.float32(0.5)))[0]
    np.testing.assert_allclose(halved, losses(quadratic(optax.sgd, rate=0.05))[0], rtol=1e-6)
    first_only = losses(quadratic(optax.sgd, schedule=lambda step: 1.0 * (step == 0)))[0]
    assert first_only[1] < first_only[0]
    np.testing.assert_array_equal(first_only[1:], first_only[1])
    assert make_schedule("constant", 10) is None


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_optimizers_by_name_go_down_and_biases_do_not_decay(name):
    found, state = losses(quadratic(make_optimizer(name)))
    assert found[-1] < found[0]
    assert jax.tree.structure(evaluation_params(state)) == jax.tree.structure(state.params)
    if name not in ("adamw", "lion", "muon", "schedule-free"):
        with pytest.raises(ValueError, match=f"{name} has no weight decay; adamw, lion, muon, schedule-free have"):
            make_optimizer(name, weight_decay=0.1)
        return
    optimizer = make_optimizer(name, weight_decay=0.5)(0.1)
    params = {"w": jnp.asarray(START), "b": jnp.ones(3)}
    zero = jax.tree.map(jnp.zeros_like, params)
    memory = optimizer.init(params)
    for _ in range(2):
        updates, memory = optimizer.update(zero, memory, params)
        params = optax.apply_updates(params, updates)
    assert (np.abs(params["w"]) < np.abs(START)).all()
    np.testing.assert_allclose(params["b"], 1.0, rtol=1e-6)


def test_biases_of_networks_side_by_side_do_not_decay():
    """They are matrices, with a row for each network."""
    params = {
        "Dense_0": {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones((2, 4))},
        "LayerNorm_0": {"scale": jnp.ones((2, 4))},
    }
    for name in ("adamw", "schedule-free"):
        optimizer = make_optimizer(name, weight_decay=0.5)(0.1)
        updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
        assert float(jnp.abs(updates["Dense_0"]["kernel"]).min()) > 0
        assert not updates["Dense_0"]["bias"].any()
        assert not updates["LayerNorm_0"]["scale"].any()


def test_clipping_bounds_the_step():
    momentum = partial(optax.sgd, momentum=0.0)
    _, state = losses(with_optimizer(quadratic(momentum), clip_norm=0.5), steps=1)
    moved = np.concatenate([np.ravel(state.params["a"]["w"] - START), state.params["a"]["b"] - 1])
    np.testing.assert_allclose(np.linalg.norm(moved), 0.1 * 0.5, rtol=1e-5)


def test_clipping_bounds_every_entry():
    momentum = partial(optax.sgd, momentum=0.0)
    _, plain = losses(quadratic(momentum), steps=1)
    _, state = losses(with_optimizer(quadratic(momentum), clip_value=0.5), steps=1)
    for name, start in {"b": np.ones(3), "w": START}.items():
        free, clipped = (found.params["a"][name] - start for found in (plain, state))
        np.testing.assert_allclose(clipped, np.clip(free, -0.05, 0.05), rtol=1e-5, atol=1e-7)
    # Before the norm is taken, so that one large entry does not scale the others down.
    _, both = losses(with_optimizer(quadratic(momentum), clip_value=0.5, clip_norm=10.0), steps=1)
    np.testing.assert_array_equal(both.params["a"]["w"], state.params["a"]["w"])


def test_averages_follow_the_parameters_and_leave_training_alone():
    plain, averaged = quadratic(optax.sgd), quadratic(with_average(optax.sgd, 0.9))
    (expected, _), (found, state) = losses(plain, 50), losses(averaged, 50)
    np.testing.assert_array_equal(found, expected)
    params, average = START.astype(np.float64), START.astype(np.float64)
    for step in range(50):
        params = 0.8 * params
        kept = min(0.9, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * params
    np.testing.assert_allclose(evaluation_params(state)["a"]["w"], average, rtol=1e-4)
    np.testing.assert_allclose(state.params["a"]["w"], params, rtol=1e-4)


def test_schedule_free_parameters_are_those_of_optax():
    _, state = losses(quadratic(make_optimizer("schedule-free")))
    (memory,) = (memories["a"] for memories in state.opt_state)
    want = contrib.schedule_free_eval_params(memory, state.params["a"])
    np.testing.assert_array_equal(evaluation_params(state)["a"]["w"], want["w"])
    assert np.abs(want["w"] - state.params["a"]["w"]).max() > 1e-4


def test_methods_keep_their_plain_descent():
    """ALAE's running averages and OI-VAE's proximal step are no matter of taste."""
    from tests.methods.method_table import make

    alae = with_optimizer(make("alae"), optax.lion, schedule=lambda step: 0.5)
    expected = [optax.lion, optax.lion, optax.lion, optax.sgd]
    for objective, optimizer in zip(alae.objectives, expected, strict=True):
        assert {objective.optimizer_of(name) for name in objective.trains} == {optimizer}
        assert (objective.schedule is None) == (optimizer is optax.sgd)
    clipped = with_optimizer(make("alae"), clip_norm=1.0).objectives
    assert clipped[0].optimizer_of("encoder") is clipped[2].optimizer_of("encoder")  # they share its moments
    (oi_vae,) = with_optimizer(make("oi-vae"), optax.lion).objectives
    assert {name: oi_vae.optimizer_of(name) is optax.sgd for name in oi_vae.trains} == {
        "encoder": False,
        "decoder": False,
        "loadings": True,
    }
    for name in METHODS:
        changed = with_optimizer(make(name), optax.lion).objectives
        assert any(one.optimizer_of(network) is optax.lion for one in changed for network in one.trains), name


@pytest.mark.process
def test_runs_resume_to_the_same_bits_and_members_are_runs(tmp_path):
    schedule = make_schedule("cosine", 8, warmup_steps=2)
    method = with_optimizer(tiny(), make_optimizer("adamw"), schedule=schedule, clip_norm=1.0, ema=0.99)
    settings = {"batch_size": 2, "log_every": 4, "checkpoint_every": 4}
    whole = train(method, SOURCE, steps=8, folder=tmp_path / "whole", **settings)
    train(method, SOURCE, steps=4, folder=tmp_path / "parts", **settings)
    same_bits(train(method, SOURCE, steps=8, folder=tmp_path / "parts", **settings), whole)
    *_, (_, states, _) = train_population(method, SOURCE, seeds=[1, 0], steps=8, batch_size=2)
    member = jax.tree.map(lambda leaf: leaf[1], (states.params, evaluation_params(states)))
    alone = whole.params, evaluation_params(whole)
    for a, b in zip(jax.tree.leaves(member), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_optimizer("adm"), "unknown optimizer 'adm': did you mean 'adam'"),
        (lambda: make_optimizer("adamw", weight_decay=-1.0), "weight decay must be a number >= 0, got -1.0"),
        (lambda: with_optimizer(tiny(), clip_norm=0.0), "clipped to must be a positive number, got 0.0"),
        (lambda: with_optimizer(tiny(), clip_value=-1.0), "clipped to must be a positive number, got -1.0"),
        (lambda: make_schedule("cos", 10), "unknown schedule 'cos': did you mean 'cosine'"),
        (lambda: make_schedule("cosine", 10, warmup_steps=10), "fewer than 10 steps, got 10"),
        (lambda: with_average(optax.adam, 1.0), r"must be in \[0, 1\), got 1.0"),
    ],
)
def test_what_can_not_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()
