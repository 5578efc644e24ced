import itertools

import count_oracles
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled import (
    float32,
    grad,
    negative_binomial_nll,
    normal,
    one_program,
    poisson_nll,
    value_and_grad,
    vmap,
    zero_inflated_negative_binomial_nll,
    zero_inflated_poisson_nll,
)
from scipy import stats
from scipy.special import gammaln

from jaxvae import losses

SHAPE = (4, 3, 2)
EAGER = {
    "poisson": (losses.poisson_nll, count_oracles.poisson_nll, ()),
    "negative binomial": (losses.negative_binomial_nll, count_oracles.negative_binomial_nll, ("theta",)),
    "zero-inflated poisson": (losses.zero_inflated_poisson_nll, count_oracles.zero_inflated_poisson_nll, ("logits",)),
    "zero-inflated negative binomial": (
        losses.zero_inflated_negative_binomial_nll,
        count_oracles.zero_inflated_negative_binomial_nll,
        ("theta", "logits"),
    ),
}
KERNELS = {name: one_program(kernel) for name, (kernel, _, _) in EAGER.items()}
every_kernel = pytest.mark.parametrize("name", KERNELS)


@pytest.fixture
def inputs():
    """(log_mean, x, the others by name). The counts go up to 40 or so, and a third of them are 0."""
    rng = np.random.default_rng(0)
    log_mean = 1.5 * normal(jax.random.key(0), SHAPE) + 1
    x = rng.negative_binomial(1.0, 1 / (1 + np.exp(log_mean))).astype(np.float32)
    assert (x == 0).any()
    assert (x > 10).any()
    others = {"theta": normal(jax.random.key(1), SHAPE[1:]), "logits": 2 * normal(jax.random.key(2), SHAPE)}
    return log_mean, x, others


def arguments(name, inputs):
    log_mean, x, others = inputs
    return log_mean, x, *(others[other] for other in EAGER[name][2])


@every_kernel
def test_against_scipy(name, inputs):
    kernel, (_, oracle, _) = KERNELS[name], EAGER[name]
    args = arguments(name, inputs)
    np.testing.assert_allclose(kernel(*args), oracle(*args), rtol=2e-6)
    wrt = (0, *range(2, len(args)))
    got = grad(lambda *a: kernel(*a).sum(), wrt)(*args)
    x = args[1]
    want = oracles.gradient(lambda *a: oracle(a[0], x, *a[1:]).sum(), args[0], *args[2:])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_kernel
def test_compiled_and_mapped(name, inputs):
    args = arguments(name, inputs)
    plain = EAGER[name][0](*float32(*args))
    np.testing.assert_allclose(KERNELS[name](*args), plain, rtol=1e-6)
    mapped = vmap(KERNELS[name])(*(np.stack([a, a[::-1]]) for a in args))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-6)
    np.testing.assert_allclose(mapped[1], KERNELS[name](*(a[::-1] for a in args)), rtol=1e-6)


@every_kernel
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_worked_on_in_float32(name, dtype, inputs):
    args = [a.astype(dtype) for a in arguments(name, inputs)]
    value = KERNELS[name](*args)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, EAGER[name][1](*args), rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1), (1, 2), (3, 2)])
def test_theta_for_all_or_some_or_each(shape, inputs):
    log_mean, x, _ = inputs
    log_theta = np.linspace(-1, 1, np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    want = count_oracles.negative_binomial_nll(log_mean, x, log_theta)
    np.testing.assert_allclose(negative_binomial_nll(log_mean, x, log_theta), want, rtol=2e-6)
    slope = grad(lambda r: negative_binomial_nll(log_mean, x, r).sum())(log_theta)
    (want,) = oracles.gradient(lambda r: count_oracles.negative_binomial_nll(log_mean, x, r).sum(), log_theta)
    np.testing.assert_allclose(slope, want, rtol=1e-4, atol=1e-5)


def each(name):
    """The kernel for every number of arrays [N], each with parameters of its own: values and gradients [N]."""
    kernel, _, others = EAGER[name]

    def one(log_mean, x, *rest):
        rest = (value if other == "theta" else value[None, None] for other, value in zip(others, rest, strict=True))
        return kernel(log_mean[None, None], x[None, None], *rest)[0]

    return vmap(jax.value_and_grad(one, (0, *range(2, 2 + len(others)))))


MEANS = [-30, -12, -1, 0, 0.7, 2, 2.3, 3, 6.9, 11.5, 13.8, 13.815, 14, 20, 30]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 10, 100, 12_345, 1e6]
THETAS = [-30, -15, -2, 0, 0.7, 1.38, 2.3, 5, 11.5, 14, 20, 25, 30]


def grid(*axes):
    return np.array(list(itertools.product(*axes)), np.float32).T


