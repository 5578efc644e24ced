"""Every source keeps the protocol."""

from functools import cache

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
    Shard,
    Source,
    Sprites,
    all_factors,
    correlated_pairs,
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
    "correlated pairs": lambda: correlated_pairs(Sprites(32), "shape~x,scale~!y:0.1"),
    "pairs": lambda: Pairs(Sprites(32), 2),
    "groups": lambda: Groups(Sprites(32), ("shape", "x"), 4),
    "digits": digits,
    "few labels": lambda: jax.jit(few_labels, static_argnums=1)(Sprites(32), 10),
    "videos": lambda: moving_sprites(32, frames=3),
    **{look: (lambda look=look: open_data(f"{look}-sprites", image_size=32)) for look in ("color", "noisy", "scream")},
}


ALIKE = ("epochs", "digits", "noisy")
"""What runs the code of others: epochs of a table, tables, and other looks."""
KEY = jax.random.key(3)


@cache
def made(name):
    return SOURCES[name]()


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in SOURCES])
def source(request):
    return made(request.param)


@pytest.fixture(params=DATA)
def drawn(request):
    return made(request.param)


def observable(source):
    """Whether an image follows from its factors alone, and every combination of them has one."""
    return isinstance(source, GroundTruth) and not hasattr(source, "look") and getattr(source, "is_grid", True)


@jax.jit
def sampled(source, key):
    """Eight examples, and their factors alone."""
    return source.sample(key, 8), source.sample_factors(key, 8) if observable(source) else None


@jax.jit
def halves(source, number, step):
    """Half of what `sampled` gives, and half of a batch of eight."""
    return source.sample(KEY, 4, 4 * number), source.batch(KEY, step, 8, Shard(number, 2))


@jax.jit
def batch_of_eight(source, step):
    return source.batch(KEY, step, 8)


@jax.jit
def numbered(source, index):
    return source.at(index)


@jax.jit
def observed(source, factors):
    return source.render(factors)


def joined(source, which, step=0):
    """Both halves of a sample (0) or of a batch (1), each drawn alone."""
    parts = [halves(source, number, step)[which] for number in (0, 1)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_shapes_types_and_range(source):
    assert isinstance(source, Source)
    batch, _ = sampled(source, KEY)
    assert batch["x"].shape == (8, *source.event_shape)
    assert batch["x"].dtype == jnp.float32
    assert batch["factors"].shape == (8, len(source.factor_names))
    assert batch["factors"].dtype == jnp.int32
    image, factors = np.asarray(batch["x"]), np.asarray(batch["factors"])
    assert 0 <= image.min() < image.max() <= 1
    assert all(0 <= column.max() < size for column, size in zip(factors.T, source.factor_sizes, strict=True))


EAGER = ("sprites", "epochs of a table")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.process] * (n not in EAGER)) for n in SOURCES])
def test_batches_are_the_same_compiled_or_not(name):
    """Of a source that is an argument of a compiled function, or not."""
    plain, compiled = made(name).batch(KEY, 2, 8), batch_of_eight(made(name), 2)
    for part in plain:
        np.testing.assert_allclose(compiled[part], plain[part], atol=1e-5)


SHARDED = ("sprites", "epochs of a table", "pairs", "groups", "few labels", "videos")


def layer_of(name):
    marks = [pytest.mark.slow] * (name in ALIKE) or [pytest.mark.process] * (name not in SHARDED)
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [layer_of(name) for name in SOURCES])
def test_parts_of_a_batch_make_it_up(name):
    source = made(name)
    whole, together = batch_of_eight(source, 2), joined(source, 1, 2)
    for name in whole:
        np.testing.assert_allclose(together[name], whole[name], atol=1e-5)
    assert jax.tree.structure(source) == jax.tree.structure(jax.device_put(source))
    with pytest.raises(ValueError, match="batch of 8 images can't be split over 5 devices"):
        source.batch(KEY, jnp.int32(2), 8, Shard(0, 5))


def test_a_source_that_is_no_pytree_is_told_how_to_become_one():
    class Mine:
        name, event_shape, size = "mine", (16, 16, 1), 3

    with pytest.raises(TypeError, match="Mine must be a pytree.*register_static"):
        on_device(Mine())


def test_rows_are_named_by_key_and_place(source):
    whole, together = sampled(source, KEY)[0], joined(source, 0)
    for name in whole:
        np.testing.assert_array_equal(whole[name], together[name])
    other, _ = sampled(source, jax.random.key(4))
    assert (np.asarray(other["factors"]) != together["factors"]).any()
    assert (joined(source, 1, 0)["factors"] != joined(source, 1, 1)["factors"]).any()


def test_examples_by_number_are_those_of_their_factors(source):
    index = np.array([0, source.size - 1, 5, 3, 1, 2, 6, 4], np.int32)
    batch = numbered(source, index)
    np.testing.assert_array_equal(batch["x"], numbered(source, index)["x"])
    if observable(source):
        np.testing.assert_allclose(observed(source, batch["factors"]), batch["x"], atol=1e-6)
        sample, factors = sampled(source, KEY)
        np.testing.assert_array_equal(factors, sample["factors"])
        np.testing.assert_allclose(observed(source, sample["factors"]), sample["x"], atol=1e-6)
    if isinstance(source, FactorGrid):
        np.testing.assert_array_equal(all_factors(source)[index], batch["factors"])


def test_names_are_those_of_the_command_line():
    for name, make in DATA.items():
        assert make().name == name
        assert (make.__doc__ or "").strip()


def test_images_follow_from_the_factors_compiled_or_not(drawn):
    batch = drawn.batch(KEY, 2, 8)
    np.testing.assert_array_equal(drawn.render(batch["factors"]), batch["x"])
    # Compiled, an edge may fall on the other side of a pixel's centre.
    difference = np.abs(np.asarray(observed(drawn, batch["factors"])) - np.asarray(batch["x"]))
    assert (difference > 1e-5).mean() < 1e-3


def test_factors_are_uniform_and_independent(drawn):
    n = 20_000
    factors = np.asarray(jax.jit(drawn.sample_factors, static_argnums=1)(jax.random.key(1), n))
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
    images = np.asarray(observed(drawn, np.concatenate([first, last]).astype(np.int32)))
    assert (np.abs(images[: len(sizes)] - images[len(sizes) :]).max(axis=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("resolution", [0, -16, 30, 65])
@pytest.mark.parametrize("make", DATA.values())
def test_other_sizes_are_refused(make, resolution):
    with pytest.raises(ValueError, match=f"multiple of 16, got {resolution}"):
        make(resolution)
