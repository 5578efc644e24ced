import jax
import jax.numpy as jnp
import numpy as np
import oracles
import prior_oracles
import pytest
from compiled import float32, grad, normal, one_program, softmax_variances, vmap
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses
from jaxvae.losses.priors import (
    anisotropic_normal,
    gaussian_mixture,
    pinwheel_mixture,
    spike_and_slab,
    standard_normal,
    student_t,
)

VARIANCES = np.array([2.0, 0.3, 1.0], np.float32)
SCALES = np.array([0.5, 1.0, 2.0], np.float32)
MEANS = np.array([[0.0, 1.0, -2.0], [1.5, 0.0, 0.5]], np.float32)
CLUSTER_VARIANCES = np.array([[0.5, 1.0, 2.0], [0.3, 0.2, 1.0]], np.float32)
WEIGHTS = np.array([1.0, 3.0], np.float32)
Z = 1.5 * normal(jax.random.key(0), (5, 3))


def normal_oracle(z, variances):
    return oracles.log_normal(z, np.zeros_like(z), np.log(np.asarray(variances, np.float64))).sum(-1)


# With three latents: the prior, its log-density in float64, its mean and its variance.
PRIORS = {
    "standard": (standard_normal(3), lambda z: normal_oracle(z, np.ones(3)), 0, 1),
    "anisotropic": (anisotropic_normal(float32(VARIANCES)), lambda z: normal_oracle(z, VARIANCES), 0, VARIANCES),
    "student": (student_t(3, 9.0, 0.7), lambda z: prior_oracles.student_t(z, 9, 0.7), 0, 0.49 * 9 / 7),
    "student scales": (
        student_t(3, 9.0, float32(SCALES)),
        lambda z: prior_oracles.student_t(z, 9, SCALES),
        0,
        SCALES**2 * 9 / 7,
    ),
    "spike": (
        spike_and_slab(3, 0.7, 0.3),
        lambda z: prior_oracles.spike_and_slab(z, 0.7, 0.3),
        0,
        0.7 * 0.09 + 0.3,
    ),
    "all spike": (spike_and_slab(3, 1.0, 0.3), lambda z: normal_oracle(z, np.full(3, 0.09)), 0, 0.09),
    "all slab": (spike_and_slab(3, 0.0), lambda z: normal_oracle(z, np.ones(3)), 0, 1),
    "mixture": (
        gaussian_mixture(*float32(MEANS, CLUSTER_VARIANCES, WEIGHTS)),
        lambda z: prior_oracles.mixture(z, MEANS, CLUSTER_VARIANCES, WEIGHTS),
        0.25 * MEANS[0] + 0.75 * MEANS[1],
        0.25 * CLUSTER_VARIANCES[0] + 0.75 * CLUSTER_VARIANCES[1] + 0.1875 * (MEANS[0] - MEANS[1]) ** 2,
    ),
    "mixture of one variance": (
        gaussian_mixture(float32(MEANS), 0.4),
        lambda z: prior_oracles.mixture(z, MEANS, np.full((2, 3), 0.4), np.ones(2)),
        MEANS.mean(0),
        0.4 + 0.25 * (MEANS[0] - MEANS[1]) ** 2,
    ),
}
# The same families with one latent.
ONE_LATENT = {
    "standard": standard_normal(1),
    "anisotropic": anisotropic_normal(float32([2.0])),
    "student": student_t(1, 3.0, 0.7),
    "cauchy": student_t(1, 1.0),
    "student of many degrees": student_t(1, 1e12),
    "spike": spike_and_slab(1),
    "all spike": spike_and_slab(1, 1.0),
    "all slab": spike_and_slab(1, 0.0),
    "mixture": gaussian_mixture(float32(MEANS[0][:, None]), 0.1, float32([1.0, 2.0, 3.0])),
}
DENSITIES = {name: one_program(prior.log_density) for name, (prior, *_) in PRIORS.items()}
every_prior = pytest.mark.parametrize("name", PRIORS)
FAMILIES = ("anisotropic", "student scales", "spike", "mixture")
every_family = pytest.mark.parametrize("name", FAMILIES)
every_line = pytest.mark.parametrize("name", ONE_LATENT)


