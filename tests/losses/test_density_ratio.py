import jax
import jax.numpy as jnp
import numpy as np
import oracles
import prior_oracles
import pytest
from compiled import (
    density_ratio_loss,
    density_ratio_tc,
    donsker_varadhan_bound,
    float32,
    grad,
    normal,
    one_program,
    permute_dims,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sharding import BACKENDS, run_sharded

from jaxvae import losses

LOGITS_Z = 2 * normal(jax.random.key(0), (6, 2))
LOGITS_PERMUTED = 2 * normal(jax.random.key(1), (6, 2))
ENTRIES = np.arange(48, dtype=np.float32).reshape(16, 3)
some_logits = arrays(np.float32, (3, 2), elements=st.floats(-1e4, 1e4, width=32))


def correlated(rho, n, seed=0):
    z = normal(jax.random.key(seed), (n, 2))
    return np.stack([z[:, 0], rho * z[:, 0] + (1 - rho**2) ** 0.5 * z[:, 1]], 1)


@one_program
def optimal_logits(z, cov):
    """log-densities of Normal(0, cov) and of the product of its marginals, less what they share."""
    inverse, variances = jnp.linalg.inv(cov), jnp.diag(cov)
    joint = -0.5 * jnp.einsum("bi,ij,bj->b", z, inverse, z) - 0.5 * jnp.linalg.slogdet(cov)[1]
    product = -0.5 * (z**2 / variances[None]).sum(1) - 0.5 * jnp.log(variances).sum()
    return jnp.stack([joint, product], 1)


def covariance(rho):
    return np.array([[1.0, rho], [rho, 1.0]], np.float32)


def test_against_the_oracle():
    np.testing.assert_allclose(density_ratio_tc(LOGITS_Z), prior_oracles.density_ratio_tc(LOGITS_Z), rtol=1e-5)
    inputs = (LOGITS_Z, LOGITS_PERMUTED)
    np.testing.assert_allclose(density_ratio_loss(*inputs), prior_oracles.density_ratio_loss(*inputs), rtol=1e-5)
    got = grad(lambda *a: density_ratio_loss(*a).sum(), (0, 1))(*inputs)
    want = oracles.gradient(lambda *a: prior_oracles.density_ratio_loss(*a).sum(), *inputs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_discriminator_that_knows_nothing():
    for level in (0.0, 7.0, 1e4):
        logits = np.full((4, 2), level, np.float32)
        np.testing.assert_array_equal(density_ratio_tc(logits), 0)
        np.testing.assert_allclose(density_ratio_loss(logits, logits), np.log(2), rtol=1e-6)


@given(some_logits, some_logits)
def test_names_of_the_classes_do_not_matter(logits_z, logits_permuted):
    plain = density_ratio_loss(logits_z, logits_permuted)
    swapped = density_ratio_loss(logits_permuted[:, ::-1], logits_z[:, ::-1])
    np.testing.assert_allclose(swapped, plain, rtol=1e-6)
    np.testing.assert_array_equal(density_ratio_tc(logits_z[:, ::-1]), -density_ratio_tc(logits_z))
    assert (plain >= 0).all()


def test_extremes_are_finite_in_value_and_gradient():
    sure = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]], np.float32)
    value, slopes = value_and_grad(lambda *a: density_ratio_loss(*a).sum(), (0, 1))(sure, sure)
    np.testing.assert_allclose(density_ratio_loss(sure, sure), [1e4, 1e4, np.log(2)], rtol=1e-6)
    assert np.isfinite(value)
    np.testing.assert_allclose(slopes[0], [[0, 0], [-0.5, 0.5], [-0.25, 0.25]], atol=1e-7)
    np.testing.assert_allclose(slopes[1], [[0.5, -0.5], [0, 0], [0.25, -0.25]], atol=1e-7)


@pytest.mark.parametrize("rho", [0.8, 0.0])
def test_the_optimal_discriminator_gives_the_total_correlation(rho):
    """-log(1 - rho^2) / 2, which is 0.51083 for 0.8; one log-ratio has the standard deviation rho."""
    z = correlated(rho, 100_000)
    estimate = density_ratio_tc(optimal_logits(z, covariance(rho))).mean()
    np.testing.assert_allclose(estimate, -0.5 * np.log(1 - rho**2), atol=4 * rho / np.sqrt(100_000) + 1e-6)


@pytest.mark.parametrize("rho", [0.8, 0.0])
def test_a_trained_discriminator_gives_the_total_correlation(rho):
    """Quadratic logits hold the optimum for a Gaussian, and the loss is then convex: Newton's steps reach it."""
    z = correlated(rho, 100_000)
    shuffled = permute_dims(jax.random.key(1), correlated(rho, 100_000, seed=2))

    @one_program
    def logits(parameters, z):
        features = jnp.stack([jnp.ones(len(z)), z[:, 0] ** 2, z[:, 1] ** 2, z[:, 0] * z[:, 1]], 1)
        return jnp.stack([features @ parameters, jnp.zeros(len(z))], 1)

    def loss(parameters, z, shuffled):
        return density_ratio_loss(logits(parameters, z), logits(parameters, shuffled)).mean()

    @one_program
    def slope_and_next(p, *samples):
        slope = jax.grad(loss)(p, *samples)
        return slope, p - jnp.linalg.solve(jax.hessian(loss)(p, *samples), slope)

    parameters = np.zeros(4, np.float32)
    for _ in range(10):
        _, parameters = slope_and_next(parameters, z, shuffled)
    assert abs(slope_and_next(parameters, z, shuffled)[0]).max() < 1e-4
    np.testing.assert_allclose(density_ratio_tc(logits(parameters, z)).mean(), -0.5 * np.log(1 - rho**2), atol=0.015)


