"""oi-VAE: reductions that are exact, the proximal step, supports that are found, groups and their places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, loss_of, make, own
from scipy.optimize import linear_sum_assignment

from jaxvae import losses
from jaxvae.analysis import group_loadings
from jaxvae.data import from_arrays
from jaxvae.data.tabular import from_columns
from jaxvae.method import Nets
from jaxvae.methods import OIVAE, by_columns, gaussian, oi_vae, vae
from jaxvae.methods.oi_vae import Networks
from jaxvae.networks import autoencoder, grouped_decoder, with_parameters
from jaxvae.networks.linen import from_linen
from jaxvae.networks.mlp import MLPEncoder
from jaxvae.training import make_train_step, train

KEY = jax.random.key(1)


def initial_state(method):
    return jax.jit(make_train_step(method, dataset_size=2)[0])(KEY)


def test_oi_vae_without_the_lasso_is_the_vae_and_a_prior_on_its_decoder(batch):
    """One group, loadings that are the identity: a plain linear decoder."""
    shape = (16, 16, 1)
    networks = autoencoder("mlp-small", shape, LATENTS) | grouped_decoder(shape, LATENTS, [range(256)], width=LATENTS)
    method = oi_vae(networks, hyperparameters=OIVAE(lam=0.0))
    linear = networks["decoder"]._replace(apply=lambda w, z: networks["decoder"].apply(w, z[:, None, :]))
    plain = vae({"encoder": networks["encoder"], "decoder": linear})
    params = initial_state(method).params | {"loadings": {"weights": np.eye(LATENTS, dtype=np.float32)[None]}}
    both = jax.jit(lambda params, batch: [loss_of(m, params, batch, KEY) for m in (method, plain)])
    (value, terms), (want, _) = jax.device_get(both(params, batch))
    squares = sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(params["decoder"]))
    np.testing.assert_allclose(terms["decoder_prior"], squares / 2, rtol=1e-5)
    np.testing.assert_allclose(value, want + squares / 2, rtol=1e-6)


def test_oi_vae_learned_noise_is_the_normal_density(params, batch):
    method = make("oi-vae", noise="learned", hp={"prior_scale": 0.0})

    @jax.jit
    def evaluate(params, batch):
        params = own(method, params)
        params["scales"] = 0.3 * jax.random.normal(KEY, (16, 16, 1))
        _, terms = loss_of(method, params, batch, KEY)
        net = Nets(method.networks, params)
        mean = net.decoder(net.loadings(losses.reparameterize(KEY, *net.encoder(batch["x"]))))
        scale = jnp.broadcast_to(jnp.exp(params["scales"])[None] + 1e-3, mean.shape)
        nll = -losses.gaussian_log_density(batch["x"], mean, 2 * jnp.log(scale)).sum((1, 2, 3))
        code = jnp.ones((1, LATENTS))
        return terms["reconstruction"], nll.mean(), method.decode(net, code), net.decoder(net.loadings(code))

    reconstruction, nll, decoded, by_hand = evaluate(params, batch)
    np.testing.assert_allclose(reconstruction, nll, rtol=1e-5)
    np.testing.assert_array_equal(decoded, by_hand)


def test_oi_vae_weights_can_not_hide_behind_each_other(batch):
    """Loadings times c and generators divided by it draw the same images; the priors make one c the best."""
    method = make("oi-vae", hp={"lam": 1.0, "prior_scale": 1.0})
    params = jax.device_get(initial_state(method).params)
    loss = jax.jit(lambda params: loss_of(method, params, batch, KEY))
    losses_, images = [], []
    for c in (0.03, 1.0, 3.0, 30.0):
        generators = {
            group: {"kernel": leaf["kernel"] / c, "bias": leaf["bias"]} for group, leaf in params["decoder"].items()
        }
        scaled = {**params, "decoder": generators, "loadings": {"weights": c * params["loadings"]["weights"]}}
        value, terms = loss(scaled)
        losses_.append(float(value))
        images.append(float(terms["reconstruction"]))
    np.testing.assert_allclose(images, images[0], rtol=1e-5)
    assert min(losses_[1:3]) < min(losses_[0], losses_[3]) - 1


@pytest.mark.process
def test_oi_vae_finds_the_support_of_sparse_loadings():
    """Linear generators, one number per group: which latent drives which of six groups."""
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 3), bool)
    mask[np.arange(6), np.arange(6) % 3] = True
    strength = np.where(mask, rng.choice([-1, 1], (6, 3)) * rng.uniform(1, 2, (6, 3)), 0)
    signal = rng.standard_normal((2000, 3)) @ strength.T
    x = signal[:, :, None] * rng.standard_normal((6, 4))[None] + 0.3 * rng.standard_normal((2000, 6, 4))
    source = from_arrays(x.reshape(-1, 6, 4, 1).astype(np.float32), real=True)
    networks = {"encoder": from_linen(MLPEncoder(3, (64,)), (6, 4, 1))} | grouped_decoder((6, 4, 1), 3)
    hp = OIVAE(learning_rate=3e-3, loadings_learning_rate=1e-3, lam=3.0)
    method = oi_vae(networks, likelihood=gaussian(0.3), hyperparameters=hp)
    state = train(method, source, steps=1500, batch_size=256, seed=0)
    found = np.asarray(losses.group_norms(state.params["loadings"]["weights"])) > 1e-6
    overlap = (found[:, :, None] & mask[:, None, :]).sum(0)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    assert 2 * overlap[rows, columns].sum() / (found.sum() + mask.sum()) > 0.9


@jax.jit
def one_update(hp, batch):
    """In one program for all hyperparameters: the state after it, its terms, norms of columns after and before."""
    init, update = make_train_step(make("oi-vae"), dataset_size=2)
    before = init(KEY, hp)
    state, terms = update(before, batch)
    after, start = (losses.group_norms(one.params["loadings"]["weights"]) for one in (state, before))
    return state.params["loadings"]["weights"], terms, after, start


@pytest.mark.parametrize(("lam", "dead"), [(0.0, "none"), (1e-3, "none"), (1e6, "all")])
def test_oi_vae_columns_die_by_the_proximal_step(lam, dead, batch):
    method = make("oi-vae", hp={"lam": lam, "loadings_learning_rate": 1e-2})
    _, terms, columns, start = jax.device_get(one_update(method.hyperparameters, batch))
    assert (columns == 0).sum() == {"none": 0, "all": columns.size}[dead]
    assert np.isfinite(terms["loss"])
    np.testing.assert_allclose(terms["group_lasso"], start.sum(), rtol=1e-5)


def test_oi_vae_takes_a_plain_step_and_then_shrinks(batch):
    method = make("oi-vae", hp={"lam": 5.0, "loadings_learning_rate": 1e-2, "prior_scale": 0.5})
    after = one_update(method.hyperparameters, batch)[0]
    lonely = make("oi-vae", hp={"lam": 0.0, "loadings_learning_rate": 1e-2, "prior_scale": 0.5})
    unshrunk = one_update(lonely.hyperparameters, batch)[0]
    want = jax.jit(losses.group_soft_threshold)(unshrunk, 1e-2 * 0.5 * 5.0)
    np.testing.assert_allclose(after, want, rtol=1e-5, atol=1e-7)


def test_a_latent_without_a_column_does_not_move_the_group(params):
    method = make("oi-vae")

    @jax.jit
    def jacobian_at(z, params):
        params = own(method, params)
        params["loadings"] = {"weights": params["loadings"]["weights"].at[3, 2].set(0.0)}
        return jax.jacobian(lambda z: method.decode(Nets(method.networks, params), z[None])[0])(z)

    jacobian = np.asarray(jacobian_at(np.ones(LATENTS, np.float32), params))
    np.testing.assert_array_equal(jacobian[3, :, :, 2], 0)
    assert (jacobian[2, :, :, 2] != 0).all()


def test_groups_are_put_back_in_their_places():
    """Permuted groups with permuted parameters draw the same image; loads of a group reach its values only."""
    groups = [[0, 5, 2], [1, 3], [4]]
    decoder = grouped_decoder((1, 2, 3), 2, groups)["decoder"]
    weights, apply = jax.jit(decoder.init)(KEY), jax.jit(decoder.apply)
    image_of = lambda loads: np.asarray(apply(weights, loads[:, :, None]))  # noqa: E731
    black = image_of(np.zeros((4, 3), np.float32))
    for group, places in enumerate(groups):
        moved = image_of(np.tile(np.eye(3, dtype=np.float32)[group], (4, 1)))[0] != black[0]
        assert np.flatnonzero(moved.reshape(-1)).tolist() == sorted(places)
    turned = grouped_decoder((1, 2, 3), 2, groups[::-1])["decoder"]
    renamed = {f"group{2 - int(name[5:])}": leaf for name, leaf in weights.items()}
    loads = np.random.default_rng(0).normal(size=(4, 3, 1)).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(turned.apply)(renamed, loads[:, ::-1]), apply(weights, loads))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0, 1], [1, 2, 3]], r"not so for 1: \[1\]"),
        ([[0, 1], [2]], r"not so for 1: \[3\]"),
        ([[0, 1], [2, 3, 7]], r"not so for 1: \[7\]"),
        ([[0, 1, 2, 3], []], "no size may be 0"),
    ],
)
def test_groups_must_cover_the_image(groups, message):
    with pytest.raises(ValueError, match=message):
        grouped_decoder((2, 2, 1), 3, groups)


@pytest.mark.parametrize(
    ("name", "hp", "message"),
    [
        ("oi-vae", {"lam": -1.0}, "lam and prior_scale must be >= 0"),
    ],
)
def test_bad_hyperparameters(name, hp, message):
    with pytest.raises(ValueError, match=message):
        make(name, hp=hp)


def table():
    """Two groups of sensors, a categorical column and a count, with missing values."""
    rng = np.random.default_rng(0)
    missing = rng.normal(size=40)
    missing[::3] = np.nan
    columns = {
        "arm_x": rng.normal(size=40),
        "city": rng.choice(["Bern", "Oslo", "Rome"], 40),
        "arm_y": missing,
        "leg_x": rng.normal(size=40),
        "visits": rng.poisson(3, 40),
    }
    return from_columns(columns)


def on_table(**options):
    """The networks of the command line, with the learned parameters of the likelihood."""
    source = table()
    likelihood = by_columns(source.schema)
    networks = Networks(latents=LATENTS, **options).make(source)
    networks["decoder"] = with_parameters(networks["decoder"], likelihood.start)
    return source, networks, likelihood


def test_columns_with_a_prefix_share_a_group():
    _, networks, likelihood = on_table(groups="prefix")
    params = jax.device_get(initial_state(oi_vae(networks, likelihood=likelihood)).params)
    assert Networks(groups="prefix").group_names(table()) == ["arm", "city", "leg", "visits"]
    net = Nets(networks, params)
    base = np.asarray(net.decoder(net.loadings(jnp.zeros((1, LATENTS)))))[:, :7]
    for group, places in enumerate([[0, 4], [1, 2, 3], [5], [6]]):
        only = {**params, "loadings": {"weights": np.zeros_like(params["loadings"]["weights"])}}
        only["loadings"]["weights"][group] = 1
        moved = Nets(networks, only)
        raw = np.asarray(moved.decoder(moved.loadings(jnp.ones((1, LATENTS)))))[:, :7]
        assert np.flatnonzero(raw[0] != base[0]).tolist() == places


def test_each_column_is_a_group_by_default():
    names = Networks().group_names(table())
    assert names == ["arm_x", "city", "arm_y", "leg_x", "visits"]
    assert jax.eval_shape(on_table()[1]["loadings"].init, KEY)["weights"].shape == (5, LATENTS, 1)
    assert Networks().group_names(from_arrays(np.zeros((3, 8, 4, 1)))) == [f"row {row}" for row in range(8)]
    assert Networks().group_names(from_arrays(np.ones((3, 2), np.float32), real=True)) == ["x0", "x1"]


def test_the_loss_of_a_table_leaves_out_missing_values_and_the_prior_the_learned_scales():
    source, networks, likelihood = on_table(groups="prefix")
    method = oi_vae(networks, likelihood=likelihood, hyperparameters=OIVAE(lam=0.5, prior_scale=0.25))
    params = jax.device_get(initial_state(method).params)
    params["decoder"]["likelihood"] = np.linspace(-1, 1, len(likelihood.start)).astype(np.float32)
    x = jnp.asarray(source.pixels)
    assert jnp.isnan(x).any()
    value, terms = jax.device_get(jax.jit(lambda params, x: loss_of(method, params, {"x": x}, KEY))(params, x))
    squares = sum((leaf.astype(np.float64) ** 2).sum() for leaf in jax.tree.leaves(params["decoder"]["decoder"]))
    np.testing.assert_allclose(terms["decoder_prior"], squares / 2, rtol=1e-5)
    lasso = np.linalg.norm(params["loadings"]["weights"].astype(np.float64), axis=-1).sum()
    want = terms["reconstruction"] + terms["kl"] + 0.25 * squares / 2 + 0.25 * 0.5 * lasso
    np.testing.assert_allclose(value, want, rtol=1e-5)

    @jax.jit
    def reconstruction(params, x):
        net = Nets(networks, params)
        z = losses.reparameterize(KEY, *net.encoder(x))
        return likelihood.nll(net.decoder(net.loadings(z)), x).mean()

    np.testing.assert_allclose(terms["reconstruction"], reconstruction(params, x), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda params: loss_of(method, params, {"x": x}, KEY)[0]))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_learned_noise_is_not_for_tables():
    _, networks, likelihood = on_table()
    with pytest.raises(ValueError, match="noise='learned' is for images and vectors.*leave it out"):
        oi_vae(networks, likelihood=likelihood, noise="learned")


def test_dropout_leaves_the_grouped_decoder_alone():
    assert Networks(dropout=0.5).noisy == ("encoder",)
    assert Networks().noisy == ()


def test_loadings_are_lengths_of_columns():
    weights = np.zeros((2, 3, 2), np.float32)
    weights[0, 1], weights[1, 2] = [3, 4], [0, -2]
    loadings = group_loadings({"loadings": {"weights": jnp.asarray(weights)}, "encoder": {}})
    np.testing.assert_allclose(loadings, [[0, 5, 0], [0, 0, 2]])
    with pytest.raises(ValueError, match=r"only networks with loadings.*got \['decoder', 'encoder'\]"):
        group_loadings({"encoder": {}, "decoder": {}})
