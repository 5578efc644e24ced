import jax
import jax.numpy as jnp
import numpy as np
import oracles
import prior_oracles
import pytest
from compiled import (
    float32,
    gaussian_log_density,
    grad,
    kl_gaussian,
    kl_standard_normal,
    kl_standard_normal_per_latent,
    normal,
    one_program,
    reparameterize,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses

MEAN = 2 * normal(jax.random.key(0), (6, 3))
LOGVAR = normal(jax.random.key(1), (6, 3))
Z = normal(jax.random.key(2), (6, 3))
PRIOR = (np.array([0.5, -1.0, 0.0], np.float32), np.array([1.0, -1.5, 0.2], np.float32))
PRIORS = tuple(array[None] + 0.1 * Z for array in PRIOR)


def test_kl_against_the_oracle():
    np.testing.assert_allclose(kl_standard_normal(MEAN, LOGVAR), oracles.kl_standard_normal(MEAN, LOGVAR), rtol=1e-5)
    got = grad(lambda m, v: kl_standard_normal(m, v).sum(), (0, 1))(MEAN, LOGVAR)
    want = oracles.gradient(lambda m, v: oracles.kl_standard_normal(m, v).sum(), MEAN, LOGVAR)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("mean", "logvar", "nats"),
    [(0, 0, 0), (1, 0, 0.5), (0, np.log(4), 0.8068528), (3, -2, 4.5 + 0.5 * (np.exp(-2) + 1))],
)
def test_kl_in_closed_form(mean, logvar, nats):
    value = kl_standard_normal(np.full((1, 1), mean, np.float32), np.full((1, 1), logvar, np.float32))
    np.testing.assert_allclose(value, nats, rtol=1e-6)


def test_kl_keeps_its_digits_near_the_prior():
    tiny, zero = np.full((1, 1), 1e-4, np.float32), np.zeros((1, 1), np.float32)
    np.testing.assert_allclose(kl_standard_normal(zero, tiny), 0.25e-8, rtol=0.02)
    slope = grad(lambda v: kl_standard_normal(zero, v).sum())(tiny)
    np.testing.assert_allclose(slope, 0.5e-4, rtol=1e-3)


def test_kl_is_the_expected_log_ratio():
    mean, logvar = np.array([[0.7, -1.2]], np.float32), np.array([[0.3, -0.9]], np.float32)
    z = vmap(lambda key: reparameterize(key, mean, logvar)[0])(jax.random.split(jax.random.key(0), 2000))
    z = np.concatenate([z, 2 * mean - z])
    ratio = (gaussian_log_density(z, mean, logvar) - gaussian_log_density(z, 0 * z, 0 * z)).sum(-1)
    error = ratio.std() / np.sqrt(len(ratio) / 2)
    np.testing.assert_allclose(ratio.mean(), kl_standard_normal(mean, logvar)[0], atol=4 * error)


def test_beta_kl_is_a_narrower_prior_and_an_entropy_bonus():
    """Mathieu et al. (2019), theorem 1: beta KL(q||p) = KL(q||f) - (beta - 1) H(q) - log F, f = Normal(0, I / beta)."""
    beta, (batch, d) = 4.0, MEAN.shape
    mean, logvar = np.asarray(MEAN, np.float64), np.asarray(LOGVAR, np.float64)
    to_f = 0.5 * (beta * (mean**2 + np.exp(logvar)) - 1 - logvar - np.log(beta)).sum(-1)
    entropy = 0.5 * (np.log(2 * np.pi * np.e) + logvar).sum(-1)
    log_f = d * (1 - beta) / 2 * np.log(2 * np.pi) - d / 2 * np.log(beta)
    assert batch == len(to_f)
    to_narrower = kl_gaussian(MEAN, LOGVAR, np.zeros(d, np.float32), np.full(d, -np.log(beta), np.float32))
    np.testing.assert_allclose(to_narrower, to_f, rtol=1e-5)
    np.testing.assert_allclose(beta * kl_standard_normal(MEAN, LOGVAR), to_f - (beta - 1) * entropy - log_f, rtol=1e-5)


