"""Widths, layer norm and dropout of the dense networks, against formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.networks import DenseLayers, autoencoder

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(5, 7)).astype(np.float32)


def built(layers, architecture="mlp-small", event_shape=(7,)):
    return autoencoder(architecture, event_shape, 3, layers=layers)


def params_of(network):
    return jax.tree.map(np.asarray, jax.jit(network.init)(KEY))


def by_hand(params, x, activation, output, layer_norm=False):
    """The network in float64: dense, layer norm, activation, for each hidden layer, and a dense layer."""
    x, layer = np.asarray(x, np.float64), 0
    hidden = [name for name in params if name.startswith("Dense_") and name != output]
    for layer in range(len(hidden)):
        dense = params[f"Dense_{layer}"]
        x = x @ dense["kernel"].astype(np.float64) + dense["bias"]
        if layer_norm:
            norm = params[f"LayerNorm_{layer}"]
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
            x = x * norm["scale"] + norm["bias"]
        x = activation(x)
    return x @ params[output]["kernel"].astype(np.float64) + params[output]["bias"]


@pytest.mark.parametrize("architecture", ["mlp", "mlp-small", "selu", "gelu"])
def test_hidden_widths_are_those_asked_for_and_mirrored_in_the_decoder(architecture):
    networks = built(DenseLayers((6, 4)), architecture)
    shapes = {
        name: [params[f"Dense_{k}"]["kernel"].shape for k in range(2)]
        for name in ("encoder", "decoder")
        for params in [jax.eval_shape(networks[name].init, KEY)]
    }
    assert shapes == {"encoder": [(7, 6), (6, 4)], "decoder": [(3, 4), (4, 6)]}


def test_widths_and_norms_are_those_of_the_architecture_by_default():
    params = jax.eval_shape(built(DenseLayers(), "selu")["encoder"].init, KEY)
    assert [params[f"Dense_{k}"]["kernel"].shape[1] for k in range(4)] == [256] * 4
    assert not any(name.startswith("LayerNorm") for name in params)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_networks_are_their_formula(layer_norm):
    networks = built(DenseLayers((6, 4), layer_norm))
    for name, x, output in (("encoder", ROWS, "mean"), ("decoder", ROWS[:, :3], "Dense_2")):
        params = jax.tree.map(lambda leaf: leaf + 0.1, params_of(networks[name]))
        got = jax.jit(networks[name].apply)(params, x)
        want = by_hand(params, x, lambda h: np.maximum(h, 0), output, layer_norm)
        np.testing.assert_allclose(got.mean if name == "encoder" else got, want, rtol=1e-4, atol=1e-5)


def test_layer_norm_does_not_couple_examples():
    encoder = built(DenseLayers(layer_norm=True))["encoder"]
    params, apply = params_of(encoder), jax.jit(encoder.apply)
    np.testing.assert_allclose(apply(params, ROWS)[0][:2], apply(params, ROWS[:2])[0], rtol=1e-4, atol=1e-6)


def test_gradients_of_a_normed_constant_are_finite():
    decoder = built(DenseLayers((6, 4), True))["decoder"]
    zeros = jax.tree.map(jnp.zeros_like, params_of(decoder))
    gradient = jax.jit(jax.grad(lambda params: decoder.apply(params, ROWS[:, :3] * 1e4).sum()))(zeros)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_dropout_acts_with_keys_alone():
    plain, noisy = (built(DenseLayers((64,), dropout=rate))["decoder"] for rate in (0.0, 0.25))
    params, z = params_of(plain), ROWS[:, :3]
    keys = jax.random.split(KEY, 5)
    apply = jax.jit(noisy.apply)
    np.testing.assert_array_equal(apply(params, z), jax.jit(plain.apply)(params, z))
    first = apply(params, z, keys)
    assert (np.asarray(first) != np.asarray(apply(params, z))).any()
    np.testing.assert_array_equal(first, apply(params, z, keys))
    np.testing.assert_allclose(first[2:], apply(params, z[2:], keys[2:]), rtol=1e-5, atol=1e-6)


def test_dropout_sets_a_share_to_zero_and_keeps_the_expectation():
    """One hidden layer of ReLUs that are all 1, summed by the output: 4 / 3 of the number that is kept."""
    decoder = autoencoder("mlp-small", (1,), 1, layers=DenseLayers((400,), dropout=0.25))["decoder"]
    params = {
        "Dense_0": {"kernel": np.zeros((1, 400), np.float32), "bias": np.ones(400, np.float32)},
        "Dense_1": {"kernel": np.ones((400, 1), np.float32), "bias": np.zeros(1, np.float32)},
    }
    sums = np.asarray(jax.jit(decoder.apply)(params, np.zeros((500, 1)), jax.random.split(KEY, 500)))[:, 0]
    kept = sums * 0.75
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-2)
    assert abs(sums.mean() - 400) < 4 * np.sqrt(400 * 0.75 * 0.25) / 0.75 / np.sqrt(500)
    assert abs(kept.std() - np.sqrt(400 * 0.75 * 0.25)) < 1.5


@pytest.mark.parametrize(
    ("architecture", "layers", "message"),
    [
        ("mlp", DenseLayers((4, 0)), "at least 1, got 4 0"),
        ("mlp", DenseLayers(dropout=1.0), "at least 0 and below 1, got 1.0"),
        ("mlp", DenseLayers(dropout=-0.1), "at least 0 and below 1, got -0.1"),
        ("xtanh", DenseLayers((4,)), "are for the networks mlp, mlp-small, selu, elu, gelu: leave them out"),
    ],
)
def test_impossible_layers_are_refused(architecture, layers, message):
    with pytest.raises(ValueError, match=message):
        built(layers, architecture)
