"""Codes of named examples, reconstructions and traversals, on networks that are one line each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import encode_samples, random_examples, reconstruct, traverse
from jaxvae.data import Sprites
from jaxvae.data.subsets import Subset
from jaxvae.method import Method, Network, Posterior

SOURCE = Sprites(16)
SAMPLED = jax.jit(lambda key: random_examples(SOURCE, key, 7))
IDENTITY = Network(lambda key: {}, lambda params, x: x)


def method(encode=None, decode=None):
    return Method("toy", {"same": IDENTITY}, None, (), encode, decode)


def moments(net, batch):
    flat = net.same(batch["x"].reshape(len(batch["x"]), -1))
    return Posterior(jnp.stack([flat.mean(1), flat.sum(1)], axis=1), jnp.zeros((len(flat), 2)))


@pytest.mark.parametrize("batch_size", [3, 7, 500])
def test_samples_are_those_that_the_key_names_in_batches_of_any_size(batch_size):
    key = jax.random.key(5)
    codes = encode_samples(method(moments), {"same": {}}, SOURCE, key, 7, batch_size=batch_size)
    sample = SAMPLED(key)
    np.testing.assert_array_equal(codes.factors, sample["factors"])
    np.testing.assert_allclose(codes.mean[:, 0], np.asarray(sample["x"]).mean((1, 2, 3)), rtol=1e-5)


def test_no_example_is_encoded_twice():
    """A set of 30 gives 30 codes, however many are asked for, in an order that the key names."""
    source = Subset(SOURCE, np.arange(100, 130))
    orders = []
    for seed in (0, 1):
        codes = encode_samples(method(moments), {"same": {}}, source, jax.random.key(seed), 1000, batch_size=8)
        orders.append([tuple(row) for row in codes.factors.tolist()])
        assert len(codes.mean) == len(codes.logvar) == 30
    assert sorted(orders[0]) == sorted(map(tuple, np.asarray(SOURCE.at(np.arange(100, 130))["factors"]).tolist()))
    assert orders[0] != orders[1]
    assert set(orders[0]) == set(orders[1])


def test_kl_per_latent_is_a_mean_over_examples():
    codes = encode_samples(method(moments), {"same": {}}, SOURCE, jax.random.key(0), 5)
    np.testing.assert_allclose(codes.kl_per_latent(), 0.5 * (codes.mean**2).mean(axis=0), rtol=1e-5)


def test_a_traversal_sets_one_latent_and_leaves_the_others():
    code, values = np.array([5, 6, 7], np.float32), np.array([-1, 0.5], np.float32)
    shown = traverse(method(decode=lambda net, z: net.same(z)), {"same": {}}, jnp.asarray(code), jnp.asarray(values))
    codes = np.asarray(shown)
    assert codes.shape == (3, 2, 3)
    for latent in range(3):
        for step, value in enumerate(values):
            want = code.copy()
            want[latent] = value
            np.testing.assert_array_equal(codes[latent, step], want)


def test_reconstructions_are_decoded_from_the_posterior_mean():
    images = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
    shown = reconstruct(
        method(
            lambda net, x: Posterior(2 * net.same(x["x"]), net.same(x["x"]) + 100),
            lambda net, z: net.same(z) + 1,
        ),
        {"same": {}},
        {"x": images},
    )
    np.testing.assert_array_equal(shown, 2 * images + 1)