def test_kl_per_latent_adds_up_and_is_not_negative():
    per_latent = kl_standard_normal_per_latent(MEAN, LOGVAR)
    assert per_latent.shape == MEAN.shape
    assert (per_latent >= 0).all()
    np.testing.assert_allclose(per_latent.sum(-1), kl_standard_normal(MEAN, LOGVAR), rtol=1e-6)


@given(st.floats(-10, 10, width=32), st.floats(-10, 10, width=32))
def test_kl_is_zero_only_at_the_prior(mean, logvar):
    value = kl_standard_normal(np.full((1, 1), mean, np.float32), np.full((1, 1), logvar, np.float32))
    assert value >= 0
    assert (value > 0) or max(abs(mean), abs(logvar)) < 1e-3


@pytest.mark.parametrize("prior", [PRIOR, PRIORS, (PRIOR[0], PRIORS[1])], ids=["one", "each", "both"])
def test_kl_to_a_gaussian_against_the_oracle(prior):
    inputs = (MEAN, LOGVAR, *prior)
    np.testing.assert_allclose(kl_gaussian(*inputs), prior_oracles.kl_gaussian(*inputs), rtol=1e-5)
    got = grad(lambda *a: kl_gaussian(*a).sum(), (0, 1, 2, 3))(*inputs)
    want = oracles.gradient(lambda *a: prior_oracles.kl_gaussian(*a).sum(), *inputs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_kl_to_a_gaussian_of_zeros_is_that_to_the_standard_normal():
    for zeros in (np.zeros(3, np.float32), np.zeros((6, 3), np.float32)):
        np.testing.assert_array_equal(kl_gaussian(MEAN, LOGVAR, zeros, zeros), kl_standard_normal(MEAN, LOGVAR))
    np.testing.assert_array_equal(kl_gaussian(*PRIORS, *PRIORS), 0)


def test_both_kls_end_alike_beyond_their_range():
    grid = np.meshgrid([0.0, 1e14, -1e20], [-500.0, 80.0, 80.5, 89.0, 1e4])
    mean, logvar = (np.float32(axis).reshape(-1, 1) for axis in grid)
    zeros = np.zeros(1, np.float32)
    kernels = (kl_standard_normal, lambda m, v: kl_gaussian(m, v, zeros, zeros))
    (value, *slopes), (other, *other_slopes) = (
        (kernel(mean, logvar), *grad(lambda m, v, kernel=kernel: kernel(m, v).sum(), (0, 1))(mean, logvar))
        for kernel in kernels
    )
    assert np.isfinite([value, *(slope[:, 0] for slope in slopes)]).all()
    np.testing.assert_allclose(value, other, rtol=1e-6)
    for slope, other_slope in zip(slopes, other_slopes, strict=True):
        np.testing.assert_allclose(slope, other_slope, rtol=1e-6)
    beyond = logvar[:, 0] > 80
    np.testing.assert_array_equal(slopes[1][beyond], 0)
    squares = np.minimum(np.abs(mean.astype(float)), 1e15)[:, 0] ** 2
    np.testing.assert_allclose(value[beyond], 0.5 * (squares + np.exp(80))[beyond], rtol=1e-6)


@given(*[st.floats(-10, 10, width=32)] * 4)
def test_kl_to_a_gaussian_is_a_distance_in_units_of_the_prior(mean, logvar, prior_mean, prior_logvar):
    """Never negative, and variances larger by e^2 with means larger by e change nothing."""
    inputs = [np.array([value], np.float32) for value in (mean, logvar, prior_mean, prior_logvar)]
    value = kl_gaussian(*inputs)
    assert value >= 0
    means = [np.float32(np.e) * array + 1 for array in inputs[::2]]
    scaled = kl_gaussian(means[0], inputs[1] + 2, means[1], inputs[3] + 2)
    np.testing.assert_allclose(scaled, value, rtol=1e-3, atol=1e-4)


def test_an_anisotropic_prior_has_axes():
    """A quarter turn, which keeps diagonal covariances diagonal, changes the KL to it and not that to an isotropic."""

    def turned(array, sign):
        return np.stack([sign * array[:, 1], array[:, 0], array[:, 2]], 1)

    zeros = np.zeros(3, np.float32)
    for logvars, same in ((np.full(3, 0.7, np.float32), True), (PRIOR[1], False)):
        plain = kl_gaussian(MEAN, LOGVAR, zeros, logvars)
        rotated = kl_gaussian(turned(MEAN, -1), turned(LOGVAR, 1), zeros, logvars)
        assert np.allclose(rotated, plain, rtol=1e-5) == same


def test_log_density_against_the_oracle():
    np.testing.assert_allclose(gaussian_log_density(Z, MEAN, LOGVAR), oracles.log_normal(Z, MEAN, LOGVAR), rtol=1e-5)
    got = grad(lambda *a: gaussian_log_density(*a).sum(), (0, 1, 2))(Z, MEAN, LOGVAR)
    want = oracles.gradient(lambda *a: oracles.log_normal(*a).sum(), Z, MEAN, LOGVAR)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_log_density_broadcasts_axes_of_size_1():
    pairs = gaussian_log_density(Z[:, None], MEAN[None], LOGVAR[None])
    assert pairs.shape == (6, 6, 3)
    np.testing.assert_allclose(pairs[2, 4], oracles.log_normal(Z[2], MEAN[4], LOGVAR[4]), rtol=1e-5)


@pytest.mark.parametrize("logvar", [-80.0, 80.0])
@pytest.mark.parametrize("mean", [-1e4, 1e4])
def test_extremes_are_finite_in_value_and_gradient(mean, logvar):
    mean, logvar = np.full((2, 2), mean, np.float32), np.full((2, 2), logvar, np.float32)

    def everything(mean, logvar):
        z = reparameterize(jax.random.key(0), mean, logvar)
        far = gaussian_log_density(-mean, mean, logvar)
        to_far = kl_gaussian(mean, logvar, -mean, -logvar).sum() + kl_gaussian(mean, -logvar, -mean, logvar).sum()
        near = gaussian_log_density(z, mean, logvar).sum()
        return kl_standard_normal(mean, logvar).sum() + near + far.sum() + to_far

    value, slopes = value_and_grad(everything, (0, 1))(mean, logvar)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_samples_have_the_mean_and_variance_they_should():
    mean, logvar = np.full((20_000, 2), 3, np.float32), np.tile(np.array([[-2.0, 1.0]], np.float32), (20_000, 1))
    z = reparameterize(jax.random.key(0), mean, logvar)
    np.testing.assert_allclose(z.mean(0), 3, atol=0.05)
    np.testing.assert_allclose(z.var(0), np.exp([-2.0, 1.0]), rtol=0.05)
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]) < 0.03


