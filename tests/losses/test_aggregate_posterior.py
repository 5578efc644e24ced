import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled import (
    float32,
    kl_standard_normal,
    minibatch_log_qz,
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

WEIGHTINGS = ("uniform", "mss", "mws", "batch")
every_weighting = pytest.mark.parametrize("weighting", WEIGHTINGS)


def codes(batch=8, latents=3, seed=0, logvar=-0.5):
    return draw_codes(jax.random.key(seed), batch, latents, logvar)


@one_program
def draw_codes(key, batch, latents, logvar):
    keys = jax.random.split(key, 3)
    mean = 1.5 * jax.random.normal(keys[0], (batch, latents))
    logvar = logvar + 0.5 * jax.random.normal(keys[1], (batch, latents))
    return reparameterize(keys[2], mean, logvar), mean, logvar


def eager_terms(z, mean, logvar, **settings):
    return losses.kl_decomposition(z, mean, logvar, losses.minibatch_log_qz(z, mean, logvar, **settings))


terms = one_program(eager_terms)


def oracle_terms(z, mean, logvar, dataset_size, weighting):
    z, mean, logvar = oracles.f64(z, mean, logvar)
    return oracles.kl_terms(z, mean, logvar, *oracles.log_qz(z, mean, logvar, dataset_size, weighting))


@one_program
def log_qz_and_terms(*inputs, **settings):
    return minibatch_log_qz(*inputs, **settings), terms(*inputs, **settings)


@every_weighting
@pytest.mark.parametrize(("batch", "latents", "n"), [(2, 1, 2), (2, 3, 50), (8, 1, 8), (8, 3, 1000)])
def test_against_the_oracle(weighting, batch, latents, n):
    inputs = codes(batch, latents)
    got, got_terms = log_qz_and_terms(*inputs, dataset_size=n, weighting=weighting)
    want = oracles.log_qz(*inputs, n, weighting)
    np.testing.assert_allclose(got.joint, want[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got.marginals, want[1], rtol=1e-5, atol=1e-5)
    for a, b in zip(got_terms, oracle_terms(*inputs, n, weighting), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@every_weighting
def test_gradient_against_central_differences(weighting):
    inputs = codes(5, 2)

    @one_program
    def slope(weights, *inputs):
        return jax.grad(
            lambda *a: weights @ jnp.stack(terms(*a, dataset_size=40, weighting=weighting)).sum(1), (0, 1, 2)
        )(*inputs)

    for term, weights in enumerate(np.eye(3, dtype=np.float32)):
        want = oracles.gradient(lambda *a, term=term: oracle_terms(*a, 40, weighting)[term].sum(), *inputs)
        for a, b in zip(slope(weights, *inputs), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@every_weighting
def test_terms_add_up_to_the_sampled_kl(weighting):
    z, mean, logvar = codes()
    total = sum(terms(z, mean, logvar, dataset_size=500, weighting=weighting))
    sampled = (oracles.log_normal(z, mean, logvar) - oracles.log_normal(z, 0 * z, 0 * z)).sum(-1)
    np.testing.assert_allclose(total, sampled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("weighting", "log_ratio"), [("uniform", 1000), ("mss", 1000), ("mws", 8000), ("batch", 8)])
def test_codes_far_apart(weighting, log_ratio):
    """MI = log N and TC = (D - 1) log N; a self weight off the diagonal fails this; mws is off by log B."""
    mean = 100 * np.arange(8, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    mi, tc, _ = terms(mean, mean, 0 * mean, dataset_size=1000, weighting=weighting)
    np.testing.assert_allclose(mi, np.log(log_ratio), rtol=1e-5)
    np.testing.assert_allclose(tc, 2 * np.log(log_ratio), rtol=1e-5)


@every_weighting
def test_identical_codes(weighting):
    """All posteriors are the prior: every term is 0, but for mws, which is low by log N in every density."""
    z = normal(jax.random.key(0), (8, 3))
    mi, tc, dwkl = terms(z, 0 * z, 0 * z, dataset_size=1000, weighting=weighting)
    shift = np.log(1000) if weighting == "mws" else 0
    np.testing.assert_allclose(mi, shift, atol=1e-4)
    np.testing.assert_allclose(tc, 2 * shift, atol=1e-4)
    np.testing.assert_allclose(dwkl, -3 * shift, atol=1e-4)


def exact_log_qz(z, mean, logvar):
    density = oracles.log_normal(np.asarray(z)[:, None], np.asarray(mean)[None], np.asarray(logvar)[None])
    joint = np.array([oracles.log_sum_exp(row) for row in density.sum(-1)]) - np.log(len(mean))
    marginals = np.apply_along_axis(oracles.log_sum_exp, 1, density) - np.log(len(mean))
    return joint, marginals


def test_a_full_batch_is_exact():
    inputs = codes(8, 3)
    joint, marginals = exact_log_qz(*inputs)
    for weighting, shift in (("uniform", 0.0), ("batch", 0.0), ("mws", np.log(8))):
        got = minibatch_log_qz(*inputs, dataset_size=8, weighting=weighting)
        np.testing.assert_allclose(got.joint, joint - shift, rtol=1e-5)
        np.testing.assert_allclose(got.marginals, marginals - shift, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighting", ["uniform", "mss"])
def test_density_is_unbiased_over_all_batches(weighting):
    """Every ordered batch of 3 out of 5 that starts with example 0: the mean of q(z_0) is the exact one."""
    import itertools

    z, mean, logvar = codes(5, 2)
    batches = np.array([(0, *rest) for rest in itertools.permutations(range(1, 5), 2)])
    estimate = vmap(lambda *rows: minibatch_log_qz(*rows, dataset_size=5, weighting=weighting).joint[0])(
        z[batches], mean[batches], logvar[batches]
    )
    np.testing.assert_allclose(np.exp(estimate).mean(), np.exp(exact_log_qz(z, mean, logvar)[0][0]), rtol=1e-5)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_gaussian_aggregate_in_closed_form(correlation):
    n, s = 2000, 0.3
    signal = np.array([[1.0, correlation], [correlation, 1.0]]) * (1 - s)
    points = np.random.default_rng(0).standard_normal((n, 2))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(points.T @ points / n)).T @ np.linalg.cholesky(signal).T
    mean = np.asarray(points, np.float32)
    logvar = np.full((n, 2), np.log(s), np.float32)
    z = reparameterize(jax.random.key(0), mean, logvar)
    cov = signal + s * np.eye(2)
    mi, tc, dwkl = (float(t.mean()) for t in terms(z, mean, logvar, dataset_size=n))
    assert abs(mi - 0.5 * (np.linalg.slogdet(cov)[1] - 2 * np.log(s))) < 0.06
    assert abs(tc - 0.5 * (np.log(np.diag(cov)).sum() - np.linalg.slogdet(cov)[1])) < 0.06
    assert abs(dwkl - 0.5 * (np.diag(cov) - 1 - np.log(np.diag(cov))).sum()) < 0.06


@given(st.permutations(range(8)), st.sampled_from(["uniform", "mws", "batch"]))
def test_order_of_the_batch_does_not_matter(order, weighting):
    inputs, order = codes(), np.array(order)
    plain = terms(*inputs, dataset_size=100, weighting=weighting)
    shuffled = terms(*(array[order] for array in inputs), dataset_size=100, weighting=weighting)
    for a, b in zip(plain, shuffled, strict=True):
        np.testing.assert_allclose(b, a[order], rtol=1e-4, atol=1e-5)


@given(
    st.sampled_from([(2, 4, 0), (5, 1, 7), (9, 2, 300)]),
    st.integers(0, 1000),
    st.sampled_from(WEIGHTINGS),
)
def test_any_shape_against_the_oracle(shape, seed, weighting):
    batch, latents, extra = shape
    inputs = codes(batch, latents, seed=seed)
    got = minibatch_log_qz(*inputs, dataset_size=batch + extra, weighting=weighting)
    want = oracles.log_qz(*inputs, batch + extra, weighting)
    np.testing.assert_allclose(got.joint, want[0], rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(got.marginals, want[1], rtol=1e-5, atol=2e-5)


def test_gradient_of_the_total_correlation_decorrelates():
    key = jax.random.key(0)
    x = normal(key, (256, 1))
    mean = np.concatenate([x, 0.9 * x], 1)

    def rotated_tc(angle):
        turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
        turned = mean @ turn.T
        logvar = jnp.full((256, 2), -2.0)
        z = reparameterize(key, turned, logvar)
        return terms(z, turned, logvar, dataset_size=256)[1].mean()

    # 42 degrees clockwise put all the variance on the first axis.
    value, slope = vmap(jax.value_and_grad(rotated_tc))(np.array([0.0, -0.73], np.float32))
    assert slope[0] > 0
    assert value[1] < 0.2 < value[0]


@every_weighting
@pytest.mark.parametrize("backend", BACKENDS)
def test_several_devices_are_one(backend, weighting):
    def weighted(z, mean, logvar, axis_name=None):
        values = terms(z, mean, logvar, dataset_size=1000, weighting=weighting, axis_name=axis_name)
        value = sum(weight * term.mean() for weight, term in zip((1.0, 3.0, 0.5), values, strict=True))
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    inputs = codes(16, 3)
    value, gradients = run_sharded(weighted, backend, *inputs)
    want, want_gradients = value_and_grad(weighted, (0, 1, 2))(*inputs)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@every_weighting
def test_compiled_mapped_and_half_precision(weighting):
    inputs = codes()

    settings = {"dataset_size": 100, "weighting": weighting}
    plain = eager_terms(*float32(*inputs), **settings)
    np.testing.assert_allclose(terms(*inputs, **settings), plain, rtol=1e-5, atol=1e-5)
    stacked = [np.stack([a, a + 1]) for a in inputs]
    mapped = np.stack(vmap(lambda *a: terms(*a, **settings))(*stacked), 1)
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mapped[1], terms(*(a[1] for a in stacked), **settings), rtol=1e-5, atol=1e-5)
    half = [array.astype(jnp.bfloat16) for array in inputs]
    got = minibatch_log_qz(*half, dataset_size=100, weighting=weighting)
    assert {leaf.dtype for leaf in got} == {np.dtype("float32")}
    np.testing.assert_allclose(got.joint, oracles.log_qz(*half, 100, weighting)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("logvar", [-80.0, 80.0])
def test_extremes_are_finite_in_value_and_gradient(logvar):
    mean = np.array([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], np.float32)
    logvar = np.array([[logvar, -logvar], [logvar, logvar], [0.0, logvar]], np.float32)

    def total(mean, logvar):
        z = reparameterize(jax.random.key(0), mean, logvar)
        return jnp.stack(terms(z, mean, logvar, dataset_size=10)).sum(axis=-1)

    @one_program
    def values_and_slopes(*inputs):
        return total(*inputs), jax.jacrev(total, (0, 1))(*inputs), kl_standard_normal(*inputs)

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values_and_slopes(mean, logvar)))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda z, m, v: (z, m[:4], v), {}, r"one shape: z \(8, 3\), mean \(4, 3\), logvar \(8, 3\)"),
        (lambda z, m, v: (z[:1], m[:1], v[:1]), {}, "at least 2 examples, got 1"),
        (lambda z, m, v: (z, m, v), {"dataset_size": 7}, "at least the batch size, got 7 < 8"),
        (lambda z, m, v: (z, m, v), {"weighting": "mean"}, "weighting"),
    ],
)
def test_bad_input(compiled, change, settings, message):
    def call(*inputs):
        return losses.minibatch_log_qz(*inputs, **{"dataset_size": 100, **settings})

    with pytest.raises(ValueError, match=message):
        (jax.jit(call) if compiled else call)(*change(*codes()))
