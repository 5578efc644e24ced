"""ML-VAE: the loss of a group by hand, what is shared, and what the data must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, build_and_trace, loss_of, make

from jaxvae import losses
from jaxvae.cli.train import parse_train
from jaxvae.runs.build import build
from jaxvae.streams import Stream

KEY = jax.random.key(1)


@pytest.mark.parametrize("averaging", ["gvae", "ml-vae", "ml-vae-harmonic"])
@pytest.mark.parametrize("members", [2, 4])
def test_loss_is_its_equation(averaging, members, params, batch):
    """Group by group, over the noise that each latent is given."""
    content, beta = 3, 2.0
    method = make("group-vae", averaging=averaging, members=members, content=content, hp={"beta": beta})
    encoder, decoder = (method.networks[name].apply for name in ("encoder", "decoder"))
    groups = 32 // members

    @jax.jit
    def evaluate(params, batch):
        zeros, common_zeros = jnp.zeros((32, LATENTS - content)), jnp.zeros((groups, content))
        noise = losses.reparameterize(KEY, zeros, zeros)
        common_noise = losses.reparameterize(jax.random.fold_in(KEY, Stream.SHARED_CODE), common_zeros, common_zeros)
        posterior = encoder(params["encoder"], batch["x"])
        return *loss_of(method, params, batch, KEY), posterior, noise, common_noise

    value, terms, (mean, logvar), noise, common_noise = jax.device_get(evaluate(params, batch))
    average = jax.jit(lambda mean, logvar: losses.average_posteriors(mean, logvar, averaging))
    kl = lambda mean, logvar: 0.5 * (mean**2 + np.exp(logvar) - logvar - 1).sum()  # noqa: E731
    total, codes = 0.0, []
    for group in range(groups):
        rows = slice(group * members, (group + 1) * members)
        m, v = map(np.asarray, average(mean[rows, :content], logvar[rows, :content]))
        total += beta * kl(m, v)
        code = m + np.exp(v / 2) * common_noise[group]
        for n in range(rows.start, rows.stop):
            style = mean[n, content:] + np.exp(logvar[n, content:] / 2) * noise[n]
            codes.append(np.concatenate([code, style]))
            total += beta * kl(mean[n, content:], logvar[n, content:])
    nll = jax.jit(lambda weights, codes, images: losses.bernoulli_nll(decoder(weights, codes), images).sum())
    total += float(nll(params["decoder"], np.stack(codes), batch["x"]))
    np.testing.assert_allclose(value, total / 32, rtol=1e-4)
    np.testing.assert_allclose(
        value, terms["reconstruction"] + beta * (terms["content_kl"] + terms["style_kl"]), rtol=1e-6
    )


def test_groups_of_equal_images_share_their_posterior(params, batch):
    """Averaged as they are by "gvae": the VAE, but for a content that is paid for once."""
    twice = {**batch, "x": np.repeat(np.asarray(batch["x"])[:16], 2, axis=0)}
    method = make("group-vae", averaging="gvae")

    @jax.jit
    def evaluate(params, batch):
        mean, logvar = method.networks["encoder"].apply(params["encoder"], batch["x"])
        return loss_of(method, params, batch, KEY)[1], losses.kl_standard_normal_per_latent(mean, logvar).mean(0)

    terms, kl = jax.device_get(evaluate(params, twice))
    np.testing.assert_allclose(terms["content_kl"], kl[:4].sum() / 2, rtol=1e-5)
    np.testing.assert_allclose(terms["style_kl"], kl[4:].sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["group-vae", "--batch-size", "31"], "multiple of members=2, got 31"),
        (["group-vae", "--content", "11"], "content=11 needs as many latents, got 10"),
        (["group-vae", "--members", "1"], "at least 2 members"),
        (["group-vae", "--data", "sprites", "--common", "colour"], "no factor 'colour'"),
        (["group-vae", "--data", "digits"], "no image for every combination of factors"),
        (["group-vae", "--sampling", "epochs"], "--sampling is for methods that do not draw"),
        (["vae", "--common", "x"], "vae has no flag --common; it is for group-vae"),
    ],
)
def test_what_the_command_refuses(words, message):
    with pytest.raises(ValueError, match=message):
        build_and_trace(words)


def test_the_command_draws_groups():
    words = ["group-vae", "--data", "sprites", "--image-size", "16", "--members", "3", "--common", "shape", "x"]
    source, _ = build(parse_train(words).config)
    factors = np.asarray(jax.jit(lambda key: source.sample(key, 9)["factors"])(KEY)).reshape(3, 3, -1)
    same = (factors == factors[:, :1]).all((0, 1))
    assert same.tolist() == [name in ("shape", "x") for name in source.factor_names]
