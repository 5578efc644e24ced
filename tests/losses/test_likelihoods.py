import jax
import jax.numpy as jnp
import numpy as np
import oracles
import prior_oracles
import pytest
from compiled import (
    bernoulli_nll,
    categorical_nll,
    continuous_bernoulli_nll,
    float32,
    gaussian_nll,
    grad,
    laplace_nll,
    normal,
    one_program,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxvae import losses

EAGER = {
    "bernoulli": (losses.bernoulli_nll, oracles.bernoulli_nll),
    "continuous bernoulli": (losses.continuous_bernoulli_nll, prior_oracles.continuous_bernoulli_nll),
    "gaussian": (lambda a, x: losses.gaussian_nll(a, x, 0.7), lambda a, x: oracles.gaussian_nll(a, x, 0.7)),
    "laplace": (lambda a, x: losses.laplace_nll(a, x, 0.7), lambda a, x: oracles.laplace_nll(a, x, 0.7)),
    "categorical": (losses.categorical_nll, oracles.categorical_nll),
}
KERNELS = {name: (one_program(kernel), oracle) for name, (kernel, oracle) in EAGER.items()}
every_kernel = pytest.mark.parametrize("name", KERNELS)


@pytest.fixture
def output():
    return 3 * normal(jax.random.key(0), (4, 3, 2))


@pytest.fixture
def image():
    return np.asarray(jax.random.uniform(jax.random.key(1), (4, 3, 2)))


@every_kernel
def test_against_the_oracle(name, output, image):
    kernel, oracle = KERNELS[name]
    np.testing.assert_allclose(kernel(output, image), oracle(output, image), rtol=1e-5)
    got = grad(lambda a, x: kernel(a, x).sum(), (0, 1))(output, image)
    want = oracles.gradient(lambda a, x: oracle(a, x).sum(), output, image)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_kernel
def test_compiled_and_mapped(name, output, image):
    kernel, _ = KERNELS[name]
    plain = EAGER[name][0](*float32(output, image))
    np.testing.assert_allclose(kernel(output, image), plain, rtol=1e-6)
    mapped = vmap(kernel)(np.stack([output, -output]), np.stack([image, image]))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-6)
    np.testing.assert_allclose(mapped[1], kernel(-output, image), rtol=1e-6)


@every_kernel
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_worked_on_in_float32(name, dtype, output, image):
    kernel, oracle = KERNELS[name]
    output, image = output.astype(dtype), image.astype(dtype)
    value = kernel(output, image)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, oracle(output, image), rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "shown", "nats"),
    [(0.1, 0.2, 0.36177), (0.2, 0.1, 0.54481), (0.4, 0.5, 0.69315), (0.5, 0.4, 0.71356)],
)
def test_cross_entropy_of_grey_values(target, shown, nats):
    logit = np.log(shown / (1 - shown))
    value = bernoulli_nll(np.full((1, 1), logit, np.float32), np.full((1, 1), target, np.float32))
    np.testing.assert_allclose(value, nats, atol=5e-6)


@pytest.mark.parametrize("kernel", [bernoulli_nll, continuous_bernoulli_nll])
def test_slopes_at_a_logit_of_zero(kernel):
    """Where a decoder starts at zero: the cross-entropy's slope is 1/2 - x there, as is the other's (log C is flat)."""
    x, zeros = np.array([[0.0, 0.3, 0.5, 1.0]], np.float32), np.zeros((1, 4), np.float32)
    slope_at = grad(lambda logits: kernel(logits, x).sum())
    np.testing.assert_allclose(slope_at(zeros), 0.5 - x, atol=1e-6)
    np.testing.assert_allclose(slope_at(-zeros), slope_at(zeros))


