"""The semi-supervised beta-VAE: its loss from its parts, its schedule, its data."""

from functools import cache

import jax
import numpy as np
import pytest
from method_table import SOURCE, build_and_trace, loss_of, make, own

from jaxvae import losses
from jaxvae.cli.train import parse_train
from jaxvae.data import Sprites, few_labels
from jaxvae.methods import semi_supervised_vae
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.runs.sweep import members_of
from jaxvae.training import check, make_train_step, train

KEY = jax.random.key(1)
KERNELS = {
    "cross-entropy": lambda mean, target: losses.label_cross_entropy(mean, target).mean(),
    "squared-error": lambda mean, target: losses.label_squared_error(mean, target).mean(),
    "covariance": losses.label_covariance,
}
SCALE = np.array(SOURCE.factor_sizes, np.float32) - 1
"""A target is a label divided by this."""


@cache
def losses_and_penalty(supervision):
    """In one program for all steps: the loss and its terms, that of the beta-VAE, and the labels' kernel."""
    hp = {"beta": 3.0, "gamma_sup": 7.0, "warmup": 10.0}
    method = make("semi-supervised-vae", supervision=supervision, hp=hp)

    @jax.jit
    def evaluate(params, batch, step):
        alone, _ = loss_of(make("beta-vae", hp={"beta": 3.0}), params, batch, KEY)
        mean = method.networks["encoder"].apply(params["encoder"], batch["labelled_x"]).mean
        target = batch["target"] * SCALE[None] if supervision == "covariance" else batch["target"]
        return *loss_of(method, params, batch, KEY, step), alone, KERNELS[supervision](mean, target)

    return evaluate


@pytest.mark.parametrize("supervision", KERNELS)
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_loss_is_the_beta_vae_s_and_the_labels(supervision, step, share, params, batch):
    value, terms, alone, penalty = jax.device_get(losses_and_penalty(supervision)(params, batch, step))
    np.testing.assert_allclose(terms["supervision"], penalty, rtol=1e-5)
    np.testing.assert_allclose(value, alone + 7 * share * penalty, rtol=1e-5)


def test_covariance_is_of_the_labels_as_they_are(params, batch):
    """As in the authors' code, entry by entry; a label that is not known counts as its factor's mean."""
    method = make("semi-supervised-vae", supervision="covariance", hp={"gamma_sup": 3.0})
    known = {**batch, "target": np.array(batch["target"])}
    known["target"][:, 1] = np.nan

    @jax.jit
    def evaluate(params, batch):
        mean = method.networks["encoder"].apply(params["encoder"], batch["labelled_x"]).mean
        return loss_of(method, params, batch, KEY)[1], mean

    terms, mean = jax.device_get(evaluate(params, known))
    label, total = np.array(batch["label"], np.float64), 0.0
    for d in range(mean.shape[1]):
        for f in range(label.shape[1]):
            covariance = np.cov(mean[:, d].astype(np.float64), label[:, f], bias=True)[0, 1]
            total += 0 if f in (1, d) else covariance**2
    np.testing.assert_allclose(terms["supervision"], total, rtol=1e-4)


@pytest.mark.parametrize(
    ("preset", "form", "gamma_sup"),
    [("study", "cross-entropy", 4 * 64)]
    + [(f"study-{form}", form, 4) for form in ("covariance", "embedding", "mutual-information")],
)
def test_the_weight_is_the_authors_4_times_64_only_where_they_sum(preset, form, gamma_sup):
    config = default_config("semi-supervised-vae", preset)
    assert (config.options.supervision, config.settled().hyperparameters.gamma_sup) == (form, gamma_sup)
    assert (config.training.batch_size, config.training.steps, config.hyperparameters.beta) == (64, 300_000, 4)


@pytest.mark.parametrize(
    ("form", "gamma_sup"),
    [("cross-entropy", 256), ("squared-error", 256), ("covariance", 4), ("embedding", 4), ("mutual-information", 4)],
)
def test_the_default_weight_is_that_of_the_form(form, gamma_sup):
    """In Python and on the command line, whose config.json holds the number; a weight that is given is kept."""
    words = ["semi-supervised-vae", "--data", "sprites", "--image-size", "16", "--supervision", form]
    for flags, wanted in (([], gamma_sup), (["--gamma-sup", "256"], 256), (["--gamma-sup", "4"], 4)):
        config = parse_train([*words, *flags]).config
        assert config.to_json()["hyperparameters"]["gamma_sup"] == wanted
        assert build(config).method.hyperparameters.gamma_sup == wanted
    assert (
        build(
            default_config("semi-supervised-vae").with_flags(data="digits", supervision=form)
        ).method.hyperparameters.gamma_sup
        == gamma_sup
    )
    swept = parse_train([*words, "--sweep", "beta=1,2"])
    assert {member.config.hyperparameters.gamma_sup for member in members_of(swept.config, [0], swept.sweep)} == {
        gamma_sup
    }


