"""VAE-SNE: reductions that are exact, the loss against its parts, the sphere, what is refused."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, build_and_trace, loss_of, make, own

from jaxvae import losses
from jaxvae.data import cells
from jaxvae.method import Context, Nets
from jaxvae.methods import vae_sne
from jaxvae.networks import autoencoder, mixture_prior
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.training import make_train_step

KEY = jax.random.key(1)


def test_vae_sne_without_neighbours_and_with_one_component_is_the_vae(params, batch):
    networks = make("vae").networks | {"prior": mixture_prior(LATENTS, 1)}
    method = vae_sne(networks, hyperparameters=make("vae-sne", hp={"sne": 0.0}).hyperparameters)

    @jax.jit
    def both(params, batch):
        params = own(method, params)
        return [loss_of(m, params, batch, KEY)[0] for m in (method, make("vae"))]

    np.testing.assert_allclose(*both(params, batch), rtol=1e-6)


@cache
def terms_and_by_hand(similarity):
    """In one program for all steps: the loss, its terms, and its kl and neighbours from their kernels."""
    hp = {"first_perplexity": 0.5, "perplexity": 0.2, "annealing": 10.0, "distortion": 2.0, "rate": 3.0, "sne": 0.5}
    method = make("vae-sne", hp=hp, similarity=similarity)
    kernel = {
        "student-t": losses.student_t_similarity(),
        "gaussian": losses.gaussian_similarity(),
        "von-mises": losses.von_mises_similarity(10.0),
    }[similarity]

    @jax.jit
    def evaluate(params, batch, step, perplexity):
        params = own(method, params)
        net = Nets(method.networks, params)
        mean, logvar = net.encoder(batch["x"])
        z = losses.reparameterize(KEY, mean, logvar)
        means, log_weights = net.prior()
        mixture = losses.gaussian_mixture(means, 1.0, jnp.exp(log_weights))
        p = losses.neighbour_affinities(batch["x"].reshape(32, -1), perplexity)
        kl = losses.sampled_kl(z, mean, logvar, mixture.log_density).mean()
        neighbours = losses.neighbour_divergence(z, p, similarity=kernel).mean()
        return *loss_of(method, params, batch, KEY, step), kl, neighbours

    return evaluate


@pytest.mark.parametrize("similarity", ["student-t", "gaussian", "von-mises"])
@pytest.mark.parametrize(("step", "perplexity"), [(0, 0.5 * 32), (5, (16 * 6.4) ** 0.5), (10, 6.4), (99, 6.4)])
def test_vae_sne_is_its_equation(similarity, step, perplexity, params, batch):
    evaluate = terms_and_by_hand(similarity)
    value, terms, kl, neighbours = jax.device_get(evaluate(params, batch, step, perplexity))
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(terms["neighbours"], neighbours, rtol=1e-3)
    want = 2 * terms["reconstruction"] + 3 * terms["kl"] + 0.5 * 256 * terms["neighbours"]
    np.testing.assert_allclose(value, want, rtol=1e-5)


def test_vae_sne_on_the_sphere(batch):
    networks = autoencoder("mlp-small", (16, 16, 1), 3)
    method = vae_sne(networks, space="sphere", similarity="von-mises")
    init, update = make_train_step(method, dataset_size=2)
    update = jax.jit(update)
    state, first = update(jax.jit(init)(KEY), batch)
    for _ in range(30):
        state, terms = update(state, batch)
    assert float(terms["loss"]) < float(first["loss"])

    @jax.jit
    def evaluate(params, batch):
        net = Nets(method.networks, params)
        code = method.encode(net, batch)
        return code.mean, method.decode(net, 5 * code.mean), method.decode(net, code.mean)

    code, far, near = jax.device_get(evaluate(state.params, batch))
    np.testing.assert_allclose((code**2).sum(1), 1, rtol=1e-4)
    np.testing.assert_allclose(far, near, rtol=1e-4)
    flat = vae_sne(autoencoder("mlp-small", (16, 16, 1), 2), space="sphere")
    with pytest.raises(ValueError, match="a sphere has 3 latents, got 2"):
        jax.eval_shape(lambda batch: loss_of(flat, own(flat, {}), batch, KEY), batch)


def test_distances_may_be_of_features(params, batch):
    rows = vae_sne(make("vae-sne").networks, features=lambda image: image.sum(axis=(2, 3)))

    @jax.jit
    def neighbours(params, batch):
        params = own(rows, params)
        return [loss_of(method, params, batch, KEY)[1]["neighbours"] for method in (rows, make("vae-sne"))]

    of_rows, of_images = map(float, neighbours(params, batch))
    assert of_rows != of_images


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

    @jax.jit
    def evaluate(batch):
        params = own(method, {})
        net = Nets(method.networks, params)
        direction, concentration = losses.polar_coordinates(net.encoder(batch["x"]).mean)
        z = losses.sample_von_mises_fisher(KEY, direction, concentration)
        nll = losses.bernoulli_nll(net.decoder(z), batch["x"]).mean()
        kl = losses.kl_von_mises_fisher_uniform(concentration).mean()
        return *loss_of(method, params, batch, KEY), nll, kl

    value, terms, nll, kl = jax.device_get(evaluate(batch))
    np.testing.assert_allclose((terms["reconstruction"], terms["kl"]), (nll, kl), rtol=1e-5)
    np.testing.assert_allclose(value, nll + kl + 256 * terms["neighbours"], rtol=1e-5)


def test_perplexities_are_of_the_global_batch(params, batch):
    method = make("vae-sne", hp={"first_perplexity": 0.5})
    params = jax.jit(lambda params: own(method, params))(params)
    hp = jax.tree.map(jnp.float32, method.hyperparameters)

    def neighbours(batch, axis_name=None):
        ctx = Context(KEY, hp, jnp.int32(0), 2, axis_name)
        return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)[1]["neighbours"]

    @jax.jit
    def split_and_whole(batch):
        parts = jax.tree.map(lambda leaf: leaf.reshape(4, -1, *leaf.shape[1:]), batch)
        return jax.vmap(lambda part: neighbours(part, "data"), axis_name="data")(parts).mean(), neighbours(batch)

    np.testing.assert_allclose(*split_and_whole({"x": batch["x"]}), rtol=1e-4)


def test_cells_have_a_count_likelihood_and_neighbours_by_logarithms_at_one_total(monkeypatch):
    """Not by raw counts, of which a few genes and the depth of sequencing would make most of the distances."""
    source = cells(cells=40, genes=60, programs=2)
    config = default_config("vae-sne").with_flags(data="cells", hidden=(4,), components=2)
    method = build_method(config, networks_of(config, source), source)
    seen = []
    affinities = losses.neighbour_affinities

    def capture(x, *given, **options):
        seen.append(x)
        return affinities(x, *given, **options)

    monkeypatch.setattr(losses, "neighbour_affinities", capture)

    @jax.jit
    def features(key, batch):
        """What distances are taken of; the compiler leaves out the rest of the loss."""
        params = {name: net.init(key) for name, net in method.networks.items()}
        assert params["decoder"]["likelihood"].shape == (source.schema.width,)  # a dispersion for each gene
        ctx = Context(KEY, method.hyperparameters, jnp.int32(0), source.size)
        method.objectives[0].loss(Nets(method.networks, params), batch, ctx)
        return seen[0]

    found = features(KEY, source.at(jnp.arange(40)))
    counts = np.asarray(source.pixels, np.float64)
    means = np.array([column.mean for column in source.schema.used])
    at_one_total = np.log1p(counts / counts.sum(axis=1, keepdims=True) * means.sum())
    np.testing.assert_allclose(found, at_one_total - np.log1p(means), atol=1e-5)
