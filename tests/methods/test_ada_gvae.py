"""Ada-GVAE: a pair's loss against its parts, and what is averaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, loss_of, make

from jaxvae import losses
from jaxvae.cli.train import parse_train
from jaxvae.data import Pairs, Sprites
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import check

KEY = jax.random.key(1)


def terms_by_hand(params, batch, shared, averaging, beta):
    """The equation, image by image."""
    method = make("vae")
    encoder, decoder = (method.networks[name].apply for name in ("encoder", "decoder"))
    own = [encoder(params["encoder"], batch[name]) for name in ("x", "x2")]
    average = losses.average_posteriors(*(jnp.stack(parts) for parts in zip(*own, strict=True)), averaging)
    value = 0.0
    for key, name, posterior in zip(jax.random.split(KEY), ("x", "x2"), own, strict=True):
        mean, logvar = (jnp.where(shared, a, b) for a, b in zip(average, posterior, strict=True))
        z = losses.reparameterize(key, mean, logvar)
        nll = losses.bernoulli_nll(decoder(params["decoder"], z), batch[name])
        value += 0.5 * (nll + beta * losses.kl_standard_normal(mean, logvar)).mean()
    return value


@pytest.mark.parametrize("averaging", ["gvae", "ml-vae", "ml-vae-harmonic"])
def test_loss_is_its_equation(averaging, params, batch):
    method = make("ada-gvae", averaging=averaging, hp={"beta": 3.0})

    @jax.jit
    def evaluate(params, batch):
        encoder = method.networks["encoder"].apply
        (mean, logvar), (mean2, logvar2) = (encoder(params["encoder"], batch[name]) for name in ("x", "x2"))
        divergence = 0.5 * (jnp.exp(logvar - logvar2) + (mean2 - mean) ** 2 / jnp.exp(logvar2) - 1 + logvar2 - logvar)
        low, high = divergence.min(1, keepdims=True), divergence.max(1, keepdims=True)
        same = (batch["x"] == batch["x2"]).all(axis=(1, 2, 3))
        shared = (divergence < (low + high) / 2) | same[:, None]
        by_hand = terms_by_hand(params, batch, shared, averaging, 3.0)
        return *loss_of(method, params, batch, KEY), same, shared, by_hand

    value, terms, same, shared, by_hand = jax.device_get(evaluate(params, batch))
    assert 0 < same.sum() < len(same)
    np.testing.assert_allclose(value, by_hand, rtol=1e-4)
    np.testing.assert_allclose(terms["shared_latents"], shared.sum(1).mean(), rtol=1e-6)
    assert 0 < terms["shared_latents"] < LATENTS


def test_known_masks_are_the_batch_s(params, batch):
    few = {**batch, "shared": np.asarray(batch["shared"])[:, :3]}
    shared = np.concatenate([few["shared"], np.ones((len(few["shared"]), 2), bool)], axis=1)

    @jax.jit
    def evaluate(params, batch):
        value, _ = loss_of(make("ada-gvae", masks="known"), params, batch, KEY)
        return value, terms_by_hand(params, batch, shared, "gvae", 1.0)

    value, by_hand = evaluate(params, few)
    np.testing.assert_allclose(value, by_hand, rtol=1e-5)
    many = {**batch, "shared": np.zeros((len(batch["x"]), 6), bool)}
    with pytest.raises(ValueError, match="6 factors, 5 latents"):
        evaluate(params, many)


def test_a_pair_that_shares_nothing_is_two_images_of_the_beta_vae(params, batch):
    """With known masks, none of them set: the mean of two beta-VAE losses, up to the noise, which is none here."""
    silent = lambda leaf: np.full(leaf.shape, -30.0 * (leaf.ndim == 1), np.float32)  # noqa: E731
    silence = jax.tree.map(silent, params["encoder"]["logvar"])
    quiet = {**params, "encoder": {**params["encoder"], "logvar": silence}}
    nothing = {**batch, "shared": np.zeros((len(batch["x"]), LATENTS), bool)}

    @jax.jit
    def evaluate(params, batch):
        value, _ = loss_of(make("ada-gvae", masks="known", hp={"beta": 2.0}), params, batch, KEY)
        beta_vae = make("beta-vae", hp={"beta": 2.0})
        alone = [loss_of(beta_vae, params, {"x": batch[name]}, KEY)[0] for name in ("x", "x2")]
        return value, sum(alone) / 2

    value, alone = evaluate(quiet, nothing)
    np.testing.assert_allclose(value, alone, rtol=1e-5)


def test_equal_images_are_averaged_whole(params, batch):
    """Nothing differs, so that all is shared, and the average of equal posteriors is each of them."""
    twins = {**batch, "x2": batch["x"]}
    methods = make("ada-gvae"), make("beta-vae")
    terms, alone = jax.jit(lambda params, batch: [loss_of(m, params, batch, KEY)[1] for m in methods])(params, twins)
    assert float(terms["shared_latents"]) == LATENTS
    np.testing.assert_allclose(terms["kl"], alone["kl"], rtol=1e-5)


def test_negative_beta_is_refused():
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        make("ada-gvae", hp={"beta": -1.0})


def test_the_command_draws_pairs():
    args = parse_train(
        ["ada-gvae", "--data", "sprites", "--image-size", "16", "--averaging", "ml-vae", "--shared", "2"]
    )
    source, method = build(args.config)
    assert source == Pairs(Sprites(16), 2)
    check(method, source, batch_size=4)
    assert build(default_config("ada-gvae")).source.shared == 3  # of the scene's four factors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["beta-vae", "--shared", "2"],
            "beta-vae has no flag --shared; it is for ada-gvae",
        ),
        (["ada-gvae", "--sampling", "epochs"], "--sampling is for methods that do not draw their images by factors"),
        (["ada-gvae", "--shared", "9"], "can share 0 to"),
        (["ada-gvae", "--data", "arrays:{folder}/a.npy"], "those of a are not known"),
    ],
)
def test_what_can_not_be_paired(flags, message, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 1), np.uint8))
    with pytest.raises(ValueError, match=message):
        build(parse_train([flag.format(folder=tmp_path) for flag in flags]).config)
