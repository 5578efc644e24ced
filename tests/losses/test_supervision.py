"""Codes against labels: oracles in float64, values by hand, unknown targets, sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae.losses import label_covariance, label_cross_entropy, label_squared_error

MEAN = 2 * jax.random.normal(jax.random.key(0), (16, 6))
TARGET = jax.random.uniform(jax.random.key(1), (16, 4))
KERNELS = {"cross-entropy": label_cross_entropy, "squared error": label_squared_error}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def oracle(name, mean, target):
    """Loops over examples and factors, in float64."""
    mean, target = np.asarray(mean, np.float64), np.asarray(target, np.float64)
    totals = []
    for codes, row in zip(mean, target, strict=True):
        known = [(z, y) for z, y in zip(codes, row, strict=False) if not np.isnan(y)]
        probability = [1 / (1 + np.exp(-z)) for z, _ in known]
        if name == "squared error":
            costs = [(p - y) ** 2 for p, (_, y) in zip(probability, known, strict=True)]
        else:
            costs = [-y * np.log(p) - (1 - y) * np.log(1 - p) for p, (_, y) in zip(probability, known, strict=True)]
        totals.append(len(row) / max(1, len(known)) * sum(costs))
    return np.array(totals)


@every_kernel
@pytest.mark.parametrize("unknown", [False, True])
def test_against_the_oracle(name, unknown):
    target = TARGET.at[0, 1].set(jnp.nan).at[3].set(jnp.nan) if unknown else TARGET
    np.testing.assert_allclose(KERNELS[name](MEAN, target), oracle(name, MEAN, target), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda mean: KERNELS[name](mean, target).sum())(MEAN)
    assert np.isfinite(gradient).all()
    if unknown:
        np.testing.assert_array_equal(gradient[3], 0)
        assert gradient[0, 1] == 0
    np.testing.assert_array_equal(gradient[:, 4:], 0)


@pytest.mark.parametrize(("factors", "code", "nats"), [(5, 0.0, 221.807), (10, 0.0, 443.614), (10, 1.0, 840.488)])
def test_the_authors_sums(factors, code, nats):
    """Over a batch of 64, for targets of 0: the values of the reference's own tests."""
    value = label_cross_entropy(jnp.full((64, factors), code), jnp.zeros((64, factors))).sum()
    np.testing.assert_allclose(value, nats, rtol=1e-5)


def test_covariance_by_hand_and_against_the_oracle():
    swapped = label_covariance(jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(swapped, 0.125, rtol=1e-6)
    mean, target = np.asarray(MEAN, np.float64), np.asarray(TARGET, np.float64)
    covariance = (mean - mean.mean(0)).T @ (target - target.mean(0)) / len(mean)
    want = sum(covariance[d, f] ** 2 for d in range(6) for f in range(4) if d != f)
    np.testing.assert_allclose(label_covariance(MEAN, TARGET), want, rtol=1e-4)
    np.testing.assert_allclose(label_covariance(MEAN + 100, TARGET - 3), want, rtol=1e-3)


def test_covariance_with_unknown_labels():
    """They count as the mean of the known ones; a factor nobody labelled costs nothing."""
    few = TARGET.at[:5, 1].set(jnp.nan)
    filled = few.at[:5, 1].set(TARGET[5:, 1].mean())
    np.testing.assert_allclose(label_covariance(MEAN, few), label_covariance(MEAN, filled), rtol=1e-5)
    partial_labels = TARGET.at[:, 1:].set(jnp.nan)
    constant = TARGET.at[:, 1:].set(0.5)
    np.testing.assert_allclose(label_covariance(MEAN, partial_labels), label_covariance(MEAN, constant), rtol=1e-5)
    assert np.isfinite(jax.grad(label_covariance)(MEAN, partial_labels)).all()


@every_kernel
def test_extremes_are_finite(name):
    mean = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 80.0]])
    target = jnp.array([[0.0, 1.0, 0.5], [0.0, 1.0, 1.0]])
    value, gradient = jax.value_and_grad(lambda mean: KERNELS[name](mean, target).sum())(mean)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every_kernel
def test_compiled_and_mapped(name):
    plain = KERNELS[name](MEAN, TARGET)
    np.testing.assert_allclose(jax.jit(KERNELS[name])(MEAN, TARGET), plain, rtol=1e-6)
    stacked = jax.vmap(KERNELS[name])(jnp.stack([MEAN, -MEAN]), jnp.stack([TARGET, 1 - TARGET]))
    np.testing.assert_allclose(stacked, jnp.stack([plain, plain]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_covariance_is_of_the_global_batch(backend):
    value, gradients = run_sharded(label_covariance, backend, MEAN, TARGET)
    want, want_gradients = jax.value_and_grad(label_covariance, (0, 1))(MEAN, TARGET)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for got, expected in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@given(st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_the_entropy_is_the_least_cross_entropy(seed, factors):
    codes = 2 * jax.random.normal(jax.random.key(seed), (5, 6))
    target = jax.random.uniform(jax.random.key(seed + 1), (5, factors), minval=0.01, maxval=0.99)
    best = jnp.log(target) - jnp.log1p(-target)
    assert (label_cross_entropy(codes, target) >= label_cross_entropy(best, target) - 1e-4).all()
    np.testing.assert_allclose(label_squared_error(best, target), 0, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    for kernel in KERNELS.values():
        with pytest.raises(ValueError, match="7 factors, 6 latents"):
            kernel(MEAN, jnp.zeros((16, 7)))
        with pytest.raises(ValueError, match=r"of one batch, got \(16, 6\) and \(15, 4\)"):
            kernel(MEAN, TARGET[:15])
        with pytest.raises(ValueError, match="must be floating"):
            kernel(MEAN, jnp.zeros((16, 4), int))
    with pytest.raises(ValueError, match=r"of one batch, got \(16, 6\) and \(4,\)"):
        label_covariance(MEAN, TARGET[0])
