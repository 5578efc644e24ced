"""Images in memory: kept small, given back exactly, refused when they are not images."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import Epochs, GroundTruth, Source, Streamed, from_arrays

RNG = np.random.default_rng(0)
KEY = jax.random.key(3)
GRID = np.stack(np.meshgrid(np.arange(2), np.arange(3), np.arange(4), indexing="ij"), axis=-1).reshape(-1, 3)


@jax.jit
def numbered(source, index):
    return source.at(index)


@partial(jax.jit, static_argnums=1)
def drawn(source, n, first=0, key=KEY):
    return source.sample(key, n, first)


@partial(jax.jit, static_argnums=1)
def factors_of(source, n):
    return source.sample_factors(KEY, n)


@jax.jit
def observed(source, factors):
    return source.render(factors)


@pytest.mark.parametrize(
    ("images", "storage", "want"),
    [
        (RNG.integers(0, 2, (24, 5, 7), np.uint8), "bits", lambda x: x[..., None]),
        (RNG.integers(0, 2, (24, 5, 7, 1), np.uint8) * 255, "bits", lambda x: x / 255),
        (RNG.random((24, 5, 7, 3)) > 0.5, "bits", lambda x: x),
        (RNG.integers(0, 256, (24, 5, 7, 3), np.uint8), "bytes", lambda x: x / 255),
        (RNG.integers(0, 3, (24, 5, 7, 3), np.uint8), "bytes", lambda x: x / 255),
        (RNG.random((24, 5, 7)).astype(np.float32), "floats", lambda x: x[..., None]),
        (RNG.random((24, 5, 7, 2)), "floats", lambda x: x),
    ],
)
def test_images_come_back_as_they_were(images, storage, want):
    source = from_arrays(images)
    assert source.storage == storage
    batch = numbered(source, np.arange(24))
    assert set(batch) == {"x"}
    assert batch["x"].dtype == jnp.float32
    np.testing.assert_allclose(batch["x"], want(images), atol=1e-7)
    assert source.event_shape == batch["x"].shape[1:]


def test_a_shuffled_grid_is_put_in_order():
    order = RNG.permutation(24)
    values = np.array([0.5, 2.0, -1.0, 7.0])
    factors = np.stack([GRID[:, 0] * 10, GRID[:, 1], np.sort(values)[GRID[:, 2]]], axis=1)
    images = np.arange(24, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), np.uint8)
    source = from_arrays(images[order], factors[order], factor_names=("a", "b", "c"))
    assert source.is_grid
    assert isinstance(source, GroundTruth)
    assert (source.factor_names, source.factor_sizes) == (("a", "b", "c"), (2, 3, 4))
    np.testing.assert_array_equal(source.factors, GRID)
    found = np.asarray(observed(source, np.array([[1, 2, 3], [0, 0, 1]], np.int32)))
    np.testing.assert_allclose(found[:, 0, 0, 0] * 255, [23, 1], rtol=1e-6)


def test_what_is_no_grid_keeps_its_order_and_can_not_be_observed():
    images = RNG.integers(0, 256, (5, 2, 2), np.uint8)
    source = from_arrays(images, np.array([[0, 1], [0, 1], [1, 0], [1, 1], [0, 0]]), name="mine")
    assert not source.is_grid
    found = np.asarray(numbered(source, np.arange(5))["x"])
    np.testing.assert_allclose(found[..., 0] * 255, images, atol=1e-4)
    assert source.factor_names == ("factor0", "factor1")
    with pytest.raises(ValueError, match="mine has no image for every combination"):
        source.render(jnp.zeros((1, 2), jnp.int32))
    with pytest.raises(ValueError, match="the factors of arrays are not known"):
        from_arrays(images).sample_factors(jax.random.key(0), 2)


def test_rows_are_named_by_key_and_place_and_uniform():
    source = from_arrays(np.zeros((24, 1, 1), np.float32), GRID)
    whole = drawn(source, 12)
    parts = [drawn(source, 4, first)["factors"] for first in (0, 4, 8)]
    np.testing.assert_array_equal(whole["factors"], np.concatenate(parts))
    np.testing.assert_array_equal(whole["factors"], factors_of(source, 12))
    many = np.asarray(factors_of(source, 24_000))
    counts = np.bincount(np.ravel_multi_index(tuple(many.T), (2, 3, 4)), minlength=24)
    assert ((counts - 1000) ** 2 / 1000).sum() < 23 + 5 * np.sqrt(46)


def test_a_table_is_an_argument_of_a_compiled_function():
    """Its images are no constants of the program."""
    source = from_arrays(RNG.random((24, 5, 7)).astype(np.float32), GRID)
    sample = jax.jit(lambda source, key: source.sample(key, 3)["x"])
    lowered = sample.lower(source, jax.random.key(0))
    assert "24x5x7" in str(lowered.in_avals) or any(a.shape == (24, 5, 7, 1) for a in jax.tree.leaves(lowered.in_avals))
    np.testing.assert_array_equal(sample(source, jax.random.key(0)), source.sample(jax.random.key(0), 3)["x"])


@pytest.mark.parametrize(("dtype", "factors"), [(bool, GRID), (np.uint8, None), (np.float32, GRID)])
def test_streamed_from_a_file_is_the_table_itself(dtype, factors, tmp_path):
    images = (RNG.random((24, 5, 7)) * (200 if dtype == np.uint8 else 1)).astype(dtype)
    table = from_arrays(images, factors, extras={"aux": RNG.random((24, 3), np.float32)})
    np.save(tmp_path / "pixels.npy", table.pixels)
    mapped = replace(table, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    source = Streamed(mapped)
    assert isinstance(source, Source)

    @jax.jit
    def drawn(source):
        batches = [one.batch(KEY, jnp.int32(3), 6) for one in (source, Epochs(source))]
        return batches, jax.vmap(lambda key: source.sample(key, 4)["x"])(jax.random.split(KEY, 3))

    (batches, together), (wanted, alone) = drawn(source), drawn(table)
    for one, other in zip(batches, wanted, strict=True):
        assert set(one) == set(other)
        for name, array in other.items():
            np.testing.assert_array_equal(one[name], array)
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("images", "factors", "message"),
    [
        (np.zeros((3, 4)), None, r"must be \[N, H, W\] or \[N, H, W, C\]"),
        (np.zeros((0, 4, 4)), None, "not empty"),
        (np.full((3, 4, 4), 255.0), None, r"must be in \[0, 1\], found 255 to 255"),
        (np.full((3, 4, 4), -0.5), None, "found -0.5 to -0.5"),
        (np.full((3, 4, 4), np.nan), None, "not finite"),
        (np.zeros((3, 4, 4), np.int64), None, "images of type int64"),
        (np.zeros((3, 4, 4)), np.zeros((2, 1)), r"must be \[3, K\], one row per image, got shape \(2, 1\)"),
        (np.zeros((3, 4, 4)), np.array([["a"], ["b"], ["c"]]), "must be finite numbers"),
        (np.zeros((3, 4, 4)), np.array([[0], [1], [np.inf]]), "must be finite numbers"),
        (np.ma.masked_equal(np.zeros((3, 4, 4)), 0), None, "examples are a masked array, whose mask is not read"),
        (np.zeros((3, 4, 4)), np.ma.masked_equal([[0], [1], [2]], 1), "factors are a masked array"),
    ],
)
def test_bad_arrays(images, factors, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(images, factors)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 8, 12), (2, 16, 16), (5, 16, 16), (13, 64, 64)])
def test_channels_that_come_first_are_refused(shape):
    with pytest.raises(ValueError, match=r"have their channels first; here, channels come last, as images.transpose"):
        from_arrays(np.zeros((2, *shape), np.uint8))


@pytest.mark.parametrize(
    "shape",
    [(8, 8, 3), (32, 32, 200), (1, 1, 20), (3, 3, 3), (4, 4, 4), (1, 28, 1), (3, 32, 3), (64, 48, 5), (16, 16, 16)],
)
def test_channels_that_come_last_are_kept(shape):
    assert from_arrays(np.zeros((2, *shape), np.uint8)).event_shape == shape


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_rounding_leaves_beyond_zero_and_one_is_clipped(dtype):
    images = np.full((2, 4, 4), 0.5, dtype)
    images[0, 0, :2] = np.nextafter(dtype(1), dtype(2)), np.nextafter(dtype(0), dtype(-1))
    pixels = np.asarray(from_arrays(images).pixels)
    assert (pixels.dtype, pixels.min(), pixels.max()) == (np.float32, 0, 1)
    assert images.max() > 1  # those of the caller stay as they are
    images[0, 0, 0] = 1.01
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], found -[\d.e-]+ to 1.0[01]\d*: rescale them"):
        from_arrays(images)
    assert from_arrays(images, real=True).pixels.max() > 1


def test_as_many_names_as_factors():
    with pytest.raises(ValueError, match="2 factors but 1 names"):
        from_arrays(np.zeros((3, 4, 4)), np.zeros((3, 2)), factor_names=("a",))
    with pytest.warns(UserWarning, match="factors of one name are told apart by their place: a 1, b, a 3"):
        table = from_arrays(np.zeros((3, 4, 4)), np.zeros((3, 3)), factor_names=("a", "b", "a"))
    assert table.factor_names == ("a 1", "b", "a 3")


@pytest.mark.parametrize("value", [1e39, -1e300, np.longdouble("1e500")])
def test_values_beyond_float32_are_refused(value):
    values = np.zeros((3, 4), np.asarray(value).dtype)
    values[1, 2] = value
    with pytest.raises(ValueError, match="are beyond float32: rescale them"):
        from_arrays(values, real=True)
    assert from_arrays(np.full((3, 4), 3.4e38), real=True).storage == "floats"
