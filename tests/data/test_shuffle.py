"""Epochs: every example once, in an order that only the key decides."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.data import Epochs, from_arrays, shuffled_index

KEY = jax.random.key(3)


def table(size):
    images = np.zeros((size, 1, 1, 1), np.float32)
    return from_arrays(images, np.arange(size)[:, None])


@partial(jax.jit, static_argnums=1)
def whole_order(seed, size):
    return shuffled_index(jax.random.key(seed), jnp.arange(size, dtype=jnp.uint32), size)


@partial(jax.jit, static_argnums=1)
def drawn(source, n, first):
    return source.sample(KEY, n, first)["factors"]


@partial(jax.jit, static_argnums=2)
def batch_of(source, step, n):
    return source.batch(KEY, step, n)["factors"]


@given(size=st.sampled_from([1, 2, 37, 1024, 1025, 3000]), seed=st.integers(0, 2**32 - 1))
def test_every_number_once(size, seed):
    """Among them the largest number of examples that needs no more bits, and the next one."""
    order = whole_order(np.uint32(seed), size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


@pytest.mark.process
def test_any_place_leads_anywhere():
    """Chi-squared of the entry at a place, and of pairs of neighbouring entries, over many keys."""

    @jax.jit
    def entries_of(key):
        places = jnp.array([0, 1, 6], jnp.uint32)
        return jax.vmap(lambda key: shuffled_index(key, places, 7))(jax.random.split(key, 20_000))

    entries = np.asarray(entries_of(jax.random.key(0)))
    for column in entries.T:
        counts = np.bincount(column, minlength=7)
        assert ((counts - 20_000 / 7) ** 2 / (20_000 / 7)).sum() < 6 + 5 * np.sqrt(12)
    pairs = np.bincount(entries[:, 0] * 7 + entries[:, 1], minlength=49).reshape(7, 7)
    assert (np.diag(pairs) == 0).all()
    expected = 20_000 / 42
    assert ((pairs[~np.eye(7, dtype=bool)] - expected) ** 2 / expected).sum() < 41 + 5 * np.sqrt(82)


@pytest.mark.process
def test_a_large_set_is_walked_in_no_visible_order():
    order = np.asarray(whole_order(np.uint32(1), 737_280))
    assert len(np.unique(order)) == 737_280
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(order, np.arange(737_280))[0, 1]) < 0.01


@pytest.mark.parametrize("size", [10, 7])
def test_batches_go_through_all_examples_before_any_comes_again(size):
    source, n = Epochs(table(size)), 4
    seen = np.concatenate([np.asarray(batch_of(source, step, n))[:, 0] for step in range(size * 3 // n)])
    epochs = [seen[i : i + size] for i in range(0, len(seen) - size + 1, size)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(size))
    assert len(epochs) == 2 + (size % 4 == 0)
    assert any((a != b).any() for a, b in itertools.pairwise(epochs))


def test_a_batch_depends_on_the_step_alone_compiled_or_not():
    source = Epochs(table(1000))
    for step in (0, 5, 2_000_000):
        plain = source.batch(KEY, jnp.int32(step), 6)["factors"]
        np.testing.assert_array_equal(batch_of(source, jnp.int32(step), 6), plain)
    whole = np.asarray(drawn(source, 12, 0))
    np.testing.assert_array_equal(whole[5:8], drawn(source, 3, 5))
