"""The README is complete and true: its tables list what there is, and its help is the command's own."""

import io
import re
import sys
from pathlib import Path

import pytest

from jaxvae.cli.main import COMMANDS, main
from jaxvae.methods import METHODS
from jaxvae.runs.baseline import BASELINES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
WIDTH = "112"
"""Columns of the terminal that the README shows."""


def section(title):
    return re.split(r"^## ", TEXT[TEXT.index(f"## {title}") + 3 :], maxsplit=1, flags=re.MULTILINE)[0]


def test_it_stays_short():
    assert len(TEXT.splitlines()) <= 190


def test_all_methods_are_listed_with_a_paper():
    rows = [line.strip("| ").split(" | ") for line in section("Methods").splitlines() if line.startswith("| `")]
    assert [name.strip("`") for name, *_ in rows] == list(METHODS)
    for _, adds, paper, use in rows:
        assert re.fullmatch(r"[A-Z].*, (19|20)\d\d", paper), paper
        assert adds
        assert use


def test_methods_that_are_recommended_exist():
    columns = [line.split("|")[2] for line in section("Which one to use").splitlines() if line.startswith("| ")][1:]
    names = [name.removeprefix("jaxvae fit ") for column in columns for name in re.findall(r"`([^`]+)`", column)]
    assert len(names) >= len(columns)
    assert [name for name in names if name not in METHODS and name not in BASELINES] == []


def test_a_table_is_trained_on_encoded_and_met_by_new_rows():
    lines = [line.partition(" #")[0].split() for line in section("Five minutes").splitlines() if "patients" in line]
    assert [line[:2] for line in lines] == [["jaxvae", "train"], ["jaxvae", "encode"], ["jaxvae", "encode"]]
    assert {"--id-column", "--label-columns", "--patience"} <= set(lines[0])
    assert [line[3] for line in lines[1:]] == ["--out", "new_patients.csv"]
    assert {"cells", "poses"} <= set(re.findall(r"experiments/(\w+)\.md", section("Five minutes")))


def test_all_commands_are_listed():
    assert re.findall(r"^\| `jaxvae (\w+)", TEXT, re.MULTILINE) == list(COMMANDS)


def test_the_help_is_the_commands_own(monkeypatch):
    shown = re.search(r"<!-- help -->\n```\n(.*?)```", TEXT, re.DOTALL)[1].splitlines()
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # others get boxes of ASCII
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit, match="0"):
        main(["train", "beta-vae", "--help"])
    terminal.seek(0)
    lines = iter(terminal.read().splitlines())
    assert [line for line in shown if line not in lines] == []  # in the same order: the iterator goes forward only
    assert sum(line.startswith("│ --") for line in shown) >= 5


@pytest.mark.parametrize("name", ["train", "test"])
def test_ci_finds_its_commands(name):
    """As .ci/run does: the block after the mark."""
    block = re.search(rf"^<!-- {name} -->\n```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[1]
    assert {"train": "jaxvae train", "test": "pytest"}[name] in block
    assert f"readme {name}" in (ROOT / ".ci/run").read_text()
