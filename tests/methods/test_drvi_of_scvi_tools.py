"""DRVI with parameters in the layout of scvi-tools: the loss against its formula in NumPy, float64."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln, log_softmax, logsumexp

from benchmarks.cells_scores import converted, with_our_inputs, with_their_inputs
from jaxvae.data import cells
from jaxvae.method import Context, Nets
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config

LATENTS, UNITS, ROWS = 4, 8, 16
RNG = np.random.default_rng(0)


def state(genes):
    """A state of their module as it is saved, with random values: weights are [outputs, inputs]."""
    shapes = {
        "z_encoder.encoder.fc_layers.Layer 0.0": (UNITS, genes),
        "z_encoder.mean_encoder": (LATENTS, UNITS),
        "z_encoder.var_encoder": (LATENTS, UNITS),
        "decoder.px_decoder.fc_layers.Layer 0.0": (UNITS, LATENTS + 2),
        "decoder.px_scale_decoder": (genes, UNITS),
    }
    made = {f"{name}.weight": RNG.normal(size=shape) for name, shape in shapes.items()}
    made |= {f"{name}.bias": RNG.normal(size=shape[0]) for name, shape in shapes.items()}
    # One latent in a split [splits, inputs of the network, latents of the split].
    made["decoder.split_transform.weight"] = RNG.normal(size=(LATENTS, LATENTS, 1))
    return made | {"px_r": RNG.normal(size=genes)}


def dense(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def hidden(x):
    """Layer norm without parameters, then ELU."""
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return np.where(x > 0, x, np.expm1(x))


def their_loss(weights, counts, batches, noise):
    """Mean over cells of -log NB(counts) + KL."""
    h = hidden(dense(weights, "z_encoder.encoder.fc_layers.Layer 0.0", np.log1p(counts)))
    mean = dense(weights, "z_encoder.mean_encoder", h)
    variance = np.exp(dense(weights, "z_encoder.var_encoder", h)) + 1e-4
    z = mean + np.sqrt(variance) * noise
    splits = z[:, :, None] * weights["decoder.split_transform.weight"][None, :, :, 0]
    seen = np.concatenate([splits, np.repeat(batches[:, None], LATENTS, axis=1)], axis=2)
    parts = dense(
        weights, "decoder.px_scale_decoder", hidden(dense(weights, "decoder.px_decoder.fc_layers.Layer 0.0", seen))
    )
    pooled = logsumexp(parts, axis=1) - np.log(LATENTS)
    rate = counts.sum(axis=1, keepdims=True) * np.exp(log_softmax(pooled, axis=1))
    theta = np.exp(weights["px_r"])
    log_p = (
        gammaln(counts + theta)
        - gammaln(theta)
        - gammaln(counts + 1)
        + theta * np.log(theta / (theta + rate))
        + counts * np.log(rate / (theta + rate))
    )
    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    return (kl.sum(axis=1) - log_p.sum(axis=1)).mean()


def test_the_loss_of_converted_parameters_is_theirs():
    config = default_config("drvi").with_flags(
        data="cells", latents=LATENTS, hidden=(UNITS,), dropout=0.0, covariates=("batch",)
    )
    source = config.batches.wrap(cells(cells=60, genes=20, programs=2), "drvi")
    method = build_method(config, networks_of(config, source), source)
    batch = jax.device_get(jax.jit(source.at)(np.arange(ROWS)))
    weights = state(batch["x"].shape[1])
    means = np.array([column.mean for column in source.schema.used])
    params = jax.tree.map(jnp.float32, converted(weights, means))
    shapes = jax.eval_shape(lambda: {name: net.init(jax.random.key(0)) for name, net in method.networks.items()})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)

    @jax.jit
    def loss(params, batch, key):
        ctx = Context(key, method.hyperparameters, jnp.int32(2**30), source.size)
        return method.objectives[0].loss(Nets(method.networks, params), batch, ctx)[0]

    key = jax.random.key(0)
    noise = jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(key, row), (LATENTS,)))(jnp.arange(ROWS))
    theirs = their_loss(
        weights, batch["x"].astype(np.float64), batch["aux"].astype(np.float64), np.asarray(noise, float)
    )
    np.testing.assert_allclose(loss(params, batch, key), theirs, rtol=1e-5)


def test_their_inputs_give_the_posterior_of_ours_at_the_start():
    table = cells(cells=32, genes=20)
    config = default_config("drvi").with_flags(
        data="cells", covariates=("batch",), latents=LATENTS, hidden=(UNITS,), dropout=0.0
    )
    source = config.batches.wrap(table, "drvi")
    method = build_method(config, networks_of(config, source), source)
    x = source.at(jnp.arange(ROWS))["x"]
    means = np.array([column.mean for column in source.schema.used])
    weights = state(x.shape[1])
    posteriors, gradients, moved = [], [], []
    for centred in (True, False):
        one = method if centred else with_their_inputs(method, means)
        params = jax.tree.map(jnp.float32, converted(weights, means, centred=centred))
        back = params if centred else with_our_inputs(params, means)
        moved.append(back["encoder"]["Dense_0"]["bias"])

        def posterior(encoder, one=one, params=params):
            found = one.encode(Nets(one.networks, {**params, "encoder": encoder}), {"x": x})
            return found.mean[:, 0].sum(), found

        (_, found), gradient = jax.jit(jax.value_and_grad(posterior, has_aux=True))(params["encoder"])
        posteriors.append(found)
        gradients.append(gradient["Dense_0"])
    for ours, theirs in zip(*posteriors, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    ours, theirs = gradients
    np.testing.assert_allclose(ours["bias"], theirs["bias"], atol=1e-3)
    # The kernels learn from other inputs, so that training goes another way.
    assert np.abs(ours["kernel"] - theirs["kernel"]).max() > 0.05
    np.testing.assert_allclose(*moved, atol=1e-4)