def test_a_step_against_the_gradient_decorrelates():
    z = correlated(0.8, 2000)
    slope = grad(lambda z: density_ratio_tc(optimal_logits(z, covariance(0.8))).sum())(z)
    before = prior_oracles.gaussian_tc(z)
    assert prior_oracles.gaussian_tc(z - 0.01 * slope) < before - 0.005
    assert prior_oracles.gaussian_tc(z + 0.01 * slope) > before + 0.005


def test_the_loss_of_the_discriminator_does_not_reach_the_encoder():
    x = normal(jax.random.key(0), (16, 4))
    encoder, discriminator = (normal(jax.random.key(seed), shape) for seed, shape in ((1, (4, 3)), (2, (3, 2))))

    def discriminate(discriminator, z):
        return jnp.tanh(z) @ discriminator

    def discriminator_loss(encoder, discriminator):
        z = x @ encoder
        shuffled = permute_dims(jax.random.key(3), z)
        logits = [discriminate(discriminator, code) for code in (jax.lax.stop_gradient(z), shuffled)]
        return density_ratio_loss(*logits).mean()

    def total_correlation(encoder, discriminator):
        return density_ratio_tc(discriminate(discriminator, x @ encoder)).mean()

    of_encoder, of_discriminator = grad(discriminator_loss, (0, 1))(encoder, discriminator)
    np.testing.assert_array_equal(of_encoder, 0)
    assert abs(of_discriminator).min() > 0
    assert abs(grad(total_correlation)(encoder, discriminator)).min() > 0


@given(st.sampled_from([(2, 1), (2, 3), (17, 4)]), st.integers(0, 2**31 - 1))
def test_shuffling_keeps_every_column(shape, seed):
    z = normal(jax.random.key(seed), shape)
    shuffled = permute_dims(jax.random.key(seed + 1), z)
    np.testing.assert_array_equal(np.sort(shuffled, 0), np.sort(z, 0))


def test_every_latent_has_a_permutation_of_its_own():
    sources = permute_dims(jax.random.key(0), ENTRIES) // 3
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (sources[:, a] != sources[:, b]).mean() > 0.7
    assert all((sources[:, j] != np.arange(16)).mean() > 0.7 for j in range(3))
    assert (permute_dims(jax.random.key(1), ENTRIES) != permute_dims(jax.random.key(0), ENTRIES)).any()


def test_permutations_are_uniform():
    """Of three examples, each of the six orders of a column, and each of the 36 pairs of orders of two columns."""
    z = np.arange(6, dtype=np.float32).reshape(3, 2)
    shuffled = vmap(lambda key: permute_dims(key, z))(jax.random.split(jax.random.key(0), 7200))
    orders, counts = np.unique(shuffled.reshape(7200, 6), axis=0, return_counts=True)
    assert len(orders) == 36
    assert ((counts - 200) ** 2 / 200).sum() < 57.3  # 99 percent point of chi-square of 35 degrees of freedom


def test_shuffling_removes_the_correlation():
    z = correlated(0.8, 20_000)
    assert prior_oracles.gaussian_tc(z) > 0.45
    assert prior_oracles.gaussian_tc(permute_dims(jax.random.key(0), z)) < 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_devices_shuffle_like_one(backend):
    """The gradient in the factor of an entry is the entry, over 16 for the mean: powers of 2, so every bit is seen."""
    z = normal(jax.random.key(4), (16, 3))

    def product(z, factor, axis_name=None):
        value = (permute_dims(jax.random.key(0), z, axis_name=axis_name) * factor).sum(-1).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    factor = np.ones((16, 3), np.float32)
    value, (of_z, shuffled) = run_sharded(product, backend, z, factor)
    np.testing.assert_array_equal(of_z, 0)
    np.testing.assert_array_equal(16 * shuffled, permute_dims(jax.random.key(0), z))
    np.testing.assert_allclose(value, one_program(product)(z, factor), rtol=1e-5, atol=1e-6)


def test_several_devices_of_one_example_each():
    shuffled = one_program(jax.vmap(lambda z: permute_dims(jax.random.key(0), z, axis_name="data"), axis_name="data"))
    np.testing.assert_array_equal(shuffled(ENTRIES[:8, None])[:, 0], permute_dims(jax.random.key(0), ENTRIES[:8]))


