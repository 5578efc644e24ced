"""A comparison as CSV, LaTeX and Markdown: the numbers of the page, with the same lines in bold."""

import csv

import numpy as np

from jaxvae.report.comparison_page import best_lines
from jaxvae.report.comparison_table import comparison_csv, comparison_latex, comparison_markdown
from jaxvae.runs.compare import Column, Line

COLUMNS = [Column("mig", "mig", 1, ""), Column("error", "error", -1, ""), Column("absent", "absent", 0, "")]


def line(name, mig, error, **changes):
    values = {"mig": np.array(mig), "error": np.array(error), "absent": np.full(len(mig), np.nan)}
    given = {"data": "sprites", "note": "", "picture": None, "rows": ()}
    return Line(name, folders=tuple(map(str, range(len(mig)))), values=values, **(given | changes))


LINES = [
    line("beta-vae · beta 4", [0.3, 0.31, 0.32], [0.02, 0.021, 0.022]),
    line("vae_50%", [0.1, 0.11, 0.12], [0.01, 0.0101, 0.0102], note="1 of 3 diverged"),
    line("a|b", [0.2], [0.5]),
]


def test_csv_has_all_numbers():
    rows = list(csv.DictReader(comparison_csv(COLUMNS, LINES).splitlines()))
    assert [row["seeds"] for row in rows] == ["3", "3", "1"]
    assert float(rows[0]["mig"]) == 0.31
    np.testing.assert_allclose(float(rows[0]["mig_half_width"]), 4.302652729911275 * 0.01 / 3**0.5, rtol=1e-5)
    assert rows[2]["mig_half_width"] == rows[0]["absent"] == ""
    assert rows[1]["note"] == "1 of 3 diverged"


def test_markdown_marks_the_best_and_leaves_empty_columns_out():
    lines = comparison_markdown(COLUMNS, LINES).splitlines()
    assert lines[:2] == ["| method | seeds | mig | error |", "| --- | ---: | ---: | ---: |"]
    assert lines[2] == "| beta-vae · beta 4 | 3 | **0.31 ± 0.02** | 0.021 ± 0.002 |"
    assert lines[3] == "| vae_50% | 3 | 0.11 ± 0.02 | **0.010 ± 0.000** |"
    assert lines[4].startswith("| a\\|b | 1 | 0.20 |")
    assert lines[-1] == "Means over seeds with 95% intervals; 1 to 3 seeds per line."
    assert best_lines(COLUMNS[0], LINES) == {0}


def test_latex_escapes_names():
    text = comparison_latex(COLUMNS, LINES)
    assert r"vae\_50\% & 3 & 0.11 $\pm$ 0.02 & \textbf{0.010 $\pm$ 0.000} \\" in text
    assert r"beta-vae $\cdot$ beta 4 & 3 & \textbf{0.31 $\pm$ 0.02}" in text
    assert text.count(r"\\") == 4
    assert r"\begin{tabular}{lrrr}" in text


def test_data_are_named_where_they_differ():
    lines = [LINES[0], LINES[1]._replace(data="shapes_3d")]
    assert r"\begin{tabular}{llrrr}" in comparison_latex(COLUMNS, lines)
    assert r"& shapes\_3d & 3" in comparison_latex(COLUMNS, lines)
    assert comparison_markdown(COLUMNS, lines).startswith("| method | data | seeds |")
