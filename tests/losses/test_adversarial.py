from functools import partial

import adversarial_oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    float32,
    grad,
    gradient_penalty,
    hinge_discriminator_loss,
    hinge_generator_loss,
    logistic_discriminator_loss,
    logistic_generator_loss,
    normal,
    one_program,
    r1_penalty,
    value_and_grad,
    vmap,
    wasserstein_critic_loss,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sharding import BACKENDS, run_sharded

from jaxvae import losses

KEY = jax.random.key(3)
REAL, FAKE = 2 * normal(jax.random.key(0), (2, 16))
IMAGES, OTHERS = normal(jax.random.key(1), (2, 8, 4, 6, 1))
A, B = 0.2 * normal(jax.random.key(2), (2, 4, 6, 1))
PAIRED = {
    "logistic": logistic_discriminator_loss,
    "hinge": hinge_discriminator_loss,
    "wasserstein": wasserstein_critic_loss,
}
ALONE = {"logistic": logistic_generator_loss, "hinge": hinge_generator_loss}
every_pair = pytest.mark.parametrize("kernel", PAIRED.values(), ids=PAIRED)
every_single = pytest.mark.parametrize("kernel", ALONE.values(), ids=ALONE)
some_logits = arrays(np.float32, 3, elements=st.floats(-1e4, 1e4, width=32))


def linear(x):
    return (x * A[None]).sum((1, 2, 3)) + 5


def quadratic(x, b=B):
    return linear(x) + 0.5 * (x * b[None]).sum((1, 2, 3)) ** 2


@given(some_logits, some_logits)
def test_losses_of_any_logits_against_the_oracle(real, fake):
    for kernel in PAIRED.values():
        want = getattr(adversarial_oracles, kernel.__name__)(real, fake)
        np.testing.assert_allclose(kernel(real, fake), want, rtol=1e-6, atol=1e-30)
    for kernel in ALONE.values():
        want = getattr(adversarial_oracles, kernel.__name__)(fake)
        np.testing.assert_allclose(kernel(fake), want, rtol=1e-6, atol=1e-30)