def test_compiled_mapped_and_half_precision():
    plain = losses.density_ratio_loss(*float32(LOGITS_Z, LOGITS_PERMUTED))
    np.testing.assert_allclose(density_ratio_loss(LOGITS_Z, LOGITS_PERMUTED), plain, rtol=1e-6)
    np.testing.assert_allclose(losses.density_ratio_tc(float32(LOGITS_Z)), density_ratio_tc(LOGITS_Z), rtol=1e-6)
    mapped = vmap(density_ratio_loss)(LOGITS_Z[:, None], LOGITS_PERMUTED[:, None])
    np.testing.assert_allclose(mapped[:, 0], plain, rtol=1e-6)
    key = jax.random.key(0)
    shuffled = np.asarray(losses.permute_dims(key, float32(ENTRIES)))
    np.testing.assert_array_equal(permute_dims(key, ENTRIES), shuffled)
    both = vmap(lambda z: permute_dims(key, z))(np.stack([ENTRIES, -ENTRIES]))
    np.testing.assert_array_equal(both, np.stack([shuffled, -shuffled]))
    half = [logits.astype(jnp.bfloat16) for logits in (LOGITS_Z, LOGITS_PERMUTED)]
    exact = prior_oracles.density_ratio_loss(*half)
    values = (density_ratio_loss(*half), density_ratio_tc(half[0]), permute_dims(key, ENTRIES.astype(jnp.bfloat16)))
    assert {value.dtype for value in values} == {np.dtype("float32")}
    np.testing.assert_allclose(values[0], exact, rtol=1e-5)
    np.testing.assert_allclose(values[1], prior_oracles.density_ratio_tc(half[0]), rtol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.permute_dims(jax.random.key(0), ENTRIES[:1]), "at least 2 examples, got 1"),
        (lambda: losses.permute_dims(jax.random.key(0), ENTRIES[:, 0]), r"\[batch, latents\], got shape \(16,\)"),
        (lambda: losses.permute_dims(jax.random.key(0), np.ones((4, 2), np.int32)), "z must be floating"),
        (lambda: losses.density_ratio_tc(LOGITS_Z[:, :1]), r"\[batch, 2 classes\], got shape \(6, 1\)"),
        (lambda: losses.density_ratio_tc(LOGITS_Z[:, 0]), r"\[batch, 2 classes\], got shape \(6,\)"),
        (lambda: losses.density_ratio_loss(LOGITS_Z[:, 0], LOGITS_Z[:, 1]), r"\[batch, 2 classes\], got shape \(6,\)"),
        (
            lambda: losses.density_ratio_loss(LOGITS_Z, LOGITS_Z[:4]),
            r"one shape: logits_z \(6, 2\), logits_permuted \(4, 2\)",
        ),
        (lambda: losses.density_ratio_tc(np.ones((4, 2), np.int32)), "logits must be floating"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


mapped_bound = vmap(donsker_varadhan_bound)


@given(some_logits, some_logits)
def test_bound_against_the_oracle(joint, shuffled):
    joint, shuffled = joint / 100, shuffled / 100
    got = donsker_varadhan_bound(joint, shuffled)
    t, s = joint.astype(np.float64), shuffled.astype(np.float64)
    np.testing.assert_allclose(got, t.mean(0) - np.log(np.exp(s).mean(0)), rtol=1e-4, atol=1e-4)
    both = mapped_bound(np.stack([joint, joint]), np.stack([shuffled, shuffled]))
    np.testing.assert_allclose(both[1], got, rtol=1e-5, atol=1e-5)


def test_bound_is_the_mutual_information_for_the_density_ratio_and_less_for_others():
    rho, n = 0.8, 200_000
    z = correlated(rho, n)
    shuffled = permute_dims(jax.random.key(3), z)

    def score(z):
        return density_ratio_tc(optimal_logits(z, covariance(rho)))

    exact = -0.5 * np.log(1 - rho**2)
    best = donsker_varadhan_bound(score(z), score(shuffled))
    np.testing.assert_allclose(best, exact, atol=0.03)
    assert donsker_varadhan_bound(0.5 * score(z), 0.5 * score(shuffled)) < exact - 0.03
    np.testing.assert_allclose(donsker_varadhan_bound(score(z) + 7, score(shuffled) + 7), best, atol=1e-3)
    np.testing.assert_allclose(donsker_varadhan_bound(*np.full((2, 4, 2), 1e4, np.float32)), 0, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bound_is_of_the_global_batch(backend):
    joint, shuffled = 3 * normal(jax.random.key(5), (2, 16, 3))

    def total(joint, shuffled, axis_name=None):
        return (donsker_varadhan_bound(joint, shuffled, axis_name=axis_name) ** 2).sum()

    value, gradients = run_sharded(total, backend, joint, shuffled)
    want, want_gradients = value_and_grad(total, (0, 1))(joint, shuffled)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for got, expected in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bound_at_extremes_and_for_bad_input():
    scores = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    value, gradient = value_and_grad(lambda s: donsker_varadhan_bound(s, -s).sum())(scores)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="must have one shape"):
        losses.donsker_varadhan_bound(scores, scores[:1].T)