def test_embedding_is_its_equation(params, batch):
    """Row by row, factor by factor; a target that is not known costs nothing."""
    method = make("semi-supervised-vae", supervision="embedding", hp={"gamma_sup": 3.0})
    known = {**batch, "target": np.array(batch["target"])}
    known["target"][:, 1] = np.nan

    @jax.jit
    def evaluate(params, batch):
        params = own(method, params)
        params["embedding"]["log_sharpness"] = np.float32(0.7)
        mean = method.networks["encoder"].apply(params["encoder"], batch["labelled_x"]).mean
        return *loss_of(method, params, batch, KEY), mean

    value, terms, mean = jax.device_get(evaluate(params, known))
    mean = mean.astype(np.float64)
    total = 0.0
    for factor, size in enumerate(SOURCE.factor_sizes):
        places = np.linspace(-1, 1, size)
        for code, label in zip(mean[:, factor], np.asarray(batch["label"])[:, factor], strict=True):
            logits = -((np.exp(0.7) * (code - places)) ** 2)
            total += 0 if factor == 1 else np.log(np.exp(logits).sum()) - logits[label]
    np.testing.assert_allclose(terms["supervision"], total / len(mean), rtol=1e-4)
    np.testing.assert_allclose(value - terms["reconstruction"] - 4 * terms["kl"], 3 * total / len(mean), rtol=1e-3)
    init, update = make_train_step(method, dataset_size=2)

    @jax.jit
    def around_an_update(batch):
        state = init(KEY)
        return [one.params["embedding"] for one in (state, update(state, batch)[0])]

    before, after = jax.device_get(around_an_update(batch))
    assert after["log_sharpness"] != 0
    assert (after["places"]["factor0"] != before["places"]["factor0"]).any()


def test_critics_and_encoder_want_opposite_things(batch):
    method = make("semi-supervised-vae", supervision="mutual-information", hp={"critic_learning_rate": 0.0})
    init, update = make_train_step(method, dataset_size=2)
    state, step = jax.jit(init)(KEY), jax.jit(update)
    assert set(state.params) == {"encoder", "decoder", "critics"}
    silent, terms = jax.device_get(step(state, batch))
    assert set(terms) >= {"supervision", "critics_loss"}
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), jax.device_get(state.params), silent.params)
    assert not any(jax.tree.leaves(changed["critics"]))
    assert any(jax.tree.leaves(changed["encoder"]))
    hp = state.hyperparameters._replace(learning_rate=0.0, critic_learning_rate=0.01)
    state = state._replace(hyperparameters=jax.tree.map(np.float32, hp))
    for _ in range(200):
        state, later = step(state, batch)
    assert float(later["critics_loss"]) < terms["critics_loss"] - 1
    assert float(later["supervision"]) > terms["supervision"]

    @jax.jit
    def information(params, batch):
        codes = method.networks["encoder"].apply(params["encoder"], batch["labelled_x"]).mean
        targets = batch["target"], losses.permute_dims(jax.random.key(5), batch["target"])
        scores = (method.networks["critics"].apply(params["critics"], target, codes) for target in targets)
        return losses.donsker_varadhan_bound(*scores).sum()

    assert float(information(state.params, batch)) > 1


def test_information_is_of_other_factors_alone(params, batch):
    """By the bound, pair by pair."""
    method = make("semi-supervised-vae", supervision="mutual-information")

    @jax.jit
    def evaluate(params, batch):
        params = own(method, params)
        mean = method.networks["encoder"].apply(params["encoder"], batch["labelled_x"]).mean
        targets = batch["target"], losses.permute_dims(KEY, batch["target"])
        scores = [method.networks["critics"].apply(params["critics"], target, mean) for target in targets]
        return loss_of(method, params, batch, KEY)[1], scores

    terms, scores = jax.device_get(evaluate(params, batch))
    total = 0.0
    for factor in range(scores[0].shape[1]):
        for latent in range(scores[0].shape[2]):
            t, s = (score[:, factor, latent].astype(np.float64) for score in scores)
            total += 0 if factor == latent else (t.mean() - np.log(np.exp(s).mean())) ** 2
    np.testing.assert_allclose(terms["supervision"], total, rtol=1e-3)


@pytest.mark.parametrize(("supervision", "missing"), [("embedding", "embedding"), ("mutual-information", "critics")])
def test_what_supervision_needs_is_named(supervision, missing):
    with pytest.raises(ValueError, match=missing):
        semi_supervised_vae(make("vae").networks, supervision=supervision)


def test_targets_run_from_0_to_1(batch):
    label, sizes = np.asarray(batch["label"]), np.array(SOURCE.factor_sizes)
    np.testing.assert_allclose(batch["target"], label / (sizes - 1), rtol=1e-6)
    labelled = jax.jit(lambda index: SOURCE.source.few.source.at(index)["factors"])(np.arange(50, dtype=np.int32))
    assert set(map(tuple, label)) <= set(map(tuple, np.asarray(labelled)))


@pytest.mark.process
def test_labels_teach_the_latents():
    """With labels alone, each latent comes to follow its factor on images without labels."""
    source = few_labels(Sprites(16), 2000)
    method = make("semi-supervised-vae", hp={"beta": 0.0, "gamma_sup": 1e4, "learning_rate": 3e-3})
    state = train(method, source, steps=200, batch_size=64)

    @jax.jit
    def of_new_images(params):
        new = Sprites(16).sample(jax.random.key(9), 500)
        return method.networks["encoder"].apply(params["encoder"], new["x"]).mean, new["factors"]

    codes, factors = jax.device_get(of_new_images(state.params))
    for factor in (1, 3, 4):  # scale, x, y: shape and orientation have no order that a logit could follow
        assert np.corrcoef(codes[:, factor], factors[:, factor])[0, 1] > 0.8


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
    with pytest.raises(ValueError, match="beta-vae has no flag --labels; it is for semi-supervised-vae"):
        build(parse_train(["beta-vae", "--labels", "7"]).config)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--labels", "0"], "got count=0"),
        (["--latents", "3"], "factors, 3 latents"),
        (["--data", "arrays:{folder}/a.npy"], "nothing to label with"),
        (
            ["--stream", "--data", "arrays:{folder}/a.npy"],
            "--stream is for methods that learn from single images without labels: leave it out",
        ),
    ],
)
def test_what_can_not_be_labelled(flags, message, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 1), np.uint8))
    flags = [flag.format(folder=tmp_path) for flag in flags]
    with pytest.raises(ValueError, match=message):
        build_and_trace(["semi-supervised-vae", *flags, "--batch-size", "4"])
