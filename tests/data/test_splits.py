"""Splits: disjoint parts of the right size, which only the seed and the data decide, for every kind of source."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.data import (
    DataOptions,
    Epochs,
    GroundTruth,
    Groups,
    Pairs,
    Sprites,
    Streamed,
    Subset,
    all_factors,
    case_control,
    classified,
    few_labels,
    from_arrays,
    moving_sprites,
    origin_of,
    split,
    variant,
)
from jaxvae.data.fingerprint import fingerprint
from jaxvae.data.source import sharing_arrays
from jaxvae.data.splits import split_as_told
from jaxvae.data.streamed import is_streamed, read_ahead
from jaxvae.data.subsets import GridSubset
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.methods import method_named

KEY = jax.random.key(0)


def numbered(size):
    """A table whose example i has the factor i."""
    images = np.zeros((size, 1, 1, 1), np.float32)
    return from_arrays(images, np.arange(size)[:, None], name="numbers")


def indices(parts):
    return [set(np.asarray(part.index).tolist()) for part in parts if part is not None]


@partial(jax.jit, static_argnums=2)
def batch_of(source, step, n):
    return source.batch(KEY, step, n)


@jax.jit
def at(source, index):
    return source.at(index)["x"]


def test_without_shares_the_source_is_the_same_object():
    source = numbered(10)
    parts = split(source, seed=3)
    assert parts.training is source
    assert parts[1:] == (None, None)
    assert parts.held_out is None
    assert type(DataOptions(data="digits").open()).__name__ == "Table"


@given(
    size=st.integers(20, 400),
    validation=st.sampled_from([0.0, 0.1, 0.25]),
    test=st.sampled_from([0.1, 0.3, 0.5]),
    seed=st.integers(0, 2**31 - 1),
)
def test_parts_are_disjoint_complete_and_of_their_size(size, validation, test, seed):
    found = indices(split(numbered(size), validation, test, seed=seed))
    assert sorted(number for part in found for number in part) == list(range(size))
    sizes = [len(part) for part in found]
    wanted = [share * size for share in (validation, test) if share]
    np.testing.assert_allclose(sizes[1:], wanted, atol=0.5 + 1e-6)


def test_only_the_seed_and_the_data_decide():
    one, same, other = (split(numbered(200), 0.2, 0.2, seed=seed) for seed in (1, 1, 2))
    assert indices(one) == indices(same)
    assert not any(a == b for a, b in zip(indices(one), indices(other), strict=True))
    without = split(numbered(200), 0.0, 0.2, seed=1)
    assert indices([without.test]) == indices([one.test])  # whatever is held out besides


def test_every_example_is_as_likely_to_be_held_out():
    counts = np.zeros(10)
    for seed in range(400):
        counts[np.asarray(split(numbered(10), test=0.3, seed=seed).test.index)] += 1
    np.testing.assert_allclose(counts / 400, 0.3, atol=4 * (0.3 * 0.7 / 400) ** 0.5)


def test_held_out_examples_are_those_for_testing_or_else_for_validation():
    names = [split(numbered(20), *shares).held_out.name for shares in ((0.1, 0.1), (0.1, 0.0), (0.0, 0.1))]
    assert names == ["test", "validation", "test"]
    parts = split(numbered(20), 0.1, 0.2)
    assert parts.held_out.source is parts.test
    assert parts.held_out_in_words == ", 2 for validation, 4 for testing"


@given(sizes=st.lists(st.integers(1, 9), min_size=12, max_size=40), seed=st.integers(0, 1000))
def test_groups_stay_together(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)) * 7 - 5, sizes)
    groups = np.random.default_rng(seed).permutation(groups)
    parts = split(numbered(len(groups)), 0.25, 0.25, seed=seed, groups=groups)
    found = indices(parts)
    assert sorted(number for part in found for number in part) == list(range(len(groups)))
    of_part = [{groups[number] for number in part} for part in found]
    assert sum(map(len, of_part)) == len(sizes)
    for part in found[1:]:  # a group is held out where its middle is within the share
        assert abs(len(part) - 0.25 * len(groups)) <= max(sizes)


@pytest.mark.parametrize(
    ("shares", "settings", "told"),
    [
        ((1.0, 0.0), {}, "the validation share must be at least 0 and below 1, got 1.0"),
        ((0.0, -0.1), {}, "the test share must be at least 0 and below 1, got -0.1"),
        ((float("nan"), 0.1), {}, "the validation share must be at least 0"),
        ((0.5, 0.5), {}, "must leave examples for training, got 1.0"),
        ((0.01, 0.0), {}, "no validation examples would be left of the 10 examples of numbers"),
        ((0.3, 0.69), {}, "no training examples would be left of the 10"),
        ((0.1, 0.0), {"groups": np.zeros(10)}, "no validation examples would be left of the 10 examples in 1 groups"),
        ((0.1, 0.0), {"groups": np.zeros(9)}, "one group for each of its 10 examples"),
    ],
)
def test_what_cannot_be_split_says_so(shares, settings, told):
    with pytest.raises(ValueError, match=told):
        split(numbered(10), *shares, **settings)


SIZES = (3, 4, 5, 6, 2)
ALL = np.stack(np.unravel_index(np.arange(math.prod(SIZES)), SIZES), axis=1)
GRID = from_arrays(np.zeros((len(ALL), 1, 1, 1), np.float32), ALL, name="grid")


def test_a_part_of_a_grid_is_still_drawn_by_factors():
    """And no pair or group leaves it, where the same seed without a split would."""
    parts = split(GRID, 0.2, 0.2)
    for part in (parts.training, parts.test):
        assert isinstance(part, GroundTruth)
        inside = np.zeros(part.source.size, bool)
        inside[part.index] = True

        def number(factors):
            return np.ravel_multi_index(tuple(np.asarray(factors).T), SIZES)

        factors = part.sample_factors(KEY, 50)
        np.testing.assert_array_equal(part.sample(KEY, 50)["factors"], factors)
        assert part.contains(factors).all()
        others = GRID.sample_factors(KEY, 50)
        np.testing.assert_array_equal(part.contains(others), inside[number(others)])
        for shared in (0, 3):
            pairs = batch_of(Pairs(part, shared), 3, 64)
            assert inside[number(pairs["factors"])].all()
            assert inside[number(pairs["factors2"])].all()
            agree = (pairs["factors"] == pairs["factors2"]) | ~pairs["shared"]
            assert agree.all()
        groups = batch_of(Groups(part, ("factor0", "factor4"), 4), 3, 64)
        assert inside[number(groups["factors"])].all()
        of_group = np.asarray(groups["factors"]).reshape(16, 4, 5).std(axis=1)
        assert (of_group[:, [0, 4]] == 0).all()
        assert (of_group[:, 1:4] > 0).mean() > 0.9


def test_pairs_of_a_part_differ_in_what_they_do_not_share():
    pairs = batch_of(Pairs(split(GRID, 0.1, 0.1).training, 2), 0, 256)
    free = ~np.asarray(pairs["shared"])
    differ = np.asarray(pairs["factors"] != pairs["factors2"])
    chance = 1 - 1 / np.array(SIZES)
    np.testing.assert_allclose((differ & free).sum(0) / free.sum(0), chance, atol=0.15)


def test_a_pair_without_another_combination_in_the_part_repeats_its_image():
    """On a diagonal of three factors, an example shares one of them with none but itself."""
    diagonal = np.stack([np.zeros(4, int), np.zeros(4, int), *[np.arange(4)] * 3], axis=1)
    source = from_arrays(
        np.zeros((256, 1, 1, 1), np.float32), np.stack(np.unravel_index(np.arange(256), (2, 2, 4, 4, 4)), axis=1)
    )
    index = np.ravel_multi_index(tuple(diagonal.T), source.factor_sizes).astype(np.int32)
    alone = GridSubset(source, np.sort(index))
    pairs = batch_of(Pairs(alone, 3), 0, 128)
    assert alone.contains(pairs["factors2"]).all()
    np.testing.assert_array_equal(pairs["factors"], pairs["factors2"])


WORDS = ["train", "Validation", "test", "TRAINING", "val", "train", "testing", "train", "dev", "train"]


def test_words_say_which_part_an_example_is_in():
    assert indices(split_as_told(numbered(10), WORDS)) == [{0, 3, 5, 7, 9}, {1, 4, 8}, {2, 6}]
    groups = np.array([0, 1, 2, 0, 1, 0, 2, 3, 4, 3])
    assert indices(split_as_told(numbered(10), WORDS, groups=groups)) == indices(split_as_told(numbered(10), WORDS))
    assert split_as_told(numbered(10), ["train", "test"] * 5).validation is None


@pytest.mark.parametrize(
    ("words", "groups", "told"),
    [
        (["train"] * 9, None, "one word for each of its 10 examples, got 9"),
        (["train", "tset"] * 5, None, "the value 'tset' in 5 rows, the first of which is row 1: it must be train"),
        (["train", "nan"] * 5, None, "the value 'nan' in 5 rows"),
        (["train"] * 10, None, "all of the 10 rows for training"),
        (["val"] * 10, None, "none of the 10 rows for training"),
        (
            WORDS,
            [5, 5, *range(6, 14)],
            "1 groups are in two parts of the split, such as that of row 0, in training and",
        ),
    ],
)
def test_words_that_say_no_split(words, groups, told):
    with pytest.raises(ValueError, match=told):
        split_as_told(numbered(10), words, groups=groups)


def test_a_column_of_a_table_says_the_part(tmp_path):
    rng = np.random.default_rng(0)
    part = np.array(["train", "valid", "test"])[np.arange(60) % 3]
    table = pandas.DataFrame(
        {"x": rng.normal(size=60), "y": rng.normal(size=60), "part": part, "of": np.arange(60) % 6}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    options = DataOptions(data=str(tmp_path / "t.csv"), split_column="part", group_column="of")
    parts = options.open_parts()
    assert indices(parts) == [set(range(first, 60, 3)) for first in range(3)]
    x = parts.training.source.schema.columns[0]
    training = table["x"][::3]
    np.testing.assert_allclose([x.mean, x.scale], [training.mean(), training.std(ddof=0)], rtol=1e-6)
    assert [column.name for column in parts.training.source.schema.columns] == ["x", "y"]
    assert origin_of(parts.test).parts == ("test",) * 20
    with pytest.raises(ValueError, match="unknown column 'parts': did you mean 'part'"):
        replace(options, split_column="parts").open_parts()
    table.assign(of=np.arange(60) % 10).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="10 groups are in two parts"):
        options.open_parts()


def test_a_table_that_is_no_grid_gives_plain_subsets():
    parts = split(from_arrays(np.random.default_rng(0).random((9, 4, 4)), np.arange(18).reshape(9, 2) % 5), test=0.3)
    assert type(parts.training) is type(parts.test) is Subset


@pytest.mark.process
@pytest.mark.parametrize(
    "source",
    [variant(GRID, "color"), moving_sprites(16), from_arrays(np.random.default_rng(0).random((50, 16, 16)))],
)
def test_parts_of_other_sources(source):
    parts = split(source, 0.1, 0.2)
    for part in parts[:2]:
        batch = batch_of(part, 0, 4)
        assert batch["x"].shape == (4, *source.event_shape)
        np.testing.assert_array_equal(at(part, jnp.arange(2)), at(source, jnp.asarray(part.index)[:2]))


def test_factors_of_parts_are_those_of_their_examples():
    for source in (GRID, from_arrays(np.zeros((40, 4, 4), np.float32), np.arange(40)[::-1, None] % 7)):
        part = split(source, test=0.4).test
        expected = np.asarray(source.at(jnp.asarray(part.index[:16]))["factors"])
        np.testing.assert_array_equal(all_factors(part)[:16], expected)
        np.testing.assert_array_equal(all_factors(Epochs(part))[:16], expected)


def test_wrappers_of_parts():
    rng = np.random.default_rng(0)
    table = from_arrays(
        rng.random((100, 4, 4)), np.stack([rng.permutation(np.arange(100) % 2), rng.integers(0, 3, 100)], 1)
    )
    parts = split(table, 0.2, 0.2)
    known = case_control(parts.training, "factor0")
    batch = batch_of(known, 0, 8)
    assert (np.asarray(batch["factors"])[:, 0] == 1).all()
    labelled = few_labels(parts.training, 60)
    assert labelled.few.source.source is parts.training
    noisy, plain = classified(parts.validation, "factor1", corruption=1.0), classified(parts.validation, "factor1")
    everything = jnp.arange(parts.validation.size)
    assert (noisy.at(everything)["class"] != plain.at(everything)["class"]).any()
    np.testing.assert_array_equal(noisy.at(everything)["factors"], plain.at(everything)["factors"])
    whole = classified(table, "factor1", corruption=1.0)
    expected = whole.at(jnp.asarray(parts.validation.index))["class"]
    np.testing.assert_array_equal(noisy.at(everything)["class"], expected)


def test_few_held_out_examples_are_all_labelled():
    batches = method_named("semi-supervised-vae").batches(labels=100)
    parts = split(from_arrays(np.zeros((300, 4, 4), np.float32), np.arange(300)[:, None] % 5), 0.1)
    assert batches.wrap_held_out(parts.validation, "semi-supervised-vae").few.source.size == 30
    assert batches.wrap(parts.training, "semi-supervised-vae").few.source.size == 100


@pytest.mark.parametrize("wrap", [lambda source: source, Epochs])
def test_parts_of_files_are_read_ahead(tmp_path, wrap):
    """With the rows of the table in memory."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((60, 4, 4)).astype(np.float32))
    images = np.load(tmp_path / "x.npy", mmap_mode="r")
    memory, stream = (
        wrap(split(source, 0.25).training) for source in (from_arrays(np.array(images)), Streamed(from_arrays(images)))
    )
    assert is_streamed(stream)
    assert not is_streamed(memory)
    held = set(np.asarray(split(from_arrays(np.array(images)), 0.25).validation.index).tolist())
    forbidden = [images[number] for number in held]
    for step, source in enumerate(read_ahead(stream, KEY, 0, 3, 8)):
        batch = jax.jit(lambda source, step: source.batch(KEY, step, 8))(source, step)
        np.testing.assert_array_equal(batch["x"], batch_of(memory, step, 8)["x"])
        assert not any((row[..., 0] == bad).all() for row in np.asarray(batch["x"]) for bad in forbidden)


