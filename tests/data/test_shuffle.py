"""Epochs: every example once, in an order that only the key decides."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.data import Epochs, Scene, from_arrays, shuffled_index


def table(size):
    images = np.zeros((size, 1, 1, 1), np.float32)
    return from_arrays(images, np.arange(size)[:, None])


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1))
def test_every_number_once(size, seed):
    order = shuffled_index(jax.random.key(seed), jnp.arange(size, dtype=jnp.uint32), size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_any_place_leads_anywhere():
    """Chi-squared of the entry at a place, and of pairs of neighbouring entries, over many keys."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    places = jnp.array([0, 1, 6], jnp.uint32)
    entries = np.asarray(jax.jit(jax.vmap(lambda key: shuffled_index(key, places, 7)))(keys))
    for column in entries.T:
        counts = np.bincount(column, minlength=7)
        assert ((counts - 20_000 / 7) ** 2 / (20_000 / 7)).sum() < 6 + 5 * np.sqrt(12)
    pairs = np.bincount(entries[:, 0] * 7 + entries[:, 1], minlength=49).reshape(7, 7)
    assert (np.diag(pairs) == 0).all()
    expected = 20_000 / 42
    assert ((pairs[~np.eye(7, dtype=bool)] - expected) ** 2 / expected).sum() < 41 + 5 * np.sqrt(82)


def test_a_large_set_is_walked_in_no_visible_order():
    order = np.asarray(shuffled_index(jax.random.key(1), jnp.arange(737_280, dtype=jnp.uint32), 737_280))
    assert len(np.unique(order)) == 737_280
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(order, np.arange(737_280))[0, 1]) < 0.01


@pytest.mark.parametrize("size", [10, 7])
def test_batches_go_through_all_examples_before_any_comes_again(size):
    source, key, n = Epochs(table(size)), jax.random.key(3), 4
    seen = np.concatenate([source.batch(key, step, n)["factors"][:, 0] for step in range(size * 3 // n)])
    epochs = [seen[i : i + size] for i in range(0, len(seen) - size + 1, size)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(size))
    assert len(epochs) == 2 + (size % 4 == 0)
    assert any((a != b).any() for a, b in itertools.pairwise(epochs))


def test_a_batch_depends_on_the_step_alone_compiled_or_not():
    source, key = Epochs(Scene()), jax.random.key(3)
    draw = jax.jit(lambda source, step: source.batch(key, step, 6)["factors"])
    for step in (0, 5, 2_000_000):
        np.testing.assert_array_equal(draw(source, jnp.int32(step)), source.batch(key, jnp.int32(step), 6)["factors"])
    whole = source.sample(key, 12)["factors"]
    np.testing.assert_array_equal(whole[5:8], source.sample(key, 3, first=5)["factors"])
