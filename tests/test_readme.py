"""The README says the truth: its code runs, its commands and rooms exist."""

import re
from pathlib import Path

import pytest

from jaxvae import losses
from jaxvae.cli import COMMANDS
from jaxvae.methods import METHODS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_a_method_of_ones_own_takes_25_lines():
    section = TEXT[TEXT.index("## A method of your own") :]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert "Objective(" in code
    assert len(code.splitlines()) <= 25


def test_all_methods_are_listed():
    rows = re.findall(r"^\| `([\w-]+)` \|", TEXT, re.MULTILINE)
    assert rows == list(METHODS)


def test_commands_are_those_there_are():
    assert set(re.findall(r"^jaxvae (\w+)", TEXT, re.MULTILINE)) == set(COMMANDS)


def test_rooms_and_pictures_exist():
    for path in re.findall(r"^    ((?:jaxvae|experiments)/\S*)", TEXT, re.MULTILINE) + re.findall(
        r"\]\((\S+?)\)", TEXT
    ):
        assert (ROOT / path).exists(), path


def test_all_kernels_are_listed():
    section = TEXT[TEXT.index("## The losses") : TEXT.index("## The methods")]
    table = "\n".join(line for line in section.splitlines() if line.startswith("| "))
    kernels = {name for name in losses.__all__ if name[0].islower()}
    assert set(re.findall(r"`(\w+)`", table)) == kernels
