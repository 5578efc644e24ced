"""Convolutions over time: lengths, formulas, and that they learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import waves
from jaxvae.methods import VAE, gaussian, vae
from jaxvae.networks import autoencoder
from jaxvae.networks.conv1d import lengths
from jaxvae.training import train

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("times", "want"),
    [
        (1, (1,)),
        (6, (6,)),
        (7, (7, 4)),
        (8, (8, 4)),
        (9, (9, 5)),
        (50, (50, 25, 13, 7, 4)),
        (64, (64, 32, 16, 8, 4)),
        (1000, (1000, 500, 250, 125, 63)),
    ],
)
def test_lengths_halve_and_round_up(times, want):
    assert lengths(times) == want


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (7, 3), (13, 1), (50, 4), (64, 3), (101, 2)])
def test_series_of_any_length_come_back_in_their_shape(shape, dtype):
    networks = autoencoder("conv1d", shape, 5, dtype)
    params = {name: jax.eval_shape(network.init, KEY) for name, network in networks.items()}
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    series = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    posterior = jax.eval_shape(networks["encoder"].apply, params["encoder"], series)
    assert [(leaf.shape, leaf.dtype) for leaf in posterior] == [((2, 5), jnp.float32)] * 2
    raw = jax.eval_shape(networks["decoder"].apply, params["decoder"], jax.ShapeDtypeStruct((2, 5), jnp.float32))
    assert (raw.shape, raw.dtype) == ((2, *shape), jnp.float32)


def dense(params, x):
    return x @ params["kernel"].astype(np.float64) + params["bias"]


def test_the_encoder_is_its_formula():
    """Eight times: one convolution, whose kernel of 4 sees one time of padding on either side."""
    encoder = autoencoder("conv1d", (8, 2), 3)["encoder"]
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.01, jax.jit(encoder.init)(KEY))
    series = np.random.default_rng(0).normal(size=(3, 8, 2))
    padded = np.pad(series, ((0, 0), (1, 1), (0, 0)))
    windows = np.stack([padded[:, 2 * place : 2 * place + 4] for place in range(4)], axis=1)
    kernel = params["Conv_0"]["kernel"].astype(np.float64)
    hidden = np.maximum(np.einsum("bpkc,kcf->bpf", windows, kernel) + params["Conv_0"]["bias"], 0)
    hidden = np.maximum(dense(params["Dense_0"], hidden.reshape(3, -1)), 0)
    mean, logvar = jax.jit(encoder.apply)(params, series.astype(np.float32))
    np.testing.assert_allclose(mean, dense(params["mean"], hidden), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logvar, dense(params["logvar"], hidden), rtol=1e-4, atol=1e-5)


def test_the_decoder_is_its_formula_and_cuts_off_what_the_encoder_padded():
    """Each of four times adds its flipped kernel at twice its place, less 1; seven are the first seven of eight."""
    eight, seven = (autoencoder("conv1d", (times, 2), 3)["decoder"] for times in (8, 7))
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.01, jax.jit(eight.init)(KEY))
    z = np.random.default_rng(0).normal(size=(3, 3))
    hidden = np.maximum(dense(params["Dense_0"], z), 0)
    hidden = np.maximum(dense(params["Dense_1"], hidden), 0).reshape(3, 4, -1)
    kernel = params["ConvTranspose_0"]["kernel"].astype(np.float64)
    full = np.zeros((3, 10, 2))
    for place in range(4):
        full[:, 2 * place : 2 * place + 4] += np.einsum("bc,kcf->bkf", hidden[:, place], kernel[::-1])
    want = full[:, 1:9] + params["ConvTranspose_0"]["bias"]
    got = jax.jit(eight.apply)(params, z.astype(np.float32))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(jax.jit(seven.apply)(params, z.astype(np.float32)), got[:, :7])


@pytest.mark.process
def test_it_learns_waves():
    source, rows = waves(times=32), []
    method = vae(autoencoder("conv1d", source.event_shape, 5), likelihood=gaussian(0.3), hyperparameters=VAE(3e-3))
    writers = [lambda step, row: rows.append(row["loss"])]
    with jax.numpy_dtype_promotion("standard"):  # Optax multiplies its int32 step count with floats
        train(method, source, steps=150, batch_size=32, seed=0, log_every=30, writers=writers)
    assert rows[-1] < 0.5 * rows[0]


@pytest.mark.parametrize(
    ("shape", "what"),
    [((50,), "vectors of 50 numbers"), ((16, 16, 1), "images of 16x16x1"), ((1,), "vectors of 1 number")],
)
def test_other_examples_are_refused(shape, what):
    with pytest.raises(ValueError, match=f"network 'conv1d' needs series .T, D., and the examples are {what}: choose"):
        autoencoder("conv1d", shape, 5)
