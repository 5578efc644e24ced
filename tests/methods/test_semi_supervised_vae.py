"""The semi-supervised beta-VAE: its loss from its parts, its schedule, its data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import SOURCE, build_and_trace, loss_of, make

from jaxvae import losses
from jaxvae.commands.train import parse_train
from jaxvae.config import build
from jaxvae.data import Sprites, few_labels
from jaxvae.training import check, train

KEY = jax.random.key(1)
KERNELS = {
    "cross-entropy": lambda mean, target: losses.label_cross_entropy(mean, target).mean(),
    "squared-error": lambda mean, target: losses.label_squared_error(mean, target).mean(),
    "covariance": losses.label_covariance,
}


@pytest.mark.parametrize("supervision", KERNELS)
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_loss_is_the_beta_vae_s_and_the_labels(supervision, step, share, params, batch):
    hp = {"beta": 3.0, "gamma_sup": 7.0, "warmup": 10.0}
    method = make("semi-supervised-vae", supervision=supervision, hp=hp)
    value, terms = loss_of(method, params, batch, KEY, step)
    alone, _ = loss_of(make("beta-vae", hp={"beta": 3.0}), params, batch, KEY)
    mean = method.networks["encoder"].apply(params["encoder"], batch["labelled_image"]).mean
    penalty = KERNELS[supervision](mean, batch["target"])
    np.testing.assert_allclose(terms["supervision"], penalty, rtol=1e-5)
    np.testing.assert_allclose(value, alone + 7 * share * penalty, rtol=1e-5)


def test_targets_run_from_0_to_1(batch):
    label, sizes = np.asarray(batch["label"]), np.array(SOURCE.factor_sizes)
    np.testing.assert_allclose(batch["target"], label / (sizes - 1), rtol=1e-6)
    assert set(map(tuple, label)) <= set(map(tuple, np.asarray(SOURCE.source.few.source.at(jnp.arange(50))["factors"])))


def test_labels_teach_the_latents():
    """With labels alone, each latent comes to follow its factor on images without labels."""
    source = few_labels(Sprites(16), 2000)
    method = make("semi-supervised-vae", hp={"beta": 0.0, "gamma_sup": 1e4})
    state = train(method, source, steps=600, batch_size=64)
    new = Sprites(16).sample(jax.random.key(9), 500)
    codes = method.networks["encoder"].apply(state.params["encoder"], new["image"]).mean
    for factor in (1, 3, 4):  # scale, x, y: shape and orientation have no order that a logit could follow
        assert np.corrcoef(codes[:, factor], new["factors"][:, factor])[0, 1] > 0.8


@pytest.mark.parametrize("name", ["beta", "gamma_sup"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is a weight and must be >= 0, got -1"):
        make("semi-supervised-vae", hp={name: -1.0})


def test_the_command_draws_labels():
    args = parse_train(["semi-supervised-vae", "--data", "sprites", "--image-size", "16", "--labels", "7"])
    source, method = build(args.config)
    assert source.few.size == 7
    check(method, source, batch_size=4)


def test_labels_for_a_method_that_has_no_use_for_them_are_refused():
    with pytest.raises(ValueError, match="--labels and --label-quality are for methods .* beta-vae does not"):
        build(parse_train(["beta-vae", "--labels", "7"]).config)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--labels", "0"], "got count=0"),
        (["--latents", "3"], "factors, 3 latents"),
        (["--data", "arrays:{folder}/a.npy"], "nothing to label with"),
        (["--stream", "--data", "arrays:{folder}/a.npy"], "leave out --stream"),
    ],
)
def test_what_can_not_be_labelled(flags, message, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 1), np.uint8))
    flags = [flag.format(folder=tmp_path) for flag in flags]
    with pytest.raises(ValueError, match=message):
        build_and_trace(["semi-supervised-vae", *flags, "--batch-size", "4"])
