"""Columns of Parquet, Feather, npy and npz files and in memory: indexes, decimals, names, labels and large numbers."""

import re
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from jaxvae.data import open_data, tabular
from jaxvae.data.in_file import streamed_table
from jaxvae.data.table_files import check_names
from jaxvae.data.tabular import Columns, from_columns, table_file
from jaxvae.runs.columns import read_columns
from jaxvae.schema import Column, Schema

N = 30
REAL = np.arange(N) ** 1.5


def kinds(table):
    return {column.name: column.kind for column in table.schema.columns}


def streamed(path, columns=Columns(), schema=None):
    return streamed_table(path, columns, schema, lambda table: None)


READERS = pytest.mark.parametrize("read", [table_file, streamed])


@READERS
def test_decimals_are_numbers(read, tmp_path):
    decimals = [Decimal(i).scaleb(-1) if i != 4 else None for i in range(1, N + 1)]
    pd.DataFrame({"a": decimals, "b": REAL}).to_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet")
    assert kinds(table) == {"a": "real", "b": "real"}
    wanted = np.array([np.nan if i == 4 else i / 10 for i in range(1, N + 1)])
    x = np.asarray(table.pixels)[:, 0]
    np.testing.assert_allclose(x, (wanted - np.nanmean(wanted)) / np.nanstd(wanted), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read_columns(tmp_path / "t.parquet", "z")["a"], wanted)


@READERS
@pytest.mark.parametrize(
    "index",
    [[f"r{i}" for i in range(N)], np.arange(N)[::-1] * 3, pd.date_range("2024-01-01", periods=N)],
)
def test_an_index_of_pandas_without_a_name_is_the_ids(read, index, tmp_path):
    frame = pd.DataFrame({"a": REAL, "b": np.arange(N) % 4}, index=index)
    frame.to_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet")
    assert list(table.ids) == [str(value) for value in frame.index]
    assert kinds(table) == {"a": "real", "b": "count"}
    assert list(read(tmp_path / "t.parquet", schema=table.schema).ids) == list(table.ids)
    assert list(read(tmp_path / "t.parquet", Columns(id="b")).ids) == [str(i % 4) for i in range(N)]


@READERS
def test_a_range_as_an_index_is_no_ids(read, tmp_path):
    pd.DataFrame({"a": REAL}).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").ids is None


def test_an_index_in_a_feather_file_is_the_ids(tmp_path):
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(pd.DataFrame({"a": REAL}, index=[f"r{i}" for i in range(N)]), str(tmp_path / "t.feather"))
    assert list(table_file(tmp_path / "t.feather").ids[:2]) == ["r0", "r1"]


@READERS
def test_levels_of_an_index_are_columns(read, tmp_path):
    levels = pd.MultiIndex.from_arrays([["x", "y", "z"] * 10, np.arange(N) % 4], names=["where", None])
    pd.DataFrame({"a": REAL}, index=levels).to_parquet(tmp_path / "t.parquet")
    table = read(tmp_path / "t.parquet")
    assert kinds(table) == {"where": "categorical", "level_1": "count", "a": "real"}
    assert table.ids is None
    old = read(tmp_path / "t.parquet", schema=from_columns({"a": REAL}).schema)  # of a run that did not learn from them
    assert old.event_shape == (1,)
    labelled = read(tmp_path / "t.parquet", Columns(labels=("where",)))
    assert kinds(labelled) == {"level_1": "count", "a": "real"}
    np.testing.assert_array_equal(labelled.factors[:, 0], np.arange(N) % 3)


@READERS
@pytest.mark.parametrize("extra", [[[1, 2]] * N, [[i] for i in range(N)], [{"u": 1, "v": i} for i in range(N)]])
def test_a_new_column_of_lists_is_named(read, extra, tmp_path):
    schema = from_columns({"a": REAL}).schema
    pd.DataFrame({"a": REAL, "tags": extra}).to_parquet(tmp_path / "t.parquet")
    if all(each == extra[0] for each in extra):  # a constant column may be there, whatever it holds
        assert np.asarray(read(tmp_path / "t.parquet", schema=schema).pixels).shape == (N, 1)
        return
    with pytest.raises(ValueError, match="has the column 'tags', which the model was not trained on") as caught:
        read(tmp_path / "t.parquet", schema=schema)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2)), "columns": ["a", "a"]}, "two columns are named 'a': rename one"),
        ({"x": np.zeros((3, 2)), "columns": ["a", "b"], "b": np.zeros(3)}, "two columns are named 'b': rename one"),
        ({"x": np.zeros((3, 2)), "column1": np.zeros(3)}, "two columns are named 'column1': rename one"),
        (
            {"x": np.zeros((3, 2)), "columns": ["a", "b", "c"]},
            "`columns` has 3 names, and the matrix 'x' has 2 columns",
        ),
        ({"x": np.zeros((3, 2)), "columns": "a"}, "`columns` has 1 names, and the matrix 'x' has 2 columns"),
        ({"x": np.zeros((3, 2)), "columns": [b"a\xff", b"b"]}, "the bytes of 'columns' are not UTF-8"),
    ],
)
def test_names_of_an_npz_file_that_can_not_be(arrays, message, tmp_path):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(message)):
        table_file(tmp_path / "t.npz")


