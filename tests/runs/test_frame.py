"""Runs as rows of a DataFrame."""

import shutil
from pathlib import Path

import pytest

from jaxvae.runs import table
from jaxvae.training.run_folder import RunFolderError

pytest.importorskip("pandas", reason="needs pip install pandas")
OLDER = Path(__file__).parent / "version_0_1"


def test_runs_of_methods_and_baselines_are_rows(tmp_path):
    shutil.copytree(OLDER, tmp_path / "runs")
    frame = table(tmp_path / "runs").set_index("method")
    assert sorted(frame.index) == ["beta-vae", "pca"]
    row = frame.loc["beta-vae"]
    assert (row["step"], row["seed"]) == (6, 0)
    assert row["run"] == str(tmp_path / "runs" / "beta-vae")
    assert 0 <= row["mig"] <= 1
    assert row["reconstruction_error"] > 0
    assert row["last_loss"] > 0
    assert row["seconds"] > 0
    assert row["latents"] > 0
    assert row["beta"] > 0
    assert frame.loc["pca"].isna()["beta"]
    scores = tmp_path / "runs" / "beta-vae" / "scores.json"
    scores.write_text(scores.read_text().replace('"step": 6', '"step": 4'))
    assert "mig" not in table(tmp_path / "runs" / "beta-vae")  # a score of an earlier checkpoint is not of this one
    assert len(table([tmp_path / "runs" / "pca", str(tmp_path / "runs" / "beta-vae")])) == 2


def test_what_is_no_run_is_said(tmp_path, monkeypatch):
    with pytest.raises(RunFolderError, match="there is no run in"):
        table(tmp_path)
    monkeypatch.setattr("jaxvae.runs.frame.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install 'jaxvae\\[tables\\]'"):
        table(tmp_path)