@every_prior
def test_log_density_against_the_oracle(name):
    prior, oracle, _, _ = PRIORS[name]
    np.testing.assert_allclose(DENSITIES[name](Z), oracle(Z), rtol=1e-5)
    got = grad(lambda z: prior.log_density(z).sum())(Z)
    (want,) = oracles.gradient(lambda z: oracle(z).sum(), Z)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_gradient_in_the_parameters():
    cases = (
        (lambda v: anisotropic_normal(v), lambda v: normal_oracle(Z, v), (VARIANCES,)),
        (lambda s: student_t(3, 5.0, s), lambda s: prior_oracles.student_t(Z, 5, s), (SCALES,)),
        (gaussian_mixture, lambda *a: prior_oracles.mixture(Z, *a), (MEANS, CLUSTER_VARIANCES, WEIGHTS)),
    )
    for build, oracle, parameters in cases:
        places = tuple(range(len(parameters)))
        got = grad(lambda *a, build=build: build(*a).log_density(jnp.asarray(Z)).sum(), places)(*parameters)
        want = oracles.gradient(lambda *a, oracle=oracle: oracle(*a).sum(), *parameters)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_line
def test_it_integrates_to_1_and_the_sampler_follows_it(name):
    """The substitution z = sinh(t) reaches from the spike to 10^6; the samples' distance is that of Kolmogorov."""
    t = np.linspace(-15, 15, 40_001)
    z = np.sinh(t)
    prior = ONE_LATENT[name]
    both = one_program(lambda z, key: (prior.log_density(z), prior.sample(key, 20_000)))
    log_density, samples = both(np.asarray(z[:, None], np.float32), jax.random.key(1))
    density = np.exp(np.asarray(log_density, np.float64))
    steps = density * np.cosh(t) * (t[1] - t[0])
    np.testing.assert_allclose(steps.sum(), 1, atol=2e-5)
    samples = np.sort(samples[:, 0])
    expected = np.interp(samples, z, np.cumsum(steps) - steps / 2)
    assert np.abs(expected - (np.arange(20_000) + 0.5) / 20_000).max() < 1.63 / np.sqrt(20_000)


def test_the_pinwheel_mixture_integrates_to_1():
    line = np.linspace(-2.5, 2.5, 251)
    z = np.asarray(np.stack(np.meshgrid(line, line), -1), np.float32)
    log_density = one_program(pinwheel_mixture().log_density)
    density = np.exp(log_density(z))
    np.testing.assert_allclose(density.sum() * 0.02**2, 1, rtol=1e-5)
    centre, corner = log_density(np.array([[1.0, 0.0], [1.0, 1.0]], np.float32))
    np.testing.assert_allclose(centre, -np.log(4 * 2 * np.pi * 0.03), rtol=1e-5)
    np.testing.assert_allclose(corner, np.log(2) - np.log(4 * 2 * np.pi * 0.03) - 1 / 0.06, rtol=1e-5)


@every_prior
def test_samples_have_the_moments_they_should(name):
    prior, _, mean, variance = PRIORS[name]
    z = one_program(prior.sample)(jax.random.key(0), 20_000)
    assert z.shape == (20_000, 3)
    np.testing.assert_allclose(z.mean(0), np.broadcast_to(mean, 3), atol=0.05)
    np.testing.assert_allclose(z.var(0), np.broadcast_to(variance, 3), rtol=0.06)
    if "mixture" not in name:
        for columns in (z, np.abs(z)):
            np.testing.assert_allclose(np.corrcoef(columns.T), np.eye(3), atol=0.03)
    assert abs(np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]) < 0.03


