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
    importance_weighted_bound,
    kl_gaussian,
    kl_standard_normal,
    normal,
    one_program,
    reparameterize,
    sampled_kl,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxvae import losses
from jaxvae.losses.priors import anisotropic_normal, gaussian_mixture, standard_normal, student_t

MEAN = normal(jax.random.key(0), (6, 3))
LOGVAR = 0.5 * normal(jax.random.key(1), (6, 3))
Z = reparameterize(jax.random.key(2), MEAN, LOGVAR)
VARIANCES = np.array([2.0, 0.3, 1.0], np.float32)
ANISOTROPIC = anisotropic_normal(jax.device_put(VARIANCES))
LOG_JOINT = 3 * normal(jax.random.key(3), (4, 6))
LOG_POSTERIOR = 3 * normal(jax.random.key(4), (4, 6))

# Linear-Gaussian model with one latent: z ~ Normal(0, 1), x | z ~ Normal(w z, noise), in closed form throughout.
W, NOISE = 1.5, 0.4
POSTERIOR_VARIANCE = NOISE / (NOISE + W**2)
X = np.array([-2.0, 0.3, 1.0], np.float32)


def linear_bound(key, k, *, shift=0.0, widen=1.0):
    """The bound of each x, with a proposal that is the exact posterior for the default arguments."""
    mean = jnp.broadcast_to(W * X / (NOISE + W**2) + shift, (k, 3))[..., None]
    logvar = jnp.full((k, 3, 1), np.log(POSTERIOR_VARIANCE * widen))
    z = reparameterize(key, mean, logvar)
    x = jnp.broadcast_to(X[None, :, None], z.shape)
    likelihood = gaussian_log_density(x, W * z, jnp.full_like(z, np.log(NOISE))).sum(-1)
    log_joint = likelihood + standard_normal(1).log_density(z)
    return importance_weighted_bound(log_joint, gaussian_log_density(z, mean, logvar).sum(-1))


def sampled_kl_oracle(z, mean, logvar):
    prior = oracles.log_normal(z, np.zeros_like(z), np.log(np.asarray(VARIANCES, np.float64)))
    return (oracles.log_normal(z, mean, logvar) - prior).sum(-1)


CASES = {
    "sampled_kl": (
        lambda *a: losses.sampled_kl(*a, ANISOTROPIC.log_density),
        sampled_kl_oracle,
        (Z, MEAN, LOGVAR),
    ),
    "bound": (losses.importance_weighted_bound, prior_oracles.importance_weighted_bound, (LOG_JOINT, LOG_POSTERIOR)),
}
every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_against_the_oracle(name):
    kernel, oracle, inputs = CASES[name]
    np.testing.assert_allclose(one_program(kernel)(*inputs), oracle(*inputs), rtol=1e-5, atol=1e-6)
    got = grad(lambda *a: kernel(*a).sum(), tuple(range(len(inputs))))(*inputs)
    want = oracles.gradient(lambda *a: oracle(*a).sum(), *inputs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_case
def test_compiled_mapped_and_half_precision(name):
    kernel, oracle, inputs = CASES[name]
    compiled, plain = one_program(kernel), kernel(*float32(*inputs))
    np.testing.assert_allclose(compiled(*inputs), plain, rtol=1e-5, atol=1e-6)
    mapped = vmap(kernel)(*(np.stack([a, 2 * a]) for a in inputs))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mapped[1], compiled(*(2 * a for a in inputs)), rtol=1e-5, atol=1e-6)
    half = [a.astype(jnp.bfloat16) for a in inputs]
    assert compiled(*half).dtype == np.float32
    np.testing.assert_allclose(compiled(*half), oracle(*(a.astype(np.float32) for a in half)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 50])
def test_the_bound_is_tight_at_the_exact_posterior(k):
    evidence = oracles.log_normal(X, 0, np.log(NOISE + W**2))
    bound = one_program(lambda key: linear_bound(key, k))(jax.random.key(0))
    np.testing.assert_allclose(bound, evidence, rtol=1e-5)


def test_the_bound_rises_with_k_to_the_evidence():
    evidence = oracles.log_normal(X, 0, np.log(NOISE + W**2))
    keys = jax.random.split(jax.random.key(0), 4000)
    means = []
    for k in (1, 2, 8, 64):
        bounds = vmap(lambda key, k=k: linear_bound(key, k, shift=0.3, widen=1.5))(keys)
        means.append(bounds.mean(0))
        error = bounds.std(0) / np.sqrt(4000)
        assert (means[-1] < evidence + 3 * error).all()
    assert (np.diff(means, axis=0) > 0).all()
    np.testing.assert_allclose(means[-1], evidence, atol=0.02)


