"""One table of all methods: what each must do whatever its equation says."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from method_table import FALLS, LATENTS, SOURCE, compiled, draw, has_likelihood, loss_of, make, own

from jaxvae.method import Nets
from jaxvae.methods import METHODS, gaussian, laplace
from jaxvae.training import make_train_step
from jaxvae.training.checkpoints import Checkpoints, restore


def some(*names):
    """Methods that stand for all; those of the others are slow cases."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


EACH = [
    pytest.param(name, marks=[pytest.mark.process] * (name in ("alae", "equivariant-rendering", "icam", "va-gan")))
    for name in METHODS
]
"""All methods; those whose updates take seconds to compile are cases of the second layer."""


@cache
def sixty_batches():
    return [draw(jax.random.key(i)) for i in range(60)]


@pytest.mark.parametrize("name", EACH)
def test_loss_is_finite_and_falls_on_real_batches(name):
    assert_it_falls(name, jnp.float32)


@pytest.mark.parametrize("name", some("beta-tc-vae", "vae-sne"))
def test_loss_falls_in_half_precision(name):
    assert_it_falls(name, jnp.bfloat16)


def assert_it_falls(name, dtype):
    init, step = compiled(name, dtype)
    losses = []
    state = init(jax.random.key(0))
    for batch in sixty_batches():
        state, terms = step(state, batch)
        assert all(np.isfinite(value) for value in terms.values())
        losses.append(float(terms[FALLS.get(name, "loss")]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_what_is_trained():
    """Nothing that a method has is left as it was drawn."""
    for name in METHODS:
        method = make(name)
        assert {network for objective in method.objectives for network in objective.trains} == set(method.networks)
    assert set(make("oi-vae", noise="learned").objectives[0].trains) == {"encoder", "decoder", "loadings", "scales"}
    assert set(make("ivae").objectives[0].trains) == {"encoder", "decoder", "prior"}
    assert set(make("vae-sne").objectives[0].trains) == {"encoder", "decoder", "prior"}


@pytest.mark.parametrize("name", EACH)
def test_each_objective_changes_exactly_what_it_trains(name, batch):
    method = make(name)

    def one_update_each(key, batch):
        if len(method.objectives) == 1:
            init, update = compiled(name)
            return [((before := init(key)).params, update(before, batch)[0].params)]
        return jax.jit(each_alone)(key, batch)

    def each_alone(key, batch):
        found = []
        for objective in method.objectives:
            init, update = make_train_step(method._replace(objectives=(objective,)), dataset_size=SOURCE.size)
            before = init(key)
            found.append((before.params, update(before, batch)[0].params))
        return found

    for objective, states in zip(method.objectives, one_update_each(jax.random.key(0), batch), strict=True):
        for network in method.networks:
            pairs = zip(*(jax.tree.leaves(params[network]) for params in states), strict=True)
            changed = [not np.array_equal(a, b) for a, b in pairs]
            assert any(changed) == (network in objective.trains)


@pytest.mark.parametrize("name", EACH)
def test_two_parts_of_a_batch_are_the_whole(name, batch):
    """Value and gradient of every objective; a forgotten axis_name shows, whatever devices the parts are on."""
    update = make_train_step(make(name), dataset_size=SOURCE.size)[1]
    parts = jax.tree.map(lambda leaf: np.reshape(leaf, (2, -1, *leaf.shape[1:])), batch)
    together = jax.vmap(partial(update, axis_name="data"), (None, 0), axis_name="data")

    def of_a_part(state):
        after, terms = jax.jit(together)(state, parts)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[1], (after._replace(key=None), terms))

    assert_same_update(name, batch, of_a_part)


@pytest.mark.slow
@pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("name", METHODS)
def test_an_update_over_eight_devices_is_that_on_one(name, batch, checked):
    update = make_train_step(make(name), dataset_size=SOURCE.size)[1]
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(
        partial(update, axis_name="data"),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=checked,
    )
    assert_same_update(name, batch, lambda state: jax.jit(sharded)(state, batch))


def assert_same_update(name, batch, split_update):
    """Terms and gradients of one update, against those of the whole batch on one device."""
    init, whole = compiled(name)
    state = init(jax.random.key(0))
    (one, terms), (many, many_terms) = whole(state, batch), split_update(state)
    one, many = jax.device_get((one.opt_state, many.opt_state))
    for term in terms:
        np.testing.assert_allclose(many_terms[term], terms[term], rtol=1e-5, atol=1e-5)
    # Adam's first step is lr * sign(gradient) where the gradient is not tiny: compare its moments, which are linear.
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("name", some("factor-vae", "vae-sne"))
def test_vmapped_over_seeds_is_the_loop(name, batch):
    init, update = compiled(name)
    states = [init(jax.random.key(seed)) for seed in range(3)]

    def of_all(states, batch):
        return jax.vmap(update, (0, None))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), batch)

    together, terms = jax.jit(of_all)(states, batch)
    together, terms = jax.tree.map(np.asarray, (together._replace(key=None), terms))
    for i, state in enumerate(states):
        alone, alone_terms = update(state, batch)
        for name in terms:
            np.testing.assert_allclose(terms[name][i], alone_terms[name], rtol=1e-5, atol=1e-5)
        for a, b in zip(jax.tree.leaves(alone.opt_state), jax.tree.leaves(together.opt_state), strict=True):
            np.testing.assert_allclose(b[i], a, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("name", some("vae", "factor-vae", "alae", "control-vae"))
def test_checkpoint_round_trip(name, batch, tmp_path):
    init, update = compiled(name)
    state, terms = update(init(jax.random.key(0)), batch)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, float(terms["loss"]))
    restored = restore(tmp_path, 1, jax.eval_shape(init, jax.random.key(0)))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(restored.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [(name, gaussian(0.3)) for name in METHODS if has_likelihood(name)] + [("vae", laplace(0.2))],
)
def test_any_likelihood(name, likelihood, params, batch):
    """The loss reads it, and images are its means."""
    params = own(make(name), params)

    @jax.jit
    def values_and_images(params, batch):
        found = []
        for method in (make(name, likelihood=likelihood), make(name)):
            value, _ = loss_of(method, params, batch, jax.random.key(0))
            found.append((value, method.decode(Nets(method.networks, params), jnp.ones((1, LATENTS)))))
        return found

    (value, raw), (other, probability) = values_and_images(params, batch)
    assert np.isfinite(value)
    # Losses of a mean over the 256 pixels of an image are that much smaller.
    assert abs(value - other) > (1 / 256 if name in ("qlae", "factor-qvae", "tripod") else 1)
    np.testing.assert_allclose(probability, jax.nn.sigmoid(raw), rtol=1e-5)


@pytest.mark.parametrize(("name", "spread"), [("ivae", None), ("vae-sne", 5.0), ("decomposition-vae", 1.0)])
def test_priors_of_ones_own_are_sampled(name, spread, params, batch):
    method = make(name)

    @jax.jit
    def drawn(params, batch):
        net, many = Nets(method.networks, params), jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 40), batch)
        scale = jnp.exp(0.5 * net.prior(many["aux"]).logvar) if spread is None else jnp.float32(1)
        return method.sample_prior(net, jax.random.key(0), many), scale

    codes, scale = drawn(own(method, params), batch)
    assert codes.shape == (1280, LATENTS)
    if spread is None:
        np.testing.assert_allclose((codes / scale).std(0), 1, atol=0.1)
    else:
        np.testing.assert_allclose(codes.std(0).mean(), spread, rtol=0.25)


def test_a_missing_network_is_named():
    entry = METHODS["factor-vae"]
    with pytest.raises(ValueError, match="factor-vae needs the networks \\['discriminator'\\]"):
        entry.build(make("vae").networks)
