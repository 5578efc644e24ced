"""Files of codes: the same numbers from every format, and one line for a file that holds something else."""

import json
import re
import sys

import numpy as np
import pytest

from jaxvae.data.table import MISSING
from jaxvae.runs.codes import (
    EXTRAS,
    FORMATS,
    Codes,
    check_out,
    write_arrays,
    write_codes,
    write_columns,
    write_pictures,
)
from jaxvae.runs.columns import numbered, numbers_of, read_columns

RNG = np.random.default_rng(0)
CODES = Codes(
    ids=np.array(["a", "b,c", 'say "d"', "é"]),
    means=RNG.normal(size=(4, 3)).astype(np.float32),
    standard_deviations=np.exp(RNG.normal(size=(4, 3))).astype(np.float32),
    clusters=np.array([2, 0, 1, 0]),
    factors=np.array([[0, 5], [1, 6], [2, 7], [3, 8]], np.int32),
    factor_names=("shape", "z1"),
)
SETTINGS = {"method": "vae", "step": 3, "config": {"seed": 0}}


def codes_in(path):
    columns = read_columns(path, "z")
    return columns, numbers_of(path, columns, numbered(columns, "z")).astype(np.float32)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_codes(ending, tmp_path):
    if ending in EXTRAS:
        pytest.importorskip(EXTRAS[ending][0])
    path = tmp_path / f"codes{ending}"
    write_codes(path, CODES, SETTINGS)
    columns, means = codes_in(path)
    np.testing.assert_array_equal(means, CODES.means)  # no digit is lost in text either
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    if ending == ".npy":
        return
    assert columns["id"].tolist() == CODES.ids.tolist()
    spreads = numbers_of(path, columns, ["sd0", "sd1", "sd2"]).astype(np.float32)
    np.testing.assert_array_equal(spreads, CODES.standard_deviations)
    assert np.asarray(columns["cluster"], float).tolist() == [2, 0, 1, 0]
    assert columns["shape"].tolist() == [0, 1, 2, 3]


def test_a_factor_with_the_name_of_another_column_gets_a_prefix(tmp_path):
    assert " ".join(CODES.columns()) == "id z0 z1 z2 sd0 sd1 sd2 cluster shape factor_z1"
    write_codes(tmp_path / "codes.csv", CODES, SETTINGS)
    assert read_columns(tmp_path / "codes.csv", "z")["factor_z1"].tolist() == [5, 6, 7, 8]


def test_missing_labels_are_empty():
    codes = CODES._replace(
        factors=np.array([[0], [1], [2], [1]]), factor_names=("type",), factor_values=(("B", "T", MISSING),)
    )
    assert codes.labels()["type"].tolist() == ["B", "T", "", "T"]


def test_settings_are_in_the_formats_that_have_a_place_for_them(tmp_path):
    write_codes(tmp_path / "a.npz", CODES, SETTINGS)
    with np.load(tmp_path / "a.npz") as file:
        assert json.loads(str(file["settings"])) == SETTINGS
        assert file["factor_names"].tolist() == ["shape", "z1"]
    parquet = pytest.importorskip("pyarrow.parquet")
    write_codes(tmp_path / "a.parquet", CODES, SETTINGS)
    assert json.loads(parquet.read_schema(tmp_path / "a.parquet").metadata[b"jaxvae"]) == SETTINGS
    anndata = pytest.importorskip("anndata")
    write_codes(tmp_path / "a.h5ad", CODES, SETTINGS)
    data = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert data.uns["jaxvae"]["method"] == "vae"
    assert data.obsm["X_jaxvae"].dtype == np.float32
    assert data.obs["cluster"].tolist() == ["2", "0", "1", "0"]


