import functools

import jax
import jax.numpy as jnp
import moment_oracles
import numpy as np
import oracles
import pytest
from compiled import float32, mmd_dimensionwise, mmd_unbiased, normal, one_program, value_and_grad, vmap
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses
from jaxvae.losses import inverse_multiquadric, mmd, radial_basis

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
FEW_SCALES = SCALES[:-1]
STATISTICS = {
    "imq": functools.partial(losses.mmd_unbiased, kernel=inverse_multiquadric(3)),
    "rbf": functools.partial(losses.mmd_unbiased, kernel=radial_basis(2.0)),
    "dimensionwise": functools.partial(losses.mmd_dimensionwise, kernel=inverse_multiquadric(1, scales=FEW_SCALES)),
}
COMPILED = {name: one_program(statistic) for name, statistic in STATISTICS.items()}
VALUE_AND_SLOPES = {name: value_and_grad(statistic, (0, 1)) for name, statistic in STATISTICS.items()}
IMQ_ORACLE = functools.partial(
    moment_oracles.inverse_multiquadric, latent_dim=3, prior_variance=1.0, scales=[0.1, 0.2, 0.5, 1, 2, 5, 10]
)
RBF_ORACLE = functools.partial(moment_oracles.radial_basis, bandwidth_squared=2.0)
MARGINAL_ORACLE = functools.partial(
    moment_oracles.inverse_multiquadric, latent_dim=1, prior_variance=1.0, scales=[0.1, 0.2, 0.5, 1, 2, 5]
)
ORACLES = {
    "imq": functools.partial(moment_oracles.mmd, kernel=IMQ_ORACLE),
    "rbf": functools.partial(moment_oracles.mmd, kernel=RBF_ORACLE),
    "dimensionwise": functools.partial(moment_oracles.mmd_dimensionwise, kernel=MARGINAL_ORACLE),
}
every_statistic = pytest.mark.parametrize("name", STATISTICS)


@functools.cache
def samples(m=6, n=5, seed=0):
    return draw_samples(jax.random.key(seed), m, n)


@one_program
def draw_samples(key, m, n):
    keys = jax.random.split(key)
    return 0.5 + 1.5 * jax.random.normal(keys[0], (m, 3)), jax.random.normal(keys[1], (n, 3))


@every_statistic
@given(st.sampled_from([(2, 2), (6, 5), (2, 9)]), st.integers(0, 1000))
def test_any_samples_against_the_oracle(name, sizes, seed):
    x, y = samples(*sizes, seed)
    # Relative to the three terms that are subtracted, which are of the size of the kernel.
    np.testing.assert_allclose(COMPILED[name](x, y), ORACLES[name](x, y), rtol=1e-5, atol=1e-5)


