"""The page on cells and genes runs, in the order of its blocks."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main

pytest.importorskip("anndata", reason="needs pip install 'jaxvae[anndata]'")
PAGE = (Path(__file__).parent.parent / "experiments/cells.md").read_text()
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "cells.md", "exec"), names)
            continue
        for line in block.splitlines():
            main(shlex.split(line)[1:])
    printed = capsys.readouterr().out
    assert re.search(r"^ +300 count ", printed, re.MULTILINE)
    assert "(1000, 10)" in printed
    assert float(re.search(r"adjusted Rand index (\S+)", printed)[1]) > 0.8
    new = pd.read_csv("new-codes.csv")
    np.testing.assert_allclose(new[[f"z{d}" for d in range(10)]], names["means"][:100], atol=1e-5)
    np.testing.assert_allclose(names["codes"].obsm["X_jaxvae"], names["means"], atol=1e-5)
    for run in ("cells", "map"):
        assert (tmp_path / f"runs/{run}/report/index.html").stat().st_size > 10_000
