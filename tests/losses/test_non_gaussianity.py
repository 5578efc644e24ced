"""Kurtosis and negentropy: known distributions, constants by quadrature, identities, extremes, sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import excess_kurtosis, float32, negentropy, normal, one_program, value_and_grad, vmap
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sharding import BACKENDS, run_sharded

from jaxvae import losses
from jaxvae.losses.non_gaussianity import _EVEN

KEY = jax.random.key(0)
N = 100_000
UNIFORM = np.asarray(jax.random.uniform(KEY, (N, 1)))
LAPLACE = np.asarray(jax.random.laplace(jax.random.key(1), (N, 1)))
NORMAL = normal(jax.random.key(2), (N, 1))
EAGER = {
    "kurtosis": losses.excess_kurtosis,
    **{
        contrast: lambda codes, c=contrast, **kw: losses.negentropy(codes, contrast=c, **kw)
        for contrast in ("logcosh", "exp", "moments")
    },
}
SCORES = {name: one_program(score) for name, score in EAGER.items()}
FUNCTIONS = {"logcosh": lambda y: np.log(np.cosh(y)), "exp": lambda y: -np.exp(-(y**2) / 2)}
gammas = one_program(lambda key, shape: jax.random.gamma(key, 2.0, shape))
every_score = pytest.mark.parametrize("name", SCORES)


def oracle(name, codes):
    """One latent after the other, in float64."""
    values = []
    for column in np.asarray(codes, np.float64).T:
        y = (column - column.mean()) / column.std()
        match name:
            case "kurtosis":
                values.append((y**4).mean() - 3)
            case "moments":
                values.append((y**3).mean() ** 2 / 12 + ((y**4).mean() - 3) ** 2 / 48)
            case "logcosh":
                values.append((np.log(np.cosh(y)).mean() - 0.374567207491438) ** 2 / (2 * 0.006327866991))
            case "exp":
                values.append((-np.exp(-(y**2) / 2).mean() + np.sqrt(0.5)) ** 2 * 24 / (16 * np.sqrt(3) - 27))
    return np.array(values)


@every_score
@given(st.integers(0, 1000), st.sampled_from([1e-3, 1.0, 1e4]), st.sampled_from([0.0, -30.0]))
def test_against_the_oracle_at_any_scale(name, seed, scale, shift):
    codes = scale * (gammas(jax.random.key(seed), (200, 3)) + shift)
    np.testing.assert_allclose(SCORES[name](codes), oracle(name, codes), rtol=2e-3, atol=2e-4)


@every_score
def test_compiled_mapped_and_of_either_sign(name):
    codes = gammas(KEY, (50, 3))
    plain = np.asarray(EAGER[name](float32(codes)))
    np.testing.assert_allclose(SCORES[name](codes), plain, rtol=1e-4, atol=1e-5)
    stacked = vmap(SCORES[name])(np.stack([codes, -codes]))
    np.testing.assert_allclose(stacked, np.stack([plain, plain]), rtol=1e-3, atol=1e-5)


def test_known_distributions():
    kurtoses = [excess_kurtosis(codes)[0] for codes in (UNIFORM, LAPLACE, NORMAL)]
    np.testing.assert_allclose(kurtoses, [-1.2, 3.0, 0.0], atol=0.2)
    coin = np.sign(NORMAL)
    np.testing.assert_allclose(excess_kurtosis(coin), -2, atol=1e-3)
    laws = [(UNIFORM, stats.uniform(-(3**0.5), 12**0.5)), (LAPLACE, stats.laplace(scale=0.5**0.5))]
    for name, function in FUNCTIONS.items():
        for codes, law in laws:
            mean = integrate.quad(
                lambda y, f=function, p=law: f(y) * p.pdf(y), -15, 15, points=(-1.7, 0, 1.7), limit=300
            )[0]
            want = (mean - _EVEN[name].mean) ** 2 / (2 * _EVEN[name].variance)
            np.testing.assert_allclose(negentropy(codes, contrast=name), want, rtol=0.05)
    for name in ("logcosh", "exp", "moments"):
        assert 0 <= negentropy(NORMAL, contrast=name)[0] < 30 / N


def test_kurtosis_of_a_mixture():
    """kurt(a y + b z) = a^4 kurt(y) + b^4 kurt(z) of independent y and z of unit variance, a^2 + b^2 = 1."""
    y, z = (codes / codes.std() for codes in (UNIFORM - UNIFORM.mean(), LAPLACE - LAPLACE.mean()))
    mixed = excess_kurtosis(0.6 * y + 0.8 * z)
    np.testing.assert_allclose(mixed, 0.6**4 * excess_kurtosis(y) + 0.8**4 * excess_kurtosis(z), atol=0.05)


@pytest.mark.parametrize("name", ["logcosh", "exp"])
def test_constants_by_quadrature(name):
    even = _EVEN[name]
    function = FUNCTIONS[name]

    def expected(f):
        return integrate.quad(lambda y: f(y) * stats.norm.pdf(y), -12, 12, epsabs=1e-13, limit=500)[0]

    mean = expected(function)
    variance = expected(lambda y: (function(y) - mean) ** 2) - expected(lambda y: function(y) * (y**2 - 1)) ** 2 / 2
    np.testing.assert_allclose((even.mean, even.variance), (mean, variance), rtol=1e-9)
    points = np.array([0.0, 3.0, -90.0])
    np.testing.assert_allclose(one_program(even.function)(np.float32(points)), function(points), atol=1e-5)


def test_the_contrast_is_largest_at_the_sources():
    """Two whitened sources, turned: the known angle is where kurtosis and negentropy peak."""
    sources = np.concatenate([UNIFORM, np.roll(UNIFORM, 1, axis=0)], axis=1)
    sources = (sources - 0.5) * 12**0.5

    def contrast(sources, angle):
        c, s = jnp.cos(angle), jnp.sin(angle)
        turned = jnp.stack([c * sources[:, 0] - s * sources[:, 1], s * sources[:, 0] + c * sources[:, 1]], axis=1)
        return jnp.stack([jnp.abs(excess_kurtosis(turned)).sum(), negentropy(turned).sum()])

    angles = np.linspace(-0.7, 0.7, 29, dtype=np.float32)
    contrasts = one_program(lambda sources, angles: jax.lax.map(lambda angle: contrast(sources, angle), angles))
    best = angles[contrasts(sources, angles).argmax(axis=0)]
    np.testing.assert_allclose(best, 0, atol=0.06)


@every_score
def test_extremes_are_finite(name):
    codes = np.array([7, 0, 0], np.float32) + np.array([0, 1e4, 0], np.float32) * normal(KEY, (30, 1))
    codes[0, 1] = 1e7
    value, gradient = value_and_grad(lambda codes: SCORES[name](codes).sum())(codes)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(SCORES[name](codes)[[0, 2]], 0)
    np.testing.assert_array_equal(gradient[:, [0, 2]], 0)


@pytest.mark.parametrize("backend", BACKENDS)
@every_score
def test_moments_are_those_of_the_global_batch(name, backend):
    codes = gammas(KEY, (16, 3))

    def total(codes, axis_name=None):
        return SCORES[name](codes, axis_name=axis_name).sum()

    value, (gradient,) = run_sharded(total, backend, codes)
    want, want_gradient = value_and_grad(total)(codes)
    np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match="one of logcosh, exp, moments, got 'cube'"):
        losses.negentropy(NORMAL, contrast="cube")
    with pytest.raises(ValueError, match=r"\[batch, latents\], got shape \(3,\)"):
        losses.excess_kurtosis(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="must be floating"):
        losses.excess_kurtosis(np.ones((3, 2), np.int32))
