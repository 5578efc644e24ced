"""The streamed mixture against the direct one and the oracle; exact q(z) and the inclusive KL, built on it."""

import jax
import numpy as np
import oracles
import pytest
from compiled import (
    exact_log_qz,
    float32,
    gaussian_log_density,
    grad,
    inclusive_kl,
    normal,
    one_program,
    value_and_grad,
    vmap,
)
from sharding import BACKENDS, run_sharded
from test_aggregate_posterior import WEIGHTINGS, codes, oracle_terms, terms

from jaxvae.losses import minibatch_log_qz

SHAPES = [(2, 1, 1), (9, 3, 4), (9, 1, 8), (16, 2, 5), (70, 2, None)]
# The weights of "mss" go over the edge of a block; the others are the same everywhere off the diagonal.
CASES = [
    pytest.param(weighting, *shape, marks=() if weighting == "mss" or shape == (9, 3, 4) else pytest.mark.slow)
    for weighting in WEIGHTINGS
    for shape in SHAPES
]


def weighted(z, mean, logvar, axis_name=None, **settings):
    values = terms(z, mean, logvar, axis_name=axis_name, **settings)
    value = sum(weight * term.mean() for weight, term in zip((1.0, 3.0, 0.5), values, strict=True))
    return value if axis_name is None else jax.lax.pmean(value, axis_name)


@pytest.mark.parametrize(("weighting", "batch", "latents", "block"), CASES)
def test_value_and_gradient_against_the_oracle(weighting, batch, latents, block):
    inputs, settings = codes(batch, latents), {"dataset_size": 500, "weighting": weighting}

    @one_program
    def streamed_and_direct(*inputs):
        gradients = (
            jax.grad(lambda *a, size=size: weighted(*a, block_size=size, **settings), (0, 1, 2))(*inputs)
            for size in (block, batch)
        )
        return terms(*inputs, block_size=block, **settings), *gradients

    got, streamed, direct = streamed_and_direct(*inputs)
    for a, b in zip(got, oracle_terms(*inputs, 500, weighting), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)
    for a, b in zip(streamed, direct, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1], ids=["joint", "marginals"])