def test_sample_moves_with_mean_and_deviation():
    key = jax.random.key(0)
    noise = reparameterize(key, 0 * MEAN, 0 * MEAN)
    np.testing.assert_allclose(reparameterize(key, MEAN, LOGVAR), MEAN + np.exp(LOGVAR / 2) * noise, rtol=1e-5)
    slopes = grad(lambda m, v: reparameterize(key, m, v).sum(), (0, 1))(MEAN, LOGVAR)
    np.testing.assert_allclose(slopes[0], 1)
    np.testing.assert_allclose(slopes[1], 0.5 * np.exp(LOGVAR / 2) * noise, rtol=1e-5)


def test_noise_belongs_to_the_example():
    key = jax.random.key(5)
    np.testing.assert_array_equal(reparameterize(key, MEAN, LOGVAR)[:2], reparameterize(key, MEAN[:2], LOGVAR[:2]))
    np.testing.assert_array_equal(reparameterize(key, MEAN, LOGVAR)[0], reparameterize(key, MEAN[0], LOGVAR[0]))
    assert (reparameterize(jax.random.key(6), MEAN, LOGVAR) != reparameterize(key, MEAN, LOGVAR)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_noise_is_the_same_on_any_number_of_devices(backend):
    mean = logvar = np.zeros((16, 3), np.float32)

    def spread(mean, logvar, axis_name=None):
        z = reparameterize(jax.random.key(0), mean, logvar, axis_name=axis_name)
        weight = jnp.arange(3.0)
        mean_square = (z**2 * weight[None]).mean()
        return mean_square if axis_name is None else jax.lax.pmean(mean_square, axis_name)

    value, slopes = run_sharded(spread, backend, mean, logvar)
    want, want_slopes = value_and_grad(spread, (0, 1))(mean, logvar)
    np.testing.assert_allclose(value, want, rtol=1e-6)
    for a, b in zip(slopes, want_slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_compiled_mapped_and_half_precision():
    z, prior = float32(Z), float32(*PRIOR)
    for kernel in (
        losses.kl_standard_normal,
        lambda m, v: losses.gaussian_log_density(z, m, v),
        lambda m, v: losses.kl_gaussian(m, v, *prior),
    ):
        plain = kernel(*float32(MEAN, LOGVAR))
        np.testing.assert_allclose(one_program(kernel)(MEAN, LOGVAR), plain, rtol=1e-6)
        np.testing.assert_allclose(vmap(kernel)(MEAN[None], LOGVAR[None])[0], plain, rtol=1e-6)
    half = kl_standard_normal(MEAN.astype(jnp.bfloat16), LOGVAR.astype(jnp.bfloat16))
    assert half.dtype == jnp.float32
    exact = oracles.kl_standard_normal(MEAN.astype(jnp.bfloat16), LOGVAR.astype(jnp.bfloat16))
    np.testing.assert_allclose(half, exact, rtol=1e-5)
    halves = [array.astype(jnp.bfloat16) for array in (MEAN, LOGVAR, *PRIOR)]
    assert kl_gaussian(*halves).dtype == jnp.float32
    np.testing.assert_allclose(kl_gaussian(*halves), prior_oracles.kl_gaussian(*halves), rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    for kernel in (
        losses.kl_standard_normal,
        jax.jit(losses.kl_standard_normal),
        lambda m, v: losses.reparameterize(jax.random.key(0), m, v),
    ):
        with pytest.raises(ValueError, match=r"one shape: mean \(6, 3\), logvar \(5, 3\)"):
            kernel(MEAN, LOGVAR[:5])
    with pytest.raises(ValueError, match=r"one rank .* z \(6, 1, 3\), mean \(6, 3\)"):
        losses.gaussian_log_density(Z[:, None], MEAN, LOGVAR)
    with pytest.raises(ValueError, match="equal or 1"):
        losses.gaussian_log_density(Z, MEAN[:4], LOGVAR[:4])
    with pytest.raises(ValueError, match="must be floating, got"):
        losses.kl_standard_normal(*np.zeros((2, 2, 2), np.int32))
    for name, place in (("prior_mean", 0), ("prior_logvar", 1)):
        wrong = [array[None] if i == place else array for i, array in enumerate(PRIOR)]
        with pytest.raises(ValueError, match=rf"{name} must be \(6, 3\) or \(3,\), got \(1, 3\)"):
            losses.kl_gaussian(MEAN, LOGVAR, *wrong)
    with pytest.raises(ValueError, match=r"one shape: mean \(6, 3\), logvar \(5, 3\)"):
        losses.kl_gaussian(MEAN, LOGVAR[:5], *PRIOR)