def test_bernoulli_is_finite_at_any_logit():
    logits = np.array([[-1e4], [1e4], [-1e4], [1e4], [1e38]], np.float32)
    x = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]], np.float32)
    np.testing.assert_allclose(bernoulli_nll(logits, x), [0, 0, 1e4, 1e4, 0], rtol=1e-6)
    slope = grad(lambda logits: bernoulli_nll(logits, x).sum())(logits)
    np.testing.assert_allclose(slope[:4, 0], [0, 0, -1, 1], atol=1e-6)


def test_densities_are_normalised():
    t = np.linspace(-30, 30, 200_001, dtype=np.float32)[:, None]
    for kernel in (gaussian_nll, laplace_nll):
        density = np.exp(-kernel(np.full_like(t, 0.3), t, 1.7))
        np.testing.assert_allclose(np.trapezoid(np.asarray(density, np.float64), t[:, 0]), 1, rtol=1e-4)
    both = np.exp(-bernoulli_nll(np.full((2, 1), 0.8, np.float32), np.array([[0.0], [1.0]], np.float32)))
    np.testing.assert_allclose(both.sum(), 1, rtol=1e-6)


LOGITS = [0.0, 1e-20, 1e-6, -1e-3, 0.3, -0.4999, 0.5, -0.5001, 1.0, 3.0, -20.0, 80.0, 1e4, -1e4, 1e38]
SLOPE = grad(lambda logits, x: continuous_bernoulli_nll(logits, x).sum())
CURVATURE = grad(lambda logits, x: SLOPE(logits, x).sum())


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_at_any_logit(logit):
    """Value: max(l, 0) - l x + log((1 - e^-|l|) / |l|). Slope: the mean, 1 / (1 - e^-l) - 1 / l, less x."""
    exact = np.float64(np.float32(logit))
    size = abs(exact)
    if size < 1e-2:
        excess, mean = size**2 / 24 - size / 2, 0.5 + exact / 12
    else:
        excess = np.log(-np.expm1(-size) / size)
        mean = 0.5 + 0.5 / np.tanh(exact / 2) - 1 / exact
    x = np.array([[0.0], [0.25], [1.0]], np.float32)
    logits = np.full((3, 1), logit, np.float32)
    value = continuous_bernoulli_nll(logits, x)
    slope, curvature = (derivative(logits, x)[:, 0] for derivative in (SLOPE, CURVATURE))
    want = max(exact, 0) - exact * np.asarray(x[:, 0], np.float64) + excess
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, mean - x[:, 0], rtol=1e-5, atol=2e-6)
    assert np.isfinite(curvature).all()


@pytest.mark.parametrize("logit", [0.0, 0.3, -0.7, 4.0, -30.0])
def test_continuous_bernoulli_is_a_density(logit):
    x = np.linspace(0, 1, 20_001, dtype=np.float32)[:, None]
    density = np.exp(np.asarray(-continuous_bernoulli_nll(np.full_like(x, logit), x), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, np.asarray(x[:, 0], np.float64)), 1, rtol=2e-5)


def test_continuous_bernoulli_is_cross_entropy_less_its_constant():
    """log C is log 2 at even odds, and log 2 + (4/3) (p - 1/2)^2 near them."""
    p = np.array([[0.5], [0.51], [0.45]], np.float32)
    logits = np.log(p / (1 - p))
    constant = bernoulli_nll(logits, p) - continuous_bernoulli_nll(logits, p)
    np.testing.assert_allclose(constant, np.log(2) + 4 / 3 * (p[:, 0] - 0.5) ** 2, rtol=1e-4)


