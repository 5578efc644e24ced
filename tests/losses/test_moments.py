import functools

import jax
import jax.numpy as jnp
import moment_oracles
import numpy as np
import oracles
import pytest
from compiled import code_covariance, float32, normal, one_program, reparameterize, value_and_grad, vmap
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses
from jaxvae.losses import dip_vae_penalty, gaussian_total_correlation, gaussian_wasserstein_correlation

WEIGHTS = (3.0, 0.7)
every_kind = pytest.mark.parametrize("kind", ["i", "ii"])


def plain_penalty(mean, logvar, kind, lambda_od=3.0, lambda_d=0.7, axis_name=None):
    return dip_vae_penalty(mean, logvar, kind=kind, lambda_od=lambda_od, lambda_d=lambda_d, axis_name=axis_name)


penalty = one_program(plain_penalty)
penalty_and_slopes = value_and_grad(plain_penalty, (0, 1))
STATISTICS = {
    "covariance": lambda mean, logvar, **axis: losses.code_covariance(mean, **axis),
    "i": functools.partial(plain_penalty, kind="i"),
    "ii": functools.partial(plain_penalty, kind="ii"),
}
PLAIN_DEPENDENCE = {
    "total correlation": gaussian_total_correlation,
    "wasserstein": gaussian_wasserstein_correlation,
    "normalized": functools.partial(gaussian_wasserstein_correlation, normalized=True),
}
DEPENDENCE = {name: one_program(kernel) for name, kernel in PLAIN_DEPENDENCE.items()}
DEPENDENCE_AND_SLOPE = {name: value_and_grad(kernel) for name, kernel in PLAIN_DEPENDENCE.items()}
DEPENDENCE_ORACLES = {
    "total correlation": moment_oracles.total_correlation,
    "wasserstein": functools.partial(moment_oracles.wasserstein_correlation, normalized=False),
    "normalized": functools.partial(moment_oracles.wasserstein_correlation, normalized=True),
}
every_dependence = pytest.mark.parametrize("name", DEPENDENCE)


@functools.cache
def posteriors(batch=16, latents=3, seed=0):
    return draw_posteriors(jax.random.key(seed), batch, latents)


@one_program
def draw_posteriors(key, batch, latents):
    keys = jax.random.split(key, 3)
    mixing = jnp.eye(latents) + 0.4 * jax.random.normal(keys[0], (latents, latents))
    mean = jax.random.normal(keys[1], (batch, latents)) @ mixing + 2
    return mean, -1 + 0.5 * jax.random.normal(keys[2], (batch, latents))


@functools.cache
def covariance_matrix(latents=4, seed=0):
    root = np.eye(latents, dtype=np.float32) + 0.4 * normal(jax.random.key(seed), (latents, latents))
    return root @ root.T


def correlated(rho):
    return np.array([[1.0, rho], [rho, 1.0]], np.float32)


def whitened(turned=False):
    points = np.asarray(posteriors(64)[0], np.float64)
    points = 8 * np.linalg.svd(points - points.mean(0), full_matrices=False)[0]
    if turned:
        points = points @ np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    return np.asarray(points, np.float32)


@given(st.sampled_from([(2, 1), (2, 3), (7, 4)]), st.integers(0, 1000), st.sampled_from([0.01, 1.0, 30.0]))
def test_any_batch_against_the_oracle(shape, seed, scale):
    mean, logvar = posteriors(*shape, seed)
    mean = scale * mean
    covariance, tolerance = code_covariance(mean), {"rtol": 1e-5, "atol": 1e-6 * scale**2}
    np.testing.assert_allclose(covariance, moment_oracles.covariance(mean), **tolerance)
    np.testing.assert_allclose(covariance, np.cov(np.float64(mean).T, bias=True).reshape(covariance.shape), **tolerance)
    for kind in ("i", "ii"):
        want = moment_oracles.dip_penalty(mean, logvar, kind, *WEIGHTS)
        np.testing.assert_allclose(penalty(mean, logvar, kind), want, rtol=1e-5, atol=1e-6)


