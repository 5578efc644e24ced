"""Exact terms against Gaussians, where they are known, and sparsity against its examples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import exact_kl_terms, hoyer_sparsity
from jaxvae.losses import kl_standard_normal, spike_and_slab

hoyer = jax.jit(hoyer_sparsity)


@partial(jax.jit, static_argnames="samples")
def terms_and_kl(key, mean, logvar, samples=1):
    return exact_kl_terms(key, mean, logvar, samples=samples), kl_standard_normal(mean, logvar).mean()


def test_a_gaussian_aggregate():
    cov, var = np.array([[0.7, 0.4], [0.4, 0.5]]), np.array([0.2, 0.3])
    mean = np.random.default_rng(0).multivariate_normal([0, 0], cov, 3000)
    total = cov + np.diag(var)
    logvar = np.broadcast_to(np.log(np.float32(var)), mean.shape)
    terms, kl = terms_and_kl(jax.random.key(0), np.float32(mean), logvar, samples=4)
    want = [
        0.5 * (np.linalg.slogdet(total)[1] - np.log(var).sum()),
        0.5 * (np.log(np.diag(total)).sum() - np.linalg.slogdet(total)[1]),
        0.5 * (np.diag(total) - 1 - np.log(np.diag(total))).sum(),
    ]
    np.testing.assert_allclose(terms, want, atol=0.05)
    np.testing.assert_allclose(sum(terms), kl, atol=0.05)


def test_vmapped_over_models_is_the_loop():
    means = np.random.default_rng(1).standard_normal((2, 50, 3), np.float32)
    key = jax.random.key(0)
    terms = lambda mean: exact_kl_terms(key, mean, jnp.zeros((50, 3)))  # noqa: E731
    together = np.asarray(jax.jit(jax.vmap(terms))(means))
    np.testing.assert_allclose(together.T, [jax.jit(terms)(mean) for mean in means], rtol=1e-4, atol=1e-5)


def test_hoyer_of_codes_it_is_known_for():
    np.testing.assert_allclose(hoyer(3 * np.eye(8, dtype=np.float32)), 1, rtol=1e-6)
    rng = np.random.default_rng(0)
    assert hoyer(rng.choice(np.float32([-1, 1]), (100, 6))) < 0.01
    normal = rng.standard_normal((4000, 50), np.float32)
    np.testing.assert_allclose(hoyer(normal), 0.229, atol=0.01)
    np.testing.assert_allclose(hoyer(-7 * normal), hoyer(normal), rtol=1e-5)
    sparse = jax.jit(lambda key: spike_and_slab(50).sample(key, 4000))(jax.random.key(0))
    np.testing.assert_allclose(hoyer(sparse), 0.650, atol=0.01)


def test_hoyer_of_latents_that_never_change():
    """They are worth nothing, whatever constant they hold; a scale of a latent's own changes nothing."""
    codes = np.random.default_rng(0).standard_normal((500, 4), np.float32)
    scaled = codes * np.array([[1.0, 100.0, 0.01, 5.0]], np.float32)
    np.testing.assert_allclose(hoyer(scaled), hoyer(codes), rtol=1e-4)
    off = [np.concatenate([codes[:, :2], np.full((500, 2), c, np.float32)], axis=1) for c in (0.0, 0.3, 1e3)]
    np.testing.assert_allclose([hoyer(c) for c in off], [hoyer(off[0])] * 3, rtol=1e-5)
    assert hoyer(off[0]) > hoyer(codes) + 0.1
    assert hoyer(np.zeros((500, 4), np.float32)) == 0
    with pytest.raises(ValueError, match="at least 2 latents"):
        hoyer_sparsity(jnp.zeros((5, 1)))