def test_negative_binomial_at_any_size():
    """Values to 3e-5 (the rounding of log x at a million) and gradients, among them where x = theta and x = mean."""
    log_mean, x, log_theta = grid(MEANS, COUNTS, THETAS)
    value, (by_mean, by_theta) = each("negative binomial")(log_mean, x, log_theta)
    wanted = [count_oracles.negative_binomial_by_product(*row) for row in zip(log_mean, x, log_theta, strict=True)]
    want, want_by_mean, want_by_theta = np.array(wanted).T
    np.testing.assert_allclose(value, want, rtol=3e-5)
    np.testing.assert_allclose(by_mean, want_by_mean, rtol=1e-3)
    np.testing.assert_allclose(by_theta, want_by_theta, rtol=3e-4, atol=1e-5)


def test_poisson_at_any_size():
    log_rate, x = grid(MEANS, COUNTS)
    value, (slope,) = each("poisson")(log_rate, x)
    want = -stats.poisson.logpmf(x.astype(np.float64), np.exp(log_rate.astype(np.float64)))
    np.testing.assert_allclose(value, want, rtol=3e-5)
    np.testing.assert_allclose(slope, np.exp(log_rate.astype(np.float64)) - x, rtol=1e-3)


def test_the_textbook_formula_would_be_wrong():
    """At a million, the terms of the textbook formula are so large that float32 counts them in steps of 1."""
    log_rate, x = np.full((1, 1), np.log(1e6), np.float32), np.full((1, 1), 1e6, np.float32)
    exact = count_oracles.poisson_nll(log_rate, x)
    textbook = np.exp(log_rate) - x * log_rate + gammaln(x + 1)
    assert textbook.dtype == np.float32
    assert abs(textbook[0] - exact) > 0.1
    np.testing.assert_allclose(poisson_nll(log_rate, x), exact, rtol=1e-5)


@pytest.mark.parametrize("log_theta", [20.0, 25.0, 30.0, 80.0, 100.0, 1e4, np.inf])
def test_a_large_theta_is_poisson(log_theta, inputs):
    log_rate, x, _ = inputs
    value, slope = value_and_grad(lambda m: negative_binomial_nll(m, x, np.float32(log_theta)).sum())(log_rate)
    want, want_slope = value_and_grad(lambda m: poisson_nll(m, x).sum())(log_rate)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(slope, want_slope, rtol=1e-5, atol=1e-6)


def test_a_large_theta_has_the_slope_of_a_small_correction():
    """The negative binomial is Poisson less ((x - mu)^2 - x) / (2 theta), which has the opposite slope by log theta."""
    log_mean, x, log_theta = grid([-3, 0, 2, 4], [0, 1, 5, 50], [14, 18, 25, 30])
    _, (_, slope) = each("negative binomial")(log_mean, x, log_theta)
    mean, theta = np.exp(log_mean.astype(np.float64)), np.exp(log_theta.astype(np.float64))
    np.testing.assert_allclose(slope * theta, ((x - mean) ** 2 - x) / 2, rtol=1e-2, atol=1e-5)


