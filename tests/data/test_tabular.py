"""Tables in files, by the kinds of their columns."""

import gzip

import numpy as np
import pandas as pd
import pytest

from jaxvae.data import open_data
from jaxvae.data.tabular import Columns, from_columns, table_file
from jaxvae.schema import Schema, find_schema

N = 200
RNG = np.random.default_rng(0)


def frame():
    """Six kinds of columns, an identifier and labels; one value in twenty is missing."""
    table = pd.DataFrame(
        {
            "height": RNG.normal(170, 10, N),
            "visits": RNG.poisson(3, N),
            "smoker": RNG.choice(["no", "yes"], N),
            "city": RNG.choice(["Bern", "Oslo", "Rome"], N),
            "always": np.ones(N),
        }
    )
    table = table.mask(RNG.random(table.shape) < 0.05)
    table.insert(0, "patient", [f"p{i:03d}" for i in range(N)])
    table["group"] = RNG.choice(["a", "b", "c"], N)
    return table


FRAME = frame()
USE = Columns(labels=("group",))


def entries(table):
    return np.asarray(table.pixels)


def test_the_kinds_of_columns_are_found():
    table = from_columns(FRAME, USE)
    kinds = {column.name: column.kind for column in table.schema.columns}
    assert kinds == {
        "patient": "identifier",
        "height": "real",
        "visits": "count",
        "smoker": "binary",
        "city": "categorical",
        "always": "constant",
    }
    assert table.event_shape == (6,)
    assert table.schema.entry_names == ("height", "visits", "smoker", "city=Bern", "city=Oslo", "city=Rome")
    assert (table.factor_names, table.factor_sizes) == (("group",), (3,))
    assert list(table.ids[:2]) == ["p000", "p001"]


def test_values_are_what_the_columns_say():
    x = entries(from_columns(FRAME, USE))
    height = FRAME["height"].to_numpy()
    mean, scale = np.nanmean(height), np.nanstd(height)
    np.testing.assert_allclose(x[:, 0], (height - mean) / scale, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[:, 1], FRAME["visits"].to_numpy())
    smoker = FRAME["smoker"].map({"no": 0.0, "yes": 1.0}).to_numpy(float)
    np.testing.assert_array_equal(x[:, 2], smoker)
    for place, city in enumerate(("Bern", "Oslo", "Rome"), 3):
        wanted = np.where(FRAME["city"].isna(), np.nan, FRAME["city"] == city).astype(float)
        np.testing.assert_array_equal(x[:, place], wanted)


def test_rows_are_decoded_on_the_scale_of_the_table():
    table = from_columns(FRAME, USE)
    whole = FRAME.dropna()
    columns = table.schema.decode(entries(table)[whole.index])
    np.testing.assert_allclose(columns["height"], whole["height"], rtol=1e-5)
    np.testing.assert_array_equal(columns["visits"], whole["visits"])
    np.testing.assert_array_equal(columns["city"], whole["city"])


def written(tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    match kind:
        case "csv":
            FRAME.to_csv(path, index=False)
        case "csv.gz":
            path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode(), mtime=0))
        case "tsv":
            FRAME.to_csv(path, index=False, sep="\t")
        case "parquet":
            FRAME.to_parquet(path)
        case "feather":
            FRAME.to_feather(path)
        case "npz":
            texts = {name: FRAME[name].fillna("").to_numpy(str) for name in ("patient", "smoker", "city", "group")}
            np.savez(path, **{name: texts.get(name, FRAME[name].to_numpy()) for name in FRAME})
    return path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "feather"])
def test_every_kind_of_file_has_the_same_values(kind, tmp_path):
    table = table_file(written(tmp_path, kind), USE)
    np.testing.assert_array_equal(entries(table), entries(from_columns(FRAME, USE)))
    np.testing.assert_array_equal(table.factors, from_columns(FRAME, USE).factors)


