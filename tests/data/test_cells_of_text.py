"""Tables in files of text: lengths of rows, ids, separators, decimal marks and cells that are no numbers."""

import re

import numpy as np
import pytest

from jaxvae.data.tabular import Columns, from_columns, table_file
from jaxvae.runs.columns import read_columns
from jaxvae.schema import Summary, find_schema

N = 40
REAL = [f"{i % 7}.5" for i in range(N)]


def write(tmp_path, header, *columns, name="t.csv", separator=","):
    rows = [separator.join(row) for row in zip(*columns, strict=True)]
    (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
    return tmp_path / name


def values(table, name):
    """A column on the scale of the file."""
    return table.schema.decode(np.asarray(table.pixels))[name]


def kinds(table):
    return {column.name: column.kind for column in table.schema.columns}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3,\n4,5,6,\n", "line 2 has 4 cells, and the first line names 3 columns"),
        ("name,b,c\nx,2,3,\ny,5,6,\n", "line 2 has 4 cells"),  # a separator at the end is no name of a row
        ("a,b,c\n5,1,2,3\n6,4,5,6\n", "line 2 has 4 cells"),  # numbers that are not those of the rows
        ("a,b\n1,2\n\n\n3,4,5\n", "line 5 has 3 cells"),
        ("a,b\nr,1,2\n3,4\n", "line 2 has 3 cells"),
        ("a,b\nr,1,2\nr,3,4\n", "line 2 has 3 cells"),  # names of rows differ
        (",a,b\nr,1,2,3\ns,3,4,5\n", "line 2 has 4 cells"),
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 cells, and the first line names 3 columns"),
        ('a,b\n"x\ny",1\n"z",2,3\n', "line 4 has 3 cells"),
        ("sep=;\na;b\n1;2\n3;4;5\n", "line 4 has 3 cells"),
    ],
)
def test_rows_of_another_length_than_the_header_are_refused(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        table_file(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [[f"r{i}" for i in range(N)], [str(i + 1) for i in range(N)], [f'"{i}b"' for i in range(N)]]
)
def test_names_of_rows_as_r_writes_them_are_ids(names, tmp_path):
    path = write(tmp_path, '"a","b"', names, REAL, [str(i % 5) for i in range(N)])
    table = table_file(path)
    assert list(table.ids) == [name.strip('"') for name in names]
    np.testing.assert_allclose(values(table, "a"), np.array(REAL, float), rtol=1e-5)
    np.testing.assert_array_equal(values(table, "b"), np.arange(N) % 5)
    assert list(kinds(table).values()) == ["identifier", "real", "count"]


@pytest.mark.parametrize("bad", ["?", "-", "<0.01", "#DIV/0!", "1_000", "True"])
@pytest.mark.parametrize("numbers", [[f"{i}.25" for i in range(3000)], [str(i % 2) for i in range(3000)]])
def test_a_cell_among_numbers_that_is_none_is_named(bad, numbers, tmp_path):
    cells = [bad if i == 17 else cell for i, cell in enumerate(numbers)]
    path = write(tmp_path, "a,b", cells, [f"{i}.5" for i in range(3000)])
    with pytest.raises(ValueError, match=re.escape(f"column 'a' holds numbers, but {bad!r} in row 18 ")) as caught:
        table_file(path)
    assert "--kind a=categorical" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=re.escape(f"words such as {bad!r} in row 18 ")):
        table_file(path, Columns(kinds=("a=real",)))
    assert table_file(path, Columns(drop=("a",))).schema.entry_names == ("b",)


def test_codes_with_many_words_stay_words(tmp_path):
    cells = [["250.1", "V12", "E950"][i % 3] for i in range(N)]
    assert kinds(table_file(write(tmp_path, "code,b", cells, REAL)))["code"] == "categorical"
    names = [f"{i:04x}" for i in range(0, 65536, 1310)][:N]
    assert kinds(table_file(write(tmp_path, "name,b", names, REAL)))["name"] == "identifier"
    mostly = ["5" if i % 4 else "none" for i in range(N)]
    path = write(tmp_path, "code,b", mostly, REAL)
    assert kinds(table_file(path, Columns(kinds=("code=categorical",))))["code"] == "categorical"


def test_blocks_of_a_column_tell_together():
    summary = Summary("a")
    for block in (np.arange(5.0), np.array(["1", None, "?"], object), np.array(["-"], object)):
        summary.add(block)
    with pytest.raises(ValueError, match=re.escape("but '?' in row 8 (the first is row 1) is none")):
        summary.column()


def test_a_bad_cell_of_new_rows_is_named(tmp_path):
    table = from_columns({"a": np.arange(9.0) ** 1.5, "n": np.arange(9) % 4})
    for name in ("a", "n"):
        new = {"a": np.arange(4.0), "n": np.arange(4)} | {name: np.array(["1.0", None, "2.0", "<0.01"], object)}
        with pytest.raises(ValueError, match=f"column '{name}' must hold numbers, found '<0.01' in row 4"):
            from_columns(new, schema=table.schema)


