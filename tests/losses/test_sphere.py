"""Codes on spheres: closed forms against quadrature, samples against their density, sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    grad,
    kl_von_mises_fisher_uniform,
    kl_von_mises_uniform,
    normal,
    polar_coordinates,
    sample_von_mises_fisher,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special
from sharding import BACKENDS, run_sharded

from jaxvae import losses

KEY = jax.random.key(0)
MEAN = normal(KEY, (16, 3))


def circle_oracle(k):
    """Integral of p log(p / uniform) over the angle."""
    total = 2 * np.pi * special.i0e(k)
    density = lambda a: np.exp(k * (np.cos(a) - 1)) / total  # noqa: E731
    return integrate.quad(lambda a: density(a) * np.log(density(a) * 2 * np.pi), -np.pi, np.pi, limit=200)[0]


def sphere_oracle(k):
    """The same over the height w = cos(angle), uniform on [-1, 1] under the uniform density."""
    total = -np.expm1(-2 * k) / k
    density = lambda w: np.exp(k * (w - 1)) / total  # noqa: E731
    return integrate.quad(lambda w: density(w) * np.log(2 * density(w)), -1, 1, limit=200)[0]


@given(st.floats(1e-3, 100))
def test_closed_forms_against_quadrature(k):
    for kernel, oracle in ((kl_von_mises_uniform, circle_oracle), (kl_von_mises_fisher_uniform, sphere_oracle)):
        np.testing.assert_allclose(kernel(np.float32(k)), oracle(k), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kernel", [kl_von_mises_uniform, kl_von_mises_fisher_uniform])
def test_divergences_from_nothing_to_extremes(kernel):
    k = np.array([0.0, 1e-6, 1e-2, 1.0, 80.0, 1e4], np.float32)
    value, gradient = vmap(jax.value_and_grad(kernel))(k)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(value[:2], 0, atol=1e-7)
    assert (np.diff(value) >= 0).all()
    assert (gradient >= 0).all()
    np.testing.assert_allclose(kl_von_mises_fisher_uniform(np.float32(3.0)), 0.80915, atol=1e-5)


def circle_slope(k):
    """k times the variance of the cosine of the angle; its limit 1 / (2 k) + 1 / (4 k^2) where that is exact enough."""
    if k > 1e4:
        return 1 / (2 * k) + 1 / (4 * k**2)
    # Over t = angle sqrt(k), which the density is of order 1 in.
    drop = lambda t: 2 * np.sin(t / np.sqrt(k) / 2) ** 2  # noqa: E731
    moment = lambda n: integrate.quad(lambda t: drop(t) ** n * np.exp(-k * drop(t)), 0, min(np.pi * k**0.5, 40))[0]  # noqa: E731
    return k * (moment(2) / moment(0) - (moment(1) / moment(0)) ** 2)


def sphere_slope(k):
    """k times the variance of the height: 1 / k - k / sinh(k)^2."""
    return 1 / k - k * 4 * np.exp(-2 * k) / np.expm1(-2 * k) ** 2


def test_large_concentrations():
    k = np.array([2.0, 11.9, 12.0, np.nextafter(np.float32(12), 13), 1e2, 1e3, 1e4, 1e5, 1e8, 1e30], np.float32)
    for kernel, oracle in ((kl_von_mises_uniform, circle_slope), (kl_von_mises_fisher_uniform, sphere_slope)):
        value, slope = vmap(jax.value_and_grad(kernel))(k)
        np.testing.assert_allclose(slope, [oracle(float(each)) for each in k], rtol=1e-4)
        np.testing.assert_allclose(value[2], value[3], rtol=2e-6)
        limit = 0.5 * np.log(2 * np.pi * k[4:] / np.e) if kernel is kl_von_mises_uniform else np.log(2 * k[4:]) - 1
        np.testing.assert_allclose(value[4:], limit, rtol=2e-3)
        np.testing.assert_allclose(value[7:], limit[3:], rtol=1e-6)


@pytest.mark.parametrize("k", [0.0, 5e-3, 0.5, 5.0, 200.0])
def test_samples_have_the_density(k):
    n = 20_000
    direction = np.array([[0.6, 0.0, -0.8]] * n, np.float32)
    z = np.asarray(sample_von_mises_fisher(KEY, direction, np.full(n, k, np.float32)), np.float64)
    np.testing.assert_allclose((z**2).sum(1), 1, rtol=1e-5)
    height = z @ np.asarray(direction[0], np.float64)
    expected = 1 / np.tanh(k) - 1 / k if k > 0.1 else k / 3
    assert abs(height.mean() - expected) < 4 * height.std() / n**0.5
    around = z - height[:, None] * np.asarray(direction[:1], np.float64)
    assert np.abs(around.mean(0)).max() < 4 * around.std(0).max() / n**0.5
    if k > 0.1:
        likely = (k * height).mean() + np.log(k) - k + np.log(2) - np.log(-np.expm1(-2 * k))
        np.testing.assert_allclose(kl_von_mises_fisher_uniform(np.float32(k)), likely, atol=0.03)


def test_samples_at_the_poles_and_extremes():
    direction = np.concatenate([np.eye(3, dtype=np.float32), -np.eye(3, dtype=np.float32)])
    k = np.array([0.0, 1e-6, 1e-2, 1.0, 1e3, 1e4], np.float32)

    def total(direction, k):
        return (sample_von_mises_fisher(KEY, direction, k) * jnp.arange(18.0).reshape(6, 3)).sum()

    value, gradients = value_and_grad(total, (0, 1))(direction, k)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    tight = sample_von_mises_fisher(KEY, direction, np.full(6, 1e4, np.float32))
    np.testing.assert_allclose(tight, direction, atol=0.05)


slope_of_length = grad(lambda v: polar_coordinates(v)[1].sum())


@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e4]))
def test_polar_coordinates(seed, scale):
    vector = scale * normal(jax.random.key(seed), (5, 3))
    direction, length = polar_coordinates(vector)
    np.testing.assert_allclose(length[:, None] * direction, vector, rtol=1e-5)
    np.testing.assert_allclose((direction**2).sum(1), 1, rtol=2e-3 if scale < 1 else 1e-5)
    assert np.isfinite(slope_of_length(0 * vector)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_noise_is_that_of_the_global_batch(backend):
    def cost(mean, axis_name=None):
        z = sample_von_mises_fisher(KEY, *polar_coordinates(mean), axis_name=axis_name)
        value = (z[:, 0] * z[:, 1] - z[:, 2]).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, (gradient,) = run_sharded(cost, backend, MEAN)
    want, want_gradient = value_and_grad(cost)(MEAN)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match=r"direction must be \[B, 3\]"):
        losses.sample_von_mises_fisher(KEY, np.ones((4, 2), np.float32), np.ones(4, np.float32))
    with pytest.raises(ValueError, match="must be floating"):
        losses.kl_von_mises_uniform(np.int32(1))
