"""Runs whose images stay in their file end in the bits of runs whose images are in memory."""

import os
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import Epochs, Streamed, from_arrays
from jaxvae.data.streamed import MOST_AT_ONCE, read_ahead
from jaxvae.methods import beta_vae, factor_vae
from jaxvae.networks import discriminator
from jaxvae.training import train
from tests.methods.tiny_networks import tiny_autoencoder

pytestmark = pytest.mark.process

ROUNDING = 1e-6 if "optimization_level" in os.environ["XLA_FLAGS"] else 0.0
"""Of weights near 0.1, by programs that draw their batch or are given it: none as users compile them (see .ci/run)."""


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return from_arrays(rng.integers(0, 256, (50, 16, 16, 1), np.uint8), np.arange(50)[:, None])


@pytest.fixture(scope="module")
def mapped(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("streamed") / "pixels.npy"
    np.save(path, table.pixels)
    return replace(table, pixels=np.load(path, mmap_mode="r"))


def params(state):
    return jax.tree.leaves(state.params)


def method(name, table):
    networks = tiny_autoencoder(table.event_shape, 3)
    if name == "factor_vae":
        return factor_vae({**networks, "discriminator": discriminator(3, 2, (8,))})
    return beta_vae(networks)


def in_order(source):
    return source


@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param("beta_vae", Epochs, marks=pytest.mark.slow),
        ("factor_vae", in_order),
        pytest.param("beta_vae", in_order, marks=pytest.mark.slow),
        pytest.param("factor_vae", Epochs, marks=pytest.mark.slow),
    ],
)
def test_same_bits_as_in_memory_and_after_an_interruption(name, order, table, mapped, tmp_path):
    settings = {"batch_size": 7, "seed": 3, "log_every": 2, "checkpoint_every": 4}
    steps = 4 * MOST_AT_ONCE  # more than are read before the first update
    expected = train(method(name, table), order(table), steps=steps, **settings)
    whole = train(method(name, table), order(Streamed(mapped)), steps=steps, **settings)
    train(method(name, table), order(Streamed(mapped)), steps=5, folder=tmp_path, **settings)
    resumed = train(method(name, table), order(Streamed(mapped)), steps=steps, folder=tmp_path, **settings)
    for a, b, c in zip(params(expected), params(whole), params(resumed), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=ROUNDING)
        np.testing.assert_array_equal(b, c)


def test_batches_are_read_before_they_are_asked_for(mapped, monkeypatch):
    read = []
    rows = Streamed.rows
    monkeypatch.setattr(Streamed, "rows", lambda self, index: read.append(len(index)) or rows(self, index))
    feed = read_ahead(Streamed(mapped), jax.random.key(0), 3, 100, 5)
    first = next(feed)
    patience = time.monotonic() + 60
    while len(read) == 1 and time.monotonic() < patience:
        time.sleep(0.01)
    assert 1 < len(read) < 97
    expected = mapped.batch(jax.random.key(0), jnp.int32(3), 5)
    for key, array in first.batch(jax.random.key(0), jnp.int32(3), 5).items():
        np.testing.assert_array_equal(array, expected[key])


def test_a_feed_ends_with_the_run(table, mapped):
    for source in (table, Streamed(mapped), Epochs(Streamed(mapped))):
        assert len(list(read_ahead(source, jax.random.key(0), 2, 5, 4))) == 3


def test_without_grain_its_install_command_is_named(mapped, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'jaxvae\[stream\]'"):
        read_ahead(Streamed(mapped), jax.random.key(0), 0, 5, 4)
