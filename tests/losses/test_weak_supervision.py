"""Which latents a pair shares, and one posterior for several images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    average_posteriors,
    float32,
    grad,
    kl_gaussian,
    kl_gaussian_per_latent,
    normal,
    shared_latents,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvae import losses

KINDS = ("gvae", "ml-vae", "ml-vae-harmonic")
MEAN = normal(jax.random.key(0), (3, 5, 4))
LOGVAR = normal(jax.random.key(1), (3, 5, 4))
every_kind = pytest.mark.parametrize("kind", KINDS)


def oracle(mean, logvar, kind):
    """The formulas in float64, on variances."""
    mean, variance = np.asarray(mean, np.float64), np.exp(np.asarray(logvar, np.float64))
    if kind == "gvae":
        return mean.mean(0), np.log(variance.mean(0))
    product = 1 / (1 / variance).sum(0)
    return product * (mean / variance).sum(0), np.log(product * (1 if kind == "ml-vae" else len(mean)))


@every_kind
def test_average_against_the_oracle(kind):
    for got, want in zip(average_posteriors(MEAN, LOGVAR, kind), oracle(MEAN, LOGVAR, kind), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "mean", "variance"), [("gvae", 0, 1.25), ("ml-vae", 0.6, 0.4), ("ml-vae-harmonic", 0.6, 0.8)]
)
def test_average_in_closed_form(kind, mean, variance):
    got = average_posteriors(*np.array([[[1], [-1]], np.log([[0.5], [2]])], np.float32), kind)
    np.testing.assert_allclose(got[0], [mean], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.exp(got[1]), [variance], rtol=1e-6)


@every_kind
def test_average_of_equal_posteriors(kind):
    mean, logvar = (np.stack([array[0]] * 4) for array in (MEAN, LOGVAR))
    got = average_posteriors(mean, logvar, kind)
    np.testing.assert_allclose(got[0], mean[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], logvar[0] - (np.log(4) if kind == "ml-vae" else 0), rtol=1e-5, atol=1e-6)


@every_kind
@pytest.mark.parametrize("logvar", [-80.0, 80.0, 0.0])
def test_average_at_extremes(kind, logvar):
    mean, logvars = np.array([[[1e4, -1e4], [-1e4, 3.0]], [[logvar, 0.0], [0.0, -logvar]]], np.float32)

    def total(mean, logvars):
        return sum(array.sum() for array in average_posteriors(mean, logvars, kind))

    value, gradients = value_and_grad(total, (0, 1))(mean, logvars)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_kind
def test_average_compiled_mapped_and_of_any_order(kind):
    plain = losses.average_posteriors(*float32(MEAN, LOGVAR), kind)
    compiled = average_posteriors(MEAN, LOGVAR, kind)
    mapped = vmap(lambda m, v: average_posteriors(m, v, kind), in_axes=1)(MEAN, LOGVAR)
    turned = average_posteriors(MEAN[::-1], LOGVAR[::-1], kind)
    for other in (compiled, mapped, turned):
        for a, b in zip(plain, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_shared_latents_by_hand():
    divergence = np.array([[0.1, 0.2, 5], [3, 1.9, 1], [2, 2, 2], [0, 0, 0], [0, 1, 0]], np.float32)
    want = [[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 1]]
    np.testing.assert_array_equal(shared_latents(divergence), np.array(want, bool))
    huge = float32([[3e38, 3e38, 1e38]])  # their sum overflows
    for kernel in (shared_latents, losses.shared_latents):
        np.testing.assert_array_equal(kernel(huge), [[False, False, True]])


@given(
    hnp.arrays(np.float32, (3, 5), elements=st.floats(0.0009765625, 1024, width=32)),
    st.sampled_from([0.25, 2.0, 64.0]),
)
def test_shared_latents_do_not_depend_on_the_scale(divergence, scale):
    shared = shared_latents(divergence)
    np.testing.assert_array_equal(shared_latents(divergence * np.float32(scale)), shared)
    least, most = divergence.argmin(1), divergence.argmax(1)
    rows = np.arange(len(divergence))
    assert not shared[rows, most].any()
    assert (shared[rows, least] == (divergence.min(1) < divergence.max(1))).all()


def test_the_choice_has_no_gradient():
    def chosen(divergence):
        return jnp.where(shared_latents(divergence), 2 * divergence, divergence).sum()

    divergence = np.array([[0.1, 5.0]], np.float32)
    np.testing.assert_array_equal(grad(chosen)(divergence), [[2.0, 1.0]])
    plain = losses.shared_latents(float32(divergence))
    np.testing.assert_array_equal(vmap(shared_latents)(divergence), plain)
    np.testing.assert_array_equal(shared_latents(divergence), plain)


def test_divergence_per_latent_adds_up():
    got = kl_gaussian_per_latent(MEAN[0], LOGVAR[0], MEAN[1], LOGVAR[1])
    mean, logvar, other_mean, other_logvar = (
        np.asarray(a, np.float64) for a in (MEAN[0], LOGVAR[0], MEAN[1], LOGVAR[1])
    )
    ratio = np.exp(logvar - other_logvar)
    want = 0.5 * (ratio + (mean - other_mean) ** 2 / np.exp(other_logvar) - 1 - np.log(ratio))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got.sum(-1), kl_gaussian(MEAN[0], LOGVAR[0], MEAN[1], LOGVAR[1]), rtol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match=r"one of gvae, ml-vae, ml-vae-harmonic, got 'mean'"):
        losses.average_posteriors(MEAN, LOGVAR, "mean")
    with pytest.raises(ValueError, match="must have one shape"):
        losses.average_posteriors(MEAN, LOGVAR[:2])
    with pytest.raises(ValueError, match="must be floating"):
        losses.shared_latents(np.array([[1, 2]], np.int32))
