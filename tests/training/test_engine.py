"""The engine on a method small enough to work out by hand."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxvae.method import Method, Network, Objective
from jaxvae.training import make_train_step
from jaxvae.training.engine import active_at, step_key


class HP(NamedTuple):
    learning_rate: float = 0.5
    other_rate: float = 0.25


def scalar_network(start):
    return Network(init=lambda key: {"w": jnp.float32(start)}, apply=lambda params, x: params["w"] * x)


def toy(trains=(("a",), ("b",)), rates=("learning_rate", "other_rate")):
    """a minimises mean((a x - 1)^2), b minimises mean((b a x)^2), by plain gradient descent."""

    def fit(net, batch, ctx):
        error = net.a(batch["x"]) - 1.0
        return (error**2).mean(), {"error": error.mean()}

    def shrink(net, batch, ctx):
        value = (net.b(net.a(batch["x"])) ** 2).mean()
        return value, {"size": value}

    objectives = tuple(
        Objective(loss, names, optax.sgd, rate) for loss, names, rate in zip((fit, shrink), trains, rates, strict=True)
    )
    networks = {"a": scalar_network(2.0), "b": scalar_network(3.0)}
    return Method("toy", networks, HP(), objectives, needs=("x",))


X = jnp.array([1.0, 2.0, 0.0, 3.0])
BATCH = {"x": X}


def test_each_objective_moves_only_what_it_trains_from_the_incoming_parameters():
    init, update = make_train_step(toy(), dataset_size=4)
    state, terms = update(init(jax.random.key(0)), BATCH)
    x = np.asarray(X, np.float64)
    grad_a = (2 * (2 * x - 1) * x).mean()
    grad_b = (2 * 3 * (2 * x) ** 2).mean()  # a = 2, as it was before the update
    np.testing.assert_allclose(state.params["a"]["w"], 2 - 0.5 * grad_a, rtol=1e-6)
    np.testing.assert_allclose(state.params["b"]["w"], 3 - 0.25 * grad_b, rtol=1e-6)
    assert set(terms) == {"loss", "error", "b_loss", "size"}
    np.testing.assert_allclose(terms["loss"], ((2 * x - 1) ** 2).mean(), rtol=1e-6)
    assert int(state.step) == 1


def test_a_network_trained_by_two_objectives_gets_both_updates():
    init, update = make_train_step(toy(trains=(("a",), ("a", "b"))), dataset_size=4)
    state, _ = update(init(jax.random.key(0)), BATCH)
    x = np.asarray(X, np.float64)
    first = 0.5 * (2 * (2 * x - 1) * x).mean()
    second = 0.25 * (2 * 9 * 2 * x**2).mean()
    np.testing.assert_allclose(state.params["a"]["w"], 2 - first - second, rtol=1e-6)


def test_a_rate_for_each_network_and_a_projection():
    """Both minimise mean((b a x)^2), by steps of their own; then a is kept at 1.04 at the least."""

    def shrink(net, batch, ctx):
        return (net.b(net.a(batch["x"])) ** 2).mean(), {}

    def project(params, hp):
        return {**params, "a": {"w": jnp.maximum(params["a"]["w"], 2 * hp.other_rate + 1)}}

    networks = {"a": scalar_network(2.0), "b": scalar_network(3.0)}

    def compiled(project, rates):
        objective = Objective(shrink, ("a", "b"), optax.sgd, rates, project)
        method = Method("toy", networks, HP(0.01, 0.02), (objective,), needs=("x",))
        init, update = make_train_step(method, dataset_size=4)
        return update(init(jax.random.key(0)), BATCH)[0].params

    def nothing(params, hp):
        return params

    rates = {"a": "learning_rate", "b": "other_rate"}
    free, kept = compiled(nothing, rates), compiled(project, rates)
    square = float((X**2).mean())
    np.testing.assert_allclose(free["a"]["w"], 2 - 0.01 * 2 * 2 * 9 * square, rtol=1e-5)
    np.testing.assert_allclose(free["b"]["w"], 3 - 0.02 * 2 * 3 * 4 * square, rtol=1e-5)
    assert free["a"]["w"] < 1.04
    np.testing.assert_allclose(kept["a"]["w"], 1.04, rtol=1e-5)
    np.testing.assert_array_equal(kept["b"]["w"], free["b"]["w"])
    with pytest.raises(ValueError, match=r"trains \['b'\] but gives them no learning rate"):
        compiled(nothing, {"a": "learning_rate"})
    with pytest.raises(ValueError, match="project must give"):
        compiled(lambda params, hp: {"a": params["a"]}, rates)


def test_an_optimizer_shared_by_objectives_remembers_for_both():
    """Both train a with the square root of the mean of squared gradients; shared, that is of both gradients."""
    x = np.asarray(X, np.float64)
    fit, shrink = (2 * (2 * x - 1) * x).mean(), (2 * 9 * 2 * x**2).mean()
    rms = lambda *gradients: np.sqrt(sum(0.5 ** (len(gradients) - i) * g**2 for i, g in enumerate(gradients)))  # noqa: E731
    moved = {}
    for shared in (True, False):
        first, second = toy(trains=(("a",), ("a",))).objectives
        memory = partial(optax.rmsprop, decay=0.5, eps=0, eps_in_sqrt=False)
        other = memory if shared else partial(memory)
        method = toy()._replace(objectives=(first._replace(optimizer=memory), second._replace(optimizer=other)))
        init, update = make_train_step(method, dataset_size=4)
        state = init(jax.random.key(0))
        assert len(state.opt_state) == (1 if shared else 2)
        state, _ = update(state, BATCH)
        assert len(state.opt_state) == (1 if shared else 2)
        moved[shared] = 2 - float(state.params["a"]["w"])
    np.testing.assert_allclose(moved[False], 0.5 * fit / rms(fit) + 0.25 * shrink / rms(shrink), rtol=1e-6)
    np.testing.assert_allclose(moved[True], 0.5 * fit / rms(fit) + 0.25 * shrink / rms(fit, shrink), rtol=1e-6)


def test_in_turn_an_objective_sees_what_those_before_it_did():
    init, update = make_train_step(toy()._replace(sequential=True), dataset_size=4)
    state, terms = update(init(jax.random.key(0)), BATCH)
    x = np.asarray(X, np.float64)
    a = 2 - 0.5 * (2 * (2 * x - 1) * x).mean()
    np.testing.assert_allclose(state.params["a"]["w"], a, rtol=1e-6)
    np.testing.assert_allclose(state.params["b"]["w"], 3 - 0.25 * (2 * 3 * (a * x) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["size"], ((3 * a * x) ** 2).mean(), rtol=1e-5)


def sometimes(active=lambda step: step % 3 == 1):
    """b changes in every third update."""
    first, second = toy(rates=("other_rate", "other_rate")).objectives
    return toy()._replace(hyperparameters=HP(0, 0.01), objectives=(first, second._replace(active=active)))


def test_an_objective_that_is_not_due_changes_nothing_and_tells_its_terms():
    init, update = make_train_step(sometimes(), dataset_size=4)
    state = init(jax.random.key(0))
    for step in range(5):
        active = active_at(sometimes(), step)
        assert active == (True, step % 3 == 1)
        before = state.params["b"]["w"]
        state, terms = jax.jit(update)(state, BATCH)
        assert (state.params["b"]["w"] != before) == active[1]
        alike, same = update(state._replace(step=jnp.int32(step)), BATCH, active=active)
        traced, _ = update(state._replace(step=jnp.int32(step)), BATCH)
        for one, other in zip(jax.tree.leaves(alike.params), jax.tree.leaves(traced.params), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
        assert set(terms) == set(same) == {"loss", "error", "b_loss", "size"}
        assert terms["size"] > 0


def test_a_method_with_a_schedule_is_sharded():
    assert_sharded_is_single(sometimes(), 2, "shard_map", steps=3)
    assert_sharded_is_single(sometimes(), 2, "pmap", steps=3)


def test_hyperparameters_are_traced_and_swept_by_vmap():
    init, update = make_train_step(toy(), dataset_size=4)
    rates = jnp.array([0.0, 0.1, 0.2])
    compilations = []

    def one(rate):
        compilations.append(1)
        return update(init(jax.random.key(0), HP(rate, 0.0)), BATCH)[0].params["a"]["w"]

    swept = jax.jit(jax.vmap(one))(rates)
    assert len(compilations) == 1
    np.testing.assert_allclose(swept, [one(rate) for rate in rates], rtol=1e-6)
    np.testing.assert_allclose(swept[0], 2.0)


@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("backend", ["vmap", "pmap", "shard_map", "shard_map unchecked"])
def test_sharded_update_is_the_single_device_update(devices, backend):
    assert_sharded_is_single(toy(), devices, backend)


def assert_sharded_is_single(method, devices, backend, steps=1):
    """In the last of some updates."""
    init, update = make_train_step(method, dataset_size=4)
    state = init(jax.random.key(0))
    for _ in range(steps - 1):
        state, _ = update(state, BATCH)
    expected, expected_terms = update(state, BATCH)
    sharded = partial(update, axis_name="data")
    if backend in ("vmap", "pmap"):
        batch = {"x": X.reshape(devices, -1)}
        if backend == "vmap":
            out = jax.vmap(sharded, in_axes=(None, 0), out_axes=None, axis_name="data")(state, batch)
        else:
            out = jax.pmap(sharded, axis_name="data", in_axes=(None, 0), out_axes=None)(state, batch)
    else:
        mesh = Mesh(np.array(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
        mapped = jax.shard_map(
            sharded,
            mesh=mesh,
            in_specs=(P(), P("data")),
            out_specs=P(),
            check_vma=backend == "shard_map",
        )
        out = jax.jit(mapped)(state, BATCH)
    for got, want in zip(jax.tree.leaves(out[0].params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    for name, want in expected_terms.items():
        np.testing.assert_allclose(out[1][name], want, rtol=1e-6)


def test_randomness_is_keyed_by_step_and_stream():
    init, update = make_train_step(toy(), dataset_size=4)
    state = init(jax.random.key(0))
    later, _ = update(state, BATCH)
    keys = [step_key(state, 0), step_key(state, 1), step_key(later, 0), step_key(later, 1)]
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in keys}) == 4


def test_a_loss_knows_its_own_key_and_the_size_of_the_data():
    def report(name):
        def loss(net, batch, ctx):
            draw, size = jax.random.uniform(ctx.key), jnp.float32(ctx.dataset_size)
            return net.a(jnp.float32(1)), {f"draw_{name}": draw, f"size_{name}": size}

        return loss

    method = toy()._replace(objectives=tuple(Objective(report(name), ("a",)) for name in (1, 2)))
    init, update = make_train_step(method, dataset_size=1234)
    state = init(jax.random.key(0))
    _, terms = update(state, BATCH)
    for stream in (1, 2):
        assert terms[f"draw_{stream}"] == jax.random.uniform(step_key(state, stream))
        assert terms[f"size_{stream}"] == 1234


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (toy(trains=(("a",), ("c",))), r"\['c'\], not among \['a', 'b'\]"),
        (toy(rates=("learning_rate", "rate")), "no hyperparameter 'rate'"),
    ],
)
def test_impossible_methods_are_refused(method, message):
    with pytest.raises(ValueError, match=message):
        make_train_step(method, dataset_size=4)


def test_a_batch_without_what_the_method_needs_is_refused():
    init, update = make_train_step(toy(), dataset_size=4)
    with pytest.raises(ValueError, match=r"toy needs \['x'\].*gives \['y'\]"):
        update(init(jax.random.key(0)), {"y": X})


def test_an_unknown_network_names_those_there_are():
    broken = toy()._replace(objectives=(Objective(lambda net, batch, ctx: net.c(0), ("a",)),))
    init, update = make_train_step(broken, dataset_size=4)
    with pytest.raises(AttributeError, match=r"no network 'c'; this method has \['a', 'b'\]"):
        update(init(jax.random.key(0)), BATCH)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: x.mean(), "toy: a loss must return two things.*it returned a single array"),
        (lambda x: (x.mean(), {}, x), "toy: a loss must return two things.*it returned a tuple of 3"),
        (lambda x: (x.mean(), x), "toy: a loss must return two things.*it returned a tuple of 2"),
        (lambda x: (x, {}), r"toy: the loss must be one number.*has shape \(4,\): return its .mean"),
        (lambda x: (x.mean(), {"size": x}), r"toy: the term 'size' must be one number.*\(4,\)"),
    ],
)
def test_a_loss_of_another_form_is_refused(returned, message):
    method = toy()
    objective = method.objectives[0]._replace(loss=lambda net, batch, ctx: returned(net.a(batch["x"])))
    init, update = make_train_step(method._replace(objectives=(objective,)), dataset_size=4)
    with pytest.raises((TypeError, ValueError), match=message):
        update(init(jax.random.key(0)), BATCH)