def test_new_rows_without_any_value_are_missing():
    table = from_columns({"a": np.arange(9.0) ** 1.5, "n": np.arange(9) % 4, "w": np.array(["x", "y", "z"] * 3)})
    new = {name: np.array([None, None], object) for name in ("a", "n", "w")}
    assert np.isnan(np.asarray(from_columns(new, schema=table.schema).pixels)).all()


@pytest.mark.parametrize(
    ("separator", "columns", "decimal"),
    [
        (";", {"a": [str(i) for i in range(60)], "b": ["1"] * 59 + ["1,5"]}, {"b": 1.5}),  # the last cell alone
        ("\t", {"a": ["2,5", "-1e-3"] * 30, "w": ["1,2", "one", "two"] * 20}, {"a": -1e-3}),
        (",", {"a": ['"2,5"', '"3,25"'] * 30, "b": ["1", "2", "3"] * 20}, {"a": 3.25}),
    ],
)
def test_decimal_commas_are_found_in_all_cells(separator, columns, decimal, tmp_path):
    path = write(tmp_path, separator.join(columns), *columns.values(), separator=separator)
    table, read = table_file(path), read_columns(path, "z")
    for name, wanted in decimal.items():
        assert read[name][-1] == wanted
        observed = values(table, name)[-1]
        assert kinds(table)[name] == "binary" or observed == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("reader", [table_file, lambda path: read_columns(path, "z")])
@pytest.mark.parametrize(
    ("separator", "cells", "message"),
    [
        ("\t", ["12,345"] * 3 + ["1"], "'12,345' of column 'a' has a comma between digits, and '0.5' of column 'b'"),
        (";", ["12,345"] * 3 + ["1"], "'12,345' of column 'a' has a comma between digits, and '0.5' of column 'b'"),
        (";", ["7", "8", "1,5", "9"], "'1,5' of column 'a' has a comma between digits, and '0.5' of column 'b'"),
        (",", ["7", "8", '"1,234"', "9"], "'1,234' of column 'a' has a comma between digits, and '0.5' of column 'b'"),
        (";", ["1.234,5", "8", "9", "7"], "'1.234,5' of column 'a' has separators of thousands"),
        ("\t", ["1,234,567", "8", "9", "7"], "'1,234,567' of column 'a' has separators of thousands"),
    ],
)
def test_commas_and_points_in_numbers_are_refused(separator, cells, message, reader, tmp_path):
    path = write(tmp_path, separator.join("ab"), cells * 10, ["0.5", "1"] * 20, separator=separator)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        reader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_comma_that_may_separate_thousands_is_refused(tmp_path, separator):
    cell = '"1,234"' if separator == "," else "1,234"
    header = f"a{separator}b"
    path = write(tmp_path, header, [cell, "5"] * 20, [str(i % 3) for i in range(N)], separator=separator)
    with pytest.raises(
        ValueError, match="the comma in the cell '1,234' of column 'a' may be a decimal mark or separate"
    ):
        table_file(path)


def test_commas_in_words_tell_nothing_of_numbers(tmp_path):
    words = [["1,2", "left", "right"][i % 3] for i in range(N)]
    path = write(tmp_path, "w\tb", words, REAL, separator="\t", name="t.tsv")
    np.testing.assert_allclose(values(table_file(path), "b"), np.array(REAL, float), rtol=1e-5)
    assert read_columns(path, "z")["b"].tolist() == [float(cell) for cell in REAL]
    pairs = write(tmp_path, "w;b;c", ["1,2", "3,4"] * 20, REAL, ["5", "6", "7", "8"] * 10, separator=";")
    for columns in (
        Columns(labels=("w",)),
        Columns(kinds=("w=categorical",)),
        Columns(drop=("w*",)),
        Columns(id="w"),
        Columns(use=("b", "c")),
    ):
        np.testing.assert_allclose(values(table_file(pairs, columns), "b"), np.array(REAL, float), rtol=1e-5)


@pytest.mark.parametrize(
    ("header", "ids", "columns"),
    [
        ("id,a", [f"{i:03d}" for i in range(N)], Columns(id="id")),
        (",a", [f"{i:03d}" for i in range(N)], Columns()),
        ("id,a", [str(i) if i != 3 else "" for i in range(N)], Columns(id="id")),
        (",a", [str(i) if i != 3 else "" for i in range(N)], Columns()),
        (",a", ["NA", *(f"N{i}" for i in range(1, N))], Columns()),
        (",a", [str(i % 3) for i in range(N)], Columns()),  # repeated
        (",a", [str(i * 7 % 41) for i in range(N)], Columns()),  # some rows of another table
        (",a", [str(i * 7 % 41) for i in range(N)], Columns(use=("a",))),
        (",a", [f"2024-01-{i % 28 + 1}" for i in range(N)], Columns()),
    ],
)
def test_ids_are_the_text_in_the_file(header, ids, columns, tmp_path):
    path = write(tmp_path, header, ids, REAL)
    table = table_file(path, columns)
    assert list(table.ids) == ids
    assert [column.name for column in table.schema.used] == ["a"]
    new = table_file(write(tmp_path, header, ids[:5], REAL[:5], name="new.csv"), columns, table.schema)
    assert list(new.ids) == ids[:5]
    np.testing.assert_array_equal(new.pixels, table.pixels[:5])