def test_theta_of_one_is_geometric():
    """p(x) = (1 / (1 + mu)) (mu / (1 + mu))^x."""
    x = np.arange(6, dtype=np.float32)[:, None]
    want = np.log(3) - x[:, 0] * np.log(2 / 3)
    np.testing.assert_allclose(negative_binomial_nll(np.full_like(x, np.log(2)), x, 0.0), want, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("log_theta", [-1.0, 0.5, 3.0, 25.0])
def test_probabilities_and_moments(log_theta, share):
    """They sum to 1, with mean (1 - pi) mu and second moment (1 - pi) (mu + mu^2 / theta + mu^2)."""
    x = np.arange(4000, dtype=np.float32)[:, None]
    log_mean = np.full_like(x, 2.1)
    logits = np.full_like(x, np.log(share / (1 - share)) if share else -100)
    nll = zero_inflated_negative_binomial_nll(log_mean, x, log_theta, logits)
    p, counts, mean = np.exp(-np.float64(nll)), np.float64(x[:, 0]), np.exp(2.1)
    second = mean + mean**2 / np.exp(log_theta) + mean**2
    moments = [p.sum(), p @ counts, p @ counts**2]
    np.testing.assert_allclose(moments, [1, (1 - share) * mean, (1 - share) * second], rtol=1e-5)


@pytest.mark.parametrize("logit", [-100.0, -1e4])
def test_without_inflation(logit, inputs):
    log_mean, x, others = inputs
    log_theta, logits = others["theta"], np.full(SHAPE, logit, np.float32)
    for inflated, plain in (
        (zero_inflated_poisson_nll(log_mean, x, logits), poisson_nll(log_mean, x)),
        (
            zero_inflated_negative_binomial_nll(log_mean, x, log_theta, logits),
            negative_binomial_nll(log_mean, x, log_theta),
        ),
    ):
        np.testing.assert_allclose(inflated, plain, rtol=1e-6)


def test_with_nothing_but_inflation():
    """A count of 0 is certain, and any other costs the logit more than without inflation."""
    log_rate, x = np.full((2, 1), 3, np.float32), np.array([[0.0], [4.0]], np.float32)
    value = zero_inflated_poisson_nll(log_rate, x, np.full((2, 1), 50, np.float32))
    np.testing.assert_allclose(value, [0, 50 + poisson_nll(log_rate, x)[1]], rtol=1e-6, atol=1e-12)


def test_a_rare_count_of_zero_inflation():
    """-log(1 - (1 - pi)(1 - e^-mu)) keeps its digits where it is small: (1 - pi) mu."""
    logits, log_rate = grid([-8, 0, 8, 30], [-30, -12, -9])
    value, (by_rate, by_logit) = each("zero-inflated poisson")(log_rate, np.zeros_like(log_rate), logits)
    small = np.exp(np.float64(log_rate)) / (1 + np.exp(np.float64(logits)))
    np.testing.assert_allclose(value, small, rtol=2e-4)
    np.testing.assert_allclose(by_rate, small, rtol=2e-4)
    np.testing.assert_allclose(by_logit, -small / (1 + np.exp(-np.float64(logits))), rtol=2e-4)


EXTREMES = [-80, -30, 0, 30, 80]


@every_kernel
def test_finite_at_extremes(name):
    others = {"theta": [-1e4, *EXTREMES, 1e4], "logits": [-1e4, -80, 0, 80, 1e4]}
    axes = grid(EXTREMES, [0, 1, 2, 100, 1e6], *(others[other] for other in EAGER[name][2]))
    value, slopes = each(name)(*axes)
    assert np.isfinite(value).all()
    assert (value >= 0).all()
    for slope in slopes:
        assert np.isfinite(slope).all()


def test_negative_binomial_is_finite_at_any_mean():
    log_mean, x, log_theta = grid([-1e30, -1e4, -500, 500, 1e4, 1e30], [0, 1, 50, 1e6], [-1e4, -80, -5, 0])
    value, slopes = each("negative binomial")(log_mean, x, log_theta)
    for array in (value, *slopes):
        assert np.isfinite(array).all()


@every_kernel
def test_counts_are_constants_and_wrong_ones_are_nan(name, inputs):
    args = arguments(name, inputs)
    assert not grad(lambda x: KERNELS[name](args[0], x, *args[2:]).sum())(args[1]).any()
    for wrong in (-1, np.nan):
        x = args[1].copy()
        x[2, 1, 0] = wrong
        np.testing.assert_array_equal(np.isnan(KERNELS[name](args[0], x, *args[2:])), [False, False, True, False])


@pytest.mark.usefixtures("unchecked_types")
@every_kernel
def test_bad_input(name, inputs):
    kernel, args = EAGER[name][0], arguments(name, inputs)
    for call in (kernel, jax.jit(kernel)):
        with pytest.raises(ValueError, match=r"one shape: \w+ \(4, 3, 2\), x \(4, 3\)"):
            call(args[0], args[1][..., 0], *args[2:])
    with pytest.raises(ValueError, match="x must be floating, got"):
        kernel(args[0], args[1].astype(np.int32), *args[2:])
    if "logits" in EAGER[name][2]:
        with pytest.raises(ValueError, match=r"one shape: .*, logits \(4, 3, 1\)"):
            kernel(*args[:-1], args[-1][..., :1])


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("shape", [(3,), (2, 1), (4, 3, 2), (1, 3, 2)])
def test_theta_must_fit_the_event(shape, inputs):
    log_mean, x, _ = inputs
    with pytest.raises(ValueError, match=r"log_theta must be a number or broadcast to the event shape \(3, 2\), got"):
        losses.negative_binomial_nll(log_mean, x, jnp.zeros(shape))


@every_kernel
def test_counts_that_are_no_whole_numbers(name):
    """As corrected counts are: the same formula, with Gamma(x + 1) for x!. Between 0 and 1 as well."""
    axes = grid([-5, 0, 3], [0.01, 0.5, 1.5, 7.3, 1234.5], *([-1, 2] for _ in EAGER[name][2]))
    value, _ = each(name)(*axes)
    log_mean, x, *others = np.float64(axes)
    named = dict(zip(EAGER[name][2], others, strict=True))
    if "theta" in named:
        theta = np.exp(named["theta"])
        want = gammaln(x + 1) + gammaln(theta) - gammaln(x + theta)
        want += x * np.logaddexp(0, named["theta"] - log_mean) + theta * np.logaddexp(0, log_mean - named["theta"])
    else:
        want = np.exp(log_mean) - x * log_mean + gammaln(x + 1)
    want += np.logaddexp(0, named["logits"]) if "logits" in named else 0
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-5)