def test_a_student_of_many_degrees_is_the_normal():
    """The densities differ by (z^4/4 - z^2/2 - 1/4) / df per latent: less than 9e-6 for |z| < 2.5."""
    degrees = (1e6, 9.0, 1.99e7, 2.01e7, 1e12, 1e30)

    @one_program
    def densities(z):
        return standard_normal(1).log_density(z), [student_t(1, df).log_density(z) for df in degrees]

    want, (many, few, *most) = densities(np.linspace(-2.5, 2.5, 101, dtype=np.float32)[:, None])
    np.testing.assert_allclose(many, want, atol=1e-5)
    assert abs(few - want).max() > 0.01
    for density in most:
        np.testing.assert_allclose(density, want, rtol=1e-6)


def test_the_limits_of_the_spike():
    @one_program
    def densities(z):
        spikes = [spike_and_slab(3, share).log_density(z) for share in (0.0, 1.0, 1e-9)]
        return spikes, standard_normal(3).log_density(z), anisotropic_normal(jnp.full(3, 0.05**2)).log_density(z)

    (slab, spike, almost_slab), wide, narrow = densities(Z)
    np.testing.assert_allclose(slab, wide, rtol=1e-6)
    np.testing.assert_allclose(spike, narrow, rtol=1e-5)
    np.testing.assert_allclose(almost_slab, wide, rtol=1e-5)


def test_only_the_isotropic_normal_has_no_axes():
    turned = Z @ np.linalg.qr(normal(jax.random.key(3), (3, 3)))[0]
    change = {name: abs(log_density(turned) - log_density(Z)).max() for name, log_density in DENSITIES.items()}
    isotropic = {"standard", "all slab", "all spike"}
    assert all((value < 1e-3) == (name in isotropic) for name, value in change.items()), change


def test_equal_components_are_one():
    same = gaussian_mixture(*float32(np.zeros((4, 3)), 1.0, [1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(one_program(same.log_density)(Z), DENSITIES["standard"](Z), rtol=1e-6)


@given(
    st.sampled_from([1, 6]).flatmap(lambda n: st.lists(st.floats(-30, 30, width=32), min_size=n, max_size=n)),
    st.sampled_from([0.01, 7.0, 100.0]),
    st.floats(-20, 20),
)
def test_softmax_variances_have_the_mean_they_should(v, scale, shift):
    v = np.array(v, np.float32)
    variances = softmax_variances(v, scale)
    np.testing.assert_allclose(variances.mean(), scale, rtol=1e-5)
    np.testing.assert_allclose(softmax_variances(v + np.float32(shift), scale), variances, rtol=1e-4)


def test_softmax_variances_follow_the_data():
    np.testing.assert_allclose(softmax_variances(np.zeros(4, np.float32)), 1)
    v = np.log(np.array([6.0, 3.0, 1.0], np.float32))
    np.testing.assert_allclose(softmax_variances(v, 2.0), [3.6, 1.8, 0.6], rtol=1e-5)


@every_prior
def test_extremes_are_finite_in_value_and_gradient(name):
    far = np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 1e18], [1e18, 0.0, 1.0]], np.float32)
    values, slopes = vmap(jax.value_and_grad(PRIORS[name][0].log_density))(far)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


@every_family
def test_compiled_mapped_and_half_precision(name):
    prior, oracle, _, _ = PRIORS[name]
    plain = prior.log_density(float32(Z))
    np.testing.assert_allclose(DENSITIES[name](Z), plain, rtol=1e-6)
    np.testing.assert_allclose(vmap(prior.log_density)(Z), plain, rtol=1e-6)
    np.testing.assert_allclose(DENSITIES[name](Z[None, :, None])[0, :, 0], plain, rtol=1e-6)
    key = jax.random.key(2)
    np.testing.assert_allclose(one_program(prior.sample)(key, 4), prior.sample(key, 4), rtol=1e-5)
    half = Z.astype(jnp.bfloat16)
    assert DENSITIES[name](half).dtype == np.float32
    np.testing.assert_allclose(DENSITIES[name](half), oracle(half.astype(np.float32)), rtol=1e-5)