@every_statistic
def test_gradient_against_central_differences(name):
    inputs = samples()
    _, got = VALUE_AND_SLOPES[name](*inputs)
    for a, b in zip(got, oracles.gradient(ORACLES[name], *inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(got[0].sum(axis=0), -got[1].sum(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "oracle", "at_0"),
    [
        (inverse_multiquadric(3), IMQ_ORACLE, 7),
        (inverse_multiquadric(1, scales=FEW_SCALES), MARGINAL_ORACLE, 6),
        (
            inverse_multiquadric(2, prior_variance=0.25, scales=(3.0,)),
            lambda squares: moment_oracles.inverse_multiquadric(squares, 2, 0.25, [3]),
            1,
        ),
        (radial_basis(2.0), RBF_ORACLE, 1),
    ],
)
def test_kernels(kernel, oracle, at_0):
    """Values, slopes, 0 < k <= k(0), and a Gram matrix without negative eigenvalues."""
    squares = np.array([0.0, 1e-3, 0.5, 2.0, 30.0], np.float32)
    values, slopes = vmap(jax.value_and_grad(kernel))(squares)
    np.testing.assert_allclose(values, oracle(np.float64(squares)), rtol=1e-5)
    (want,) = oracles.gradient(lambda s: oracle(s).sum(), squares)
    np.testing.assert_allclose(slopes, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values[0], at_0, rtol=1e-6)
    points = np.float64(samples(40)[0])
    gram = one_program(kernel)(np.asarray(((points[:, None] - points) ** 2).sum(-1), np.float32))
    assert ((gram > 0) & (gram <= at_0)).all()
    assert np.linalg.eigvalsh(np.float64(gram)).min() > -1e-5


def test_kernel_widths_may_be_traced():
    x, y = samples()
    swept = vmap(lambda h2: mmd_unbiased(x, y, kernel=radial_basis(h2)))(np.array([2.0, 8.0], np.float32))
    np.testing.assert_allclose(swept[0], COMPILED["rbf"](x, y), rtol=1e-4)
    wide = one_program(lambda variance: mmd_unbiased(x, y, kernel=inverse_multiquadric(3, prior_variance=variance)))(
        np.float32(4.0)
    )
    np.testing.assert_allclose(wide, COMPILED["imq"](x / 2, y / 2), rtol=1e-4)


def test_rbf_between_gaussians_in_closed_form():
    """Mean of 20 statistics of 1000 against the number of the formula, within 4 standard errors."""
    h2, mean, variance = 2.0, np.array([0.5, 0.0, -0.3]), np.array([0.5, 1.0, 2.0])

    def expected(a, b, va, vb):
        width = h2 + va + vb
        return np.prod(np.sqrt(h2 / width)) * np.exp(-0.5 * ((a - b) ** 2 / width).sum())

    zero, one = np.zeros(3), np.ones(3)
    want = expected(mean, mean, variance, variance) + expected(zero, zero, one, one)
    want -= 2 * expected(mean, zero, variance, one)
    np.testing.assert_allclose(want, 0.04033, atol=1e-5)

    def draw(key):
        x, y = jax.random.normal(key, (2, 1000, 3))
        x = jnp.array(mean, jnp.float32)[None] + x * jnp.array(np.sqrt(variance), jnp.float32)[None]
        return mmd_unbiased(x, y, kernel=radial_basis(h2))

    got = one_program(lambda keys: jax.lax.map(draw, keys))(jax.random.split(jax.random.key(0), 20))
    assert abs(got.mean() - want) < 4 * got.std() / np.sqrt(20)
    assert got.std() < 0.1 * want * np.sqrt(20)


@every_statistic
def test_small_batches_are_unbiased(name):
    """The mean over batches of 8 is 0 for one law, and else the value of a large sample; a V-statistic's is neither."""

    @one_program
    def small_batches(shift):
        x, y = jax.random.normal(jax.random.key(1), (2, 4000, 8, 3))
        return jax.vmap(STATISTICS[name])(x + shift, y)

    one_law, shifted = small_batches(np.float32(0.0)), small_batches(np.float32(0.7))
    errors = one_law.std() / np.sqrt(4000), shifted.std() / np.sqrt(4000)
    assert abs(one_law.mean()) < 3.5 * errors[0]
    assert 0.2 < (one_law < 0).mean() < 0.8
    x, y = normal(jax.random.key(2), (2, 1000, 3))
    large = COMPILED[name](x + 0.7, y)
    tolerance = 4 * errors[1] + 0.1 * large
    assert abs(shifted.mean() - large) < tolerance
    if name != "dimensionwise":
        x, y = np.random.default_rng(0).standard_normal((2, 8, 3))
        assert ORACLES[name](x + 0.7, y, unbiased=False) - ORACLES[name](x + 0.7, y) > 1.5 * tolerance


@every_statistic
@given(st.permutations(range(6)), st.permutations(range(5)), st.floats(-20, 20, width=32))
def test_order_roles_and_a_common_shift_do_not_matter(name, order_x, order_y, shift):
    x, y = samples()
    want = COMPILED[name](x, y)
    np.testing.assert_allclose(COMPILED[name](x[np.array(order_x)], y[np.array(order_y)]), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(COMPILED[name](x + shift, y + shift), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(COMPILED[name](y, x), want, rtol=1e-4, atol=1e-5)


def both_statistics(x, y, kernel):
    return mmd_dimensionwise(x, y, kernel=kernel), mmd_unbiased(x, y, kernel=kernel)


def test_one_coordinate_is_the_dimensionwise_statistic():
    x, y = (sample[:, :1] for sample in samples())
    one, all_at_once = one_program(both_statistics)(x, y, inverse_multiquadric(1))
    np.testing.assert_allclose(one, all_at_once, rtol=1e-5, atol=1e-6)


def test_dimensionwise_does_not_see_dependence():
    """Correlation 0.9 with standard normal marginals: 0 within the noise, where the full statistic is positive."""
    x, y = normal(jax.random.key(0), (2, 1000, 2))
    x = x @ np.array([[1.0, 0.9], [0.0, np.sqrt(1 - 0.9**2)]], np.float32)
    dimensionwise, full = one_program(both_statistics)(x, y, radial_basis(1.0))
    assert abs(dimensionwise) < 0.01
    assert full > 0.02


def test_collapsed_codes():
    """All codes equal: 7 + E k(p, p') - 2 E k(z, p), and a finite gradient though every distance is 0."""
    y = samples(n=8)[1]
    x = np.full((6, 3), 0.2, np.float32)
    value, (slope, _) = VALUE_AND_SLOPES["imq"](x, y)
    np.testing.assert_allclose(value, ORACLES["imq"](x, y), rtol=1e-5)
    assert value > 0.5
    assert np.isfinite(slope).all()


@every_statistic
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4, 1e8])
def test_extremes_are_finite_in_value_and_gradient(name, scale):
    x, y = samples()
    value, slopes = VALUE_AND_SLOPES[name](scale * x, scale * y)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize(("name", "block_size"), [("imq", 50), ("rbf", 1), ("dimensionwise", 50)])
def test_blocks_change_nothing(name, block_size, monkeypatch):
    """One row at a time, and blocks that do not divide the rows."""
    inputs = samples(7, 5)
    want, want_slopes = VALUE_AND_SLOPES[name](*inputs)
    monkeypatch.setattr(mmd, "BLOCK_SIZE", block_size)
    streamed = value_and_grad(lambda x, y: STATISTICS[name](x, y), (0, 1))
    value, slopes = streamed(*inputs)
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    for a, b in zip(slopes, want_slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["imq", "dimensionwise"])
def test_memory_is_that_of_a_block(name):
    """Forwards and backwards; held whole, these pairs are 32 blocks and take 3 times that."""
    sample = jax.ShapeDtypeStruct((1024, 32), np.float32)
    compiled = jax.jit(jax.grad(STATISTICS[name], (0, 1))).lower(sample, sample).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * 4 * mmd.BLOCK_SIZE


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "m", "n", "block_size"), [("imq", 8, 24, 2**20), ("rbf", 16, 8, 50), ("dimensionwise", 16, 8, 50)]
)
def test_several_devices_are_one(backend, name, m, n, block_size, monkeypatch):
    inputs = samples(m, n)
    want, want_gradients = VALUE_AND_SLOPES[name](*inputs)
    monkeypatch.setattr(mmd, "BLOCK_SIZE", block_size)
    split = jax.jit(lambda x, y, axis_name: STATISTICS[name](x, y, axis_name=axis_name), static_argnames="axis_name")
    value, gradients = run_sharded(split, backend, *inputs)
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    for a, b in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@every_statistic
def test_compiled_mapped_and_half_precision(name):
    kernel, inputs = COMPILED[name], samples()
    plain = STATISTICS[name](*float32(*inputs))
    np.testing.assert_allclose(kernel(*inputs), plain, rtol=1e-5, atol=1e-6)
    mapped = vmap(kernel)(*(np.stack([a, 2 * a]) for a in inputs))
    np.testing.assert_allclose(mapped[0], plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mapped[1], kernel(*(2 * a for a in inputs)), rtol=1e-5, atol=1e-6)
    half = [a.astype(jnp.bfloat16) for a in inputs]
    got = kernel(*half)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, ORACLES[name](*half), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("wrap", [lambda kernel: kernel, jax.jit], ids=["plain", "jit"])