@every_kind
def test_penalty_gradient_against_central_differences(kind):
    inputs = posteriors(5)
    _, got = penalty_and_slopes(*inputs, kind)
    want = oracles.gradient(lambda m, v: moment_oracles.dip_penalty(m, v, kind, *WEIGHTS), *inputs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[0].sum(axis=0), 0, atol=1e-5)


ANTIPODES = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
ZEROS = np.zeros((4, 3), np.float32)


@pytest.mark.parametrize(
    ("kind", "mean", "logvar", "weights", "want"),
    [
        ("i", ZEROS, 0, (5.0, 2.0), 6),
        ("ii", ZEROS, 0, (5.0, 2.0), 0),
        ("i", ANTIPODES, -np.inf, (5.0, 2.0), 10),
        ("ii", ANTIPODES, -np.inf, (5.0, 2.0), 10),
        ("i", 3 * ANTIPODES, 1, (0.0, 0.0), 0),
        ("ii", 3 * ANTIPODES, 1, (0.0, 0.0), 0),
        ("i", whitened(), 0.3, (5.0, 2.0), 0),
        ("i", whitened(turned=True), 0.3, (5.0, 2.0), 0),
        ("ii", whitened(), 0.3, (5.0, 2.0), 2 * 3 * np.exp(0.6)),
    ],
)
def test_penalty_in_closed_form(kind, mean, logvar, weights, want):
    got = penalty(mean, np.full(mean.shape, logvar, np.float32), kind, *np.float32(weights))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@every_kind
@pytest.mark.parametrize("shift", [1e3, -1e3])
def test_penalty_does_not_see_a_shift(kind, shift):
    """Means that float32 holds exactly with and without the shift, so that every difference is the kernel's own."""
    mean, logvar = posteriors(200)
    mean = np.round(mean * 2**12) / 2**12
    want, (slopes, _) = penalty_and_slopes(mean, logvar, kind)
    got, (shifted_slopes, _) = penalty_and_slopes(mean + np.float32(shift), logvar, kind)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(shifted_slopes, slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("spread", "offset"), [(1.0, 1e4), (2**-11, 1e3)])
def test_covariance_of_a_large_batch_far_from_0(spread, offset):
    """The narrow one varies by a few units of the last place, and its mean lies between two of them."""
    mean = spread * normal(jax.random.key(0), (20_000, 2)) + offset
    want = np.cov(np.float64(mean).T, bias=True)
    np.testing.assert_allclose(code_covariance(mean), want, rtol=1e-5, atol=1e-5 * spread**2)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_kind_ii_is_about_the_sampled_codes(weights):
    """Law of total covariance: kind "ii" of the posteriors is kind "i" of their samples."""
    mean, logvar = posteriors(20_000)
    z = reparameterize(jax.random.key(1), mean, logvar)
    np.testing.assert_allclose(
        penalty(mean, logvar, "ii", *weights), penalty(z, logvar, "i", *weights), rtol=6 / np.sqrt(20_000)
    )


@every_kind
def test_weights_may_be_traced(kind):
    inputs, weights = posteriors(), np.array([[3.0, 0.0], [0.7, 1.0]], np.float32)
    swept = vmap(lambda od, d: penalty(*inputs, kind, od, d))(*weights)
    np.testing.assert_allclose(swept, [penalty(*inputs, kind), penalty(*inputs, kind, 0.0, 1.0)], rtol=1e-5)


