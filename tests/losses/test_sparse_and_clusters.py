"""Group lasso and learned mixtures: oracles, the proximal step's optimum, the hierarchy integrated, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from jaxvae.losses import (
    component_log_densities,
    gaussian_mixture,
    group_laplace_log_density,
    group_norms,
    group_soft_threshold,
)

W = jax.random.normal(jax.random.key(0), (4, 5, 3))


def test_norms():
    np.testing.assert_allclose(group_norms(W), np.linalg.norm(np.asarray(W, np.float64), axis=-1), rtol=1e-6)
    value, gradient = jax.value_and_grad(lambda w: group_norms(w).sum())(jnp.zeros((2, 3)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_allclose(
        jax.grad(lambda w: group_norms(w).sum())(W), W / jnp.linalg.norm(W, axis=-1, keepdims=True), rtol=1e-5
    )
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(group_norms(jnp.float32(scale) * W), scale * group_norms(W), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(group_norms))(W), group_norms(W), rtol=1e-6)


@given(st.integers(0, 1000), st.floats(0, 3))
def test_the_threshold_finds_the_optimum(seed, threshold):
    """Of |u - w|^2 / 2 + threshold |u|: no point near it, or on the way to w, is better."""
    keys = jax.random.split(jax.random.key(seed))
    w = np.asarray(jax.random.normal(keys[0], (3,)), np.float64)
    got = np.asarray(group_soft_threshold(jnp.asarray(w, jnp.float32), threshold), np.float64)

    def cost(u):
        return 0.5 * ((u - w) ** 2).sum(-1) + threshold * np.linalg.norm(u, axis=-1)

    near = got + 0.01 * np.asarray(jax.random.normal(keys[1], (100, 3)))
    along = np.linspace(0, 1, 100)[:, None] * w
    assert cost(got) <= min(cost(near).min(), cost(along).min()) + 1e-6
    np.testing.assert_allclose(np.linalg.norm(got), max(0, np.linalg.norm(w) - threshold), atol=1e-5)


@given(st.integers(0, 1000), st.floats(0, 3))
def test_the_threshold_is_firmly_non_expansive(seed, threshold):
    a, b = jax.random.normal(jax.random.key(seed), (2, 6, 3))
    shrunk = group_soft_threshold(a, threshold) - group_soft_threshold(b, threshold)
    assert ((shrunk**2).sum(-1) <= (shrunk * (a - b)).sum(-1) + 1e-5).all()


def test_the_threshold_at_its_ends():
    np.testing.assert_array_equal(group_soft_threshold(W, 0.0), W)
    np.testing.assert_array_equal(group_soft_threshold(W, 1e3), 0)
    np.testing.assert_array_equal(group_soft_threshold(jnp.zeros((2, 3)), 0.0), 0)
    assert np.isfinite(jax.grad(lambda w: group_soft_threshold(w, 0.5).sum())(jnp.zeros((2, 3)))).all()
    jitted = jax.jit(group_soft_threshold)(W, jnp.float32(0.5))
    np.testing.assert_allclose(jitted, group_soft_threshold(W, 0.5), rtol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_prior_is_the_hierarchy_integrated(p, strength):
    w = np.asarray(W[0, 0, :p], np.float64)
    variance = stats.gamma((p + 1) / 2, scale=2 / strength**2)
    integrand = lambda s: variance.pdf(s) * np.prod(stats.norm.pdf(w, scale=np.sqrt(s)))  # noqa: E731
    want = sum(integrate.quad(integrand, *ends, limit=200)[0] for ends in ((0, 0.1), (0.1, 1), (1, np.inf)))
    np.testing.assert_allclose(group_laplace_log_density(W[0, 0, :p], strength), np.log(want), rtol=1e-4)
    radius = lambda r: np.exp(float(group_laplace_log_density(jnp.array([r] + [0.0] * (p - 1)), strength)))  # noqa: E731
    surface = 2 * np.pi ** (p / 2) / special.gamma(p / 2)
    mass = integrate.quad(lambda r: surface * r ** (p - 1) * radius(r), 0, 60, epsabs=1e-4)[0]
    np.testing.assert_allclose(mass, 1, rtol=1e-3)


def test_components_against_the_oracle():
    z, means = jax.random.normal(jax.random.key(1), (7, 2)), 2 * jax.random.normal(jax.random.key(2), (3, 2))
    weights = np.array([0.2, 0.5, 0.3])
    got = component_log_densities(z, means, jnp.log(jnp.asarray(weights, jnp.float32)), variance=0.5)
    want = [
        [np.log(w) + stats.multivariate_normal(m, 0.5).logpdf(point) for w, m in zip(weights, means, strict=True)]
        for point in np.asarray(z, np.float64)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    mixture = gaussian_mixture(means, 0.5, jnp.asarray(weights, jnp.float32))
    np.testing.assert_allclose(jax.nn.logsumexp(got, axis=-1), mixture.log_density(z), rtol=1e-5)
    mapped = jax.jit(jax.vmap(lambda point: component_log_densities(point, means, jnp.zeros(3))))(z)
    np.testing.assert_allclose(mapped, component_log_densities(z, means, jnp.zeros(3)), rtol=1e-5)


def test_a_faded_component_has_no_nan():
    def log_density(z, logits):
        means = jnp.array([[0.0], [1.0]])
        return jax.nn.logsumexp(component_log_densities(z, means, jax.nn.log_softmax(logits)), axis=-1).sum()

    value, gradients = jax.value_and_grad(log_density, (0, 1))(jnp.array([[3e4], [0.0]]), jnp.array([500.0, -500.0]))
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@given(st.integers(0, 1000), st.integers(1, 5))
def test_equal_components_are_one(seed, count):
    z, mean = jax.random.normal(jax.random.key(seed), (2, 4, 3))
    many = component_log_densities(z, jnp.stack([mean[0]] * count), jnp.full(count, -np.log(count), jnp.float32))
    one = component_log_densities(z, mean[:1], jnp.zeros(1))
    np.testing.assert_allclose(jax.nn.logsumexp(many, axis=-1), one[:, 0], rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        group_soft_threshold(W, -1.0)
    with pytest.raises(ValueError, match="got a scalar"):
        group_norms(jnp.float32(1))
    with pytest.raises(ValueError, match="strength must be positive"):
        group_laplace_log_density(W, 0.0)
    with pytest.raises(ValueError, match=r"got \(7, 2\), \(3, 3\) and \(3,\)"):
        component_log_densities(jnp.zeros((7, 2)), jnp.zeros((3, 3)), jnp.zeros(3))
    with pytest.raises(ValueError, match="variance must be positive"):
        component_log_densities(jnp.zeros((7, 2)), jnp.zeros((3, 2)), jnp.zeros(3), variance=0.0)