def test_gradient_against_central_differences(which):
    inputs = codes(7, 2)
    weights = np.array([[1.0], [-2.0], [0.5], [3.0], [1.0], [0.0], [-1.0]], np.float32)

    def total(log_qz):
        return (log_qz[which].reshape(7, -1) * weights).sum()

    got = grad(lambda *a: total(minibatch_log_qz(*a, dataset_size=40, block_size=3)), (0, 1, 2))(*inputs)
    want = oracles.gradient(lambda *a: total(oracles.log_qz(*a, 40, "uniform")), *inputs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("weighting", ["uniform", "mss"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_several_devices_are_one(backend, weighting):
    def loss(z, mean, logvar, axis_name=None):
        return weighted(z, mean, logvar, axis_name, dataset_size=1000, weighting=weighting, block_size=5)

    inputs = codes(16, 3)
    value, gradients = run_sharded(loss, backend, *inputs)
    want, want_gradients = value_and_grad(loss, (0, 1, 2))(*inputs)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", ["shard_map", "shard_map unchecked"])
def test_a_batch_that_does_not_divide_is_refused(backend):
    with pytest.raises(ValueError, match="divisible"):
        run_sharded(lambda *a, axis_name: weighted(*a, axis_name, dataset_size=100), backend, *codes(10, 3))


def test_compiled_and_mapped():
    inputs = codes(20, 3)

    def loss(*inputs):
        return weighted(*inputs, dataset_size=100, block_size=8)

    value, gradients = jax.value_and_grad(loss, (0, 1, 2))(*float32(*inputs))
    stacked = [np.stack([array, array + 1]) for array in inputs]
    for got, got_gradients in (
        value_and_grad(loss, (0, 1, 2))(*inputs),
        jax.tree.map(lambda leaf: leaf[0], vmap(jax.value_and_grad(loss, (0, 1, 2)))(*stacked)),
    ):
        np.testing.assert_allclose(got, value, rtol=1e-5)
        for a, b in zip(got_gradients, gradients, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logvar", [-80.0, 80.0])
def test_extremes_are_finite_in_value_and_gradient(logvar):
    signs = np.where(np.arange(18) % 2 == 0, np.float32(1), np.float32(-1)).reshape(9, 2)
    mean, logvar = 1e4 * signs, np.where(np.arange(9)[:, None] % 3 == 0, logvar * signs, np.float32(logvar))
    of = value_and_grad(lambda *a: weighted(*a, dataset_size=100, block_size=4), (0, 1, 2))
    for z in (mean, mean[::-1], mean + 1e3):
        value, gradients = of(z, mean, logvar)
        assert np.isfinite(value)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.process
def test_memory_grows_with_the_batch_not_with_its_square():
    def temporaries(batch, latents):
        shape = jax.ShapeDtypeStruct((batch, latents), np.float32)
        loss = jax.value_and_grad(lambda *a: weighted(*a, dataset_size=10**6), (0, 1, 2))
        return jax.jit(loss).lower(shape, shape, shape).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(16_384, 10) < 300e6
    assert temporaries(4096, 10) < 2.2 * temporaries(2048, 10)


def test_forward_mode_in_the_direct_form_only():
    inputs = z, *_ = codes(6, 2)

    def joint(block, z, mean, logvar):
        return minibatch_log_qz(z, mean, logvar, dataset_size=10, block_size=block).joint.sum()

    @one_program
    def forward(block, *inputs):
        return jax.jvp(lambda z: joint(block, z, *inputs[1:]), inputs[:1], (np.ones_like(z),))[1]

    np.testing.assert_allclose(forward(6, *inputs), grad(joint, 1)(2, *inputs).sum(), rtol=1e-4)
    with pytest.raises(TypeError, match="forward-mode"):
        forward(2, *inputs)


@pytest.mark.parametrize("block", [None, 3, 100])
def test_exact_density_of_a_data_set(block):
    _, means, logvars = codes(11, 3)
    z = codes(4, 3, seed=5)[0]
    density = oracles.log_normal(np.asarray(z)[:, None], np.asarray(means)[None], np.asarray(logvars)[None])
    got = exact_log_qz(z, means, logvars, block_size=block)
    joint = [oracles.log_sum_exp(row) - np.log(11) for row in density.sum(-1)]
    np.testing.assert_allclose(got.joint, joint, rtol=1e-5)
    for j in range(3):
        marginal = [oracles.log_sum_exp(row) - np.log(11) for row in density[:, :, j]]
        np.testing.assert_allclose(got.marginals[:, j], marginal, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [3, 100])
def test_a_point_far_from_everything_has_no_gradient_but_a_value(block):
    """As in `gaussian_log_density`: finite at any distance, flat beyond 1e15 standard deviations."""
    _, means, _ = codes(8, 2)
    far = np.full((2, 2), 1e17, np.float32)
    value, gradient = value_and_grad(lambda z: exact_log_qz(z, means, 0 * means, block_size=block).joint.sum())(far)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient, 0)


def standard_normal(z):
    return gaussian_log_density(z, 0 * z, 0 * z).sum(axis=-1)


def test_inclusive_kl_in_closed_form():
    """q(z) = N(m, s) from equal posteriors: KL(N(0, 1) || N(m, s)) = (log s + (1 + m^2) / s - 1) / 2 per latent."""
    samples = normal(jax.random.key(0), (4000, 2))
    samples = np.concatenate([samples, -samples])
    mean, logvar = np.full((3, 2), 0.4, np.float32), np.full((3, 2), np.log(1.7), np.float32)
    values = inclusive_kl(samples, standard_normal(samples), mean, logvar)
    want = 2 * 0.5 * (np.log(1.7) + (1 + 0.4**2) / 1.7 - 1)
    np.testing.assert_allclose(values.mean(), want, atol=4 * values.std() / np.sqrt(4000))
    same = inclusive_kl(samples, standard_normal(samples), *np.zeros((2, 1, 2), np.float32))
    np.testing.assert_allclose(same, 0, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_inclusive_kl_on_several_devices_is_that_on_one(backend):
    def loss(samples, mean, logvar, axis_name=None):
        value = inclusive_kl(samples, standard_normal(samples), mean, logvar, axis_name=axis_name, block_size=4).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    inputs = codes(16, 2)
    value, gradients = run_sharded(loss, backend, *inputs)
    want, want_gradients = value_and_grad(loss, (0, 1, 2))(*inputs)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    z, mean, logvar = codes(8, 3)
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        minibatch_log_qz(z, mean, logvar, dataset_size=10, block_size=0)
    with pytest.raises(ValueError, match=r"z must be \[B, D\] and means \[N, D\]; got \(8, 2\) and \(8, 3\)"):
        exact_log_qz(z[:, :2], mean, logvar)
    with pytest.raises(ValueError, match=r"one value per sample; got \(7,\) for \(8, 3\)"):
        inclusive_kl(z, z[:7, 0], mean, logvar)