def test_columns_in_another_order_among_others(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("﻿name;z10;z2;z0;z1\nx;10;2;0;1\ny;110;12;100;11\n")
    columns = read_columns(path, "z")
    assert numbered(columns, "z") == ["z0", "z1", "z2", "z10"]
    assert numbers_of(path, columns, ["z0", "z1", "z2"]).tolist() == [[0, 1, 2], [100, 11, 12]]
    assert columns["name"].tolist() == ["x", "y"]


def test_text_as_other_programs_write_it(tmp_path):
    pandas = (tmp_path / "pandas.csv", ",z0,word,gap,part\n0007,1e-3,a,,1_2\n8,-2,, 3,12\n")
    tabs = (tmp_path / "tabs.tsv", "id\tz0\r\nx, y\t1\r\n")
    for path, text in (pandas, tabs):
        path.write_text(text)
    columns = read_columns(pandas[0], "z")
    assert columns["id"].tolist() == ["0007", "8"]  # ids stay text
    assert columns["z0"].tolist() == [1e-3, -2]
    assert columns["word"].tolist() == ["a", ""]
    assert np.isnan(columns["gap"][0])
    assert columns["gap"][1] == 3
    assert columns["part"].tolist() == ["1_2", "12"]  # no number with its digits in groups
    assert read_columns(tabs[0], "z")["id"].tolist() == ["x, y"]


def test_numbers_with_decimal_commas(tmp_path):
    (tmp_path / "a.csv").write_text("id;z0;z1;kind\n1,5;0,25;3;a,b\n2;-1,5e-1;;c\n")
    columns = read_columns(tmp_path / "a.csv", "z")
    assert columns["z0"].tolist() == [0.25, -0.15]
    np.testing.assert_array_equal(columns["z1"], [3, np.nan])
    assert (columns["id"].tolist(), columns["kind"].tolist()) == (["1,5", "2"], ["a,b", "c"])
    (tmp_path / "b.csv").write_text("z0,z1\n0,25\n")
    assert read_columns(tmp_path / "b.csv", "z")["z1"].tolist() == [25]


def test_matrices_of_other_programs(tmp_path):
    latents = RNG.normal(size=(5, 2))
    np.save(tmp_path / "a.npy", latents)
    np.savez(tmp_path / "b.npz", embedding=latents, label=np.array(list("abcde")))
    np.savez(tmp_path / "c.npz", codes=latents, other=np.ones((5, 2)))
    for name in ("a.npy", "b.npz", "c.npz"):
        np.testing.assert_array_equal(codes_in(tmp_path / name)[1], latents.astype(np.float32))
    assert list(read_columns(tmp_path / "b.npz", "z")) == ["z0", "z1", "label"]
    assert list(read_columns(tmp_path / "c.npz", "z")) == ["z0", "z1", "other0", "other1"]
    assert list(read_columns(tmp_path / "a.npy", "factor")) == ["factor0", "factor1"]
    np.savez(tmp_path / "d.npz", images=np.zeros((5, 4, 4, 1)), factors=np.ones((5, 2)), settings=np.array("text"))
    assert list(read_columns(tmp_path / "d.npz", "factor")) == ["factor0", "factor1"]


def test_a_parquet_file_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {"z0": [1.5, 2.5], "kind": pandas.Categorical(["a", None]), "yes": [True, False], "gap": [1, None]},
        index=["x", "y"],
    )
    frame.to_parquet(tmp_path / "a.parquet")
    columns = read_columns(tmp_path / "a.parquet", "z")
    assert columns["id"].tolist() == ["x", "y"]
    assert columns["kind"].tolist() == ["a", ""]
    assert columns["yes"].tolist() == [1, 0]
    assert np.isnan(columns["gap"][1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"z0,z1\n", "there are no rows"),
        ("a.csv", b"0.5,1.5\n2,3\n", "its first line must name the columns"),
        ("a.csv", b"z0,z1\n1,2\n3\n", "line 3 has 1 cells, and the first line names 2"),
        ("a.csv", b"z0,z0\n1,2\n", "the column 'z0' is there more than once"),
        ("a.csv", b"z0,\n1,2\n", "a column has no name"),
        ("a.csv", b"\xff\xfe\x00z", "not text in UTF-8"),
        ("a.csv", b"PK\x03\x04\xff", "it is a zip archive"),
        ("a.csv", b"z0\n1,5\n", "line 2 has 2 cells"),
        ("a.npy", b"z0\n1\n", "not an npy file"),
        ("a.npz", b"PK\x03\x04", "can't be read"),
        ("a.npz", b"", "it is empty"),
        ("a.txt", b"z0\n1\n", "columns come from files that end in .csv"),
        ("a.parquet", b"z0\n1\n", "can't be read"),
        ("a.h5ad", b"z0\n1\n", "can't be read"),
    ],
)
def test_a_file_of_something_else_is_one_line(name, content, message, tmp_path):
    for package in {"parquet": ["pyarrow"], "h5ad": ["anndata"]}.get(name.split(".")[1], []):
        pytest.importorskip(package)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_columns(tmp_path / name, "z")
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_arrays_that_are_no_columns(tmp_path):
    for array, message in (
        (np.zeros((2, 2, 2)), "expected a matrix of numbers, got float64 of shape [2, 2, 2]"),
        (np.array([["a", "b"]]), "expected a matrix of numbers, got <U1"),
        (np.zeros((0, 2)), "there are no rows"),
    ):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(ValueError, match=re.escape(message)):
            read_columns(tmp_path / "a.npy", "z")
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="without unpickling"):
        read_columns(tmp_path / "a.npy", "z")
    np.savez(tmp_path / "a.npz", means=np.zeros((3, 2)), ids=np.arange(4))
    with pytest.raises(ValueError, match=re.escape("as many rows as each other, got means [3, 2], ids [4]")):
        read_columns(tmp_path / "a.npz", "z")