@pytest.mark.parametrize(("statistic", "batch"), [("covariance", 8), ("i", 16), ("ii", 16)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_several_devices_are_one(backend, statistic, batch):
    def weighted(mean, logvar, axis_name=None):
        value = STATISTICS[statistic](mean, logvar, axis_name=axis_name)
        return (value * (1 + jnp.arange(value.size, dtype=jnp.float32)).reshape(value.shape)).sum()

    inputs = posteriors(batch)
    value, gradients = run_sharded(weighted, backend, *inputs)
    want, want_gradients = value_and_grad(weighted, (0, 1))(*inputs)
    np.testing.assert_allclose(value, want, rtol=1e-6)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_compiled_mapped_and_in_half_precision(statistic):
    kernel, inputs = one_program(STATISTICS[statistic]), posteriors()
    plain = STATISTICS[statistic](*float32(*inputs))
    np.testing.assert_allclose(kernel(*inputs), plain, rtol=1e-5)
    mapped = vmap(kernel)(*(np.stack([a, 2 * a]) for a in inputs))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-5)
    np.testing.assert_allclose(mapped[1], kernel(*(2 * a for a in inputs)), rtol=1e-5)
    half = [a.astype(jnp.bfloat16) for a in inputs]
    got = kernel(*half)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, kernel(*(a.astype(np.float32) for a in half)), rtol=1e-6)