def test_arrays_are_tables(tmp_path):
    matrix = RNG.normal(size=(30, 4))
    np.save(tmp_path / "a.npy", matrix)
    np.savez(tmp_path / "b.npz", x=matrix, columns=["a", "b", "c", "d"], group=np.arange(30) % 3)
    one = open_data(str(tmp_path / "a.npy"))
    other = open_data(f"table:{tmp_path / 'b.npz'}", columns=Columns(labels=("group",)))
    np.testing.assert_allclose(entries(one), (matrix - matrix.mean(0)) / matrix.std(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(entries(one), entries(other))
    assert other.schema.entry_names == ("a", "b", "c", "d")
    assert other.factor_sizes == (3,)


def test_new_rows_have_the_scale_of_the_old_ones_in_any_order():
    table = from_columns(FRAME, USE)
    few = FRAME.iloc[5:9][["group", "city", "visits", "height", "smoker", "patient"]]
    new = from_columns(few, USE, Schema.from_json(table.schema.to_json()))
    np.testing.assert_array_equal(entries(new), entries(table)[5:9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="height"), "lacks the column 'height'"),
        (
            lambda t: t.assign(weight=RNG.normal(size=len(t))),
            "has the column 'weight', which the model was not",
        ),
        (lambda t: t.assign(city="Paris"), "column 'city' has the new value 'Paris'; it had Bern, Oslo, Rome"),
        (lambda t: t.assign(height="tall"), "column 'height' must hold numbers, found 'tall'"),
        (lambda t: t.assign(height=np.inf), "column 'height' has infinite values"),
        (lambda t: t.assign(visits=-1.0), "column 'visits' has negative or fractional values, and was"),
        (lambda t: t.assign(visits=2.5), "column 'visits' has negative or fractional values, and was a count"),
    ],
)
def test_new_rows_with_other_columns_are_refused(change, message):
    schema = from_columns(FRAME, USE).schema
    with pytest.raises(ValueError, match=message):
        from_columns(change(FRAME), USE, schema)


def test_columns_are_chosen_by_name_and_beginning():
    table = pd.DataFrame({f"{a}_{b}": RNG.normal(size=50) for a in ("left", "right") for b in range(3)})
    assert from_columns(table, Columns(use=("left_*",))).event_shape == (3,)
    assert from_columns(table, Columns(drop=("right_*", "left_0"))).schema.entry_names == ("left_1", "left_2")
    with pytest.raises(ValueError, match="unknown column 'lef_0'.*left_0"):
        from_columns(table, Columns(use=("lef_0",)))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_kind_is_given_to_all_columns_that_begin_so(streamed, tmp_path):
    """A name without * takes precedence, and columns that are not learned from are left alone."""
    names = ("gene_a", "gene_b", "gene_c", "other", "gene_id")
    table = {name: (np.arange(60) * (place + 1)) % 7 for place, name in enumerate(names)}
    columns = Columns(kinds=("gene_b=categorical", "gene*=real"), labels=("gene_id",))
    if streamed:
        pytest.importorskip("pyarrow")
        pd.DataFrame(table).to_parquet(tmp_path / "x.parquet")
        found = open_data(f"table:{tmp_path / 'x.parquet'}", columns=columns, training_rows=lambda table: None)
    else:
        found = from_columns(table, columns)
    assert [column.kind for column in found.schema.columns] == ["real", "categorical", "real", "count"]
    assert (
        from_columns({"a*": np.arange(40) % 5, "ab": np.arange(40) % 7}, Columns(kinds=("a*=real",)))
        .schema.used[1]
        .kind
        == "count"
    )


def test_a_kind_that_is_given_is_taken():
    table = from_columns({"rating": np.arange(40) % 5, "age": np.arange(40) % 7}, Columns(kinds=("age=real",)))
    assert [column.kind for column in table.schema.columns] == ["count", "real"]
    assert entries(table)[:, 1].mean() == pytest.approx(0, abs=1e-6)


def test_one_row_per_label_is_put_into_the_order_of_the_grid():
    table = from_columns({"a": np.arange(5.0) ** 2, "label": np.array([3, 1, 0, 2, 4])}, Columns(labels=("label",)))
    assert table.is_grid
    np.testing.assert_array_equal(np.argsort(entries(table)[:, 0]), [3, 1, 0, 2, 4])


def csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "odd.csv"
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


