"""Features lie on the sphere; the published network has the published size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.networks import feature_network

SHAPES = [(8, 8, 1), (16, 24, 3)]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_shapes_and_dtypes(kind, shape, dtype):
    network = feature_network(shape, 7, kind, dtype)
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    features = jax.eval_shape(network.apply, params, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
    assert (features.shape, features.dtype) == ((2, 7), jnp.float32)


def test_parameters_of_the_published_network():
    """Convolutions without biases, two numbers per channel of a norm, and a head of 512 to 128."""

    def norm(channels):
        return 2 * channels

    def block(before, channels):
        convolutions = 9 * before * channels + 9 * channels * channels + 2 * norm(channels)
        return convolutions + (before * channels + norm(channels) if before != channels else 0)

    trunk = 9 * 3 * 64 + norm(64)
    for before, channels in ((64, 64), (64, 128), (128, 256), (256, 512)):
        trunk += block(before, channels) + block(channels, channels)
    # torchvision's ResNet-18 has 11,689,512: a 7x7 stem, and 512 x 1,000 + 1,000 of a classifier.
    assert trunk == 11_689_512 - 49 * 3 * 64 + 9 * 3 * 64 - 513_000
    head = 512 * 512 + norm(512) + 513 * 128
    resnet = feature_network((32, 32, 3), 128, "resnet")
    assert count(jax.eval_shape(resnet.init, jax.random.key(0))) == trunk + head == 11_497_664
    mlp = feature_network((8, 8, 1), 40)
    assert count(jax.eval_shape(mlp.init, jax.random.key(0))) == 65 * 512 + 513 * 512 + 513 * 40


def check_a_step(network, shape):
    """Unit length, all parameters in use, and features that change with the parameters' gradient."""
    params = jax.jit(network.init)(jax.random.key(0))
    image = np.random.default_rng(1).random((4, *shape), np.float32)
    wanted = np.eye(4, 5, dtype=np.float32)

    def distance(params):
        features = network.apply(params, image)
        return ((features - wanted) ** 2).sum(), features

    (before, features), gradient = jax.jit(jax.value_and_grad(distance, has_aux=True))(params)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    params, gradient = jax.tree.map(np.asarray, (params, gradient))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    after, _ = jax.jit(distance)(jax.tree.map(lambda p, g: p - np.float32(1e-3) * g, params, gradient))
    assert after < before


def test_a_step_of_the_mlp():
    check_a_step(feature_network((8, 8, 1), 5), (8, 8, 1))


@pytest.mark.slow
def test_a_step_of_the_resnet():
    check_a_step(feature_network((16, 16, 3), 5, "resnet"), (16, 16, 3))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_unit_length_and_finite_gradients_where_there_is_no_direction(dtype):
    """An image that makes every unit 0, and one that does not."""
    network = feature_network((8, 8, 1), 5, dtype=dtype)
    image = np.concatenate([np.zeros((1, 8, 8, 1)), np.random.default_rng(1).random((1, 8, 8, 1))]).astype(np.float32)

    @jax.jit
    def features_and_gradient(key):
        params = network.init(key)
        loss = lambda params: network.apply(params, image).sum()  # noqa: E731
        return network.apply(params, image), jax.grad(loss)(params)

    features, gradient = features_and_gradient(jax.random.key(0))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), [0, 1], rtol=1e-6)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8, 8, 1), 5, "vgg"), "unknown kind of network 'vgg'; there are mlp, resnet"),
        (((8, 8, 1), 0), "at least 1 dimension, got features=0"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        feature_network(*arguments)