def test_the_scale_can_be_learned():
    x = normal(jax.random.key(0), (1, 1000)) * 0.5
    slope = grad(lambda scale: gaussian_nll(0 * x, x, scale).sum())
    assert slope(np.float32(0.4)) < 0 < slope(np.float32(0.6))
    got = slope(np.float32(0.4))
    (want,) = oracles.gradient(lambda scale: oracles.gaussian_nll(0 * x, x, scale).sum(), 0.4)
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "oracle"), [(gaussian_nll, "gaussian_nll"), (laplace_nll, "laplace_nll")])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 1), (1, 2), (3, 2)])
def test_a_scale_for_all_or_some_or_each(kernel, oracle, shape, output, image):
    oracle = getattr(oracles, oracle)
    scale = np.linspace(0.3, 2, np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    np.testing.assert_allclose(kernel(output, image, scale), oracle(output, image, scale), rtol=1e-5)
    slope = grad(lambda scale: kernel(output, image, scale).sum())(scale)
    (want,) = oracles.gradient(lambda scale: oracle(output, image, scale).sum(), scale)
    np.testing.assert_allclose(slope, want, rtol=1e-4)


@pytest.mark.parametrize("kernel", [gaussian_nll, laplace_nll])
def test_one_scale_is_that_scale_for_each(kernel, output, image):
    each = kernel(output, image, np.full((3, 2), 0.7, np.float32))
    np.testing.assert_allclose(each, kernel(output, image, 0.7), rtol=1e-6)


def test_categorical_of_two_classes_is_bernoulli(output, image):
    """The logit is the difference of the two, and image is the probability of the first class."""
    logits, x = np.stack([output, 0.3 * output], -1), np.stack([image, 1 - image], -1)
    np.testing.assert_allclose(categorical_nll(logits, x), bernoulli_nll(0.7 * output, image), rtol=1e-5)


def test_categorical_is_the_logarithm_of_the_class():
    logits = np.log(np.array([[0.5, 0.2, 0.3]] * 3, np.float32)) + np.array([[0], [50], [-1e4]], np.float32)
    np.testing.assert_allclose(
        categorical_nll(logits, np.eye(3, dtype=np.float32)), -np.log([0.5, 0.2, 0.3]), rtol=2e-3
    )


def test_categorical_is_finite_at_any_logit():
    logits = np.array([[1e4, 0, -1e4], [1e38, 0, 0], [-1e38, 0, 0]], np.float32)
    x = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 0]], np.float32)
    np.testing.assert_allclose(categorical_nll(logits, x), [2e4, 0, 1e38], rtol=1e-6)
    slope = grad(lambda logits: categorical_nll(logits, x).sum())(logits)
    np.testing.assert_allclose(slope, [[1, 0, -1], [0, 0, 0], [-1, 0.5, 0.5]], atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_classes_need_an_axis():
    with pytest.raises(ValueError, match=r"\[B, ..., K\], with the classes on the last axis, got \(4,\)"):
        losses.categorical_nll(jnp.zeros(4), jnp.zeros(4))


@pytest.mark.parametrize("kernel", [bernoulli_nll, continuous_bernoulli_nll])
@given(arrays(np.float32, (2, 3), elements=st.floats(-50, 50, width=32)))
def test_bernoulli_is_symmetric_under_inversion(kernel, logits):
    x = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(kernel(logits, x), kernel(-logits, 1 - x), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@every_kernel
def test_bad_input(name, output, image):
    kernel, _ = EAGER[name]
    for call in (kernel, jax.jit(kernel)):
        with pytest.raises(ValueError, match=r"one shape: \w+ \(4, 3, 2\), x \(4, 3\)"):
            call(output, image[..., 0])
    with pytest.raises(ValueError, match="must be floating, got"):
        kernel(output, np.ones((4, 3, 2), np.uint8))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("kernel", [losses.gaussian_nll, losses.laplace_nll])
@pytest.mark.parametrize("scale", [0, -1.0])
def test_a_scale_must_be_positive(kernel, scale, output, image):
    with pytest.raises(ValueError, match="scale must be positive"):
        kernel(output, image, scale)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("kernel", [losses.gaussian_nll, losses.laplace_nll])
@pytest.mark.parametrize("shape", [(3,), (2, 1), (4, 3, 2), (1, 3, 2)])
def test_a_scale_must_fit_the_event(kernel, shape, output, image):
    with pytest.raises(ValueError, match=r"scale must be a number or broadcast to the event shape \(3, 2\), got"):
        kernel(output, image, jnp.ones(shape))
