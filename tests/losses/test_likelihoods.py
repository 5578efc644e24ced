import jax
import jax.numpy as jnp
import numpy as np
import oracles
import prior_oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxvae.losses import bernoulli_nll, gaussian_nll, laplace_nll
from jaxvae.losses.likelihoods import continuous_bernoulli_nll

KERNELS = {
    "bernoulli": (bernoulli_nll, oracles.bernoulli_nll),
    "continuous bernoulli": (continuous_bernoulli_nll, prior_oracles.continuous_bernoulli_nll),
    "gaussian": (lambda a, x: gaussian_nll(a, x, 0.7), lambda a, x: oracles.gaussian_nll(a, x, 0.7)),
    "laplace": (lambda a, x: laplace_nll(a, x, 0.7), lambda a, x: oracles.laplace_nll(a, x, 0.7)),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


@pytest.fixture
def output():
    return 3 * jax.random.normal(jax.random.key(0), (4, 3, 2))


@pytest.fixture
def image():
    return jax.random.uniform(jax.random.key(1), (4, 3, 2))


@every_kernel
def test_against_the_oracle(name, output, image):
    kernel, oracle = KERNELS[name]
    np.testing.assert_allclose(kernel(output, image), oracle(output, image), rtol=1e-5)
    got = jax.grad(lambda a, x: kernel(a, x).sum(), (0, 1))(output, image)
    want = oracles.gradient(lambda a, x: oracle(a, x).sum(), output, image)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every_kernel
def test_compiled_and_mapped(name, output, image):
    kernel, _ = KERNELS[name]
    plain = kernel(output, image)
    np.testing.assert_allclose(jax.jit(kernel)(output, image), plain, rtol=1e-6)
    mapped = jax.vmap(kernel)(jnp.stack([output, -output]), jnp.stack([image, image]))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-6)
    np.testing.assert_allclose(mapped[1], kernel(-output, image), rtol=1e-6)


@every_kernel
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_worked_on_in_float32(name, dtype, output, image):
    kernel, oracle = KERNELS[name]
    output, image = output.astype(dtype), image.astype(dtype)
    value = kernel(output, image)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, oracle(output, image), rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "shown", "nats"),
    [(0.1, 0.2, 0.36177), (0.2, 0.1, 0.54481), (0.4, 0.5, 0.69315), (0.5, 0.4, 0.71356)],
)
def test_cross_entropy_of_grey_values(target, shown, nats):
    logit = np.log(shown / (1 - shown))
    value = bernoulli_nll(jnp.full((1, 1), logit), jnp.full((1, 1), target))
    np.testing.assert_allclose(value, nats, atol=5e-6)


@pytest.mark.parametrize("kernel", [bernoulli_nll, continuous_bernoulli_nll])
def test_slopes_at_a_logit_of_zero(kernel):
    """Where a decoder starts at zero: the cross-entropy's slope is 1/2 - x there, as is the other's (log C is flat)."""
    x = jnp.array([[0.0, 0.3, 0.5, 1.0]])
    slope = jax.grad(lambda logits: kernel(logits, x).sum())(jnp.zeros((1, 4)))
    np.testing.assert_allclose(slope, 0.5 - x, atol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda logits: kernel(logits, x).sum())(-jnp.zeros((1, 4))), slope)


def test_bernoulli_is_finite_at_any_logit():
    logits = jnp.array([[-1e4], [1e4], [-1e4], [1e4], [1e38]])
    x = jnp.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
    np.testing.assert_allclose(bernoulli_nll(logits, x), [0, 0, 1e4, 1e4, 0], rtol=1e-6)
    slope = jax.grad(lambda logits: bernoulli_nll(logits, x).sum())(logits)
    np.testing.assert_allclose(slope[:4, 0], [0, 0, -1, 1], atol=1e-6)


