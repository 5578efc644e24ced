"""Coding rates: oracles in float64, values in closed form, invariances, empty and soft classes, sharded."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled import (
    class_coding_rate,
    coding_rate,
    float32,
    grad,
    normal,
    one_program,
    unit_length,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from jax.extend import core
from sharding import BACKENDS, run_sharded

from jaxvae import losses

EAGER = {
    "all": lambda z, membership, **settings: losses.coding_rate(z, **settings),
    "by class": losses.class_coding_rate,
}
KERNELS = {name: one_program(kernel) for name, kernel in EAGER.items()}
VALUE_AND_SLOPE = {name: value_and_grad(kernel) for name, kernel in EAGER.items()}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def rate_oracle(z, eps_squared=0.5, scale=1.0):
    (z,) = oracles.f64(z)
    batch, dimensions = z.shape
    return 0.5 * np.linalg.slogdet(np.eye(dimensions) + scale * dimensions / (batch * eps_squared) * z.T @ z)[1]


def class_rate_oracle(z, membership, eps_squared=0.5):
    """The formula with the diagonal matrices of the paper."""
    z, membership = oracles.f64(z, membership)
    batch, dimensions = z.shape
    total = 0.0
    for column in membership.T:
        members = column.sum()
        if members > 0:
            moments = dimensions / (members * eps_squared) * z.T @ np.diag(column) @ z
            total += members / (2 * batch) * np.linalg.slogdet(np.eye(dimensions) + moments)[1]
    return total


ORACLES = {"all": lambda z, membership, **settings: rate_oracle(z, **settings), "by class": class_rate_oracle}


@functools.cache
def features(batch=16, dimensions=6, classes=3, seed=0, soft=False):
    """Unit vectors, and memberships of them."""
    return draw_features(jax.random.key(seed), batch, dimensions, classes, soft)


@one_program
def draw_features(key, batch, dimensions, classes, soft):
    keys = jax.random.split(key, 2)
    z = unit_length(jax.random.normal(keys[0], (batch, dimensions)) + 0.3)
    if soft:
        return z, jax.nn.softmax(2 * jax.random.normal(keys[1], (batch, classes)), axis=1)
    return z, jax.nn.one_hot(jax.random.randint(keys[1], (batch,), 0, classes), classes)


def reduction(z, membership, eps_squared=0.5):
    return coding_rate(z, eps_squared=eps_squared) - class_coding_rate(z, membership, eps_squared=eps_squared)


def subspaces(dimensions, classes, times=2):
    """Every class isotropic in a block of axes of its own: the axes themselves, with both signs."""
    eye = np.eye(dimensions, dtype=np.float32)
    label = np.tile(np.repeat(np.arange(classes), dimensions // classes), 2 * times)
    return np.concatenate([eye, -eye] * times), one_hot(label, classes)


def one_hot(label, classes):
    return np.eye(classes, dtype=np.float32)[label]


@one_program
def both_rates(z, membership, eps_squared):
    return coding_rate(z, eps_squared=eps_squared), class_coding_rate(z, membership, eps_squared=eps_squared)


@given(
    st.sampled_from([(1, 1, 1), (3, 5, 2), (20, 4, 3)]),
    st.booleans(),
    st.sampled_from([0.01, 0.5, 3.0]),
    st.integers(0, 1000),
)
def test_any_batch_against_the_oracle_and_never_negative(shape, soft, eps_squared, seed):
    z, membership = features(*shape, seed, soft)
    got = both_rates(z, membership, np.float32(eps_squared))
    np.testing.assert_allclose(got[0], rate_oracle(z, eps_squared), rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(got[1], class_rate_oracle(z, membership, eps_squared), rtol=2e-5, atol=1e-5)
    assert got[0] - got[1] > -2e-5 * max(1.0, float(got[0]))
    bound = shape[1] / 2 * math.log(1 + 1 / eps_squared)
    least = 0.5 * math.log(1 + shape[1] / eps_squared)
    assert least - 1e-4 < got[0] < bound + 1e-4 * max(1.0, bound)


@every_kernel
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 2), (3, 5, 2)])
def test_gradient_against_central_differences(name, shape, soft):
    z, membership = features(*shape, seed=3, soft=soft)
    got = grad(KERNELS[name], 0)(z, membership)
    (want,) = oracles.gradient(lambda z: ORACLES[name](z, membership), z)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    if soft and name == "by class":
        (want,) = oracles.gradient(lambda membership: class_rate_oracle(z, membership), membership)
        np.testing.assert_allclose(grad(class_coding_rate, 1)(z, membership), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 8), (8, 40)])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_gradient_is_that_of_the_formula(shape, scale):
    """alpha (I + alpha Z Z^T)^-1 Z, with features as columns."""
    z, _ = features(*shape)
    columns = np.asarray(z, np.float64).T
    alpha = scale * shape[1] / (shape[0] * 0.5)
    want = alpha * np.linalg.solve(np.eye(shape[1]) + alpha * columns @ columns.T, columns)
    got = grad(lambda z: coding_rate(z, scale=scale))(z)
    np.testing.assert_allclose(got, want.T, rtol=1e-4, atol=1e-6)


def test_scale_counts_the_second_moments():
    z, _ = features()
    np.testing.assert_allclose(coding_rate(z, scale=20.0), rate_oracle(z, scale=20.0), rtol=1e-5)
    np.testing.assert_allclose(coding_rate(z, scale=20.0), coding_rate(z, eps_squared=0.5 / 20), rtol=1e-6)


@pytest.mark.parametrize(("dimensions", "eps_squared"), [(4, 0.5), (12, 0.1), (128, 0.5)])
def test_bounds_in_closed_form(dimensions, eps_squared):
    """Even features reach the upper bound, equal ones the lower."""
    even, _ = subspaces(dimensions, 1)
    want = dimensions / 2 * math.log(1 + 1 / eps_squared)
    np.testing.assert_allclose(coding_rate(even, eps_squared=eps_squared), want, rtol=1e-5)
    equal = np.tile(features(1, dimensions)[0], (2 * dimensions, 1))
    want = 0.5 * math.log(1 + dimensions / eps_squared)
    np.testing.assert_allclose(coding_rate(equal, eps_squared=eps_squared), want, rtol=1e-5)


@pytest.mark.parametrize(("dimensions", "classes", "rates"), [(12, 3, (6.59167, 3.89182)), (130, 10, None)])
def test_orthogonal_subspaces_in_closed_form(dimensions, classes, rates):
    z, membership = subspaces(dimensions, classes)
    got = coding_rate(z), class_coding_rate(z, membership)
    want = dimensions / 2 * math.log(3), dimensions / (2 * classes) * math.log(1 + classes / 0.5)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    if rates:
        np.testing.assert_allclose(got, rates, atol=1e-5)


def test_the_ceiling_of_the_published_setting():
    """128 dimensions and 10 classes, which do not divide evenly: the formula with 12.8 dimensions each."""
    ceiling = 64 * math.log(3) - 6.4 * math.log(21)
    np.testing.assert_allclose(ceiling, 50.826, atol=1e-3)
    z, membership = subspaces(130, 10)
    per_dimension = (coding_rate(z) - class_coding_rate(z, membership)) / 130
    np.testing.assert_allclose(per_dimension, ceiling / 128, rtol=1e-5)


def test_nothing_is_reduced_where_classes_are_alike():
    z, _ = features(24, 5)
    np.testing.assert_allclose(reduction(z, np.ones((24, 1), np.float32)), 0, atol=1e-5)
    np.testing.assert_allclose(reduction(z, np.full((24, 4), 0.25, np.float32)), 0, atol=1e-5)
    twice = np.concatenate([z, z, -z])
    label = one_hot(np.repeat(np.arange(3), 24), 3)
    np.testing.assert_allclose(reduction(twice, label), 0, atol=1e-5)
    assert reduction(*features(24, 5)) > 0.05


@every_kernel
@given(seed=st.integers(0, 1000), soft=st.booleans())
def test_what_leaves_the_rates_unchanged(name, seed, soft):
    """Rotations of the features, the order of examples and of classes; examples that are all there twice."""
    z, membership = features(12, 5, 3, seed, soft)
    rng = np.random.default_rng(seed)
    turn = np.asarray(np.linalg.qr(rng.standard_normal((5, 5)))[0], np.float32)
    order, classes = rng.permutation(12), rng.permutation(3)
    want = KERNELS[name](z, membership)
    changes = {
        "turned": (z @ turn, membership),
        "reordered": (z[order], membership[order]),
        "relabelled": (z, membership[:, classes]),
        "doubled": (np.concatenate([z, z]), np.concatenate([membership, membership])),
    }
    for changed in changes.values():
        np.testing.assert_allclose(KERNELS[name](*changed), want, rtol=1e-5)


@every_kernel
def test_rates_fall_with_the_distortion(name):
    distortions = np.array([0.01, 0.1, 0.5, 2.0], np.float32)
    rates = [KERNELS[name](*features(), eps_squared=eps_squared) for eps_squared in distortions]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 16)])
def test_either_side_of_the_smaller_matrix(shape):
    """Under an axis of one device the D x D form is taken, whatever the batch."""
    z, _ = features(*shape)

    @one_program
    def both_forms(z):
        large = jax.vmap(lambda z: coding_rate(z, axis_name="data"), axis_name="data")(z[None])[0]
        return coding_rate(z), large

    np.testing.assert_allclose(*both_forms(z), rtol=1e-5)


def sizes_in(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in core.jaxprs_in_params(equation.params):
            yield from sizes_in(inner)


def test_no_array_is_classes_by_batch_by_batch():
    z, membership = features(64, 8, 10)
    traced = jax.make_jaxpr(jax.grad(losses.class_coding_rate))(z, membership)
    assert max(sizes_in(traced.jaxpr)) <= 64 * 8 * 10
    traced = jax.make_jaxpr(jax.grad(losses.coding_rate))(z.T)
    assert max(sizes_in(traced.jaxpr)) <= 64 * 8


def test_empty_and_tiny_classes():
    z, membership = features(10, 4, 2)
    padded = np.pad(membership, ((0, 0), (1, 2)))
    np.testing.assert_allclose(class_coding_rate(z, padded), class_coding_rate(z, membership), rtol=1e-6)
    value_and_slopes = value_and_grad(class_coding_rate, (0, 1))
    for tiny in (0.0, 1e-30, 1e-13, 1e-6):
        shares = np.concatenate([membership, np.full((10, 1), tiny, np.float32)], axis=1)
        value, slopes = value_and_slopes(z, shares)
        np.testing.assert_allclose(value, class_coding_rate(z, membership), rtol=1e-5)
        assert all(np.isfinite(slope).all() for slope in slopes)
    alone = np.eye(10, dtype=np.float32)
    np.testing.assert_allclose(class_coding_rate(z, alone), 0.5 * math.log(1 + 4 / 0.5), rtol=1e-5)


@every_kernel
@pytest.mark.parametrize("eps_squared", [1e-3, 0.5, 1e3])
@pytest.mark.parametrize("batch", [1, 300])
def test_extremes_are_finite_in_value_and_gradient(name, eps_squared, batch):
    """All features alike, or some of them nothing, in many dimensions."""
    one = unit_length(normal(jax.random.key(0), (1, 128)))
    label = one_hot(np.arange(batch) % 3, 3)
    alike = np.tile(one, (batch, 1))
    for z in (alike, 0 * alike, np.where(np.arange(batch)[:, None] % 2 == 0, np.float32(0), alike)):
        value, slope = VALUE_AND_SLOPE[name](z, label, eps_squared=np.float32(eps_squared))
        want = ORACLES[name](z, label, eps_squared=eps_squared)
        np.testing.assert_allclose(value, want, rtol=5e-3, atol=1e-4)
        assert np.isfinite(slope).all()


@every_kernel
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dimensions", [6, 24])
def test_several_devices_are_one(backend, name, dimensions):
    """A class that is empty on some devices included."""
    z, membership = features(16, dimensions, soft=True)
    membership = np.where((np.arange(16)[:, None] < 10) & (np.arange(3) == 2), np.float32(0), membership)
    value, gradients = run_sharded(KERNELS[name], backend, z, membership)
    want, want_gradients = value_and_grad(KERNELS[name], (0, 1))(z, membership)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@every_kernel
def test_compiled_mapped_and_in_half_precision(name):
    kernel, inputs = KERNELS[name], features(soft=True)
    plain = EAGER[name](*float32(*inputs))
    np.testing.assert_allclose(kernel(*inputs), plain, rtol=1e-5)
    mapped = vmap(kernel)(*(np.stack([a, a[::-1] ** 2]) for a in inputs))
    np.testing.assert_allclose(mapped, [plain, kernel(*(a[::-1] ** 2 for a in inputs))], rtol=1e-5)
    swept = vmap(lambda eps_squared: kernel(*inputs, eps_squared=eps_squared))(np.array([0.5, 2.0], np.float32))
    np.testing.assert_allclose(swept, [plain, kernel(*inputs, eps_squared=2.0)], rtol=1e-5)
    half = [a.astype(jnp.bfloat16) for a in inputs]
    got = kernel(*half)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, kernel(*(a.astype(np.float32) for a in half)), rtol=1e-6)


def test_unit_length():
    vectors = np.array([[3, -4], [0, 1e-6], [3e-10, 4e-10], [1e15, 0], [0, 0], [1e-20, 0]], np.float32)
    want = [[0.6, -0.8], [0, 1], [0.6, 0.8], [1, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(unit_length(vectors), want, rtol=1e-6)
    slope = grad(lambda v: (unit_length(v) * jnp.array([[1.0, 2.0]])).sum())(vectors)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[4:], 0)
    np.testing.assert_allclose((slope * vectors)[0].sum(), 0, atol=1e-6)
    np.testing.assert_allclose(slope[0], np.array([[0.64, 0.48], [0.48, 0.36]]) @ [1, 2] / 5, rtol=1e-5)
    assert unit_length(vectors.astype(jnp.bfloat16)).dtype == jnp.float32
    np.testing.assert_allclose(unit_length(vectors[None])[0], unit_length(vectors))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("wrap", [lambda kernel: kernel, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(
    ("kernel", "shapes", "message"),
    [
        (losses.coding_rate, [(6,)], r"z must be \[batch, ...\] with two axes and not empty, got shape \(6,\)"),
        (losses.coding_rate, [(0, 6)], r"not empty, got shape \(0, 6\)"),
        (losses.class_coding_rate, [(6, 3), (6,)], r"membership must be .* got shape \(6,\)"),
        (losses.class_coding_rate, [(6, 3), (5, 2)], "one row per example: {'z': 6, 'membership': 5}"),
        (functools.partial(losses.coding_rate, eps_squared=0.0), [(6, 3)], "eps_squared must be positive, got 0.0"),
        (
            functools.partial(losses.coding_rate, eps_squared=math.nan),
            [(6, 3)],
            "eps_squared must be positive, got nan",
        ),
        (functools.partial(losses.coding_rate, scale=-1.0), [(6, 3)], "scale must be positive, got -1.0"),
        (functools.partial(losses.class_coding_rate, eps_squared=-1), [(6, 3), (6, 2)], "eps_squared must be positive"),
    ],
)
def test_bad_input(wrap, kernel, shapes, message):
    with pytest.raises(ValueError, match=message):
        wrap(kernel)(*(float32(np.ones(shape)) for shape in shapes))


@pytest.mark.usefixtures("unchecked_types")
def test_integers_are_refused():
    with pytest.raises(ValueError, match="z must be floating, got int32"):
        losses.coding_rate(np.ones((2, 2), np.int32))
    with pytest.raises(ValueError, match="membership must be floating, got int32"):
        losses.class_coding_rate(np.ones((2, 2), np.float32), np.ones((2, 2), np.int32))
    with pytest.raises(ValueError, match="vector must be floating"):
        losses.unit_length(np.ones((2, 2), np.int32))
