"""The README says the truth: its code runs, its commands and rooms exist."""

import re
from pathlib import Path

import pytest

from jaxvae import losses
from jaxvae.cli import COMMANDS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_commands_are_those_there_are():
    assert set(re.findall(r"^jaxvae (\w+)", TEXT, re.MULTILINE)) == set(COMMANDS)


def test_rooms_and_pictures_exist():
    for path in re.findall(r"^    ((?:jaxvae|experiments)/\S*)", TEXT, re.MULTILINE) + re.findall(
        r"\]\((\S+?)\)", TEXT
    ):
        assert (ROOT / path).exists(), path


def test_all_kernels_are_listed():
    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("| "))
    kernels = {name for name in losses.__all__ if name[0].islower()}
    assert set(re.findall(r"`(\w+)`", table)) == kernels
