"""Every source keeps the protocol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import (
    DATA,
    Correlated,
    Epochs,
    FactorGrid,
    GroundTruth,
    Groups,
    Pairs,
    Part,
    Source,
    Sprites,
    all_factors,
    digits,
    few_labels,
    from_arrays,
    hold_out,
    moving_sprites,
    open_data,
)
from jaxvae.data.source import on_device

GRID = np.stack(np.unravel_index(np.arange(24), (2, 3, 4)), axis=1)
RANDOM_IMAGES = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
SOURCES = {
    **{name: (lambda make=make: make(resolution=32)) for name, make in DATA.items()},
    "table": lambda: from_arrays(RANDOM_IMAGES, GRID),
    "epochs": lambda: Epochs(Sprites(32)),
    "epochs of a table": lambda: Epochs(from_arrays(RANDOM_IMAGES, GRID)),
    "subset": lambda: hold_out(Sprites(32), {"shape": [2], "x": range(16)})[0],
    "correlated": lambda: Correlated(Sprites(32), "y", "x", 0.5),
    "pairs": lambda: Pairs(Sprites(32), 2),
    "groups": lambda: Groups(Sprites(32), ("shape", "x"), 4),
    "digits": digits,
    "few labels": lambda: few_labels(Sprites(32), 10),
    "videos": lambda: moving_sprites(32, frames=3),
    **{look: (lambda look=look: open_data(f"{look}-sprites", image_size=32)) for look in ("color", "noisy", "scream")},
}


@pytest.fixture(params=SOURCES)
def source(request):
    return SOURCES[request.param]()


@pytest.fixture(params=DATA)
def drawn(request):
    return DATA[request.param](resolution=32)


def test_shapes_types_and_range(source):
    assert isinstance(source, Source)
    batch = source.sample(jax.random.key(0), 8)
    assert batch["image"].shape == (8, *source.image_shape)
    assert batch["image"].dtype == jnp.float32
    assert batch["factors"].shape == (8, len(source.factor_names))
    assert batch["factors"].dtype == jnp.int32
    assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1
    assert all(0 <= column.max() < size for column, size in zip(batch["factors"].T, source.factor_sizes, strict=True))


def test_a_source_is_an_argument_of_a_compiled_function(source):
    draw = jax.jit(lambda source, key: source.batch(key, jnp.int32(3), 8))
    for name, array in draw(source, jax.random.key(0)).items():
        np.testing.assert_allclose(array, source.batch(jax.random.key(0), 3, 8)[name], atol=1e-5)
    assert jax.tree.structure(source) == jax.tree.structure(jax.device_put(source))


def test_a_source_that_is_no_pytree_is_told_how_to_become_one():
    class Mine:
        name, image_shape, size = "mine", (16, 16, 1), 3

    with pytest.raises(TypeError, match="Mine must be a pytree.*register_static"):
        on_device(Mine())


def test_rows_are_named_by_key_and_place(source):
    key = jax.random.key(3)
    whole = source.sample(key, 8)
    parts = [source.sample(key, 4, first) for first in (0, 4)]
    for name in whole:
        np.testing.assert_array_equal(whole[name], np.concatenate([part[name] for part in parts]))
    assert (source.sample(jax.random.key(4), 8)["factors"] != whole["factors"]).any()
    batches = [source.batch(key, step, 8)["factors"] for step in (0, 1)]
    assert (batches[0] != batches[1]).any()


def test_parts_of_a_batch_make_it_up(source):
    key = jax.random.key(3)
    draw = jax.jit(lambda number: source.batch(key, jnp.int32(2), 8, Part(number, 2)))
    whole, parts = source.batch(key, jnp.int32(2), 8), [draw(jnp.int32(number)) for number in range(2)]
    for name in whole:
        together = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(together, whole[name], atol=1e-5)
    with pytest.raises(ValueError, match="batch of 8 images can't be split over 5 devices"):
        source.batch(key, jnp.int32(2), 8, Part(0, 5))


def test_examples_by_number_are_those_of_their_factors(source):
    index = jnp.array([0, source.size - 1, 5, 3])
    batch = source.at(index)
    np.testing.assert_array_equal(batch["image"], source.at(index)["image"])
    if isinstance(source, GroundTruth) and not hasattr(source, "look") and getattr(source, "is_grid", True):
        np.testing.assert_allclose(source.observe(batch["factors"]), batch["image"], atol=1e-6)
        whole = source.sample(jax.random.key(0), 8)
        np.testing.assert_array_equal(source.sample_factors(jax.random.key(0), 8), whole["factors"])
        np.testing.assert_allclose(source.observe(whole["factors"]), whole["image"], atol=1e-6)
    if isinstance(source, FactorGrid):
        np.testing.assert_array_equal(all_factors(source)[np.asarray(index)], batch["factors"])


def test_names_are_those_of_the_command_line():
    for name, make in DATA.items():
        assert make().name == name
        assert (make.__doc__ or "").strip()


def test_images_follow_from_the_factors_compiled_or_not(drawn):
    batch = drawn.sample(jax.random.key(0), 8)
    np.testing.assert_array_equal(drawn.observe(batch["factors"]), batch["image"])
    # Compiled, an edge may fall on the other side of a pixel's centre.
    difference = np.abs(jax.jit(drawn.observe)(batch["factors"]) - batch["image"])
    assert (difference > 1e-5).mean() < 1e-3


def test_factors_are_uniform_and_independent(drawn):
    n = 20_000
    factors = np.asarray(drawn.sample_factors(jax.random.key(1), n))
    for column, size in zip(factors.T, drawn.factor_sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        assert len(counts) == size
        # Chi-squared: mean size - 1, standard deviation sqrt(2 (size - 1)).
        statistic = ((counts - n / size) ** 2 / (n / size)).sum()
        assert statistic < (size - 1) + 5 * np.sqrt(2 * (size - 1))
    correlation = np.corrcoef(factors.T) - np.eye(factors.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(n)


def test_every_factor_changes_the_picture(drawn):
    sizes = np.array(drawn.factor_sizes)
    turns = np.array(drawn.factor_names) == "orientation"
    first, last = (np.tile(sizes // 2, (len(sizes), 1)) for _ in range(2))
    np.fill_diagonal(first, 0)
    np.fill_diagonal(last, np.where(turns, sizes // 8, sizes - 1))
    images = np.asarray(drawn.observe(jnp.asarray(np.concatenate([first, last]), jnp.int32)))
    assert (np.abs(images[: len(sizes)] - images[len(sizes) :]).max(axis=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("resolution", [0, -16, 30, 65])
@pytest.mark.parametrize("make", DATA.values())
def test_other_sizes_are_refused(make, resolution):
    with pytest.raises(ValueError, match=f"multiple of 16, got {resolution}"):
        make(resolution)
