import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.networks import ARCHITECTURES, autoencoder
from jaxvae.networks.conv import burgess_halvings

OF_IMAGES = [name for name in ARCHITECTURES if name != "conv1d"]


def started(network):
    """Shapes and types of its parameters."""
    return jax.eval_shape(network.init, jax.random.key(0))


def count(network):
    return sum(leaf.size for leaf in jax.tree.leaves(started(network)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(16, 16, 1), (32, 48, 3), (64, 64, 2)])
@pytest.mark.parametrize("architecture", OF_IMAGES)
def test_shapes_and_dtypes(architecture, shape, dtype):
    networks = autoencoder(architecture, shape, 7, dtype)
    params = {name: started(network) for name, network in networks.items()}
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    posterior = jax.eval_shape(
        networks["encoder"].apply, params["encoder"], jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    )
    assert [(leaf.shape, leaf.dtype) for leaf in posterior] == [((2, 7), jnp.float32)] * 2
    raw = jax.eval_shape(networks["decoder"].apply, params["decoder"], jax.ShapeDtypeStruct((2, 7), jnp.float32))
    assert (raw.shape, raw.dtype) == ((2, *shape), jnp.float32)


@pytest.mark.parametrize(
    ("architecture", "layers"), [("conv", 4), ("kim", 4), ("burgess", 2), ("mlp-small", 2), ("mlp", 3)]
)
def test_decoders_tell_their_hidden_layers(architecture, layers):
    """Those of the whole batch in order, though convolutions take it in parts, without any change of the output."""
    decoder = autoencoder(architecture, (16, 16, 1), 5)["decoder"]
    params = jax.jit(decoder.init)(jax.random.key(0))
    codes = jax.random.normal(jax.random.key(1), (40, 5))

    @jax.jit
    def told(codes):
        return decoder.hidden(params, codes), decoder.hidden(params, codes[:5]), decoder.apply(params, codes)

    hidden, first, output = told(codes)
    assert len(hidden) == layers
    assert all(len(layer) == 40 for layer in hidden)
    for layer, part in zip(hidden, first, strict=True):
        np.testing.assert_allclose(layer[:5], part, atol=1e-5)
        assert np.abs(layer).max() > 0
        if architecture in ("conv", "burgess", "kim"):  # after the ReLU
            assert layer.min() >= 0
    assert output.shape == (40, 16, 16, 1)


def test_parameters_of_the_published_networks():
    """Counted by hand from the papers' tables: (inputs + 1) x outputs of every layer."""
    study = autoencoder("conv", (64, 64, 1), 10)
    conv = 16 * 32 + 32 + 16 * 32 * 32 + 32 + 4 * 32 * 64 + 64 + 4 * 64 * 64 + 64
    assert count(study["encoder"]) == conv + 1025 * 256 + 2 * 257 * 10
    deconv = 16 * 64 * 64 + 64 + 16 * 64 * 32 + 32 + 16 * 32 * 32 + 32 + 16 * 32 + 1
    assert count(study["decoder"]) == 11 * 256 + 257 * 1024 + deconv
    mlp = autoencoder("mlp", (64, 64, 1), 10)
    assert count(mlp["encoder"]) == 4097 * 1200 + 1201 * 1200 + 2 * 1201 * 10
    assert count(mlp["decoder"]) == 11 * 1200 + 2 * 1201 * 1200 + 1201 * 4096
    kim = autoencoder("kim", (64, 64, 1), 10)
    conv = 16 * 32 + 32 + 16 * 32 * 32 + 32 + 16 * 32 * 64 + 64 + 16 * 64 * 64 + 64
    assert count(kim["encoder"]) == conv + 1025 * 128 + 2 * 129 * 10
    assert count(kim["decoder"]) == 11 * 128 + 128 * 1024 + 64 + deconv
    assert count(kim["encoder"]) + count(kim["decoder"]) == 497_045
    burgess = autoencoder("burgess", (64, 64, 1), 10)
    conv = 16 * 32 + 32 + 3 * (16 * 32 * 32 + 32)
    assert count(burgess["encoder"]) == conv + 513 * 256 + 257 * 256 + 2 * 257 * 10


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_are_glorot_uniform_and_biases_zero(architecture):
    shape = (32, 32, 1) if architecture in OF_IMAGES else (32, 16)
    params = jax.jit(autoencoder(architecture, shape, 10)["encoder"].init)(jax.random.key(0))
    params = jax.tree.map(np.asarray, params)
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    biases = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 1]
    assert len(kernels) == len(biases) >= 3
    assert not any(bias.any() for bias in biases)
    for kernel in kernels:
        receptive = int(np.prod(kernel.shape[:-2]))
        limit = np.sqrt(6 / (receptive * (kernel.shape[-2] + kernel.shape[-1])))
        assert np.abs(kernel).max() <= limit
        assert np.abs(kernel).max() > 0.9 * limit


@pytest.mark.parametrize(("side", "halvings"), [(16, 2), (32, 3), (48, 3), (64, 4), (80, 4), (128, 5)])
def test_burgess_halves_down_to_about_4(side, halvings):
    assert burgess_halvings((side, side, 1)) == halvings


def test_bfloat16_stays_close_to_float32():
    @jax.jit
    def means(image):
        networks = [autoencoder("conv", (32, 32, 1), dtype=d)["encoder"] for d in (jnp.float32, jnp.bfloat16)]
        params = networks[0].init(jax.random.key(0))
        return [network.apply(params, image).mean for network in networks]

    exact, rough = map(np.asarray, means(np.random.default_rng(1).random((4, 32, 32, 1), np.float32)))
    np.testing.assert_allclose(rough, exact, atol=0.05 * np.abs(exact).max())
    assert (rough != exact).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("conv2", (64, 64, 1), 10),
            "unknown network 'conv2': did you mean 'conv'\\? There are: conv, burgess, kim, mlp, mlp-small",
        ),
        (("conv", (30, 64, 1), 10), "divisible by 16, got 30x64"),
        (("burgess", (64, 40, 1), 10), "divisible by 16, got 64x40"),
        (("mlp", (64, 64, 1), 0), "at least 1 latent"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        autoencoder(*arguments)
