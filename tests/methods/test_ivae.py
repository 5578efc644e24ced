"""iVAE: the bound and its parts, reductions that are exact, what identifies the code, what the data must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, SOURCE, build_and_trace, loss_of, make, own

from jaxvae import losses
from jaxvae.cli.train import parse_train
from jaxvae.method import Nets, Posterior
from jaxvae.methods import ivae
from jaxvae.runs.build import build

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

    @jax.jit
    def evaluate(params, batch):
        params = own(method, params)
        posterior, prior, _ = parts(method, params, batch)
        centre = prior.mean if prior_mean else jnp.zeros_like(prior.mean)

        def sampled(key):
            z = losses.reparameterize(key, *posterior)
            prior_density = losses.gaussian_log_density(z, centre, prior.logvar)
            return (losses.gaussian_log_density(z, *posterior) - prior_density).sum(-1).mean()

        return *loss_of(method, params, batch, KEY), jax.vmap(sampled)(jax.random.split(KEY, 1000))

    value, terms, estimates = jax.device_get(evaluate(params, batch))
    np.testing.assert_allclose(value, terms["reconstruction"] + terms["kl"], rtol=1e-6)
    np.testing.assert_allclose(terms["kl"], estimates.mean(), atol=4 * float(estimates.std()) / 1000**0.5)


def test_ivae_parts_of_the_kl_add_up(params, batch):
    """And each weight weighs its own."""
    method = make("ivae", hp=ONES)

    @jax.jit
    def loss(hp, params):
        return loss_of(method._replace(hyperparameters=hp), own(method, params), batch, KEY)

    @jax.jit
    def by_hand(params):
        posterior, prior, z = parts(method, own(method, params), batch)
        sampled = losses.gaussian_log_density(z, *posterior) - losses.gaussian_log_density(z, 0 * z, prior.logvar)
        log_qz = losses.minibatch_log_qz(z, *posterior, dataset_size=SOURCE.size)
        mi, tc, _ = losses.kl_decomposition(z, *posterior, log_qz)
        return sampled.sum(-1).mean(), mi.mean(), tc.mean()

    value, terms = jax.device_get(loss(method.hyperparameters, params))
    sampled, mi, tc = by_hand(params)
    added = terms["mutual_information"] + terms["total_correlation"] + terms["dimensionwise_kl"]
    np.testing.assert_allclose(added, sampled, rtol=1e-5)
    np.testing.assert_allclose(terms["mutual_information"], mi, rtol=1e-4)
    np.testing.assert_allclose(terms["total_correlation"], tc, rtol=1e-4, atol=1e-4)
    pairs = zip("abcd", ("reconstruction", "mutual_information", "total_correlation", "dimensionwise_kl"), strict=True)
    for weight, term in pairs:
        heavy, _ = loss(make("ivae", hp={**ONES, weight: 3.0}).hyperparameters, params)
        np.testing.assert_allclose(float(heavy) - value, 2 * terms[term], rtol=1e-3, atol=1e-3)


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
    both = jax.jit(lambda params, batch: [loss_of(m, params, batch, KEY)[0] for m in (method, plain)])
    np.testing.assert_allclose(*both(params, batch), rtol=1e-6)


@pytest.mark.parametrize("logvar", [-500.0, 500.0])
def test_ivae_bears_a_singular_prior(logvar, params, batch):
    networks = make("ivae").networks
    shift = networks["prior"]._replace(
        apply=lambda weights, u: networks["prior"].apply(weights, u)._replace(logvar=jnp.full((32, LATENTS), logvar))
    )
    method = ivae({**networks, "prior": shift})

    @jax.jit
    def evaluate(params):
        return jax.value_and_grad(lambda params: loss_of(method, params, batch, KEY)[0])(own(method, params))

    value, gradient = evaluate(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_marginal_encoder_does_not_see_u(params, batch):
    other = {**batch, "aux": np.asarray(batch["aux"])[:, ::-1]}
    for encoder, differs in (("conditional", True), ("marginal", False)):
        method = make("ivae", encoder=encoder)
        encode = jax.jit(lambda batch, m=method: m.encode(Nets(m.networks, own(m, params)), batch).mean)
        one, two = (np.asarray(encode(b)) for b in (batch, other))
        assert (one != two).any() == differs


def test_a_rotation_of_the_code_costs_under_segments_and_not_under_one_prior():
    """What identifies the code: a posterior that is isotropic, turned, under prior variances that differ."""
    z = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)

    @jax.jit
    def density(codes, logvar):
        return losses.gaussian_log_density(codes, jnp.zeros((1, 2)), logvar[None]).sum(-1)

    for variances, free in (([1.0, 1.0], True), ([0.3, 3.0], False)):
        logvar = np.log(np.array(variances, np.float32))
        straight, turned = (density(codes, logvar) for codes in (z, z @ turn))
        assert np.allclose(straight, turned, atol=1e-4) == free
        swapped = density(-z[:, ::-1], logvar[::-1])
        np.testing.assert_allclose(swapped, straight, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "hp", "message"),
    [
        ("ivae", {"c": -1.0}, "a, b, c and d must be >= 0"),
    ],
)
def test_bad_hyperparameters(name, hp, message):
    with pytest.raises(ValueError, match=message):
        make(name, hp=hp)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ivae", "--data", "sprites", "--aux", "colour"], "sprites has no factor 'colour'; there are shape"),
        (["ivae", "--data", "arrays:{folder}/a.npy"], "the factors of a are not known: choose other data"),
        (["vae", "--aux", "shape"], "vae has no flag --aux; it is for ivae"),
    ],
)
def test_what_the_command_refuses(words, message, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 1), np.uint8))
    words = [word.format(folder=tmp_path) for word in words]
    with pytest.raises(ValueError, match=message):
        build_and_trace(words)


def test_the_command_conditions_on_a_factor():
    source, method = build(parse_train(["ivae", "--data", "sprites", "--image-size", "16", "--aux", "scale"]).config)
    assert source.known == ("scale",)
    batch = jax.device_get(jax.jit(lambda key: source.sample(key, 4))(KEY))
    np.testing.assert_array_equal(batch["aux"].argmax(1), batch["factors"][:, source.factor_names.index("scale")])
    assert "aux" in method.needs