def test_a_discriminator_that_knows_nothing():
    nothing = np.zeros(4, np.float32)
    np.testing.assert_allclose(logistic_discriminator_loss(nothing, nothing), 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(logistic_generator_loss(nothing), np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(hinge_discriminator_loss(nothing, nothing), 2)
    np.testing.assert_array_equal(wasserstein_critic_loss(nothing, nothing), 0)


def test_slopes_are_those_of_the_formulas_and_finite_where_it_is_sure():
    sure = np.array([-1e4, -2.0, 0.0, 2.0, 1e4], np.float32)
    slope = grad(lambda fake: logistic_generator_loss(fake).sum())(sure)
    np.testing.assert_allclose(
        slope, -1 / (1 + np.exp(np.clip(np.asarray(sure, np.float64), -700, 700))), rtol=1e-6, atol=1e-30
    )
    of_real, of_fake = grad(lambda *logits: logistic_discriminator_loss(*logits).sum(), (0, 1))(sure, sure)
    np.testing.assert_allclose(of_real, slope, rtol=1e-6)
    np.testing.assert_allclose(of_fake, 1 + slope, rtol=1e-5, atol=1e-7)
    of_real, of_fake = grad(lambda *logits: hinge_discriminator_loss(*logits).sum(), (0, 1))(sure, sure)
    np.testing.assert_array_equal(of_real, [-1, -1, -1, 0, 0])
    np.testing.assert_array_equal(of_fake, [0, 0, 1, 1, 1])


@every_pair
def test_compiled_and_mapped_losses_are_the_same(kernel):
    plain = getattr(losses, kernel.__name__)(*float32(REAL, FAKE))
    np.testing.assert_array_equal(kernel(REAL, FAKE), plain)
    np.testing.assert_array_equal(vmap(kernel)(REAL.reshape(2, 8), FAKE.reshape(2, 8)).reshape(-1), plain)


@every_single
def test_compiled_and_mapped_losses_of_generators_are_the_same(kernel):
    plain = getattr(losses, kernel.__name__)(float32(FAKE))
    np.testing.assert_array_equal(kernel(FAKE), plain)
    np.testing.assert_array_equal(vmap(kernel)(FAKE.reshape(2, 8)).reshape(-1), plain)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_worked_on_in_full(dtype):
    real, fake = REAL.astype(dtype), FAKE.astype(dtype)
    full = real.astype(np.float32), fake.astype(np.float32)
    for kernel in PAIRED.values():
        assert kernel(real, fake).dtype == np.float32
        np.testing.assert_array_equal(kernel(real, fake), kernel(*full))
    image = IMAGES.astype(dtype)
    assert r1_penalty(quadratic, image).dtype == gradient_penalty(KEY, quadratic, image, image).dtype == np.float32
    np.testing.assert_array_equal(r1_penalty(quadratic, image), r1_penalty(quadratic, image.astype(np.float32)))


@pytest.mark.parametrize(("axes", "over"), [(None, (1, 2, 3)), ((1,), 1), ((1, 2), (1, 2))])
def test_the_penalty_of_a_linear_critic_is_the_same_everywhere(axes, over):
    want = adversarial_oracles.penalty(np.broadcast_to(A, IMAGES.shape), over)
    np.testing.assert_allclose(gradient_penalty(KEY, linear, IMAGES, OTHERS, axes=axes), want, rtol=1e-5)


def test_a_critic_of_slope_one_is_not_punished():
    steep = np.sqrt((A**2).sum())
    got = gradient_penalty(KEY, lambda x: linear(x) / steep, IMAGES, OTHERS)
    np.testing.assert_allclose(got, 0, atol=1e-12)


def test_one_axis_lets_a_flat_critic_be_steeper_by_the_square_root_of_the_width():
    """With all axes its best slope is 1, with the authors' axis it is sqrt(6) for images of width 6."""
    steep = lambda slope: lambda x: slope / np.float32(np.sqrt(24.0)) * x.sum((1, 2, 3))  # noqa: E731
    np.testing.assert_allclose(gradient_penalty(KEY, steep(1.0), IMAGES, OTHERS), 0, atol=1e-12)
    np.testing.assert_allclose(gradient_penalty(KEY, steep(6**0.5), IMAGES, OTHERS, axes=(1,)), 0, atol=1e-12)
    assert (gradient_penalty(KEY, steep(6**0.5), IMAGES, OTHERS) > 2).all()


def test_the_penalty_is_taken_between_the_pair_with_one_share_for_all_pixels():
    """The slope of (b.x)^2 / 2 tells b.x, and with b of one pixel the share."""
    pixel = np.zeros_like(B)
    pixel[1, 2, 0] = 1
    only = lambda x: 50 + 0.5 * (x * pixel[None]).sum((1, 2, 3)) ** 2  # noqa: E731
    real, fake = np.full((64, 4, 6, 1), 3, np.float32), np.full((64, 4, 6, 1), 2, np.float32)
    share = np.sqrt(gradient_penalty(KEY, only, real, fake)) + 1 - 2
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1
    assert abs(share.mean() - 0.5) < 0.12
    # The same share in every pixel: with slopes b (b.x) the norm is |b| times |b.x|.
    everywhere = lambda x: 0.5 * x.mean((1, 2, 3)) ** 2 * 24  # noqa: E731
    norm = np.sqrt(gradient_penalty(KEY, everywhere, real, fake)) + 1
    np.testing.assert_allclose(norm, (2 + share) * 24**0.5, rtol=1e-4)


def test_penalties_of_a_curved_critic_against_the_oracle():
    at_images = adversarial_oracles.quadratic_slopes(IMAGES, A, B)
    np.testing.assert_allclose(
        gradient_penalty(KEY, quadratic, IMAGES, IMAGES), adversarial_oracles.penalty(at_images, (1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(r1_penalty(quadratic, IMAGES), 0.5 * (at_images**2).sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(r1_penalty(linear, IMAGES), 0.5 * float((A**2).sum()), rtol=1e-5)
    np.testing.assert_array_equal(r1_penalty(lambda x: 0 * x.sum((1, 2, 3)) + 1, IMAGES), 0)


def test_penalties_train_the_critic_and_nothing_else():
    def of(b, images, others):
        critic = partial(quadratic, b=b)
        return (gradient_penalty(KEY, critic, images, others) + r1_penalty(critic, images)).sum()

    to_critic, *to_images = grad(of, (0, 1, 2))(B, IMAGES, OTHERS)
    above, below = (one_program(of)(b, IMAGES, OTHERS) for b in (B + 1e-3, B - 1e-3))
    slope = (above - below) / 2e-3
    np.testing.assert_allclose(to_critic.sum(), slope, rtol=1e-2)
    for gradient in to_images:
        np.testing.assert_array_equal(gradient, 0)


def test_a_flat_critic_has_finite_slopes():
    def of(scale):
        return gradient_penalty(KEY, lambda x: scale * linear(x), IMAGES, OTHERS).sum()

    of_and_slope = value_and_grad(of)
    for scale in np.array([0.0, 1e-20, 1e8], np.float32):
        value, slope = of_and_slope(scale)
        assert np.isfinite(value)
        assert np.isfinite(slope)
    np.testing.assert_allclose(of_and_slope(np.float32(0.0))[0], len(IMAGES), rtol=1e-5)


def test_compiled_and_mapped_penalties_are_the_same():
    plain = losses.gradient_penalty(KEY, quadratic, *float32(IMAGES, OTHERS))
    np.testing.assert_allclose(gradient_penalty(KEY, quadratic, IMAGES, OTHERS), plain, rtol=1e-5)
    mapped = vmap(lambda *a: gradient_penalty(KEY, quadratic, *a))(IMAGES[None], OTHERS[None])
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sharded_is_single(backend):
    """The share of a pair goes by its place in the global batch. Logits stand in for what is differentiated."""

    def of(weight, images, others, axis_name=None):
        critic = lambda x: quadratic(x) * weight.mean()  # noqa: E731
        value = gradient_penalty(KEY, critic, images, others, axis_name=axis_name).mean()
        value += (weight.mean() * r1_penalty(quadratic, images)).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    weight = np.full((8, 1), 1.5, np.float32)
    value, (gradient, *_) = run_sharded(of, backend, weight, IMAGES, OTHERS)
    below, here, above = (one_program(of)(weight + change, IMAGES, OTHERS) for change in (-1e-2, 0, 1e-2))
    np.testing.assert_allclose(value, here, rtol=1e-5)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(), (above - below) / 2e-2, rtol=1e-3)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.logistic_discriminator_loss(np.zeros(3, np.float32), np.zeros(4, np.float32)), "one shape"),
        (lambda: losses.logistic_generator_loss(np.zeros(3, np.int32)), "fake must be floating"),
        (lambda: losses.gradient_penalty(KEY, linear, IMAGES, OTHERS[:4]), "one shape"),
        (lambda: losses.gradient_penalty(KEY, linear, IMAGES, OTHERS, axes=(0, 1)), r"among \(1, 2, 3\), got \(0, 1\)"),
        (lambda: losses.gradient_penalty(KEY, jnp.sin, REAL, FAKE), r"\[batch, \.\.\.\]"),
        (lambda: losses.r1_penalty(jnp.sin, REAL), r"\[batch, \.\.\.\]"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