def test_densities_are_normalised():
    t = jnp.linspace(-30, 30, 200_001)[:, None]
    for kernel in (gaussian_nll, laplace_nll):
        density = jnp.exp(-kernel(jnp.full_like(t, 0.3), t, 1.7))
        np.testing.assert_allclose(np.trapezoid(np.asarray(density, np.float64), np.asarray(t[:, 0])), 1, rtol=1e-4)
    both = jnp.exp(-bernoulli_nll(jnp.full((2, 1), 0.8), jnp.array([[0.0], [1.0]])))
    np.testing.assert_allclose(both.sum(), 1, rtol=1e-6)


LOGITS = [0.0, 1e-20, 1e-6, -1e-3, 0.3, -0.4999, 0.5, -0.5001, 1.0, 3.0, -20.0, 80.0, 1e4, -1e4, 1e38]
SLOPE = jax.jit(jax.grad(lambda logits, x: continuous_bernoulli_nll(logits, x).sum()))
CURVATURE = jax.jit(jax.grad(lambda logits, x: SLOPE(logits, x).sum()))


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
    x = jnp.array([[0.0], [0.25], [1.0]])
    logits = jnp.full((3, 1), logit)
    value = continuous_bernoulli_nll(logits, x)
    slope, curvature = (derivative(logits, x)[:, 0] for derivative in (SLOPE, CURVATURE))
    want = max(exact, 0) - exact * np.asarray(x[:, 0], np.float64) + excess
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, mean - x[:, 0], rtol=1e-5, atol=2e-6)
    assert np.isfinite(curvature).all()


@pytest.mark.parametrize("logit", [0.0, 0.3, -0.7, 4.0, -30.0])
def test_continuous_bernoulli_is_a_density(logit):
    x = jnp.linspace(0, 1, 20_001)[:, None]
    density = np.exp(np.asarray(-continuous_bernoulli_nll(jnp.full_like(x, logit), x), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, np.asarray(x[:, 0], np.float64)), 1, rtol=2e-5)


def test_continuous_bernoulli_is_cross_entropy_less_its_constant():
    """log C is log 2 at even odds, and log 2 + (4/3) (p - 1/2)^2 near them."""
    p = jnp.array([[0.5], [0.51], [0.45]])
    logits = jnp.log(p / (1 - p))
    constant = bernoulli_nll(logits, p) - continuous_bernoulli_nll(logits, p)
    np.testing.assert_allclose(constant, np.log(2) + 4 / 3 * (p[:, 0] - 0.5) ** 2, rtol=1e-4)


def test_the_scale_can_be_learned():
    x = jax.random.normal(jax.random.key(0), (1, 1000)) * 0.5
    slope = jax.grad(lambda scale: gaussian_nll(jnp.zeros_like(x), x, scale).sum())
    assert slope(jnp.float32(0.4)) < 0 < slope(jnp.float32(0.6))
    got = jax.jit(slope)(jnp.float32(0.4))
    (want,) = oracles.gradient(lambda scale: oracles.gaussian_nll(0 * x, x, scale).sum(), 0.4)
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("kernel", [bernoulli_nll, continuous_bernoulli_nll])
@given(arrays(np.float32, (2, 3), elements=st.floats(-50, 50, width=32)))
def test_bernoulli_is_symmetric_under_inversion(kernel, logits):
    x = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    inverted = kernel(jnp.asarray(-logits), jnp.asarray(1 - x))
    np.testing.assert_allclose(kernel(jnp.asarray(logits), jnp.asarray(x)), inverted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@every_kernel
def test_bad_input(name, output, image):
    kernel, _ = KERNELS[name]
    for call in (kernel, jax.jit(kernel)):
        with pytest.raises(ValueError, match=r"one shape: \w+ \(4, 3, 2\), x \(4, 3\)"):
            call(output, image[..., 0])
    with pytest.raises(ValueError, match="must be floating, got"):
        kernel(output, jnp.ones((4, 3, 2), jnp.uint8))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("kernel", [gaussian_nll, laplace_nll])
@pytest.mark.parametrize("scale", [0, -1.0])
def test_a_scale_must_be_positive(kernel, scale, output, image):
    with pytest.raises(ValueError, match="scale must be positive"):
        kernel(output, image, scale)
