"""A batch, and parameters that are somewhere."""

import jax
import pytest
from method_table import draw, make

from jaxvae.training import make_train_step


@pytest.fixture(scope="session")
def batch():
    return draw(jax.random.key(7))


@pytest.fixture(scope="session")
def params():
    """Of encoder, decoder and a discriminator with two logits."""
    init, _ = make_train_step(make("factor-vae"), dataset_size=2)
    # Away from the start, where posteriors are near the prior and many terms near 0.
    noise = lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    return jax.jit(lambda: jax.tree.map(noise, init(jax.random.key(0)).params))()
