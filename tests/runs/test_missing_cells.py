"""Texts of missing values in files of codes and factors of any program."""

import re

import numpy as np
import pytest

from jaxvae.runs.columns import read_columns
from jaxvae.runs.foreign import read_foreign

SPELLINGS = ["", " ", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", "n/a", "#N/A", "-nan"]


@pytest.mark.parametrize("missing", SPELLINGS)
def test_every_spelling_of_a_missing_value_is_missing(missing, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id,z0,mass,kind\n{missing},1,{missing},{missing}\ny,2,3,b\nz,4,5,c\n")
    columns = read_columns(path, "z")
    np.testing.assert_array_equal(columns["mass"], [np.nan, 3, 5])
    assert columns["kind"].tolist() == ["", "b", "c"]
    assert columns["id"].tolist() == [missing.strip(), "y", "z"]
    for name in ("mass", "kind"):
        with pytest.raises(ValueError, match=re.escape(f"the factor '{name}' has no value in 1 of 3 rows")):
            read_foreign(path, [name])


def test_a_word_that_begins_like_a_missing_value_is_a_word(tmp_path):
    (tmp_path / "a.csv").write_text("z0,kind\n1,NAD\n2,none\n")
    assert read_columns(tmp_path / "a.csv", "z")["kind"].tolist() == ["NAD", "none"]


def test_a_column_of_numbers_with_a_bad_cell_is_not_left_out_of_the_codes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y,word\n1,2,a\n3,?,b\n5,6,7\n7,8,c\n")
    with pytest.raises(
        ValueError, match=re.escape("the column 'y' holds numbers, but '?' in row 2 (the first is row 1)")
    ):
        read_foreign(path)
    assert read_foreign(path, columns=["x"]).code_names == ("x",)
