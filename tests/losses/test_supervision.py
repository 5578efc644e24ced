"""Codes against labels: oracles in float64, values by hand, unknown targets, sharded."""

import jax
import numpy as np
import pytest
from compiled import (
    float32,
    grad,
    label_covariance,
    label_cross_entropy,
    label_squared_error,
    normal,
    one_program,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses

MEAN = 2 * normal(jax.random.key(0), (16, 6))
TARGET = np.asarray(jax.random.uniform(jax.random.key(1), (16, 4)))
EAGER = {"cross-entropy": losses.label_cross_entropy, "squared error": losses.label_squared_error}
KERNELS = {name: one_program(kernel) for name, kernel in EAGER.items()}
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
    target = TARGET.copy()
    if unknown:
        target[0, 1] = target[3] = np.nan
    np.testing.assert_allclose(KERNELS[name](MEAN, target), oracle(name, MEAN, target), rtol=1e-5, atol=1e-6)
    gradient = grad(lambda mean: KERNELS[name](mean, target).sum())(MEAN)
    assert np.isfinite(gradient).all()
    if unknown:
        np.testing.assert_array_equal(gradient[3], 0)
        assert gradient[0, 1] == 0
    np.testing.assert_array_equal(gradient[:, 4:], 0)


@pytest.mark.parametrize(("factors", "code", "nats"), [(5, 0.0, 221.807), (10, 0.0, 443.614), (10, 1.0, 840.488)])
def test_the_authors_sums(factors, code, nats):
    """Over a batch of 64, for targets of 0: the values of the reference's own tests."""
    codes, zeros = np.full((64, factors), code, np.float32), np.zeros((64, factors), np.float32)
    value = label_cross_entropy(codes, zeros).sum()
    np.testing.assert_allclose(value, nats, rtol=1e-5)


def test_covariance_by_hand_and_against_the_oracle():
    eye = np.eye(2, dtype=np.float32)
    swapped = label_covariance(eye, eye[::-1])
    np.testing.assert_allclose(swapped, 0.125, rtol=1e-6)
    mean, target = np.asarray(MEAN, np.float64), np.asarray(TARGET, np.float64)
    covariance = (mean - mean.mean(0)).T @ (target - target.mean(0)) / len(mean)
    want = sum(covariance[d, f] ** 2 for d in range(6) for f in range(4) if d != f)
    np.testing.assert_allclose(label_covariance(MEAN, TARGET), want, rtol=1e-4)
    np.testing.assert_allclose(label_covariance(MEAN + 100, TARGET - 3), want, rtol=1e-3)


def test_covariance_with_unknown_labels():
    """They count as the mean of the known ones; a factor nobody labelled costs nothing."""
    few, filled, partial_labels, constant = (TARGET.copy() for _ in range(4))
    few[:5, 1], filled[:5, 1] = np.nan, TARGET[5:, 1].mean()
    partial_labels[:, 1:], constant[:, 1:] = np.nan, 0.5
    np.testing.assert_allclose(label_covariance(MEAN, few), label_covariance(MEAN, filled), rtol=1e-5)
    np.testing.assert_allclose(label_covariance(MEAN, partial_labels), label_covariance(MEAN, constant), rtol=1e-5)
    assert np.isfinite(grad(label_covariance)(MEAN, partial_labels)).all()


@every_kernel
def test_extremes_are_finite(name):
    mean = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 80.0]], np.float32)
    target = np.array([[0.0, 1.0, 0.5], [0.0, 1.0, 1.0]], np.float32)
    value, gradient = value_and_grad(lambda mean: KERNELS[name](mean, target).sum())(mean)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every_kernel
def test_compiled_and_mapped(name):
    plain = np.asarray(EAGER[name](*float32(MEAN, TARGET)))
    np.testing.assert_allclose(KERNELS[name](MEAN, TARGET), plain, rtol=1e-6)
    stacked = vmap(KERNELS[name])(np.stack([MEAN, -MEAN]), np.stack([TARGET, 1 - TARGET]))
    np.testing.assert_allclose(stacked, np.stack([plain, plain]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_covariance_is_of_the_global_batch(backend):
    value, gradients = run_sharded(label_covariance, backend, MEAN, TARGET)
    want, want_gradients = value_and_grad(label_covariance, (0, 1))(MEAN, TARGET)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for got, expected in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@given(st.integers(0, 2**31 - 1), st.sampled_from([1, 4, 6]))
def test_the_entropy_is_the_least_cross_entropy(seed, factors):
    rng = np.random.default_rng(seed)
    codes = 2 * rng.standard_normal((5, 6), np.float32)
    target = rng.uniform(0.01, 0.99, (5, factors)).astype(np.float32)
    best = np.log(target) - np.log1p(-target)
    assert (label_cross_entropy(codes, target) >= label_cross_entropy(best, target) - 1e-4).all()
    np.testing.assert_allclose(label_squared_error(best, target), 0, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    for kernel in EAGER.values():
        with pytest.raises(ValueError, match="7 factors, 6 latents"):
            kernel(MEAN, np.zeros((16, 7), np.float32))
        with pytest.raises(ValueError, match=r"of one batch, got \(16, 6\) and \(15, 4\)"):
            kernel(MEAN, TARGET[:15])
        with pytest.raises(ValueError, match="must be floating"):
            kernel(MEAN, np.zeros((16, 4), np.int32))
    with pytest.raises(ValueError, match=r"of one batch, got \(16, 6\) and \(4,\)"):
        losses.label_covariance(MEAN, TARGET[0])
