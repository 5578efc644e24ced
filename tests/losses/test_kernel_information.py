"""Multi-information by kernels: the numbers of the published code, an oracle in float64, global batches, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled import code_scale, float32, kernel_multi_information, normal, one_program, value_and_grad, vmap
from sharding import BACKENDS, run_sharded
from test_quantise import grid_oracle

from jaxvae import losses

CODES = 2 * normal(jax.random.key(0), (16, 3)) + np.array([[5.0, 0.0, -3.0]], np.float32)
MANY = normal(jax.random.key(1), (80, 4))


def log_normal(x, mean, scale):
    return -0.5 * np.log(2 * np.pi) - np.log(scale) - (x - mean) ** 2 / (2 * scale**2)


def information_oracle(z, scale):
    """Over the list of pairs, in float64."""
    z, scale = np.asarray(z, np.float64), np.asarray(scale, np.float64)
    batch, latents = z.shape
    silverman = (4 / (latents + 2)) ** (1 / (latents + 4)) * batch ** (-1 / (latents + 4))
    found = np.empty(batch)
    for i in range(batch):
        joint = np.array([sum(log_normal(z[i], z[j], silverman * scale)) for j in range(batch)])
        marginals = np.array([log_normal(z[i], z[j], scale) for j in range(batch)])
        found[i] = oracles.log_sum_exp(joint) - np.log(batch)
        found[i] -= sum(oracles.log_sum_exp(marginals[:, k]) - np.log(batch) for k in range(latents))
    return found


def scale_oracle(codes):
    return np.asarray(codes, np.float64).std(axis=0) + 1e-6


def information(codes, axis_name=None, block_size=None):
    scale = losses.code_scale(codes, axis_name=axis_name)
    return losses.kernel_multi_information(codes, scale, axis_name=axis_name, block_size=block_size)


def test_numbers_of_the_published_code():
    x = np.random.RandomState(0).randn(8, 3)
    z, scale = grid_oracle(x, 12), scale_oracle(np.tanh(x))
    want = [0.954297, 1.105808, 0.755636, 1.04986, 0.984769, 0.788765, 1.584834, 0.531941]
    np.testing.assert_allclose(information_oracle(z, scale), want, atol=6e-7)
    np.testing.assert_allclose(information_oracle(z, scale).mean(), 0.9694887, atol=6e-8)
    np.testing.assert_allclose(code_scale(np.float32(np.tanh(x))), scale, rtol=1e-6)
    np.testing.assert_allclose(kernel_multi_information(np.float32(z), np.float32(scale)), want, rtol=2e-6)
    x[:, 1] = x[:, 0]
    z, scale = grid_oracle(x, 12), scale_oracle(np.tanh(x))
    np.testing.assert_allclose(information_oracle(z, scale).mean(), 1.1178538, atol=6e-8)
    np.testing.assert_allclose(kernel_multi_information(np.float32(z), np.float32(scale)).mean(), 1.1178538, rtol=1e-6)


def test_information_against_the_oracle_in_blocks_or_not():
    for codes in (CODES, MANY):
        want = information_oracle(codes, scale_oracle(codes))
        for block in (None, 7, 128):
            got = one_program(information)(codes, None, block)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_gradients_flow_through_codes_and_scales():
    """And not through one of them only: against central differences of the whole."""
    want = oracles.gradient(lambda codes: information_oracle(codes, scale_oracle(codes)).mean(), CODES)
    _, got = value_and_grad(lambda codes: information(codes).mean())(CODES)
    np.testing.assert_allclose(got, want[0], rtol=1e-3, atol=1e-5)


def test_what_information_does_not_see():
    """Translations, a scale for each latent up to a constant that the offset of the bandwidths leaves, the order."""
    plain = one_program(information)(CODES)
    moved = one_program(information)(CODES[::-1, ::-1] * np.float32(1) + np.float32(2))
    np.testing.assert_allclose(moved[::-1], plain, rtol=1e-4)
    scaled = one_program(information)(CODES * np.array([[0.1, 3, 40]], np.float32))
    np.testing.assert_allclose(scaled, plain, rtol=1e-3)
    copied = one_program(information)(CODES[:, [0, 0, 2]])
    assert copied.mean() > plain.mean() + 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_global_batch(backend):
    def mean(codes, axis_name=None):
        value = information(codes, axis_name).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, gradient = value_and_grad(mean)(CODES)
    got, (slope,) = run_sharded(mean, backend, CODES)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("place", ["far", "equal", "one latent constant", "tiny", "one far"])
def test_extremes_are_finite(place):
    codes = {
        "far": 1e4 * np.sign(CODES - CODES.mean(0)),
        "equal": np.full_like(CODES, 3.0),
        "one latent constant": np.where(np.arange(3)[None] == 1, np.float32(1), CODES),
        "tiny": 1e-12 * CODES,
        "one far": np.where(np.arange(16)[:, None] == 2, np.float32(1e4), CODES),
    }[place]
    value, slope = value_and_grad(lambda codes: information(codes).mean())(codes)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_information_mapped_and_in_half_precision():
    mapped = vmap(information)(np.stack([CODES, CODES[::-1]]))
    plain = one_program(information)(CODES)
    np.testing.assert_allclose(mapped, np.stack([plain, plain[::-1]]), rtol=1e-5)
    half = one_program(information)(CODES.astype(jnp.bfloat16))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, one_program(information)(np.float32(CODES.astype(jnp.bfloat16))), rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.code_scale(float32(CODES[0])), r"\[batch, latents\], got shape \(3,\)"),
        (lambda: losses.kernel_multi_information(float32(CODES), float32(CODES[0, :2])), r"got \(16, 3\) and \(2,\)"),
        (lambda: losses.kernel_multi_information(float32(CODES), float32(np.zeros(3))), "scale must be positive"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
