"""The experiments still run: each of them for a few updates, from flags to table and figure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvae.metrics import METRICS, UNSUPERVISED

FOLDER = Path(__file__).parent.parent / "experiments"
CLAIMS = [path.stem for path in sorted(FOLDER.glob("*.py")) if "CLAIM" in path.read_text()]


def test_every_claim_has_its_results_its_row_and_its_section():
    table = (FOLDER / "README.md").read_text()
    for name in CLAIMS:
        record = json.loads((FOLDER / "results" / f"{name}.json").read_text())
        assert record["settings"]["full"] is False
        assert record["settings"]["seeds"] >= 3
        assert (FOLDER / "results" / f"{name}.png").stat().st_size > 10_000
        assert table.count(f"| [{name}.py]({name}.py) |") == 1
        assert table.count(f"### {name}.py\n") == 1


def test_the_page_of_metrics_has_the_tables_of_its_results():
    page = (FOLDER / "what_metrics_see.md").read_text()
    record = json.loads((FOLDER / "results" / "what_metrics_see.json").read_text())
    assert {"noise 1", "mixing 0.5", "cos and sin", "4 copies", "bent 1", "6 of 8 factors"} <= set(record["rows"][0])
    names = {row["metric"].partition(",")[0] for row in record["rows"]}
    assert {*METRICS, *UNSUPERVISED, "pipe"} <= names
    for name, rows in (("scores", record["rows"]), ("infomec", record["infomec"])):
        assert_the_table_has(rows, page, name)


def test_the_four_forms_of_infomec_are_in_one_table():
    """Of the same trained codes: two methods on two data sets."""
    rows = json.loads((FOLDER / "results" / "quantised_codes.json").read_text())["infomec"]
    assert len(rows) == 4 * 2 * 2
    assert len({row["form"] for row in rows}) == 4
    section = (FOLDER / "README.md").read_text().partition("### quantised_codes.py\n")[2].partition("\n### ")[0]
    assert_the_table_has(rows, section, "infomec")


def assert_the_table_has(rows, page, name):
    """Between two comments, with a column for each of its heads, and all of the rows in their order."""
    head, _, *lines = page.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- end of {name} -->")[0].split("\n")
    columns = head.strip("| ").split(" | ")
    cells = [line.strip("| ").replace("`", "").split(" | ") for line in lines]
    assert cells == [[str(row[column]) for column in columns] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_it_runs(name, tmp_path):
    size = ["--rows", "400"] if name == "what_metrics_see" else ["--steps", "20"]
    command = [sys.executable, f"{name}.py", "--seeds", "2", *size, "--results", str(tmp_path)]
    if name == "maps":
        command += ["--weights", "1", "0", "--only", "poses", "swiss roll"]
    if name == "estimator_bias":
        command += ["--pairs", "100", "--batches", "8", "64"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Claim: " in done.stdout
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["rows"]
    assert record["found"]
    assert (tmp_path / f"{name}.png").exists()