def test_bytes_in_an_npz_file_are_text(tmp_path):
    x = np.stack([REAL, REAL[::-1] ** 2], axis=1)
    np.savez(tmp_path / "t.npz", x=x, columns=np.array(["größe".encode(), b"b"]), w=np.array([b"u", b"v", b"w"] * 10))
    table = table_file(tmp_path / "t.npz")
    assert table.schema.entry_names == ("größe", "b", "w=u", "w=v", "w=w")


def test_names_of_factors_in_an_npz_file(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, factors=np.eye(2), factor_names=np.array([b"a", b"b"]))
    assert list(read_columns(path, "z")) == ["a", "b"]
    for names, message in ((["a"], "there are 2 factors, and factor_names has 1 names"), (["a", "a"], "named 'a'")):
        np.savez(path, factors=np.eye(2), factor_names=names)
        with pytest.raises(ValueError, match=message):
            read_columns(path, "z")


@READERS
def test_labels_of_many_real_numbers_are_refused(read, tmp_path):
    frame = pd.DataFrame(
        {"a": REAL, "age": 20 + np.arange(N) / 4, "whole": np.arange(N) * 1.0, "few": np.arange(N) % 20 / 2}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match="label 'age' has 30 different real numbers.*cut it into at most 20 bins"
    ) as caught:
        read(tmp_path / "t.parquet", Columns(labels=("few", "age")))
    assert "\n" not in str(caught.value)
    table = read(tmp_path / "t.parquet", Columns(labels=("whole", "few"), drop=("age",)))
    assert table.factor_sizes == (30, 20)
    known = Schema(
        (Column("a", "real"),), (("age", tuple(f"{age:g}" for age in frame["age"])),)
    )  # of a run that has them
    assert read(tmp_path / "t.parquet", Columns(labels=("age",), use=("a",)), known).factor_sizes == (30,)


@pytest.mark.parametrize("value", [1.797e308, -1.797e308, 1e200])
def test_values_that_are_too_large_to_standardize_are_refused_by_name(value):
    values = np.where(np.arange(N) == 7, value, REAL)
    message = re.escape(f"column 'a' has values as large as {abs(value):.4g}, which are too large for float32")
    with pytest.raises(ValueError, match=message):
        from_columns({"a": values, "b": REAL})
    schema = from_columns({"a": REAL, "n": np.arange(N) % 4}).schema
    with pytest.raises(ValueError, match=message):
        from_columns({"a": values, "n": np.arange(N)}, schema=schema)
    with pytest.raises(ValueError, match="column 'n' has values as large as 1e\\+39"):
        from_columns({"a": REAL, "n": np.full(N, 1e39)}, schema=schema)


@pytest.mark.parametrize("name", ["t.npy", "t.npz"])
def test_a_bare_path_of_a_damaged_file_is_one_line(name, tmp_path):
    path = tmp_path / name
    (np.save if name == "t.npy" else np.savez)(path, np.zeros((200, 3)))
    whole = path.read_bytes()
    for content in (b"", whole[:-40], whole[:100], whole[:4]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(name)) as caught:
            open_data(str(path))
        assert "\n" not in str(caught.value)


def test_idle_columns_are_looked_for_once(monkeypatch):
    seen = []
    idle = tabular._idle
    monkeypatch.setattr(tabular, "_idle", lambda table: seen.append(list(table)) or idle(table))
    schema = from_columns({"a": REAL}).schema
    same = {f"same{i}": np.ones(N) for i in range(20)}
    assert from_columns({"a": REAL, **same}, schema=schema).event_shape == (1,)
    assert seen == [list(same)]


def test_names_are_compared_in_linear_time():
    class Name(str):
        compared = 0

        def __eq__(self, other):
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Name(f"c{i}") for i in range(500)]
    schema = Schema(tuple(Column(name, "real") for name in names))
    schema.encode({str(name): np.zeros(1) for name in names})
    assert Name.compared < 5000
    start = time.process_time()
    many = [f"c{i}" for i in range(30_000)]
    assert check_names("t", many) == many
    assert time.process_time() - start < 1