ROWS = [f"{i},{i % 7 + 0.5},{i % 3}" for i in range(40)]
PLAIN = "id,a,b\n" + "\n".join(ROWS)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,  # a byte-order mark
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace(".", ","),  # decimal commas
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ", "),
        PLAIN + "\n\n\n",
        "\n" + PLAIN,
        PLAIN.replace("id,a,b", ",a,b"),  # as pandas writes an index
        PLAIN.replace("id,a,b", '"id","a","b"'),
        PLAIN.replace("id,a,b", " id , a , b "),
        (PLAIN + "\n").replace(",2\n", ",1.9999999999999\n"),
        PLAIN.replace(",1\n", ",1.0\n"),
    ],
)
def test_spellings_of_the_same_table(text, tmp_path):
    table = table_file(csv(tmp_path, text))
    assert [column.kind for column in table.schema.columns] == ["identifier", "real", "count"]
    values = np.arange(40) % 7 + 0.5
    np.testing.assert_allclose(entries(table)[:, 0], (values - values.mean()) / values.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(entries(table)[:, 1], np.arange(40) % 3)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (PLAIN.replace("0.5", ""), 6),
        (PLAIN.replace("0.5", "NA"), 6),
        (PLAIN.replace("0.5", "nan"), 6),
        (PLAIN.replace("0.5", "NULL"), 6),
    ],
)
def test_spellings_of_a_missing_value(text, missing, tmp_path):
    x = entries(table_file(csv(tmp_path, text)))
    assert np.isnan(x).sum() == missing
    assert np.isnan(x[0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("   \n", "the file is empty"),
        ("a,b,c", "same number of rows, and at least 1"),
        (PLAIN.replace("id,a,b", "id,a,a"), "two columns are named 'a': rename one"),
        (PLAIN.replace("id,a,b", "id,,b"), "column number 2 has no name"),
        ("\n".join(ROWS), "the first row must hold the names of the columns, and holds numbers"),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.replace("id", "größe").encode("latin-1"), "is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "the file is not text"),
        ("<!DOCTYPE html><html></html>", "web page"),
        ("version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (PLAIN.replace("3.5", "inf"), "column 'a' has 6 infinite values: make them missing"),
        (PLAIN + "\n1,2,3,4,5", "the file is not a table that can be read"),
        ("when,a\n" + "\n".join(f"2024-01-{i % 28 + 1:02d},{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"2024-01-{i % 3 + 1:02d},{i}" for i in range(40)), "say --kind when=categorical"),
        ("when,a\n" + "\n".join(f"{i % 2 + 1}/11/24,{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"28.{i % 12 + 1}.{1990 + i},{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"{i % 28 + 1}.3.21,{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"2020-{i % 12 + 1:02d},{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"{i % 3 + 1} March 2020,{i}" for i in range(40)), "column 'when' holds dates"),
        ("when,a\n" + "\n".join(f"{'-' if i % 9 else f'2024-01-{i % 28 + 1:02d}'},{i}" for i in range(60)), "dates"),
        ("when,a\n" + "\n".join(f"2024-01-05 12:07:{i},{i}" for i in range(10, 50)), "column 'when' holds dates"),
        ("note,a\n" + "\n".join(f"word {i % 30} of many,{i % 5}" for i in range(40)), "column 'note' holds text"),
        ("a,b\n" + "\n".join("1,2" for _ in range(40)), "no column to learn from: all are constant"),
        ("a\n" + "\n".join(f"n{i}" for i in range(40)), "no column to learn from"),
    ],
)
def test_what_is_no_table_is_one_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        table_file(csv(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "odd.csv" in str(caught.value)


def test_names_that_begin_like_months_are_no_dates():
    authors = np.array(["Marvin 2012", "Augustine 1999", "Mayer 2011", "Decker 2020"], object)[np.arange(40) % 4]
    (column,) = find_schema({"author": authors}).columns
    assert column.kind == "categorical"
    for dates in (["Sept. 2012", "August 1999"], ["Mar 3, 2012", "december 24, 1999"]):
        with pytest.raises(ValueError, match="column 'when' holds dates"):
            find_schema({"when": np.array(dates, object)[np.arange(40) % 2]})


def test_a_column_of_lists_is_text():
    lists = np.array([[i, i % 3] if i != 7 else None for i in range(40)], object)
    with pytest.raises(ValueError, match=r"column 'pairs' holds text, such as '\[0, 0\]'"):
        find_schema({"pairs": lists, "a": np.arange(40.0) ** 2})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(kinds=("a",)), "--kind takes NAME=KIND, such as age=real, got 'a'"),
        (Columns(kinds=("z=real",)), "unknown column 'z'"),
        (Columns(kinds=("a=number",)), "unknown kind 'number'"),
        (Columns(kinds=("z*=real",)), r"unknown column 'z\*'"),
        (Columns(kinds=("a=count",)), "column 'a' has negative or fractional values, and can't be a count"),
        (Columns(kinds=("a=binary",)), "column 'a' has 7 values, and a binary column has 2"),
        (Columns(labels=("z",)), "unknown column 'z'"),
        (Columns(id="z"), "unknown column 'z'"),
        (Columns(group="z"), "unknown column 'z'"),
        (Columns(drop=("id", "a", "b")), "no column to learn from"),
    ],
)
def test_columns_that_can_not_be(columns, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        table_file(csv(tmp_path, PLAIN), columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"PK", "tables come from .csv, .tsv, .txt, .parquet, .feather, .npy, .npz files"),
        ("a.parquet", b"PAR1 and no more", "a.parquet"),
        ("a.feather", b"", "a.feather"),
        ("a.npy", b"\x93NUMPY", "a.npy"),
        ("a.npz", b"PK", "a.npz"),
    ],
)
def test_damaged_files_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        table_file(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 4, 4))}, "one value per row, got shape"),
        ({"x": np.zeros((3, 2)), "y": np.zeros((3, 2))}, "several matrices, x, y"),
        ({"a": np.zeros(3), "b": np.zeros(4)}, "same number of rows"),
        ({"x": np.zeros((0, 2))}, "same number of rows, and at least 1"),
    ],
)
def test_arrays_that_are_no_table(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        table_file(tmp_path / "a.npz")


def test_thousands_of_columns_are_read(tmp_path):
    matrix = RNG.poisson(1.0, (20, 3000))
    pd.DataFrame(matrix, columns=[f"gene{i}" for i in range(3000)]).to_csv(tmp_path / "wide.csv", index=False)
    table = table_file(tmp_path / "wide.csv", Columns(kinds=tuple(f"gene{i}=count" for i in range(3000))))
    np.testing.assert_array_equal(entries(table), matrix)


@pytest.mark.parametrize("kind", ["Int64", "boolean", "string", "category", "Float32"])
def test_types_of_pandas_are_read(kind):
    values = pd.Series([0, 1, None, 1, 0, 1] * 3, dtype="Int64")
    column = values.astype("boolean").astype(kind) if kind == "boolean" else values.astype(kind)
    table = from_columns(pd.DataFrame({"a": column, "b": np.arange(18.0) ** 1.5}))
    assert table.schema.columns[0].kind == "binary"
    np.testing.assert_array_equal(entries(table)[:6, 0], [0, 1, np.nan, 1, 0, 1])


def test_the_word_for_nothing_is_a_missing_label():
    table = from_columns(
        {"a": np.arange(6.0) ** 2, "t": np.array(["u", None, "v", "u", None, "v"], object)}, Columns(labels=("t",))
    )
    np.testing.assert_array_equal(table.factors[:, 0], [0, 2, 1, 0, 2, 1])


def test_labels_of_new_rows_have_the_numbers_of_the_old_ones():
    old = from_columns({"a": np.arange(6.0) ** 2, "t": np.array(["u", "v", "w"] * 2)}, Columns(labels=("t",)))
    new = {"a": np.arange(3.0), "t": np.array(["w", "x", "v"])}
    known = Schema.from_json(old.schema.to_json(), dict(old.schema.labels))
    table = from_columns(new, Columns(labels=("t",)), known)
    np.testing.assert_array_equal(table.factors[:, 0], [2, 3, 1])  # x is new
    assert table.origin.label_values == (("u", "v", "w", "x"),)
    assert table.factor_sizes == (4,)
    few = from_columns({name: values[:1] for name, values in new.items()}, Columns(labels=("t",)), known)
    assert (int(few.factors[0, 0]), few.factor_sizes) == (2, (3,))