def test_numbers_that_are_missing_are_named(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("z0,z1,word\n1,,a\n2,nan,3\n3,1e400,b\n")
    columns = read_columns(path, "z")
    for names, message in (
        (["z0", "z2", "z3"], "there is no column z2, z3; there are z0, z1, word"),
        (["z1"], "the column 'z1' must hold finite numbers, and 3 of its 3 rows do not; row 0 holds 'nan'"),
        (["word"], "2 of its 3 rows do not; row 0 holds 'a'"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            numbers_of(path, columns, names)


@pytest.mark.parametrize(
    ("ending", "package", "extra"), [(".parquet", "pyarrow", "tables"), (".h5ad",) + ("anndata",) * 2]
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(ending, package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    path = tmp_path / f"codes{ending}"
    path.write_bytes(b"")
    for attempt in (lambda: check_out(path), lambda: read_columns(path, "z")):
        with pytest.raises(ValueError, match=re.escape(f"need {package}: pip install 'jaxvae[{extra}]'")):
            attempt()


def test_text_needs_neither_pandas_nor_pyarrow(tmp_path, monkeypatch):
    for package in ("pandas", "pyarrow", "anndata"):
        monkeypatch.setitem(sys.modules, package, None)
    write_codes(tmp_path / "codes.csv", CODES, SETTINGS)
    np.testing.assert_array_equal(codes_in(tmp_path / "codes.csv")[1], CODES.means)


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("before")
    with pytest.raises(ValueError, match="argument"):
        write_columns(path, {"z0": np.zeros(3), "z1": np.zeros(2)})
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["codes.csv"]


def test_many_rows_are_written_in_blocks(tmp_path):
    columns = {"id": np.arange(10_000), "z0": RNG.normal(size=10_000)}
    write_columns(tmp_path / "codes.csv", columns)
    read = read_columns(tmp_path / "codes.csv", "z")
    np.testing.assert_array_equal(read["z0"], columns["z0"])
    assert read["id"].tolist() == [str(number) for number in range(10_000)]


def test_a_single_array_is_an_npy_file(tmp_path):
    write_arrays(tmp_path / "a.npy", means=CODES.means)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), CODES.means)


def test_pictures_are_named_by_their_ids(tmp_path):
    from PIL import Image

    pictures = np.array([-0.5, 0.2, 1.5])[:, None, None, None] * np.ones((3, 2, 4, 3))
    cases = (
        (np.array(["cat.png", "dog.png", "a b"]), ["0.png", "1.png", "2.png"]),
        (np.array(["cat.png", "dog.png", "b"]), ["b.png", "cat.png", "dog.png"]),
        (np.array(["a", "A", "b"]), ["0.png", "1.png", "2.png"]),
        (np.array(["..", "/etc", "b"]), ["0.png", "1.png", "2.png"]),
        (np.array([8, 9, 10]), ["08.png", "09.png", "10.png"]),
    )
    for number, (ids, names) in enumerate(cases):
        folder = tmp_path / str(number)
        write_pictures(folder, pictures, ids)
        assert sorted(path.name for path in folder.iterdir()) == names
    levels = [int(np.asarray(Image.open(tmp_path / "4" / name)).mean()) for name in ("08.png", "09.png", "10.png")]
    assert levels == [0, 51, 255]
    with pytest.raises(ValueError, match="one or three channels"):
        write_pictures(tmp_path / "two", pictures[..., :2], np.arange(3))
    with pytest.raises(ValueError, match="is a file: name a folder"):
        write_pictures(tmp_path / "4" / "08.png", pictures, np.arange(3))
