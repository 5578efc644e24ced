"""Lists of values and grids: the numbers of the published code, gradients that pass straight through, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    commitment_loss,
    fixed_grid,
    float32,
    grad,
    kl_uniform,
    nearest_value,
    normal,
    one_program,
    quantisation_loss,
    relaxed_value,
    straight_through,
    value_and_grad,
    value_logits,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr, softmax
from sharding import BACKENDS, run_sharded

from jaxvae import losses

VALUES = np.linspace(-0.5, 0.5, 10)
CODE = np.array([-2, -0.2, 0.01, 0.3, 0.9])
X = normal(jax.random.key(0), (6, 4))
LISTS = normal(jax.random.key(1), (4, 7))
EXTREMES = np.array([-1e30, -1e4, -1e-8, 0, 1e-8, 1e4, 1e30], np.float32)


def nearest_oracle(x, values):
    """One latent after another, in float64: (index, value)."""
    x, values = np.asarray(x, np.float64), np.asarray(values, np.float64)
    index = np.empty(x.shape, int)
    for place in np.ndindex(x.shape):
        own = values[place[-1]] if values.ndim == 2 else values
        index[place] = min(range(len(own)), key=lambda v: abs(x[place] - own[v]))
    own = values if values.ndim == 2 else np.broadcast_to(values, (x.shape[-1], len(values)))
    return index, np.array([own[place[-1], index[place]] for place in np.ndindex(x.shape)]).reshape(x.shape)


def grid_oracle(x, v):
    u = (np.tanh(np.asarray(x, np.float64)) + 1) / 2 * (v - 1)
    return 2 * np.round(u) / (v - 1) - 1


def fsq_oracle(x, v, margin=1e-3):
    """As in published layers of finite scalar quantisation."""
    half, offset = (v - 1) * (1 + margin) / 2, 0 if v % 2 else 0.5
    shift = np.arctanh(offset / half)
    return np.round(np.tanh(np.asarray(x, np.float64) + shift) * half - offset) / (v // 2)


def test_nearest_values_of_the_published_code():
    index, value = nearest_oracle(CODE, VALUES)
    np.testing.assert_array_equal(index, [0, 3, 5, 7, 9])
    np.testing.assert_allclose(value, [-0.5, -0.166667, 0.055556, 0.277778, 0.5], atol=5e-7)
    np.testing.assert_allclose(((CODE - value) ** 2).mean(), 0.4827360, atol=5e-8)
    got = nearest_value(np.float32(CODE), np.float32(VALUES))
    np.testing.assert_array_equal(got.indices, index)
    np.testing.assert_allclose(got.value, value, rtol=1e-6)
    for loss in (quantisation_loss, commitment_loss):
        np.testing.assert_allclose(loss(np.float32(CODE), got.value), 0.4827360, rtol=1e-6)


GRID = np.array([-3, -1, -0.3, 0, 0.05, 0.3, 1, 3])


@pytest.mark.parametrize(
    ("v", "want"),
    [
        (12, [-1, -0.818182, -0.272727, 0.090909, 0.090909, 0.272727, 0.818182, 1]),
        (5, [-1, -1, -0.5, 0, 0, 0.5, 1, 1]),
    ],
)
def test_grids_of_the_published_code(v, want):
    np.testing.assert_allclose(grid_oracle(GRID, v), want, atol=5e-7)
    np.testing.assert_allclose(fixed_grid(np.float32(GRID), v), want, atol=1e-6)


@pytest.mark.parametrize("v", [2, 5, 8])
def test_grids_against_the_oracles(v):
    near_a_tie = np.abs(EXTREMES) == np.float32(1e-8)
    x = np.concatenate([np.linspace(-4, 4, 173, dtype=np.float32), EXTREMES[~near_a_tie]])
    for form, oracle in (("tripod", grid_oracle), ("fsq", fsq_oracle)):
        got = fixed_grid(x, v, form=form)
        np.testing.assert_allclose(got, oracle(x, v), atol=1e-6)
        assert len(np.unique(np.round(got, 5))) == v
        assert np.isfinite(grad(lambda x, v=v, form=form: losses.fixed_grid(x, v, form=form).sum())(EXTREMES)).all()
    assert (np.abs(fixed_grid(x, v)).min() < 1e-6) == (v % 2 == 1)
    assert np.abs(fixed_grid(x, v, form="fsq")).min() < 1e-6


def test_gradients_pass_rounding_by():
    """That of the grid is the slope of tanh, and that of the nearest value is one."""
    got = grad(lambda x: losses.fixed_grid(x, 12).sum())(X)
    np.testing.assert_allclose(got, 1 / np.cosh(np.float64(X)) ** 2, rtol=1e-5)
    weights = np.arange(24, dtype=np.float32).reshape(6, 4)

    def through(x, lists):
        return (weights * losses.straight_through(x, losses.nearest_value(x, lists).value)).sum()

    of_codes, of_lists = grad(through, (0, 1))(X, LISTS)
    np.testing.assert_array_equal(of_codes, weights)
    np.testing.assert_array_equal(of_lists, 0)
    np.testing.assert_allclose(straight_through(X, X.round()), X.round(), atol=1e-6)


def test_each_loss_moves_its_own_side():
    index, value = nearest_oracle(X, LISTS)

    def total(loss):
        return lambda x, lists: loss(x, losses.nearest_value(x, lists).value).mean()

    pull = 2 * (np.float64(X) - value) / X.size
    expected = np.zeros((4, 7))
    for place in np.ndindex(X.shape):
        expected[place[1], index[place]] -= pull[place]
    for loss, of_codes, of_lists in ((losses.quantisation_loss, 0, expected), (losses.commitment_loss, pull, 0)):
        found, (codes, lists) = value_and_grad(total(loss), (0, 1))(X, LISTS)
        np.testing.assert_allclose(found, ((np.float64(X) - value) ** 2).mean(), rtol=1e-5)
        np.testing.assert_allclose(codes, np.broadcast_to(of_codes, codes.shape), atol=1e-7)
        np.testing.assert_allclose(lists, np.broadcast_to(of_lists, lists.shape), atol=1e-7)


@given(st.integers(0, 1000), st.sampled_from([0.01, 1.0, 100.0]))
def test_nearest_values_against_the_oracle(seed, scale):
    x = np.float32(scale * np.random.default_rng(seed).standard_normal((6, 4)))
    index, value = nearest_oracle(x, LISTS)
    got = nearest_value(x, LISTS)
    np.testing.assert_array_equal(got.indices, index)
    np.testing.assert_array_equal(got.value, np.float32(value))


def test_lists_of_one_and_of_unequal_lengths():
    shared = nearest_value(X, LISTS[0])
    for lists in (LISTS[:1], np.tile(LISTS[:1], (4, 1))):
        np.testing.assert_array_equal(nearest_value(X, lists).value, shared.value)
    short = np.where(np.arange(7) < [[7], [1], [3], [7]], LISTS, np.float32(np.inf))
    got, slope = value_and_grad(lambda lists: losses.nearest_value(jax.device_put(X), lists).value.sum())(short)
    assert np.isfinite(got)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(nearest_value(X, short).value[:, 1], LISTS[1, 0])


def test_values_at_extremes():
    x = np.stack([EXTREMES] * 4, axis=1)

    def total(x, lists):
        q = losses.nearest_value(x, lists).value
        return (losses.straight_through(x, q) + losses.commitment_loss(x, q)[..., None]).sum()

    value, slopes = value_and_grad(total, (0, 1))(x / np.float32(1e15), LISTS)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_quantised_codes_mapped_and_in_half_precision():
    both = np.stack([X, X[::-1]])
    plain = nearest_value(X, LISTS)
    mapped = vmap(losses.nearest_value, (0, None))(both, LISTS)
    np.testing.assert_array_equal(mapped.value, np.stack([plain.value, plain.value[::-1]]))
    np.testing.assert_array_equal(nearest_value(both, LISTS).indices, mapped.indices)
    half = one_program(losses.fixed_grid)(X.astype(jnp.bfloat16), 12)
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, fixed_grid(np.float32(X.astype(jnp.bfloat16)), 12))


SHARED = LISTS[0]


def test_choices_against_the_definition():
    """Logits by distance, and the KL as the entropy that is missing to log V."""
    logits = value_logits(X, SHARED)
    distance = (np.float64(X)[..., None] - np.float64(SHARED)) ** 2
    np.testing.assert_allclose(logits, -distance, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logits.argmax(axis=-1), nearest_value(X, SHARED).indices)
    expected = np.log(7) - entr(softmax(-distance, axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(kl_uniform(logits), expected, rtol=1e-5)
    np.testing.assert_allclose(kl_uniform(np.zeros((2, 7), np.float32)), 0, atol=1e-6)
    far = np.array([[0, -1e4, 1e4]], np.float32)
    value, slope = value_and_grad(lambda logits: losses.kl_uniform(logits).sum())(far)
    np.testing.assert_allclose(value, np.log(3), rtol=1e-6)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_largest_weight_is_drawn_as_the_choice_says(temperature):
    logits = np.tile(np.log(np.float32([0.1, 0.2, 0.3, 0.4])), (5000, 2, 1))
    values = np.float32([-1, 0, 1, 2])
    drawn = relaxed_value(jax.random.key(3), logits, values, temperature=temperature)
    np.testing.assert_allclose(drawn.weights.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(drawn.value, np.float64(drawn.weights) @ values, atol=1e-5)
    shares = np.bincount(drawn.weights.argmax(axis=-1).ravel(), minlength=4) / 10_000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=4 * np.sqrt(0.25 / 10_000))
    assert (drawn.weights.max(axis=-1).mean() > 0.9) == (temperature < 1)


def test_weights_of_the_same_noise_differ_by_the_temperature_alone():
    """log w is (logits + g) / t up to a constant, so that colder weights are powers of warmer ones."""
    logits = value_logits(X, SHARED)
    warm, cold = (relaxed_value(jax.random.key(0), logits, SHARED, temperature=t).weights for t in (2.0, 0.5))
    np.testing.assert_allclose(softmax(4 * np.log(np.float64(warm)), axis=-1), cold, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixtures_of_the_global_batch(backend):
    codes = normal(jax.random.key(5), (8, 3))

    def total(x, axis_name=None):
        drawn = losses.relaxed_value(
            jax.random.key(1), losses.value_logits(x, jnp.asarray(SHARED)), jnp.asarray(SHARED), axis_name=axis_name
        )
        value = (drawn.value**2).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, gradient = value_and_grad(total)(codes)
    got, (slope,) = run_sharded(total, backend, codes)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.nearest_value(float32(X), float32(LISTS[:3])), r"got \(6, 4\) and \(3, 7\)"),
        (lambda: losses.nearest_value(float32(X), float32(LISTS[:, :0])), r"got \(6, 4\) and \(4, 0\)"),
        (lambda: losses.nearest_value(np.ones((2, 4), np.int32), float32(LISTS)), "x must be floating"),
        (lambda: losses.straight_through(float32(X), float32(X[:5])), r"quantised \(5, 4\)"),
        (lambda: losses.commitment_loss(float32(X), float32(X[:5])), r"quantised \(6, 4\), x|x \(5, 4\)"),
        (lambda: losses.fixed_grid(float32(X), 1), "at least 2 values, got 1"),
        (lambda: losses.fixed_grid(float32(X), 3, form="other"), "unknown form 'other'; there are tripod, fsq"),
        (lambda: losses.value_logits(float32(X), float32(LISTS)), r"values \[V\], got \(6, 4\) and \(4, 7\)"),
        (lambda: losses.relaxed_value(jax.random.key(0), float32(X), float32(SHARED)), r"got \(6, 4\) and \(7,\)"),
        (
            lambda: losses.relaxed_value(jax.random.key(0), float32(X[None]), float32(SHARED[:4]), temperature=0.0),
            "temperature must be positive",
        ),
        (lambda: losses.kl_uniform(np.float32(1)), r"\[..., V\], got a scalar"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