def test_one_sample_is_the_elbo():
    """Its mean is -rec - KL, in closed form for the linear model."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    bounds = vmap(lambda key: linear_bound(key, 1, shift=0.3, widen=1.5))(keys)
    mean, variance = np.asarray(W * X / (NOISE + W**2) + 0.3), POSTERIOR_VARIANCE * 1.5
    likelihood = oracles.log_normal(X, W * mean, np.log(NOISE)) - W**2 * variance / (2 * NOISE)
    elbo = likelihood - oracles.kl_standard_normal(mean[:, None], np.full((3, 1), np.log(variance)))
    np.testing.assert_allclose(bounds.mean(0), elbo, atol=4 * bounds.std() / np.sqrt(20_000))


@given(arrays(np.float32, (6, 2), elements=st.floats(-100, 100, width=32)), st.floats(-50, 50, width=32))
def test_more_samples_never_lower_the_bound(log_weights, shift):
    """By concavity, for any weights: the bound of all is no less than the mean of the bounds of the halves."""
    zeros = np.zeros_like(log_weights)
    whole = importance_weighted_bound(log_weights, zeros)
    halves = [importance_weighted_bound(half, zeros[:3]) for half in (log_weights[:3], log_weights[3:])]
    assert (whole >= 0.5 * (halves[0] + halves[1]) - 1e-4).all()
    assert (whole <= log_weights.max(0) + 1e-4).all()
    shifted = importance_weighted_bound(log_weights + np.float32(shift), zeros)
    np.testing.assert_allclose(shifted, whole + shift, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(importance_weighted_bound(zeros, -log_weights), whole, rtol=1e-6)


bound_and_slopes = value_and_grad(lambda *a: importance_weighted_bound(*a).sum(), (0, 1))


@pytest.mark.parametrize("log_weight", [-1e30, -1e4, 1e4, 1e30])
def test_the_bound_is_finite_in_value_and_gradient(log_weight):
    log_joint = np.array([[log_weight, 0.0], [log_weight, log_weight]], np.float32)
    value, slopes = bound_and_slopes(log_joint, 0 * log_joint)
    assert np.isfinite(value)
    np.testing.assert_allclose(slopes[0].sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(slopes[1].sum(0), -1, rtol=1e-6)


def test_the_sampled_kl_has_the_mean_of_the_closed_form():
    mean, logvar = np.array([0.7, -1.2, 0.1], np.float32), np.array([0.3, -0.9, 0.0], np.float32)
    shape = (100_000, 3)
    means, logvars = np.broadcast_to(mean, shape), np.broadcast_to(logvar, shape)
    z = reparameterize(jax.random.key(0), means, logvars)
    for prior, want in (
        (standard_normal(3), kl_standard_normal(mean, logvar)),
        (ANISOTROPIC, kl_gaussian(mean, logvar, 0 * mean, np.log(VARIANCES))),
        (gaussian_mixture(*float32(mean[None], np.exp(logvar)[None])), 0.0),
    ):
        values = sampled_kl(z, means, logvars, prior.log_density)
        np.testing.assert_allclose(values.mean(), want, atol=3 * values.std() / np.sqrt(len(values)) + 1e-6)


def test_the_sampled_kl_takes_any_leading_axes():
    prior = student_t(3, 4.0)
    plain = sampled_kl(Z, MEAN, LOGVAR, prior.log_density)
    folded = sampled_kl(*(a.reshape(2, 3, 3) for a in (Z, MEAN, LOGVAR)), prior.log_density)
    np.testing.assert_allclose(folded, plain.reshape(2, 3), rtol=1e-6)
    np.testing.assert_allclose(sampled_kl(Z[0], MEAN[0], LOGVAR[0], prior.log_density), plain[0], rtol=1e-6)


@pytest.mark.parametrize("logvar", [-80.0, 80.0])
@pytest.mark.parametrize("mean", [-1e4, 1e4])
def test_the_sampled_kl_is_finite_in_value_and_gradient(mean, logvar):
    def total(mean, logvar):
        z = reparameterize(jax.random.key(0), mean, logvar)
        return sampled_kl(z, mean, logvar, gaussian_mixture(jnp.zeros((2, 2)), 0.03).log_density).sum()

    value, slopes = value_and_grad(total, (0, 1))(*np.array([[[mean] * 2] * 2, [[logvar] * 2] * 2], np.float32))
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.sampled_kl(Z, MEAN[:4], LOGVAR, standard_normal(3).log_density),
            r"one shape: z \(6, 3\), mean \(4, 3\)",
        ),
        (lambda: losses.sampled_kl(Z, MEAN, LOGVAR, lambda z: -(z**2)), r"sum over the latents: \(6,\), got \(6, 3\)"),
        (lambda: losses.sampled_kl(Z, MEAN, LOGVAR, lambda z: -(z**2).sum(1, keepdims=True)), r"\(6,\), got \(6, 1\)"),
        (lambda: losses.importance_weighted_bound(LOG_JOINT, LOG_POSTERIOR[:2]), r"one shape: log_joint \(4, 6\)"),
        (
            lambda: losses.importance_weighted_bound(LOG_JOINT[:0], LOG_JOINT[:0]),
            r"one or more samples, got shape \(0, 6\)",
        ),
        (
            lambda: losses.importance_weighted_bound(np.float32(1), np.float32(1)),
            r"one or more samples, got shape \(\)",
        ),
        (lambda: losses.importance_weighted_bound(*[np.ones((2, 2), np.int32)] * 2), "log_joint must be floating"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
