"""Combinations of factors that are held out for testing."""

import numpy as np
import pytest

from jaxvae.data import DataOptions, Pairs, Scene, Sprites, all_factors, recombinations
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.runs.config import check_config, default_config


@pytest.mark.parametrize(
    ("asked", "count"),
    [("sky=1,ground=2,sun=3,tower=4", 1), ("sky=1,sun=4:8", 8 * 8 * 4), ("tower=4:8", 8 * 8 * 8 * 4)],
)
def test_element_range_and_extrapolation(asked, count):
    parts = recombinations(Scene(), asked)
    assert (parts.training.size, parts.validation, parts.test.size) == (4096 - count, None, count)
    held = all_factors(parts.test)
    for word in asked.split(","):
        name, values = word.split("=")
        first, _, last = values.partition(":")
        column = held[:, Scene.factor_names.index(name)]
        assert set(column.tolist()) == set(range(int(first), int(last or int(first) + 1)))
    seen = {tuple(row) for row in all_factors(parts.training).tolist()}
    assert not seen & {tuple(row) for row in held.tolist()}


def test_training_is_still_drawn_by_factors():
    Pairs(recombinations(Sprites(16), "shape=2,x=16:32").training, 2)
    parts = DataOptions(data="scene", hold_out="sun=1:4,sky=2").open_parts()
    assert parts.test.size == 3 * 64
    assert parts.held_out.name == "test"
    epochs = DataOptions(data="scene", hold_out="sun=1:4,sky=2", sampling="epochs").open_parts()
    assert type(epochs.training).__name__ == "Epochs"
    np.testing.assert_array_equal(epochs.test.index, parts.test.index)


def test_blanks_around_names_and_values_do_not_count():
    plain = recombinations(Scene(), "sun=2:4,sky=1,tower>0.5")
    spaced = recombinations(Scene(), " sun = 2 : 4 , sky =1,tower > 0.5 ")
    np.testing.assert_array_equal(spaced.test.index, plain.test.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hold_out": "sun"}, "takes FACTOR=VALUES between commas, such as .*; got 'sun'"),
        ({"hold_out": "sun"}, r"FACTOR>SHARE in quotes \(the shell takes > and < for files\), such as \"x>0.5\", or "),
        ({"hold_out": "sun=3:3"}, "takes FACTOR=VALUES"),
        ({"hold_out": "sun=1,sun=2"}, "takes FACTOR=VALUES"),
        ({"hold_out": "moon=1"}, "has no factor 'moon'"),
        ({"hold_out": "sun=7:9"}, "takes 0 to 7, not 8"),
        ({"hold_out": "sun=1", "test": 0.1}, "leave out --validation, --test and --correlation"),
        ({"hold_out": "sun=1", "correlation": "sun~sky:0.1"}, "leave out --validation, --test and --correlation"),
        ({"correlation": "sun~sky:0.1", "validation": 0.1}, "leave out --validation, --test and --sampling epochs"),
        ({"correlation": "sun~sky:0.1", "sampling": "epochs"}, "leave out --validation, --test and --sampling epochs"),
    ],
)
def test_what_can_not_be_asked(options, message):
    with pytest.raises(ValueError, match=message):
        DataOptions(data="scene", **options).open_parts()


def test_rows_of_columns_are_not_held_out_by_their_labels():
    """Means of counts would be of the held-out rows as well."""
    with pytest.raises(ValueError, match="--hold-out is for images with known factors: leave it out"):
        check_config(default_config("vae").with_flags(data="cells", hold_out="type=0"))
    table = from_columns({"a": np.arange(9), "b": np.arange(9) % 3}, Columns(labels=("b",), kinds=("a=count",)))
    with pytest.raises(ValueError, match="--hold-out is for images with known factors: leave it out"):
        DataOptions(data="cells", hold_out="b=0").parts(lambda schema: table)
