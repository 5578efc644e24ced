"""The Hessian penalty: additive decoders have none, quadratic ones the one of their matrix, the same on all devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import float32, normal, one_program, value_and_grad
from sharding import BACKENDS, run_sharded

from jaxvae import losses

KEY = jax.random.key(0)
Z = normal(jax.random.key(1), (8, 3))
SCALE = jax.device_put(np.array([0.5, 1.0, 2.0], np.float32))
FORM = np.float32(np.array([[1, 2, 0], [2, -1, 0.5], [0, 0.5, 3]]))
MIXING = normal(jax.random.key(2), (3, 6))


def additive(z):
    """Two activations, each a sum of functions of single latents."""
    parts = jnp.stack([jnp.sin(z[:, 0]), jnp.exp(0.3 * z[:, 1]), z[:, 2] ** 3], axis=1)
    return parts, (parts @ MIXING).reshape(-1, 2, 3)


def quadratic(z):
    return 0.5 * jnp.einsum("bi,ij,bj->b", z, FORM, z)[:, None]


def mixed(z):
    return jnp.tanh(z @ MIXING), jnp.tanh(jnp.tanh(z @ MIXING) @ MIXING.T)


def penalty(function, z=Z, key=KEY, **options):
    return one_program(lambda z, key: losses.hessian_penalty(function, z, key, **options))(z, key)


def directions(draws, key=KEY):
    """Those that the kernel draws for each example: signs and normal numbers [draws, B, D], in float64."""
    keys = jax.random.split(key)

    def drawn(draw, key):
        rows = [draw(jax.random.fold_in(key, row), (draws, 3), jnp.float32) for row in range(len(Z))]
        return np.stack([np.float64(row) for row in rows], axis=1)

    return drawn(jax.random.rademacher, keys[0]), drawn(jax.random.normal, keys[1])


def penalty_oracle(activations, z, scale, signs, normals, step):
    """In float64, from the formula, with finite differences of `activations`, a list of functions."""
    z, scale = np.float64(z), np.asarray(scale, np.float64)
    total = np.zeros(len(z))
    for function in activations:
        spread = []
        for draws in (signs, normals):
            found = []
            for r in draws:
                v = step * scale * r
                found.append((function(z + v) - 2 * function(z) + function(z - v)) / step**2)
            spread.append(np.var(found, axis=0).reshape(len(z), -1).mean(axis=1))
        total += spread[0] / (spread[1] + 1e-10)
    return total


def test_against_the_oracle():
    mixing = np.float64(MIXING)
    activations = [lambda z: np.tanh(z @ mixing), lambda z: np.tanh(np.tanh(z @ mixing) @ mixing.T)]
    signs, normals = directions(2)
    assert set(np.unique(signs)) == {-1, 1}
    want = penalty_oracle(activations, Z, SCALE, signs, normals, 0.1)
    np.testing.assert_allclose(penalty(mixed, scale=SCALE), want, rtol=2e-2)
    exact = penalty_oracle(activations, Z, SCALE, signs, normals, 1e-4)
    np.testing.assert_allclose(penalty(mixed, scale=SCALE, derivatives="exact"), exact, rtol=1e-3)


def test_additive_decoders_have_none():
    """In float64 to rounding; the ratio of the exact form in float32."""
    parts = [
        lambda z: np.stack([np.sin(z[:, 0]), np.exp(0.3 * z[:, 1]), z[:, 2] ** 3], axis=1),
        lambda z: np.stack([np.sin(z[:, 0]), np.exp(0.3 * z[:, 1]), z[:, 2] ** 3], axis=1) @ np.float64(MIXING),
    ]
    signs, normals = directions(4)
    assert penalty_oracle(parts, Z, SCALE, signs, normals, 0.1).max() < 1e-18
    assert penalty(additive, draws=4, scale=SCALE, derivatives="exact").max() < 1e-9
    assert penalty(additive, draws=4, scale=SCALE).max() < 1e-4
    assert penalty(additive, draws=4, scale=SCALE, derivatives="exact", normalised=False).max() < 1e-8
    assert penalty(mixed, draws=4, scale=SCALE).min() > 1e-2


@pytest.mark.parametrize("derivatives", ["finite", "exact"])
def test_quadratic_decoders_have_that_of_their_matrix(derivatives):
    """Over many draws: 2 sum over i != j of (s_i H_ij s_j)^2, and 2 sum over all, as z^T H z has the Hessian H."""
    scaled = np.float64(FORM) * np.asarray(SCALE, np.float64)[:, None] * np.asarray(SCALE, np.float64)
    every = 2 * (scaled**2).sum()
    off = every - 2 * (np.diag(scaled) ** 2).sum()
    settings = {"draws": 4000, "scale": SCALE, "derivatives": derivatives}
    np.testing.assert_allclose(penalty(quadratic, normalised=False, **settings).mean(), off, rtol=0.03)
    np.testing.assert_allclose(penalty(quadratic, **settings).mean(), off / every, rtol=0.03)


def test_a_flatter_decoder_has_the_same_ratio_and_less_of_the_rest():
    def flat(z):
        return jax.tree.map(lambda value: value / 8, mixed(z))

    settings = {"scale": SCALE, "derivatives": "exact"}
    np.testing.assert_allclose(penalty(flat, **settings), penalty(mixed, **settings), rtol=1e-4)
    less, more = (penalty(function, normalised=False, **settings) for function in (flat, mixed))
    np.testing.assert_allclose(less, more / 64, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_directions_of_an_example_do_not_depend_on_the_device(backend):
    def mean(z, axis_name=None):
        value = losses.hessian_penalty(mixed, z, KEY, scale=SCALE, derivatives="exact", axis_name=axis_name).mean()
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, gradient = value_and_grad(mean)(Z)
    got, (slope,) = run_sharded(mean, backend, Z)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("derivatives", ["finite", "exact"])
def test_extremes_are_finite(derivatives):
    """Codes far away, activations that are constant or linear, and parameters."""

    def total(z, weight):
        def activations(z):
            return jnp.tanh(weight * z @ MIXING), 0 * z, z, weight + 0 * z[:, :1]

        return losses.hessian_penalty(activations, z, KEY, scale=SCALE, derivatives=derivatives).sum()

    kernel = value_and_grad(total, (0, 1))
    for z in (Z, 1e4 * Z, 0 * Z):
        value, slopes = kernel(z, np.float32(0.7))
        assert np.isfinite(value)
        assert all(np.isfinite(slope).all() for slope in slopes)


def test_compiled_and_in_half_precision():
    plain = losses.hessian_penalty(mixed, float32(Z), KEY, derivatives="exact")
    np.testing.assert_allclose(penalty(mixed, derivatives="exact"), plain, rtol=1e-4)
    half = penalty(mixed, Z.astype(jnp.bfloat16), derivatives="exact")
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, penalty(mixed, np.float32(Z.astype(jnp.bfloat16)), derivatives="exact"))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z": float32(Z[0])}, r"got \(3,\) and \(\)"),
        ({"scale": float32(np.ones(2))}, r"got \(8, 3\) and \(2,\)"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"step": -1.0}, "step must be positive"),
        ({"draws": 1}, "at least 2 draws, got 1"),
        ({"derivatives": "none"}, "unknown derivatives 'none'; there are finite, exact"),
    ],
)
def test_bad_input(options, message):
    z = options.pop("z", None)
    with pytest.raises(ValueError, match=message):
        losses.hessian_penalty(mixed, float32(Z) if z is None else z, KEY, **options)


def test_differences_of_narrow_activations_are_refused():
    with pytest.raises(ValueError, match="activations in bfloat16 are rounding errors: take derivatives exact"):
        losses.hessian_penalty(lambda z: [*mixed(z), mixed(z)[0].astype(jnp.bfloat16)], float32(Z), KEY)