@every_kind
@pytest.mark.parametrize("logvar", [-80.0, 80.0])
def test_extremes_are_finite_in_value_and_gradient(kind, logvar):
    mean = np.array([[1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], np.float32)
    value, slopes = penalty_and_slopes(mean, np.full((3, 2), logvar, np.float32), kind)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


@every_dependence
@given(latents=st.sampled_from([1, 2, 5]), seed=st.integers(0, 1000))
def test_dependence_against_the_oracle(name, latents, seed):
    cov = covariance_matrix(latents, seed)
    # A nearly singular matrix loses its digits in any formula.
    tolerance = 1e-6 * max(10.0, np.linalg.cond(np.float64(cov)))
    np.testing.assert_allclose(DEPENDENCE[name](cov), DEPENDENCE_ORACLES[name](cov), rtol=1e-5, atol=tolerance)


@every_dependence
def test_dependence_gradient_against_central_differences(name):
    cov = covariance_matrix(seed=2)
    (want,) = oracles.gradient(DEPENDENCE_ORACLES[name], cov)
    np.testing.assert_allclose(DEPENDENCE_AND_SLOPE[name](cov)[1], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rho", [0.8, -0.8, 0.1, 1e-3])
def test_dependence_of_two_latents_in_closed_form(rho):
    """Eigenvalues 1 +- rho; the total correlation keeps its digits for a small rho."""
    cov, wasserstein = correlated(rho), 4 - 2 * (np.sqrt(1 + rho) + np.sqrt(1 - rho))
    wants = (-0.5 * np.log1p(-(rho**2)), wasserstein, wasserstein / 2)
    for kernel, want, atol in zip(DEPENDENCE.values(), wants, (0, 1e-6, 1e-6), strict=True):
        np.testing.assert_allclose(kernel(cov), want, rtol=1e-5, atol=atol)
    if abs(rho) == 0.8:
        np.testing.assert_allclose(DEPENDENCE["total correlation"](cov), 0.51083, atol=1e-5)


@every_dependence
def test_independent_latents_have_no_dependence(name):
    """Whatever their scales, latents that are switched off included."""
    for variances in ((1.0, 1e-6, 1e4, 0.0), (0.0, 0.0, 0.0, 0.0)):
        value, slope = DEPENDENCE_AND_SLOPE[name](np.diag(np.array(variances, np.float32)))
        np.testing.assert_allclose(value, 0, atol=1e-6 * (1 + sum(variances)))
        assert np.isfinite(slope).all()


@every_dependence
def test_a_latent_that_is_switched_off_counts_nothing(name):
    cov = covariance_matrix()
    np.testing.assert_allclose(DEPENDENCE[name](np.pad(cov, (0, 1))), DEPENDENCE[name](cov), rtol=1e-5, atol=1e-5)


@given(st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4), st.permutations(range(4)))
def test_what_leaves_the_dependence_unchanged(log10_scales, order):
    """TC: any scales. Normalized Wasserstein: a common scale. All: signs and order of the latents."""
    cov, order, signs = covariance_matrix(), np.array(order), np.array([1, -1, 1, -1], np.float32)
    scales = 10 ** np.array(log10_scales, np.float32)
    changes = {"total correlation": scales, "normalized": np.full(4, scales[0])}
    for name, kernel in DEPENDENCE.items():
        scale = signs * changes.get(name, np.float32(1))
        changed = (cov * scale[:, None] * scale)[order][:, order]
        np.testing.assert_allclose(kernel(changed), kernel(cov), rtol=1e-4)


def test_total_correlation_near_independence_is_the_penalty():
    """TC = sum_{i != j} S_ij^2 / 4 + O(e^3): lambda_od of kind "ii" is (beta - 1) / 4 of beta-TCVAE."""
    off = np.array([[0.0, 1.0, -0.5], [1.0, 0.0, 0.8], [-0.5, 0.8, 0.0]], np.float32)
    for e in (0.2, 0.1, 0.05, 0.01):
        remainder = (
            DEPENDENCE["total correlation"](np.eye(3, dtype=np.float32) + e * off) - 0.25 * ((e * off) ** 2).sum()
        )
        assert 0.1 < abs(remainder) / e**3 < 1


@pytest.mark.parametrize(
    ("cov", "tc", "wasserstein"),
    [
        (np.ones((2, 2)), np.inf, 4 - 2 * np.sqrt(2)),
        (np.ones((3, 3)), np.inf, 6 - 2 * np.sqrt(3)),
        ([[1, 2], [2, 4]], np.inf, 10 - 2 * np.sqrt(17)),
        ([[1, 2], [2, 1]], np.inf, 4 - 2 * np.sqrt(3)),
        ([[np.nan, 0], [0, 1]], np.nan, np.nan),
    ],
)
def test_singular_and_broken_matrices(cov, tc, wasserstein):
    """A latent that is a function of others: infinite TC, finite distance. Not a number stays that."""
    cov = np.asarray(cov, np.float32)
    np.testing.assert_allclose(DEPENDENCE["total correlation"](cov), tc)
    value, slope = DEPENDENCE_AND_SLOPE["wasserstein"](cov)
    np.testing.assert_allclose(value, wasserstein, rtol=1e-3)
    assert np.isfinite(slope).all() or np.isnan(wasserstein)


@every_dependence
def test_dependence_compiled_mapped_and_in_half_precision(name):
    kernel, covs = DEPENDENCE[name], np.stack([correlated(0.25), correlated(-0.5)])
    plain = np.stack([PLAIN_DEPENDENCE[name](float32(cov)) for cov in covs])
    one_by_one = np.stack([kernel(cov) for cov in covs])
    for got in (one_by_one, kernel(covs), vmap(kernel)(covs), kernel(covs[None])[0]):
        np.testing.assert_allclose(got, plain, rtol=1e-5)
    half = kernel(covs.astype(jnp.bfloat16))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, plain, rtol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("wrap", [lambda kernel: kernel, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(
    ("kernel", "shapes", "message"),
    [
        (STATISTICS["i"], [(6, 3), (5, 3)], r"one shape: mean \(6, 3\), logvar \(5, 3\)"),
        (STATISTICS["ii"], [(6,), (6,)], r"must be \[batch, latents\], got shape \(6,\)"),
        (STATISTICS["i"], [(1, 3), (1, 3)], "at least 2 examples, got 1"),
        (losses.code_covariance, [(0, 3)], "at least 2 examples, got 0"),
        (functools.partial(plain_penalty, kind="iii"), [(6, 3), (6, 3)], "unknown kind 'iii'; there are i, ii"),
        (gaussian_total_correlation, [(2, 3)], r"square .* got shape \(2, 3\)"),
        (gaussian_wasserstein_correlation, [(3,)], r"square .* got shape \(3,\)"),
    ],
)
def test_bad_input(wrap, kernel, shapes, message):
    with pytest.raises(ValueError, match=message):
        wrap(kernel)(*(float32(np.ones(shape)) for shape in shapes))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    "kernel", [losses.code_covariance, gaussian_total_correlation, gaussian_wasserstein_correlation]
)
def test_integers_are_refused(kernel):
    with pytest.raises(ValueError, match="must be floating, got int32"):
        kernel(np.ones((2, 2), np.int32))
