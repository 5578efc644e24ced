"""Every source keeps the protocol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import DATA


@pytest.fixture(params=DATA)
def source(request):
    return DATA[request.param](resolution=32)


def test_shapes_types_and_range(source):
    batch = source.sample(jax.random.key(0), 50)
    assert batch["image"].shape == (50, *source.image_shape)
    assert batch["image"].dtype == jnp.float32
    assert batch["factors"].shape == (50, len(source.factor_names))
    assert batch["factors"].dtype == jnp.int32
    assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1
    assert source.size == np.prod(source.factor_sizes)
    assert hash(source) == hash(type(source)(32))


def test_names_are_those_of_the_command_line():
    for name, make in DATA.items():
        assert make().name == name
        assert (make.__doc__ or "").strip()


def test_images_follow_from_the_factors_compiled_or_not(source):
    batch = source.sample(jax.random.key(0), 20)
    np.testing.assert_array_equal(source.observe(batch["factors"]), batch["image"])
    np.testing.assert_allclose(jax.jit(source.observe)(batch["factors"]), batch["image"], atol=1e-5)


def test_rows_are_named_by_key_and_index(source):
    key = jax.random.key(3)
    whole = source.sample(key, 12)
    parts = [source.sample(key, 4, first) for first in (0, 4, 8)]
    for name in whole:
        np.testing.assert_array_equal(whole[name], np.concatenate([part[name] for part in parts]))
    assert (source.sample_factors(jax.random.key(4), 12) != whole["factors"]).any()


def test_factors_are_uniform_and_independent(source):
    n = 20_000
    factors = np.asarray(source.sample_factors(jax.random.key(1), n))
    for column, size in zip(factors.T, source.factor_sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size
        # Chi-squared: mean size - 1, standard deviation sqrt(2 (size - 1)).
        statistic = ((counts - n / size) ** 2 / (n / size)).sum()
        assert statistic < (size - 1) + 5 * np.sqrt(2 * (size - 1))
    correlation = np.corrcoef(factors.T) - np.eye(factors.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(n)


def test_every_factor_changes_the_picture(source):
    middle = np.array(source.factor_sizes) // 2
    for k, size in enumerate(source.factor_sizes):
        rows = np.tile(middle, (size, 1))
        rows[:, k] = np.arange(size)
        images = np.asarray(source.observe(jnp.asarray(rows, jnp.int32)))
        assert np.abs(images[0] - images[-1 if source.factor_names[k] != "orientation" else size // 8]).max() > 0.1


@pytest.mark.parametrize("resolution", [0, -16, 30, 65])
@pytest.mark.parametrize("make", DATA.values())
def test_other_sizes_are_refused(make, resolution):
    with pytest.raises(ValueError, match=f"multiple of 16, got {resolution}"):
        make(resolution)
