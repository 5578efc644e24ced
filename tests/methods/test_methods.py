"""One table of all methods: what each must do whatever its equation says."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxvae.data import Sprites
from jaxvae.losses import kl_decomposition, minibatch_log_qz, reparameterize
from jaxvae.method import Context, Nets
from jaxvae.methods import METHODS, BetaTCVAE, BetaVAE, beta_tc_vae, beta_vae, gaussian, laplace, vae
from jaxvae.networks import autoencoder
from jaxvae.training import compile_method
from jaxvae.training.checkpoints import Checkpoints

SOURCE = Sprites(16)


def make(name, dtype=jnp.float32, **settings):
    entry = METHODS[name]
    networks = autoencoder("mlp-small", SOURCE.image_shape, 4, dtype)
    return entry.build(networks, hyperparameters=entry.hyperparameters(learning_rate=1e-3), **settings)


def loss_of(method, params, batch, key, step=0):
    hp = jax.tree.map(jnp.float32, method.hyperparameters)
    ctx = Context(key, hp, jnp.int32(step), SOURCE.size)
    return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)


@pytest.fixture(scope="module")
def batch():
    return SOURCE.sample(jax.random.key(7), 32)


@pytest.fixture(scope="module")
def params():
    init, _ = compile_method(make("vae"), dataset_size=SOURCE.size)
    params = init(jax.random.key(0)).params
    # Away from the start, where posteriors are near the prior and many terms near 0.
    noise = lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    return jax.tree.map(noise, params)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", METHODS)
def test_loss_is_finite_and_falls_on_real_batches(name, dtype):
    method = make(name, dtype)
    init, update = compile_method(method, dataset_size=SOURCE.size)
    step = jax.jit(update)
    losses = []
    state = init(jax.random.key(0))
    for i in range(60):
        state, terms = step(state, SOURCE.sample(jax.random.key(i), 32))
        assert all(np.isfinite(value) for value in terms.values())
        losses.append(float(terms["loss"]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.parametrize("name", METHODS)
def test_each_objective_changes_exactly_what_it_trains(name, batch):
    method = make(name)
    for objective in method.objectives:
        init, update = compile_method(method._replace(objectives=(objective,)), dataset_size=SOURCE.size)
        before = init(jax.random.key(0))
        after, _ = update(before, batch)
        for network in method.networks:
            pairs = zip(*(jax.tree.leaves(s.params[network]) for s in (before, after)), strict=True)
            changed = [not np.array_equal(a, b) for a, b in pairs]
            assert any(changed) == (network in objective.trains)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_sharded_is_single(name, checked, batch):
    """One update over 8 devices is the update on one."""
    init, update = compile_method(make(name), dataset_size=SOURCE.size)
    mesh = Mesh(np.array(jax.devices()[:8]), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(
        partial(update, axis_name="data"),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
        check_vma=checked,
    )
    state = init(jax.random.key(0))
    (one, terms), (many, many_terms) = jax.jit(update)(state, batch), jax.jit(sharded)(state, batch)
    for name in terms:
        np.testing.assert_allclose(many_terms[name], terms[name], rtol=1e-5, atol=1e-5)
    # Adam's first step is lr * sign(gradient) where the gradient is not tiny: compare its moments, which are linear.
    for a, b in zip(jax.tree.leaves(one.opt_state), jax.tree.leaves(many.opt_state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * max(1.0, float(jnp.abs(a).max())))


@pytest.mark.parametrize("name", METHODS)
def test_vmapped_over_seeds_is_the_loop(name, batch):
    init, update = compile_method(make(name), dataset_size=SOURCE.size)
    keys = jax.random.split(jax.random.key(0), 3)
    together, terms = jax.jit(jax.vmap(lambda key: update(init(key), batch)))(keys)
    for i, key in enumerate(keys):
        alone, alone_terms = jax.jit(lambda key: update(init(key), batch))(key)
        for name in terms:
            np.testing.assert_allclose(terms[name][i], alone_terms[name], rtol=1e-5, atol=1e-5)
        for a, b in zip(jax.tree.leaves(alone.opt_state), jax.tree.leaves(together.opt_state), strict=True):
            np.testing.assert_allclose(b[i], a, rtol=1e-3, atol=1e-5 * max(1.0, float(jnp.abs(a).max())))


@pytest.mark.parametrize("name", METHODS)
def test_checkpoint_round_trip(name, batch, tmp_path):
    init, update = compile_method(make(name), dataset_size=SOURCE.size)
    state, terms = update(init(jax.random.key(0)), batch)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, float(terms["loss"]))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(1, jax.eval_shape(init, jax.random.key(0)))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(restored.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "method",
    [
        beta_vae(make("vae").networks, hyperparameters=BetaVAE(beta=1.0)),
        beta_tc_vae(make("vae").networks, hyperparameters=BetaTCVAE(alpha=1.0, beta=1.0, gamma=1.0)),
    ],
    ids=lambda method: method.name,
)
def test_reductions_to_the_vae(method, params, batch):
    key = jax.random.key(1)
    grad = jax.value_and_grad(lambda params, method: loss_of(method, params, batch, key)[0])
    value, gradient = grad(params, method)
    expected, expected_gradient = grad(params, make("vae"))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(jnp.abs(b).max()))


def test_beta_weighs_the_kl(params, batch):
    key, networks = jax.random.key(1), make("vae").networks
    loss = {b: loss_of(beta_vae(networks, hyperparameters=BetaVAE(beta=b)), params, batch, key)[0] for b in (1.0, 5.0)}
    _, terms = loss_of(make("vae"), params, batch, key)
    np.testing.assert_allclose(loss[5.0] - loss[1.0], 4 * terms["kl"], rtol=1e-4)


@pytest.mark.parametrize("weight", ["alpha", "beta", "gamma"])
def test_weights_of_the_beta_tc_vae(weight, params, batch):
    names = {"alpha": "mutual_information", "beta": "total_correlation", "gamma": "dimensionwise_kl"}
    ones = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
    loss = {}
    for value in (1.0, 3.0):
        hyperparameters = BetaTCVAE(**{**ones, weight: value})
        method = beta_tc_vae(make("vae").networks, hyperparameters=hyperparameters)
        loss[value], terms = loss_of(method, params, batch, jax.random.key(1))
    np.testing.assert_allclose(loss[3.0] - loss[1.0], 2 * terms[names[weight]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("build", "hp"), [(beta_vae, BetaVAE), (beta_tc_vae, BetaTCVAE)])
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (20, 1.0)])
def test_warmup_is_linear(build, hp, step, share, params, batch):
    key, networks = jax.random.key(1), make("vae").networks
    warm = build(networks, hyperparameters=hp(beta=4.0, warmup=10.0))
    flat = build(networks, hyperparameters=hp(beta=4.0 * share))
    np.testing.assert_allclose(
        loss_of(warm, params, batch, key, step)[0], loss_of(flat, params, batch, key)[0], rtol=1e-6
    )


@pytest.mark.parametrize("weighting", ["uniform", "mss", "mws"])
def test_beta_tc_vae_estimates_for_its_data_set_and_weighting(weighting, params, batch):
    key = jax.random.key(1)
    method = beta_tc_vae(make("vae").networks, weighting=weighting)
    _, terms = loss_of(method, params, batch, key)
    mean, logvar = method.networks["encoder"].apply(params["encoder"], batch["image"])
    z = reparameterize(key, mean, logvar)
    log_qz = minibatch_log_qz(z, mean, logvar, dataset_size=SOURCE.size, weighting=weighting)
    want = kl_decomposition(z, mean, logvar, log_qz).mutual_information.mean()
    np.testing.assert_allclose(terms["mutual_information"], want, rtol=1e-4)


@pytest.mark.parametrize("likelihood", [gaussian(0.3), laplace(0.2)], ids=["gaussian", "laplace"])
def test_other_likelihoods_train_and_decode_to_images(likelihood, params, batch):
    method = vae(make("vae").networks, likelihood=likelihood)
    value, _ = loss_of(method, params, batch, jax.random.key(0))
    raw = method.networks["decoder"].apply(params["decoder"], jnp.zeros((1, 4)))
    assert np.isfinite(value)
    np.testing.assert_array_equal(method.decode(Nets(method.networks, params), jnp.zeros((1, 4))), raw)
