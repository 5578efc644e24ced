"""iVAE, oi-VAE and VAE-SNE: reductions that are exact, losses against their parts, what the data must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, loss_of, make, own

from jaxvae import losses
from jaxvae.commands.train import parse_train
from jaxvae.config import build
from jaxvae.method import Nets, Posterior
from jaxvae.methods import OIVAE, ivae, oi_vae, vae, vae_sne
from jaxvae.networks import autoencoder, grouped_decoder, mixture_prior
from jaxvae.training import check, compile_method

KEY = jax.random.key(1)
ONES = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}


def parts(method, params, batch):
    """Posterior, prior and code of the iVAE."""
    net = Nets(method.networks, params)
    posterior = method.encode(net, batch)
    prior = net.prior(batch["aux"])
    return posterior, prior, losses.reparameterize(KEY, *posterior)


@pytest.mark.parametrize("prior_mean", [False, True])
def test_ivae_of_weights_one_is_the_bound(prior_mean, params, batch):
    """log p(x|z) + log p(z|u) - log q(z|x,u), with the KL in closed form: its mean over many samples."""
    method = make("ivae", hp=ONES, prior_mean=prior_mean)
    params = own(method, params)
    value, terms = loss_of(method, params, batch, KEY)
    posterior, prior, _ = parts(method, params, batch)
    centre = prior.mean if prior_mean else jnp.zeros_like(prior.mean)

    def sampled(key):
        z = losses.reparameterize(key, *posterior)
        log_ratio = losses.gaussian_log_density(z, *posterior) - losses.gaussian_log_density(z, centre, prior.logvar)
        return log_ratio.sum(-1).mean()

    np.testing.assert_allclose(value, terms["reconstruction"] + terms["kl"], rtol=1e-6)
    estimates = jax.vmap(sampled)(jax.random.split(KEY, 1000))
    np.testing.assert_allclose(terms["kl"], estimates.mean(), atol=4 * float(estimates.std()) / 1000**0.5)


def test_ivae_parts_of_the_kl_add_up(params, batch):
    """And each weight weighs its own."""
    method = make("ivae", hp=ONES)
    params = own(method, params)
    value, terms = loss_of(method, params, batch, KEY)
    posterior, prior, z = parts(method, params, batch)
    sampled = losses.gaussian_log_density(z, *posterior) - losses.gaussian_log_density(z, 0 * z, prior.logvar)
    added = terms["mutual_information"] + terms["total_correlation"] + terms["dimensionwise_kl"]
    np.testing.assert_allclose(added, sampled.sum(-1).mean(), rtol=1e-5)
    pairs = zip("abcd", ("reconstruction", "mutual_information", "total_correlation", "dimensionwise_kl"), strict=True)
    for weight, term in pairs:
        heavy, _ = loss_of(make("ivae", hp={**ONES, weight: 3.0}), params, batch, KEY)
        np.testing.assert_allclose(heavy - value, 2 * terms[term], rtol=1e-3, atol=1e-3)


def test_ivae_with_the_normal_prior_and_no_u_is_the_vae(params, batch):
    plain = make("vae")

    def aux_is_dropped(weights, x):
        return plain.networks["encoder"].apply(weights, x[..., :1])

    networks = dict(plain.networks) | {
        "encoder": plain.networks["encoder"]._replace(apply=aux_is_dropped),
        "prior": make("ivae")
        .networks["prior"]
        ._replace(apply=lambda weights, u: Posterior(*jnp.zeros((2, 32, LATENTS)))),
    }
    method = ivae(networks)
    params = {**params, "prior": {}}
    np.testing.assert_allclose(loss_of(method, params, batch, KEY)[0], loss_of(plain, params, batch, KEY)[0], rtol=1e-6)


def test_a_marginal_encoder_does_not_see_u(params, batch):
    other = {**batch, "aux": batch["aux"][:, ::-1]}
    for encoder, differs in (("conditional", True), ("marginal", False)):
        method = make("ivae", encoder=encoder)
        net = Nets(method.networks, own(method, params))
        one, two = (method.encode(net, b).mean for b in (batch, other))
        assert bool((one != two).any()) == differs


def test_a_rotation_of_the_code_costs_under_segments_and_not_under_one_prior():
    """What identifies the code: a posterior that is isotropic, turned, under prior variances that differ."""
    z = jax.random.normal(KEY, (1000, 2))
    turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    for logvar, free in ((jnp.zeros(2), True), (jnp.log(jnp.array([0.3, 3.0])), False)):
        straight, turned = (
            losses.gaussian_log_density(codes, jnp.zeros((1, 2)), logvar[None]).sum(-1) for codes in (z, z @ turn)
        )
        assert np.allclose(straight, turned, atol=1e-4) == free
        swapped = losses.gaussian_log_density(-z[:, ::-1], jnp.zeros((1, 2)), logvar[None, ::-1]).sum(-1)
        np.testing.assert_allclose(swapped, straight, rtol=1e-5)


def test_oi_vae_without_the_lasso_is_the_vae_and_a_prior_on_its_decoder(batch):
    """One group, loadings that are the identity: a plain linear decoder."""
    shape = (16, 16, 1)
    networks = autoencoder("mlp-small", shape, LATENTS) | grouped_decoder(shape, LATENTS, [range(256)], width=LATENTS)
    method = oi_vae(networks, hyperparameters=OIVAE(lam=0.0))
    linear = networks["decoder"]._replace(apply=lambda w, z: networks["decoder"].apply(w, z[:, None, :]))
    plain = vae({"encoder": networks["encoder"], "decoder": linear})
    init, _ = compile_method(method, dataset_size=2)
    params = init(KEY).params | {"loadings": {"weights": jnp.eye(LATENTS)[None]}}
    value, terms = loss_of(method, params, batch, KEY)
    want, _ = loss_of(plain, params, batch, KEY)
    squares = sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(params["decoder"]))
    np.testing.assert_allclose(terms["decoder_prior"], squares / 2, rtol=1e-5)
    np.testing.assert_allclose(value, want + squares / 2, rtol=1e-6)


def test_oi_vae_learned_noise_is_the_normal_density(params, batch):
    method = make("oi-vae", noise="learned", hp={"prior_scale": 0.0})
    params = own(method, params)
    params["scales"] = 0.3 * jax.random.normal(KEY, (16, 16, 1))
    _, terms = loss_of(method, params, batch, KEY)
    net = Nets(method.networks, params)
    mean = net.decoder(net.loadings(losses.reparameterize(KEY, *net.encoder(batch["image"]))))
    scale = jnp.broadcast_to(jnp.exp(params["scales"])[None] + 1e-3, mean.shape)
    nll = -losses.gaussian_log_density(batch["image"], mean, 2 * jnp.log(scale)).sum((1, 2, 3))
    np.testing.assert_allclose(terms["reconstruction"], nll.mean(), rtol=1e-5)


@pytest.mark.parametrize(("lam", "dead"), [(0.0, "none"), (1e-3, "none"), (1e6, "all")])
def test_oi_vae_columns_die_by_the_proximal_step(lam, dead, batch):
    method = make("oi-vae", hp={"lam": lam, "loadings_learning_rate": 1e-2})
    init, update = compile_method(method, dataset_size=2)
    state, terms = jax.jit(update)(init(KEY), batch)
    columns = losses.group_norms(state.params["loadings"]["weights"])
    zeros = int((columns == 0).sum())
    assert zeros == {"none": 0, "all": columns.size}[dead]
    assert np.isfinite(terms["loss"])
    start = losses.group_norms(init(KEY).params["loadings"]["weights"]).sum()
    np.testing.assert_allclose(terms["group_lasso"], start, rtol=1e-5)


def test_oi_vae_takes_a_plain_step_and_then_shrinks(batch):
    method = make("oi-vae", hp={"lam": 5.0, "loadings_learning_rate": 1e-2, "prior_scale": 0.5})
    init, update = compile_method(method, dataset_size=2)
    state = init(KEY)
    after, _ = update(state, batch)
    lonely = make("oi-vae", hp={"lam": 0.0, "loadings_learning_rate": 1e-2, "prior_scale": 0.5})
    unshrunk, _ = compile_method(lonely, dataset_size=2)[1](
        state._replace(hyperparameters=jax.tree.map(jnp.float32, lonely.hyperparameters)), batch
    )
    want = losses.group_soft_threshold(unshrunk.params["loadings"]["weights"], 1e-2 * 0.5 * 5.0)
    np.testing.assert_allclose(after.params["loadings"]["weights"], want, rtol=1e-5, atol=1e-7)


def test_a_latent_without_a_column_does_not_move_the_group(params):
    method = make("oi-vae")
    params = own(method, params)
    params["loadings"] = {"weights": params["loadings"]["weights"].at[3, 2].set(0.0)}
    jacobian = jax.jacobian(lambda z: method.decode(Nets(method.networks, params), z[None])[0])(jnp.ones(LATENTS))
    np.testing.assert_array_equal(jacobian[3, :, :, 2], 0)
    assert (jacobian[2, :, :, 2] != 0).all()


def test_groups_are_put_back_in_their_places():
    """Permuted groups with permuted parameters draw the same image; loads of a group reach its values only."""
    groups = [[0, 5, 2], [1, 3], [4]]
    decoder = grouped_decoder((1, 2, 3), 2, groups)["decoder"]
    weights = decoder.init(KEY)
    for group, places in enumerate(groups):
        loads = jnp.zeros((1, 3, 1)).at[0, group].set(1.0)
        moved = decoder.apply(weights, loads)[0] != decoder.apply(weights, 0 * loads)[0]
        assert np.flatnonzero(moved.reshape(-1)).tolist() == sorted(places)
    turned = grouped_decoder((1, 2, 3), 2, groups[::-1])["decoder"]
    renamed = {f"group{2 - int(name[5:])}": leaf for name, leaf in weights.items()}
    loads = jax.random.normal(KEY, (4, 3, 1))
    np.testing.assert_array_equal(turned.apply(renamed, loads[:, ::-1]), decoder.apply(weights, loads))


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


def test_vae_sne_without_neighbours_and_with_one_component_is_the_vae(params, batch):
    networks = make("vae").networks | {"prior": mixture_prior(LATENTS, 1)}
    method = vae_sne(networks, hyperparameters=make("vae-sne", hp={"sne": 0.0}).hyperparameters)
    params = own(method, params)
    np.testing.assert_allclose(
        loss_of(method, params, batch, KEY)[0], loss_of(make("vae"), params, batch, KEY)[0], rtol=1e-6
    )


@pytest.mark.parametrize("similarity", ["student-t", "gaussian", "von-mises"])
@pytest.mark.parametrize(("step", "perplexity"), [(0, 0.5 * 32), (5, (16 * 6.4) ** 0.5), (10, 6.4), (99, 6.4)])
def test_vae_sne_is_its_equation(similarity, step, perplexity, params, batch):
    hp = {"first_perplexity": 0.5, "perplexity": 0.2, "annealing": 10.0, "distortion": 2.0, "rate": 3.0, "sne": 0.5}
    method = make("vae-sne", hp=hp, similarity=similarity)
    params = own(method, params)
    value, terms = loss_of(method, params, batch, KEY, step)
    net = Nets(method.networks, params)
    mean, logvar = net.encoder(batch["image"])
    z = losses.reparameterize(KEY, mean, logvar)
    means, log_weights = net.prior()
    mixture = losses.gaussian_mixture(means, 1.0, jnp.exp(log_weights))
    np.testing.assert_allclose(terms["kl"], losses.sampled_kl(z, mean, logvar, mixture.log_density).mean(), rtol=1e-4)
    p = losses.neighbour_affinities(batch["image"].reshape(32, -1), perplexity)
    kernel = {
        "student-t": losses.student_t_similarity(),
        "gaussian": losses.gaussian_similarity(),
        "von-mises": losses.von_mises_similarity(10.0),
    }[similarity]
    np.testing.assert_allclose(
        terms["neighbours"], losses.neighbour_divergence(z, p, similarity=kernel).mean(), rtol=1e-3
    )
    want = 2 * terms["reconstruction"] + 3 * terms["kl"] + 0.5 * 256 * terms["neighbours"]
    np.testing.assert_allclose(value, want, rtol=1e-5)


def test_vae_sne_on_the_sphere(batch):
    networks = autoencoder("mlp-small", (16, 16, 1), 3)
    method = vae_sne(networks, space="sphere", similarity="von-mises")
    init, update = compile_method(method, dataset_size=2)
    state, first = jax.jit(update)(init(KEY), batch)
    for _ in range(30):
        state, terms = jax.jit(update)(state, batch)
    assert terms["loss"] < first["loss"]
    net = Nets(method.networks, state.params)
    code = method.encode(net, batch)
    np.testing.assert_allclose((code.mean**2).sum(1), 1, rtol=1e-4)
    np.testing.assert_allclose(method.decode(net, 5 * code.mean), method.decode(net, code.mean), rtol=1e-4)
    flat = vae_sne(autoencoder("mlp-small", (16, 16, 1), 2), space="sphere")
    with pytest.raises(ValueError, match="a sphere has 3 latents, got 2"):
        loss_of(flat, own(flat, {}), batch, KEY)


def test_distances_may_be_of_features(params, batch):
    rows = vae_sne(make("vae-sne").networks, features=lambda image: image.sum(axis=(2, 3)))
    params = own(rows, params)
    assert (
        loss_of(rows, params, batch, KEY)[1]["neighbours"]
        != loss_of(make("vae-sne"), params, batch, KEY)[1]["neighbours"]
    )


@pytest.mark.parametrize(
    ("name", "hp", "message"),
    [
        ("ivae", {"c": -1.0}, "a, b, c and d must be >= 0"),
        ("oi-vae", {"lam": -1.0}, "lam and prior_scale must be >= 0"),
        ("vae-sne", {"perplexity": 1.5}, "fractions of the batch"),
        ("vae-sne", {"sne": -1.0}, "weights must be >= 0"),
    ],
)
def test_bad_hyperparameters(name, hp, message):
    with pytest.raises(ValueError, match=message):
        make(name, hp=hp)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ivae", "--data", "sprites", "--aux", "colour"], "no factor 'colour' in sprites; there are shape"),
        (["ivae", "--data", "arrays:{folder}/a.npy"], "those of arrays:.* are not known"),
        (["vae", "--aux", "shape"], "--aux is for methods whose prior depends on a factor; that of vae does not"),
        (["vae-sne", "--components", "0"], "at least 1 component"),
        (["vae-sne", "--batch-size", "2"], "at least 3 examples, got 2"),
    ],
)
def test_what_the_command_refuses(words, message, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 1), np.uint8))
    words = [word.format(folder=tmp_path) for word in words]

    def built_and_traced():
        config = parse_train(words).config
        source, method = build(config)
        check(method, source, batch_size=config.batch_size)

    with pytest.raises(ValueError, match=message):
        built_and_traced()


def test_the_command_conditions_on_a_factor():
    source, method = build(parse_train(["ivae", "--data", "sprites", "--image-size", "16", "--aux", "scale"]).config)
    assert source.known == ("scale",)
    batch = source.sample(KEY, 4)
    np.testing.assert_array_equal(batch["aux"].argmax(1), batch["factors"][:, source.factor_names.index("scale")])
    assert "aux" in method.needs
