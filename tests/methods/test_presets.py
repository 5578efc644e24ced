"""Published settings are those of the paper or its code: what was found to be otherwise, and what data presets name."""

import jax
import numpy as np
import pytest
from method_table import SOURCE, loss_of, make, own

from jaxvae import losses
from jaxvae.data import open_data
from jaxvae.method import Nets
from jaxvae.methods import METHODS
from jaxvae.methods.likelihoods import gaussian
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import check

KEY = jax.random.key(1)


def parameters(networks):
    init = lambda: {name: network.init(KEY) for name, network in networks.items()}  # noqa: E731
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init)))


@pytest.mark.parametrize("name", ["factor-vae", "decomposition-vae"])
def test_the_nets_of_kim_and_mnih(name):
    """Dense layers of 128 and kernels of 4 x 4: 497,045 parameters, counted in public code of the paper's nets."""
    config = default_config(name, "paper")
    networks = config.networks.make(open_data("sprites", image_size=64))
    assert parameters({part: networks[part] for part in ("encoder", "decoder")}) == 497_045
    params = jax.eval_shape(networks["encoder"].init, KEY)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if len(leaf.shape) == 4]
    assert sorted(kernels) == [(4, 4, 1, 32), (4, 4, 32, 32), (4, 4, 32, 64), (4, 4, 64, 64)]


def test_wae_has_the_dsprites_configuration_of_its_code():
    for name in ("wae-mmd", "wae-gan"):
        config = default_config(name, "paper")
        assert (config.hyperparameters.learning_rate, config.hyperparameters.prior_weight) == (1e-3, 10)
        assert (config.training.steps, config.training.batch_size) == (100 * 737_280 // 100, 100)
        assert (config.networks.latents, config.options.output) == (12, "sigmoid")
        np.testing.assert_allclose(config.options.scale**2, 10)  # 0.05 |x - G|^2
    assert config.hyperparameters.discriminator_learning_rate == 5e-4
    adversary = config.networks.make(open_data("sprites", image_size=16))["discriminator"]
    params = jax.jit(adversary.init)(KEY)
    layers = list(params.get("params", params).values())
    assert [layer["kernel"].shape for layer in layers] == [(12, 256), *[(256, 256)] * 3, (256, 1)]
    z = hidden = np.asarray(jax.random.normal(KEY, (5, 12)))
    for layer in layers:
        hidden = np.maximum(hidden, 0) if layer is not layers[0] else z
        hidden = hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    np.testing.assert_allclose(jax.jit(adversary.apply)(params, z), hidden, rtol=1e-4, atol=1e-5)


def test_a_sigmoid_output_is_what_the_cost_is_of(params, batch):
    cost_of = gaussian(10**0.5)
    linear, bounded = (
        make("wae-mmd", likelihood=cost_of, output=output, hp={"prior_weight": 0.0}) for output in ("linear", "sigmoid")
    )

    @jax.jit
    def evaluate(params, batch):
        net = Nets(bounded.networks, own(bounded, params))
        z = net.encoder(batch["x"]).mean
        image = jax.nn.sigmoid(net.decoder(z))
        cost = losses.gaussian_nll(image, batch["x"], 10**0.5).mean()
        outputs = [method.decode(net, z) for method in (linear, bounded)]
        return loss_of(bounded, own(bounded, params), batch, KEY)[0], cost, image, outputs

    loss, cost, image, (raw, shown) = jax.device_get(evaluate(params, batch))
    np.testing.assert_allclose(loss, cost, rtol=1e-6)
    np.testing.assert_allclose(shown, image, rtol=1e-6)
    assert np.abs(raw - image).max() > 0.1


def test_weighted_ivae_is_the_authors_sum_of_estimates(params, batch):
    """a log p(x|z) - b (log q(z|x,u) - log q(z)) - c (log q(z) - log q_i(z)) - d (log q_i(z) - log p(z|u))"""
    weights = {"a": 100.0, "b": 1.0, "c": 0.5, "d": 10.0}
    method = make("ivae", hp=weights, form="sampled", weighting="mws")

    @jax.jit
    def evaluate(params, batch):
        params = own(method, params)
        net = Nets(method.networks, params)
        posterior, prior = method.encode(net, batch), net.prior(batch["aux"])
        z = losses.reparameterize(KEY, *posterior)
        return *loss_of(method, params, batch, KEY), *posterior, prior.logvar, z

    loss, terms, g, logv, logl, z = (
        np.asarray(part, np.float64) if not isinstance(part, dict) else part
        for part in jax.device_get(evaluate(params, batch))
    )

    def log_normal(z, mean, logvar):
        return -0.5 * (np.log(2 * np.pi) + logvar + (z - mean) ** 2 / np.exp(logvar))

    pairs = log_normal(z[:, None], g[None], logv[None])
    count = np.log(len(z) * SOURCE.size)
    log_qz = np.log(np.exp(pairs.sum(-1)).sum(1)) - count
    log_qz_i = (np.log(np.exp(pairs).sum(1)) - count).sum(-1)
    posterior, prior = log_normal(z, g, logv).sum(-1), log_normal(z, 0, np.clip(logl, -15, 15)).sum(-1)
    kl = weights["b"] * (posterior - log_qz) + weights["c"] * (log_qz - log_qz_i) + weights["d"] * (log_qz_i - prior)
    np.testing.assert_allclose(loss, weights["a"] * float(terms["reconstruction"]) + kl.mean(), rtol=1e-5)


def test_the_weighted_preset_has_the_authors_estimates():
    config = default_config("ivae", "weighted")
    assert (config.options.form, config.options.weighting) == ("sampled", "mws")
    assert config.hyperparameters == METHODS["ivae"].hyperparameters(1e-2, 100, 1, 0, 10)


@pytest.mark.parametrize(
    ("method", "preset", "shape", "factor"),
    [
        ("ivae", "paper", (5,), "segment"),
        ("ivae", "weighted", (5,), "segment"),
        ("oi-vae", "bars", (8, 8, 1), "row"),
    ],
)
def test_presets_train_on_the_data_of_their_paper(method, preset, shape, factor):
    config = default_config(method, preset)
    source, built = build(config)
    assert (source.event_shape, source.factor_names) == (shape, (factor,))
    check(built, source, batch_size=config.training.batch_size)


def test_every_preset_names_its_data():
    """The landscape is no paper's data, so that no published setting should fall back on it."""
    for name, entry in METHODS.items():
        for preset in entry.presets:
            assert default_config(name, preset).source.data != "scene", (name, preset)


@pytest.mark.parametrize("name", ["segments", "bars"])
def test_generated_vectors_and_bars_are_not_resized(name):
    assert open_data(name).size == {"segments": 40_000, "bars": 2048}[name]
    with pytest.raises(ValueError, match=f"{name} are .* not resized: leave out --image-size"):
        open_data(name, image_size=16)


def test_icam_sums_over_the_authors_batch_of_one_image_of_each_class():
    config = default_config("icam", "paper")
    assert (config.training.batch_size, config.options.adversarial) == (1, "sum")
    assert config.hyperparameters.adversarial_weight == 1
