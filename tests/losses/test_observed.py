"""Missing values: every likelihood is that of what is observed, whatever stands in the other places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import float32, grad, normal, one_program, vmap

from jaxvae import losses

SHAPE = (5, 4, 3)
COLUMNS = np.linspace(0.5, 1.5, 12, dtype=np.float32).reshape(SHAPE[1:])
OUTPUT, LOGITS = (2 * normal(jax.random.key(seed), SHAPE) for seed in (0, 1))
GREY = np.asarray(jax.random.uniform(jax.random.key(2), SHAPE))
NUMBERS = np.floor(8 * GREY**2)
CLASSES = np.eye(SHAPE[-1], dtype=np.float32)[(3 * GREY[..., 0]).astype(int)]
MARKS = np.array(jax.random.bernoulli(jax.random.key(3), 0.7, SHAPE))
MARKS[1], MARKS[2], MARKS[:, 2, 1] = False, True, False

KERNELS = {
    "bernoulli": (losses.bernoulli_nll, GREY, ()),
    "continuous bernoulli": (losses.continuous_bernoulli_nll, GREY, ()),
    "gaussian": (losses.gaussian_nll, GREY, (COLUMNS,)),
    "laplace": (losses.laplace_nll, GREY, (COLUMNS,)),
    "categorical": (losses.categorical_nll, CLASSES, ()),
    "poisson": (losses.poisson_nll, NUMBERS, ()),
    "negative binomial": (losses.negative_binomial_nll, NUMBERS, (COLUMNS,)),
    "zero-inflated poisson": (losses.zero_inflated_poisson_nll, NUMBERS, (LOGITS,)),
    "zero-inflated negative binomial": (losses.zero_inflated_negative_binomial_nll, NUMBERS, (COLUMNS, LOGITS)),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def case(name):
    """(kernel, its arguments, marks). The class of a categorical value is observed or not as a whole."""
    kernel, x, others = KERNELS[name]
    marks = np.broadcast_to(MARKS[..., :1], SHAPE) if name == "categorical" else MARKS
    return one_program(kernel), (OUTPUT, x, *others), marks


def terms(name, output, x, *others):
    """The likelihood of each value [B, 4, 3], by the kernel for one value; of a categorical one, [B, 4, 1]."""
    event = (1, SHAPE[-1]) if name == "categorical" else (1,)
    flat = [np.broadcast_to(array, SHAPE).reshape(-1, *event) for array in (output, x, *others)]
    each = vmap(lambda *arrays: KERNELS[name][0](*(a[None] if a.shape == event else a for a in arrays)))
    rest = [a if other.shape == SHAPE else a.reshape(-1) for a, other in zip(flat[2:], others, strict=True)]
    return each(*flat[:2], *rest).reshape(*SHAPE[:2], -1)


@every_kernel
@pytest.mark.parametrize("filler", [np.nan, np.inf, -7.0])
def test_the_likelihood_of_what_is_observed(name, filler):
    kernel, (output, x, *others), marks = case(name)
    want = np.where(marks, terms(name, output, x, *others), 0)
    want = want[..., 0].sum(-1) if name == "categorical" else want.sum((1, 2))
    given = np.where(marks, x, np.float32(filler))
    got = kernel(output, given, *others, observed=marks)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    assert got[1] == 0

    apply = lambda *arrays: KERNELS[name][0](*arrays[:-1], observed=arrays[-1])  # noqa: E731
    np.testing.assert_allclose(apply(*float32(output, given, *others), jnp.asarray(marks)), want, rtol=2e-6)
    arrays = (output, given, *others, marks)
    axes = (0, 0, *(0 if other.shape == SHAPE else None for other in others), 0)
    twice = (np.stack([array, array]) if axis == 0 else array for array, axis in zip(arrays, axes, strict=True))
    mapped = vmap(apply, axes)(*twice)
    np.testing.assert_allclose(mapped, np.stack([want, want]), rtol=2e-6)


@every_kernel
@pytest.mark.parametrize("filler", [np.nan, np.inf])
def test_gradients_are_those_of_what_is_observed(name, filler):
    """Zero, not NaN, where a value is missing, and those of the full likelihood elsewhere."""
    kernel, (output, x, *others), marks = case(name)
    wrt = tuple(range(2 + len(others)))
    loss = lambda *args, **given: kernel(*args, **given).sum()  # noqa: E731
    full = grad(loss, wrt)(output, x, *others)
    got = grad(lambda *args: loss(*args, observed=marks), wrt)(output, np.where(marks, x, filler), *others)
    for whole, part, argument in zip(full, got, (output, x, *others), strict=True):
        assert np.isfinite(part).all()
        if argument.shape == SHAPE:
            assert not part[~marks].any()
            np.testing.assert_allclose(part[marks], whole[marks], rtol=1e-6, atol=1e-7)
        else:
            assert part[2, 1] == 0
            assert (part.ravel() != 0).sum() == part.size - 1


@every_kernel
def test_all_observed_changes_nothing(name):
    kernel, args, marks = case(name)
    np.testing.assert_array_equal(kernel(*args, observed=np.ones_like(marks)), kernel(*args))


@every_kernel
def test_outputs_where_nothing_is_observed_do_not_matter(name):
    kernel, (output, x, *others), marks = case(name)
    wild = np.where(marks, output, np.float32(1e30))
    loss = lambda output: kernel(output, x, *others, observed=marks).sum()  # noqa: E731
    np.testing.assert_array_equal(loss(wild), loss(output))
    np.testing.assert_array_equal(grad(loss)(wild), grad(loss)(output))


@pytest.mark.usefixtures("unchecked_types")
@every_kernel
def test_bad_marks(name):
    kernel, x, others = KERNELS[name]
    with pytest.raises(ValueError, match=r"observed must be boolean \(True where a value is known\), got float32"):
        kernel(OUTPUT, x, *others, observed=MARKS.astype(np.float32))
    with pytest.raises(ValueError, match=r"one shape: .*, observed \(5, 4\)"):
        kernel(OUTPUT, x, *others, observed=MARKS[..., 0])
