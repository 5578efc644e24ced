"""Exact terms against Gaussians, where they are known, and sparsity against its examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import exact_kl_terms, hoyer_sparsity
from jaxvae.losses import kl_standard_normal, spike_and_slab


def test_a_gaussian_aggregate():
    cov, var = np.array([[0.7, 0.4], [0.4, 0.5]]), np.array([0.2, 0.3])
    mean = np.random.default_rng(0).multivariate_normal([0, 0], cov, 3000)
    total = cov + np.diag(var)
    terms = exact_kl_terms(
        jax.random.key(0), jnp.float32(mean), jnp.broadcast_to(jnp.log(jnp.float32(var)), mean.shape), samples=4
    )
    want = [
        0.5 * (np.linalg.slogdet(total)[1] - np.log(var).sum()),
        0.5 * (np.log(np.diag(total)).sum() - np.linalg.slogdet(total)[1]),
        0.5 * (np.diag(total) - 1 - np.log(np.diag(total))).sum(),
    ]
    np.testing.assert_allclose(terms, want, atol=0.05)
    kl = kl_standard_normal(jnp.float32(mean), jnp.broadcast_to(jnp.log(jnp.float32(var)), mean.shape)).mean()
    np.testing.assert_allclose(sum(terms), kl, atol=0.05)


def test_vmapped_over_models_is_the_loop():
    means = jax.random.normal(jax.random.key(1), (2, 50, 3))
    key = jax.random.key(0)
    together = jax.vmap(lambda mean: exact_kl_terms(key, mean, jnp.zeros((50, 3))))(means)
    for i, mean in enumerate(means):
        alone = exact_kl_terms(key, mean, jnp.zeros((50, 3)))
        np.testing.assert_allclose([term[i] for term in together], alone, rtol=1e-4, atol=1e-5)


def test_hoyer_of_codes_it_is_known_for():
    np.testing.assert_allclose(hoyer_sparsity(jnp.eye(8) * 3), 1, rtol=1e-6)
    signs = jnp.sign(jax.random.normal(jax.random.key(0), (100, 6)))
    assert hoyer_sparsity(signs) < 0.01
    normal = jax.random.normal(jax.random.key(0), (4000, 50))
    np.testing.assert_allclose(hoyer_sparsity(normal), 0.229, atol=0.01)
    np.testing.assert_allclose(hoyer_sparsity(-7.0 * normal), hoyer_sparsity(normal), rtol=1e-5)
    sparse = spike_and_slab(50).sample(jax.random.key(0), 4000)
    np.testing.assert_allclose(hoyer_sparsity(sparse), 0.650, atol=0.01)


def test_hoyer_of_latents_that_never_change():
    """They are worth nothing, whatever constant they hold; a scale of a latent's own changes nothing."""
    codes = jax.random.normal(jax.random.key(0), (500, 4))
    scaled = codes * jnp.array([[1.0, 100.0, 0.01, 5.0]])
    np.testing.assert_allclose(hoyer_sparsity(scaled), hoyer_sparsity(codes), rtol=1e-4)
    off = [jnp.concatenate([codes[:, :2], jnp.full((500, 2), c)], axis=1) for c in (0.0, 0.3, 1e3)]
    np.testing.assert_allclose([hoyer_sparsity(c) for c in off], [hoyer_sparsity(off[0])] * 3, rtol=1e-5)
    assert hoyer_sparsity(off[0]) > hoyer_sparsity(codes) + 0.1
    assert hoyer_sparsity(jnp.zeros((5, 3))) == 0
    with pytest.raises(ValueError, match="at least 2 latents"):
        hoyer_sparsity(jnp.zeros((5, 1)))
