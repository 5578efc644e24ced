"""Group lasso and learned mixtures: oracles, the proximal step's optimum, the hierarchy integrated, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    component_log_densities,
    float32,
    grad,
    group_laplace_log_density,
    group_norms,
    group_soft_threshold,
    normal,
    one_program,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from jaxvae import losses
from jaxvae.losses import gaussian_mixture

W = normal(jax.random.key(0), (4, 5, 3))


def test_norms():
    np.testing.assert_allclose(group_norms(W), np.linalg.norm(np.asarray(W, np.float64), axis=-1), rtol=1e-6)
    norms_and_slope = value_and_grad(lambda w: group_norms(w).sum())
    value, gradient = norms_and_slope(0 * W)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    direction = W / np.linalg.norm(W, axis=-1, keepdims=True)
    np.testing.assert_allclose(norms_and_slope(W)[1], direction, rtol=1e-5)
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(group_norms(np.float32(scale) * W), scale * group_norms(W), rtol=1e-5)
    np.testing.assert_allclose(vmap(group_norms)(W), losses.group_norms(float32(W)), rtol=1e-6)


@given(st.integers(0, 1000), st.floats(0, 3))
def test_the_threshold_finds_the_optimum(seed, threshold):
    """Of |u - w|^2 / 2 + threshold |u|: no point near it, or on the way to w, is better."""
    rng, threshold = np.random.default_rng(seed), np.float32(threshold)
    w = rng.standard_normal(3)
    got = np.asarray(group_soft_threshold(np.asarray(w, np.float32), threshold), np.float64)

    def cost(u):
        return 0.5 * ((u - w) ** 2).sum(-1) + threshold * np.linalg.norm(u, axis=-1)

    near = got + 0.01 * rng.standard_normal((100, 3))
    along = np.linspace(0, 1, 100)[:, None] * w
    assert cost(got) <= min(cost(near).min(), cost(along).min()) + 1e-6
    np.testing.assert_allclose(np.linalg.norm(got), max(0, np.linalg.norm(w) - threshold), atol=1e-5)


@given(st.integers(0, 1000), st.floats(0, 3))
def test_the_threshold_is_firmly_non_expansive(seed, threshold):
    (a, b), threshold = normal(jax.random.key(seed), (2, 6, 3)), np.float32(threshold)
    shrunk = group_soft_threshold(a, threshold) - group_soft_threshold(b, threshold)
    assert ((shrunk**2).sum(-1) <= (shrunk * (a - b)).sum(-1) + 1e-5).all()


def test_the_threshold_at_its_ends():
    np.testing.assert_array_equal(group_soft_threshold(W, 0.0), W)
    np.testing.assert_array_equal(group_soft_threshold(W, 1e3), 0)
    np.testing.assert_array_equal(group_soft_threshold(0 * W, 0.0), 0)
    assert np.isfinite(grad(lambda w: group_soft_threshold(w, 0.5).sum())(0 * W)).all()
    jitted = group_soft_threshold(W, np.float32(0.5))
    np.testing.assert_allclose(jitted, losses.group_soft_threshold(float32(W), 0.5), rtol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_prior_is_the_hierarchy_integrated(p, strength):
    w = np.asarray(W[0, 0, :p], np.float64)
    variance = stats.gamma((p + 1) / 2, scale=2 / strength**2)
    integrand = lambda s: variance.pdf(s) * np.prod(stats.norm.pdf(w, scale=np.sqrt(s)))  # noqa: E731
    want = sum(integrate.quad(integrand, *ends, limit=200)[0] for ends in ((0, 0.1), (0.1, 1), (1, np.inf)))
    np.testing.assert_allclose(group_laplace_log_density(W[0, 0, :p], strength), np.log(want), rtol=1e-4)
    radius = lambda r: np.exp(float(group_laplace_log_density(np.array([r] + [0.0] * (p - 1), np.float32), strength)))  # noqa: E731
    surface = 2 * np.pi ** (p / 2) / special.gamma(p / 2)
    mass = integrate.quad(lambda r: surface * r ** (p - 1) * radius(r), 0, 60, epsabs=1e-4)[0]
    np.testing.assert_allclose(mass, 1, rtol=1e-3)


def test_components_against_the_oracle():
    z, means = normal(jax.random.key(1), (7, 2)), 2 * normal(jax.random.key(2), (3, 2))
    weights = np.array([0.2, 0.5, 0.3])
    got = component_log_densities(z, means, np.log(weights).astype(np.float32), variance=0.5)
    want = [
        [np.log(w) + stats.multivariate_normal(m, 0.5).logpdf(point) for w, m in zip(weights, means, strict=True)]
        for point in np.asarray(z, np.float64)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    mixture = one_program(gaussian_mixture(float32(means), 0.5, float32(weights)).log_density)
    np.testing.assert_allclose(special.logsumexp(got, axis=-1), mixture(z), rtol=1e-5)
    zeros = np.zeros(3, np.float32)
    mapped = vmap(lambda point: component_log_densities(point, means, zeros))(z)
    np.testing.assert_allclose(mapped, losses.component_log_densities(*float32(z, means, zeros)), rtol=1e-5)


def test_a_faded_component_has_no_nan():
    def log_density(z, logits):
        means = jnp.array([[0.0], [1.0]])
        return jax.nn.logsumexp(component_log_densities(z, means, jax.nn.log_softmax(logits)), axis=-1).sum()

    points, faded = np.array([[3e4], [0.0]], np.float32), np.array([500.0, -500.0], np.float32)
    value, gradients = value_and_grad(log_density, (0, 1))(points, faded)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@given(st.integers(0, 1000), st.sampled_from([1, 2, 5]))
def test_equal_components_are_one(seed, count):
    z, mean = normal(jax.random.key(seed), (2, 4, 3))
    many = component_log_densities(z, np.stack([mean[0]] * count), np.full(count, -np.log(count), np.float32))
    one = component_log_densities(z, mean[:1], np.zeros(1, np.float32))
    np.testing.assert_allclose(special.logsumexp(many, axis=-1), one[:, 0], rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    points, weights = np.zeros((7, 2), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        losses.group_soft_threshold(W, -1.0)
    with pytest.raises(ValueError, match="got a scalar"):
        losses.group_norms(np.float32(1))
    with pytest.raises(ValueError, match="strength must be positive"):
        losses.group_laplace_log_density(W, 0.0)
    with pytest.raises(ValueError, match=r"got \(7, 2\), \(3, 3\) and \(3,\)"):
        losses.component_log_densities(points, np.zeros((3, 3), np.float32), weights)
    with pytest.raises(ValueError, match="variance must be positive"):
        losses.component_log_densities(points, points[:3], weights, variance=0.0)
