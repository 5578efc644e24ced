"""Series of a user in files: scaled per channel, labelled by arrays beside them, and refused with the reason."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import DataOptions, array_file, open_data, origin_of, split
from jaxvae.data.series import as_they_are, channels_of, columns_of, series_file, unscaled
from jaxvae.data.tabular import Columns
from jaxvae.schema import schema_of

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(30, 16, 3)) * [1.0, 20.0, 0.1] + [0.0, 100.0, -5.0]).astype(np.float32)
LABELS = np.array(["walk", "run", "rest"])[np.arange(30) % 3]


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_channels_are_standardized_over_times_and_examples(ending, dtype, tmp_path):
    path, x = tmp_path / f"mine.{ending}", X.astype(dtype)
    np.save(path, x) if ending == "npy" else np.savez(path, signals=x, time=np.arange(16))
    source = open_data(f"series:{path}")
    assert (source.name, source.event_shape, source.size, source.factor_names) == ("mine", (16, 3), 30, ())
    wide = x.astype(np.float64)
    expected = (wide - wide.mean((0, 1))) / np.where(wide.std((0, 1)) > 0, wide.std((0, 1)), 1)
    found = np.asarray(source.at(jnp.arange(30))["x"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(unscaled(channels_of(source), found), x, rtol=1e-5, atol=1e-5)
    assert schema_of(source) is None
    assert columns_of(source) is source.channel_schema
    assert [column.name for column in source.channel_schema.columns] == ["channel0", "channel1", "channel2"]


def test_other_sources_have_none():
    """Although pictures have a number of channels."""
    for name in ("sprites", "waves", "color-sprites", "cells"):
        assert channels_of(split(open_data(name), 0.1).training) is None
    assert channels_of(open_data("scene")) is None


def test_constant_and_far_channels(tmp_path):
    x = np.stack([np.full((4, 8), 0.1), 1e9 + np.arange(32.0).reshape(4, 8)], axis=2)
    np.save(tmp_path / "x.npy", x)
    source = series_file(tmp_path / "x.npy")
    np.testing.assert_allclose(source.pixels[..., 0], 0, atol=1e-6)
    np.testing.assert_allclose(source.pixels[..., 1].std(), 1, atol=1e-5)
    assert source.channel_schema.columns[0].scale == 1.0


def test_labels_names_groups_and_splits_are_arrays_of_the_file(tmp_path):
    names = np.array([f"s{n}" for n in range(30)])
    parts = np.where(np.arange(30) < 20, "train", np.where(np.arange(30) < 25, "validation", "test"))
    more = {"kind": LABELS, "name": names, "part": parts, "who": np.arange(30) // 5, "columns": ["a", "b", "c"]}
    path = written(tmp_path / "x.npz", x=X, **more)
    roles = {"label_columns": ("kind",), "id_column": "name", "split_column": "part", "group_column": "who"}
    found = DataOptions(data=f"series:{path}", **roles).open_parts()
    training = found.training.source
    assert training.factor_names == ("kind",)
    assert origin_of(training).label_values == (("rest", "run", "walk"),)
    assert [["rest", "run", "walk"][k] for k in training.factors[:, 0]] == LABELS.tolist()
    assert list(origin_of(found.test).ids) == names[25:].tolist()
    for column, channel in zip(
        training.channel_schema.columns, X[:20].reshape(-1, 3).T, strict=True
    ):  # the training rows
        assert column.mean == pytest.approx(channel.mean(dtype=np.float64), rel=1e-5, abs=1e-5)
        assert column.scale == pytest.approx(channel.std(dtype=np.float64), rel=1e-4)
    assert [column.name for column in training.channel_schema.columns] == ["a", "b", "c"]


def test_new_series_have_the_scale_of_the_others(tmp_path):
    channels = series_file(written(tmp_path / "x.npz", x=X, kind=LABELS, columns=["a", "b", "c"])).channel_schema
    known = series_file(tmp_path / "x.npz", Columns(labels=("kind",)))
    order = [2, 0, 1]
    other = written(tmp_path / "y.npz", x=X[:5][:, :, order], columns=["c", "a", "b"], kind=np.array(["run"] * 5))
    new = series_file(other, Columns(labels=("kind",)), known.channel_schema)
    np.testing.assert_array_equal(new.pixels, known.pixels[:5])
    assert new.factors[:, 0].tolist() == [1] * 5  # as among the labels of the run
    np.save(tmp_path / "z.npy", X[:5])  # no names: matched by their order, and labels are not needed
    np.testing.assert_array_equal(
        series_file(tmp_path / "z.npy", Columns(labels=("kind",)), channels).pixels, known.pixels[:5]
    )
    np.testing.assert_array_equal(series_file(tmp_path / "z.npy", channels=as_they_are(3)).pixels, X[:5])
    some = series_file(tmp_path / "x.npz", Columns(drop=("b",)))
    assert some.event_shape == (16, 2)
    np.testing.assert_array_equal(some.pixels, known.pixels[..., [0, 2]])
    np.testing.assert_array_equal(
        series_file(other, Columns(use=("c", "a")), some.channel_schema).pixels, some.pixels[:5]
    )


@pytest.mark.parametrize(
    ("arrays", "columns", "message"),
    [
        ({"x": X[:, :, 0]}, Columns(), "got float32 of shape [30, 16]: a table [N, D] is table:"),
        ({"x": X[..., None]}, Columns(), "got float32 of shape [30, 16, 3, 1]: images are arrays:"),
        ({"x": X[:0]}, Columns(), "that is not empty, got float32 of shape [0, 16, 3]"),
        ({"x": X > 0}, Columns(), "of numbers that is not empty, got bool"),
        ({"a": X, "b": X}, Columns(), "it has several arrays of three axes, a, b: name the series to learn from x"),
        ({"a": X[0]}, Columns(), "it has no array [N, T, D]"),
        ({"x": X, "columns": ["a"]}, Columns(), "columns must name the 3 channels, got shape [1]"),
        ({"x": X, "columns": ["a", "a", "b"]}, Columns(), "two channels have the same name"),
        ({"x": X, "a": LABELS, "columns": ["a", "b", "c"]}, Columns(), "the array 'a' has the name of a channel"),
        ({"x": X}, Columns(labels=("kinds",)), "unknown column 'kinds'"),
        ({"x": X}, Columns(labels=("channel0",)), "'channel0' is a channel: labels, ids, groups and splits are arrays"),
        ({"x": X}, Columns(drop=("channel*",)), "no channel is left to learn from"),
        ({"x": X}, Columns(kinds=("channel0=count",)), "all channels of series are real: leave out --kind"),
        (
            {"x": np.where(np.arange(30)[:, None, None] == 7, np.nan, X)},
            Columns(),
            "1 of the 30 series hold values that are missing or infinite (the first is number 7)",
        ),
        ({"x": np.array([0.0, 1e308, -1e308, 1e308]).reshape(2, 2, 1)}, Columns(), "too large for float32"),
    ],
)
def test_what_is_refused_is_one_line(arrays, columns, message, tmp_path):
    path = written(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        series_file(path, columns)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_other_channels_are_named(tmp_path):
    channels = series_file(written(tmp_path / "x.npz", x=X, columns=["a", "b", "c"])).channel_schema
    with pytest.raises(ValueError, match="the series lack the channel 'b'; they have 'a', 'd', 'c'"):
        series_file(written(tmp_path / "y.npz", x=X, columns=["a", "d", "c"]), channels=channels)
    more = np.concatenate([X, X[:, :, :1]], axis=2)
    with pytest.raises(ValueError, match="the series have the channel 'd', which the model was not trained on"):
        series_file(written(tmp_path / "y.npz", x=more, columns=["a", "b", "c", "d"]), channels=channels)


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "x.npy").write_text("a\n1\n")
    for name, message in (("x.csv", "series come from .npy and .npz files, not from '.csv'"), ("x.npy", "not an npy")):
        with pytest.raises(ValueError, match=message):
            series_file(tmp_path / name)
    with pytest.raises(ValueError, match="there is no such file"):
        open_data(f"series:{tmp_path / 'nowhere.npy'}")


def test_pictures_that_are_no_pictures_say_what_to_name(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\].*for series .* name the data series:.*x.npy"):
        open_data(str(tmp_path / "x.npy"))
    np.save(tmp_path / "y.npy", X[:, :, 0])
    with pytest.raises(ValueError, match=r"shape \(30, 16\): for a table of N rows, name the data table:.*y.npy$"):
        open_data(f"arrays:{tmp_path / 'y.npy'}")
    with pytest.raises(ValueError, match=r"for a table of N rows, name the data table:.*y.npz$"):
        array_file(written(tmp_path / "y.npz", images=X[:, :, 0]))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"kind": ("a=real",)}, "tables, such as table:PATH and anndata:PATH"),
        ({"image_size": 8}, "images"),
        ({"hold_out": "kind=0"}, "images with known factors"),
        ({"correlation": "a~b:1"}, "images with known factors"),
        ({"stream": True}, "images and tables in files"),
    ],
)
def test_options_without_effect(given, reason):
    from jaxvae.data.batches import Single

    (name,) = given
    assert DataOptions(data="series:x.npy", **given).idle(Single)[name] == reason
    assert not {"label_columns", "columns", "split_column"} & set(DataOptions(data="series:x.npy").idle(Single))
