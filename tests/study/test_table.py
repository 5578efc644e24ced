"""Tables of a study: today's numbers for those of the former order, and what is no table."""

import json
from pathlib import Path

import pytest

from jaxvae.cli.main import main
from jaxvae.study.grid import model_of
from jaxvae.study.shard import ABOUT, write_shard
from jaxvae.study.table import merge_tables, read_study, read_table, write_table
from tests.study.fake_study import GRID

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "study" / "small.parquet"
FORMER = GRID._replace(sweeps=(GRID.sweeps[0], GRID.sweeps[5], *GRID.sweeps[1:5]))
"""The grid of version 0.1, with AnnealedVAE second."""
ROWS = [
    {**model_of(GRID, number)._asdict(), "failure": "", "steps": 5000, "seconds": 1.0} for number in range(GRID.size)
]
FORMER_ROWS = [{**row, **model_of(FORMER, number)._asdict()} for number, row in enumerate(ROWS)]


def about(grid=GRID, **changes):
    return {"preset": "small", "grid": json.dumps(grid), "code": "x"} | changes


def test_the_former_order_of_methods_gets_todays_numbers(tmp_path):
    assert FORMER_ROWS[15]["method"] == "annealed-vae"
    halves = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, rows in zip(halves, (FORMER_ROWS[:50], FORMER_ROWS[50:]), strict=True):
        write_table(path, rows, about(FORMER))
    assert read_table(halves[0])[0][15]["method"] == "annealed-vae"
    merged, said = merge_tables(halves)
    assert merged == ROWS
    assert said == about()


def test_a_grid_with_other_settings_is_another_study_in_any_order(tmp_path):
    other = about(FORMER._replace(settings={**GRID.settings, "steps": 1}))
    write_table(tmp_path / "a.parquet", FORMER_ROWS, other)
    assert read_study(tmp_path / "a.parquet") == (ROWS, other)


def test_the_committed_table_has_the_numbers_of_today():
    rows, said = read_table(COMMITTED)
    assert [row["number"] for row in rows] == list(range(180))
    for row in rows:
        assert model_of(GRID, row["number"])._asdict().items() <= row.items()
    assert json.loads(said["grid"]) == json.loads(json.dumps(GRID))


def test_a_folder_of_the_former_order_is_not_continued(tmp_path):
    (tmp_path / ABOUT).write_text(json.dumps(about(FORMER)))
    with pytest.raises(ValueError, match=r"grid, .* changed\): choose another --folder, as its models are numbered in"):
        write_shard("small", range(1), tmp_path)


def changed(**values):
    return [ROWS[0] | values, *ROWS[1:]]


@pytest.mark.parametrize(
    ("rows", "said", "message"),
    [
        (ROWS, about(preset="huge"), "unknown preset 'huge'"),
        (ROWS, about(preset=["small"]), "unknown preset"),
        (ROWS, {}, "unknown preset 'None'"),
        (ROWS, ["x"], "its description is a list"),
        ([], about(), "it has no rows"),
        ([{"number": 1}], about(), "it has no column 'data'"),
        ([{k: v for k, v in row.items() if k != "seconds"} for row in ROWS], about(), "it has no column 'seconds'"),
        (ROWS[:3] * 2, about(), "model 0 is there twice"),
        (changed(strength=3.0), about(), "got 3.0 and 0"),
        (changed(strength=float("nan")), about(), "got nan and 0"),
        (changed(strength=None), about(), "column 'strength' holds 'None' where a number is expected"),
        (changed(failure=None), about(), "column 'failure' holds 'None' where a word is expected"),
        ([row | {"seed": 0.5} for row in ROWS], about(), "seeds are whole numbers, got 0.5"),
        ([row | {"mean/mig": [0.5]} for row in ROWS], about(), "column 'mean/mig' holds '\\[0.5\\]'"),
        (ROWS, about(preset="tiny"), "got 4.0 and 0|got 1.0 and 2"),
    ],
)
def test_tables_of_other_shapes_are_refused_in_a_line(rows, said, message, tmp_path, capsys):
    path = tmp_path / "table.parquet"
    write_table(path, rows, said)
    with pytest.raises(ValueError, match=message):
        read_study(path)
    with pytest.raises(SystemExit):
        main(["study", "report", str(path), "--out", str(tmp_path / "page.html")])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jaxvae: {path} is not a table of a study")
    assert not (tmp_path / "page.html").exists()
