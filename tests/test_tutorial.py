"""The tutorial runs: all its blocks, in order, in one folder."""

import re
import shlex
from pathlib import Path

import pytest

from jaxvae.cli.main import main
from jaxvae.training.run_folder import read_history

pytestmark = pytest.mark.process

TEXT = (Path(__file__).parent.parent / "experiments/tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def run_shell(block):
    """Each line as the installed command would run it, in this process: what it calls is `main`."""
    for line in block.splitlines():
        command, *arguments = shlex.split(line)
        if command != "jaxvae":
            raise AssertionError(f"only jaxvae's own commands are run here, not {line!r}")
        main(arguments)


def test_all_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "tutorial"}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "tutorial.md", "exec"), names)
        elif block.strip() != "pip install .":  # the one exception: it is installed, or this would not run
            assert language == "sh", f"a block that nobody runs: {block}"
            run_shell(block)
    printed = capsys.readouterr().out
    assert "after 200 updates" in printed
    assert "60 (16, 16, 1)" in printed
    for page in ("runs/first/report/index.html", "runs/discs/report/index.html", "comparison.html"):
        assert (tmp_path / page).stat().st_size > 10_000
    light, heavy = (read_history(tmp_path / f"runs/betas/beta-{beta}-seed-0")[-1] for beta in (1, 4))
    assert heavy["reconstruction"] > light["reconstruction"] + 1
    assert names["state"].step == 200