@every_statistic
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((6, 3), (5, 2), r"\[m, latents\] and \[n, latents\], got shapes \(6, 3\) and \(5, 2\)"),
        ((6,), (5,), r"got shapes \(6,\) and \(5,\); use vmap"),
        ((1, 3), (5, 3), "at least 2 members, got 1 and 5"),
        ((6, 3), (1, 3), "at least 2 members, got 6 and 1"),
    ],
)
def test_bad_samples(wrap, name, x, y, message):
    with pytest.raises(ValueError, match=message):
        wrap(STATISTICS[name])(*float32(np.ones(x), np.ones(y)))
    with pytest.raises(ValueError, match="y must be floating, got int32"):
        wrap(STATISTICS[name])(float32(np.ones((3, 2))), jax.device_put(np.ones((3, 2), np.int32)))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inverse_multiquadric(0), "latent_dim must be at least 1, got 0"),
        (lambda: inverse_multiquadric(2, prior_variance=0.0), "prior_variance must be positive, got 0"),
        (lambda: inverse_multiquadric(2, scales=()), "scales must be one or more positive numbers, got none"),
        (lambda: inverse_multiquadric(2, scales=(1.0, -1.0)), r"scales must be positive, got -1.0"),
        (lambda: inverse_multiquadric(2, scales=(1.0, float("nan"))), "scales must be positive"),
        (lambda: radial_basis(-1.0), "bandwidth_squared must be positive, got -1"),
    ],
)
def test_bad_kernels(make, message):
    with pytest.raises(ValueError, match=message):
        make()
