"""The experiments still run: each of them for a few updates, from flags to table and figure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