@every_family
def test_draws_belong_to_their_index(name):
    key = jax.random.key(5)
    sample = one_program(PRIORS[name][0].sample)
    draws = sample(key, 7)
    np.testing.assert_allclose(sample(key, 3), draws[:3], rtol=1e-6)
    assert (sample(jax.random.key(6), 7) != draws).all()
    assert len(np.unique(draws[:, 0])) == 7


def test_draws_of_the_standard_normal_are_the_noise_of_reparameterize():
    key, zeros = jax.random.key(5), jnp.zeros((4, 3))
    # Operation by operation: two programs may round differently.
    np.testing.assert_array_equal(standard_normal(3).sample(key, 4), losses.reparameterize(key, zeros, zeros))


@pytest.mark.parametrize("backend", BACKENDS)
def test_draws_are_the_same_on_any_number_of_devices(backend):
    """The gradient in the factor of a draw is the draw, over 32 for the mean."""

    def draw(n, axis_name=None):
        return [PRIORS[name][0].sample(jax.random.key(0), n, axis_name) for name in FAMILIES]

    def product(*factors, axis_name=None):
        value = sum((a * b).sum(-1).mean() for a, b in zip(draw(len(factors[0]), axis_name), factors, strict=True))
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    _, gradients = run_sharded(product, backend, *np.ones((len(FAMILIES), 32, 3), np.float32))
    for got, want in zip(gradients, jax.jit(draw, static_argnums=0)(32), strict=True):
        np.testing.assert_allclose(32 * got, want, rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standard_normal(0), "at least 1 latent, got 0"),
        (lambda: standard_normal(3).log_density(Z[:, :2]), r"must be \[..., 3\] under this prior, got shape \(5, 2\)"),
        (lambda: standard_normal(3).log_density(np.zeros((5, 3), np.int32)), "z must be floating, got"),
        (lambda: standard_normal(3).sample(jax.random.key(0), 0), "n must be at least 1, got 0"),
        (lambda: anisotropic_normal(np.ones((2, 3), np.float32)), r"\[latents\], got shape \(2, 3\)"),
        (lambda: anisotropic_normal(np.ones(3, np.int32)), "variances must be floating"),
        (lambda: anisotropic_normal(np.array([1, -1], np.float32)), "variances must be positive"),
        (lambda: losses.softmax_variances(np.ones((2, 3), np.float32)), r"\[latents\], got shape \(2, 3\)"),
        (lambda: losses.softmax_variances(np.ones(3, np.float32), 0.0), "scale must be positive"),
        (lambda: student_t(3, 0.0), "df must be positive and finite, got 0"),
        (lambda: student_t(3, float("inf")), "df must be positive and finite, got inf"),
        (lambda: student_t(3, np.float32("nan")), "df must be positive and finite, got nan"),
        (lambda: student_t(3, 2.0, -1.0), "scale must be positive"),
        (lambda: student_t(3, 2.0, np.ones(2, np.float32)), r"scalar or \[3\], got shape \(2,\)"),
        (lambda: spike_and_slab(3, 1.1), r"in \[0, 1\], got 1.1"),
        (lambda: spike_and_slab(3, float("nan")), r"in \[0, 1\], got nan"),
        (lambda: spike_and_slab(3, 0.5, 0.0), "spike_scale must be positive"),
        (lambda: gaussian_mixture(np.zeros(3, np.float32), 1.0), r"\[components, latents\], .* got shape \(3,\)"),
        (lambda: gaussian_mixture(MEANS, np.ones(3, np.float32)), r"scalar or \(2, 3\), got shape \(3,\)"),
        (lambda: gaussian_mixture(MEANS, 0.0), "variances must be positive"),
        (lambda: gaussian_mixture(MEANS, 1.0, np.ones(3, np.float32)), r"weights must be \[2\], got shape \(3,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