def test_fingerprints_tell_splits_apart():
    table = from_arrays(np.random.default_rng(0).random((40, 4, 4)))
    parts = [
        split(source, 0.25, seed=seed).training
        for source in (table, Sprites(16), variant(Sprites(16), "color"))
        for seed in (0, 1)
    ]
    digests = [fingerprint(part) for part in [table, *parts]]
    assert len(set(digests)) == len(digests)
    assert fingerprint(split(table, 0.25).training) == fingerprint(Epochs(split(table, 0.25).training)) == digests[1]
    assert fingerprint(Sprites(16)) is None


def test_parts_have_their_arrays_in_common():
    """Also where they are moved: the data is on a device once."""
    table = from_arrays(np.random.default_rng(0).random((40, 4, 4)))
    parts = split(table, 0.25)
    moved = jax.device_put(parts.training)
    held = sharing_arrays(Epochs(parts.validation), parts.training, moved)
    assert held.source.source.pixels is moved.source.pixels
    assert held.source.index is parts.validation.index
    other = from_arrays(np.zeros((3, 4, 4)))
    assert sharing_arrays(other, parts.training, moved).pixels is other.pixels


def test_columns_that_are_generated_have_the_means_of_the_training_rows():
    parts = DataOptions(data="cells", validation=0.2, test=0.2).open_parts()
    table, rows = parts.training.source, np.asarray(parts.training.index)
    assert len(rows) < table.size
    x = np.asarray(table.pixels)
    assert [column.mean for column in table.schema.used] == pytest.approx(x[rows].mean(0), rel=1e-6)
    assert not np.allclose(x[rows].mean(0), x.mean(0), rtol=1e-3)


def test_a_source_of_ones_own_is_standardized_by_its_training_rows():
    frame = pandas.DataFrame({"size": np.arange(40.0) ** 1.5, "visits": np.arange(40)})
    parts = DataOptions(test=0.5).parts(lambda schema: from_columns(frame, Columns(kinds=("visits=count",))))
    table, rows = parts.training.source, np.asarray(parts.training.index)
    held_out = np.setdiff1d(np.arange(40), rows)
    sizes = frame["size"].to_numpy()
    x = np.asarray(table.pixels)[:, 0]
    np.testing.assert_allclose(x[rows], (sizes[rows] - sizes[rows].mean()) / sizes[rows].std(), rtol=1e-4)
    np.testing.assert_allclose(x[held_out], (sizes[held_out] - sizes[rows].mean()) / sizes[rows].std(), rtol=1e-4)
    other = replace(table.schema, columns=table.schema.columns[:1])
    with pytest.raises(ValueError, match="are not those that the model was trained on"):
        DataOptions().parts(lambda schema: table, other)
