"""VAE-SNE: reductions that are exact, the loss against its parts, the sphere, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, build_and_trace, loss_of, make, own

from jaxvae import losses
from jaxvae.method import Context, Nets
from jaxvae.methods import vae_sne
from jaxvae.networks import autoencoder, mixture_prior
from jaxvae.training import compile_method

KEY = jax.random.key(1)


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
        (["vae-sne", "--components", "0"], "at least 1 component"),
        (["vae-sne", "--batch-size", "2"], "at least 3 examples, got 2"),
    ],
)
def test_what_the_command_refuses(words, message):
    with pytest.raises(ValueError, match=message):
        build_and_trace(words)


def test_on_the_sphere_it_is_its_equation(batch):
    method = vae_sne(autoencoder("mlp-small", (16, 16, 1), 3), space="sphere", similarity="von-mises")
    params = own(method, {})
    value, terms = loss_of(method, params, batch, KEY)
    net = Nets(method.networks, params)
    direction, concentration = losses.polar_coordinates(net.encoder(batch["image"]).mean)
    z = losses.sample_von_mises_fisher(KEY, direction, concentration)
    nll = losses.bernoulli_nll(net.decoder(z), batch["image"]).mean()
    kl = losses.kl_von_mises_fisher_uniform(concentration).mean()
    np.testing.assert_allclose((terms["reconstruction"], terms["kl"]), (nll, kl), rtol=1e-5)
    np.testing.assert_allclose(value, nll + kl + 256 * terms["neighbours"], rtol=1e-5)


def test_perplexities_are_of_the_global_batch(params, batch):
    method = make("vae-sne", hp={"first_perplexity": 0.5})
    params = own(method, params)
    hp = jax.tree.map(jnp.float32, method.hyperparameters)

    def neighbours(batch, axis_name=None):
        ctx = Context(KEY, hp, jnp.int32(0), 2, axis_name)
        return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)[1]["neighbours"]

    parts = jax.tree.map(lambda leaf: leaf.reshape(4, -1, *leaf.shape[1:]), dict(batch))
    split = jax.vmap(lambda part: neighbours(part, "data"), axis_name="data")(parts)
    np.testing.assert_allclose(split.mean(), neighbours(batch), rtol=1e-4)