def test_new_rows_may_have_an_index_that_the_old_ones_lack(tmp_path):
    old = table_file(write(tmp_path, "a", REAL))
    new = table_file(write(tmp_path, ",a", ["x", "y", "z"], REAL[:3]), schema=old.schema)
    assert list(new.ids) == ["x", "y", "z"]
    np.testing.assert_array_equal(new.pixels, old.pixels[:3])


def test_an_index_that_a_model_was_trained_on_is_read(tmp_path):
    ids = [str(i * 7 % 41) for i in range(N)]
    old = find_schema({"index": np.array(ids, int), "a": np.array(REAL, float)})
    assert [column.kind for column in old.columns] == ["count", "real"]
    path = write(tmp_path, ",a", ids, REAL)
    np.testing.assert_array_equal(values(table_file(path, schema=old), "index"), np.array(ids, float))
    assert kinds(table_file(path, Columns(use=("index", "a"))))["index"] == "count"
    assert kinds(table_file(path, Columns(kinds=("index=real",))))["index"] == "real"


def test_a_column_named_index_beside_an_unnamed_one(tmp_path):
    table = table_file(write(tmp_path, ",index,a", [f"r{i}" for i in range(N)], [str(i % 4) for i in range(N)], REAL))
    assert list(table.ids[:2]) == ["r0", "r1"]
    assert kinds(table) == {"_index": "identifier", "index": "count", "a": "real"}


def test_ids_of_numbers_in_memory_have_no_decimal_point():
    table = from_columns({"id": np.array([1, 2, np.nan, 4]), "a": np.arange(4.0) ** 1.5}, Columns(id="id"))
    assert list(table.ids) == ["1", "2", "", "4"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"Size, mm";"Weight, kg"\n1;2.5\n3;4.5\n4;1.5\n', ("Size, mm", "Weight, kg")),
        ("Size, mm;Weight, kg\n1;2.5\n3;4.5\n4;1.5\n", ("Size, mm", "Weight, kg")),
        ('"Size\nin mm",b\n1,2.5\n3,4.5\n4,1.5\n', ("Size\nin mm", "b")),
        ('"a;b;c;d",b\n1,2.5\n3,4.5\n4,1.5\n', ("a;b;c;d", "b")),
        ("sep=;\na,b;c\n1;2.5\n3;4.5\n4;1.5\n", ("a,b", "c")),
        ("\ufeffSEP=|\r\na|c\r\n1|2.5\r\n3|4.5\r\n4|1.5\r\n", ("a", "c")),
        ("sep=\t\na,b\tc\n1\t2.5\n3\t4.5\n4\t1.5\n", ("a,b", "c")),
        ("a,b\n1,2.5\n \t\n3,4.5\n4,1.5\n", ("a", "b")),
        ("a|b\r1|2.5\r3|4.5\r4|1.5\r", ("a", "b")),
        ('a,b\n"1",2.5\n3,4.5\n"4",1.5', ("a", "b")),
    ],
)
def test_the_separator_gives_the_header_the_most_cells(text, names, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode())
    table = table_file(tmp_path / "t.csv")
    assert tuple(column.name for column in table.schema.columns) == names
    np.testing.assert_allclose(values(table, names[0]), [1, 3, 4])
    np.testing.assert_allclose(values(table, names[1]), [2.5, 4.5, 1.5])
    read = read_columns(tmp_path / "t.csv", "z")
    assert {name: column.tolist() for name, column in read.items()} == {names[0]: [1, 3, 4], names[1]: [2.5, 4.5, 1.5]}


def test_empty_quotes_in_a_single_column_are_a_row(tmp_path):
    (tmp_path / "t.csv").write_text('a\n1.5\n""\n\n2.5\n4\n')
    assert np.isnan(np.asarray(table_file(tmp_path / "t.csv").pixels)[:, 0]).tolist() == [False, True, False, False]
    assert np.isnan(read_columns(tmp_path / "t.csv", "z")["a"]).tolist() == [False, True, False, False]


def test_long_cells_are_read(tmp_path):
    path = write(tmp_path, "a,w", REAL, ["x" * 140_000 if i == 3 else "y" for i in range(N)])
    assert kinds(table_file(path)) == {"a": "real", "w": "binary"}


def test_other_columns_of_new_rows_do_not_tell_the_decimal_mark(tmp_path):
    old = table_file(write(tmp_path, "b", REAL))
    new = write(tmp_path, "b;same", REAL, ["3,5"] * N, name="new.csv", separator=";")
    np.testing.assert_array_equal(table_file(new, schema=old.schema).pixels, old.pixels)


def test_rows_of_tabs_are_missing_values(tmp_path):
    (tmp_path / "t.tsv").write_text("a\tb\n1.5\t2\n\t\n2.5\t3\n4.5\t4\n")
    x = np.asarray(table_file(tmp_path / "t.tsv").pixels)
    assert np.isnan(x).all(axis=1).tolist() == [False, True, False, False]
    assert np.isnan(read_columns(tmp_path / "t.tsv", "z")["a"]).tolist() == [False, True, False, False]
