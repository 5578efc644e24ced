"""Groups of columns: by prefix, by a file, or each its own."""

import numpy as np
import pytest

from jaxvae.networks import column_groups, content_of_groups, groups_as_text
from jaxvae.schema import Column, Schema

COLUMNS = Schema(
    (
        Column("arm_left_x", "real"),
        Column("id", "identifier"),
        Column("city", "categorical", values=("Bern", "Oslo", "Rome")),
        Column("arm_left_y", "real"),
        Column("leg.x", "count"),
        Column("_hidden", "binary", values=("0", "1")),
    )
)


def test_each_column_is_a_group_by_default_with_all_of_its_entries():
    want = {"arm_left_x": [0], "city": [1, 2, 3], "arm_left_y": [4], "leg.x": [5], "_hidden": [6]}
    assert column_groups(COLUMNS) == want


def test_prefixes_end_at_the_last_separator():
    want = {"arm_left": [0, 4], "city": [1, 2, 3], "leg": [5], "_hidden": [6]}
    assert column_groups(COLUMNS, "prefix") == want


def test_a_file_groups_columns(tmp_path):
    path = tmp_path / "groups.csv"
    rows = [
        "column, group",
        "leg.x,limbs",
        "city,rest",
        "arm_left_x,limbs",
        "arm_left_y, limbs",
        "_hidden,rest",
        "age,no",
    ]
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    groups = column_groups(COLUMNS, str(path))
    assert groups == {"limbs": [0, 4, 5], "rest": [1, 2, 3, 6]}
    content = content_of_groups(str(path))
    assert column_groups(COLUMNS, content) == groups  # as the run keeps it
    assert content_of_groups(content) == content
    group_of = {"leg.x": "a", "city": 'b, "c"', "arm_left_x": "a", "arm_left_y": "a", "_hidden": "a"}
    assert column_groups(COLUMNS, groups_as_text(group_of)) == {"a": [0, 4, 5, 6], 'b, "c"': [1, 2, 3]}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(groups.values()))), np.arange(COLUMNS.width))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("column,group\narm_left_x,a\n", r"no group for 'city', 'arm_left_y', 'leg.x', '_hidden': add a row"),
        ("column,group\ncity,a\ncity,b\n", "names the column 'city' twice"),
        ("name,group\ncity,a\n", "no column or no group in row 2"),
        ("column,group\ncity,\n", "no column or no group in row 2"),
        ("column,group\n", "has no rows"),
        ("", "has no rows"),
        (None, 'takes the word prefix, or a CSV file with the header "column,group"; there is no file'),
    ],
)
def test_a_file_that_is_wrong_is_refused(text, message, tmp_path):
    path = tmp_path / "groups.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        column_groups(COLUMNS, str(path))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "groups.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="cannot be read"):
        column_groups(COLUMNS, str(tmp_path / "groups.csv"))
