"""The page on poses over time runs, in the order of its blocks."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from experiments.simulated_poses import pose_windows
from jaxvae.cli.main import main

pytest.importorskip("pyarrow", reason="needs pip install 'jaxvae[tables]'")
PAGE = (Path(__file__).parent.parent / "experiments/poses.md").read_text()
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.process
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "poses.md", "exec"), names)
            continue
        for line in block.splitlines():
            main(shlex.split(line)[1:])
    printed = capsys.readouterr().out
    assert "(1200, 26)" in printed
    assert re.search(r"vae-sne on poses \((800|1,000) rows, (200|400) for testing\)", printed)
    assert float(re.search(r"clusters; (\S+) of the windows", printed)[1]) > 0.8
    assert list(names["strength"].shape) == [8, 4]
    page = (tmp_path / "runs/series/report/index.html").read_text()
    for text in ("Series and reconstructions", "What each latent changes", "over time for 5 values of latent"):
        assert text in page
    assert "typical if its mean in the cluster is far from" in (tmp_path / "runs/poses/report/index.html").read_text()
    assert "Latents and groups" in (tmp_path / "runs/joints/report/index.html").read_text()


@pytest.mark.process
def test_the_experiments_have_the_windows_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for _, block in [each for each in BLOCKS if each[0] == "python"][:2]:
        exec(compile(block, "poses.md", "exec"), names)
    table, windows = names["table"], pose_windows()
    assert sorted(windows) == sorted(table.columns)
    for name, values in windows.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, table[name], rtol=1e-12)
        else:
            assert values.tolist() == table[name].tolist()
