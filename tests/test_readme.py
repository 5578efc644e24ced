"""The README says the truth: its code runs, its commands and rooms exist."""

import re
from pathlib import Path

import pytest

from jaxvae import baselines, losses
from jaxvae.cli.main import COMMANDS
from jaxvae.cli.train import parse_train
from jaxvae.data import CLIPS, DATA, FILES, TABLES, VARIANTS
from jaxvae.methods import METHODS
from jaxvae.metrics import METRICS
from jaxvae.runs.baseline import BASELINES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
LIBRARIES = {"disentanglement_lib", "disentangling-vae", "pythae", "disent"}


@pytest.mark.process
@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_a_method_of_ones_own_takes_25_lines():
    code = re.search(r"```python\n(.*?)```", section("A method of your own"), re.DOTALL)[1]
    assert "Objective(" in code
    assert len(code.splitlines()) <= 25


def section(title):
    return re.split(r"^## ", TEXT[TEXT.index(f"## {title}") + 3 :], maxsplit=1, flags=re.MULTILINE)[0]


def test_all_methods_are_listed():
    assert re.findall(r"^\| `([\w-]+)` \|", section("The methods"), re.MULTILINE) == list(METHODS)


def test_all_data_is_listed():
    names = re.findall(
        r"`([\w-]+)(?::\w+)?`", "\n".join(re.findall(r"^\|([^|]*)\|", section("The data"), re.MULTILINE))
    )
    assert set(names) - {"--data"} == {*DATA, *CLIPS, *TABLES, *FILES, *(f"{look}-sprites" for look in VARIANTS)}


def test_commands_are_those_there_are():
    assert set(re.findall(r"^jaxvae (\w+)", TEXT, re.MULTILINE)) == set(COMMANDS)


def test_rooms_and_pictures_exist():
    for path in re.findall(r"^    ((?:jaxvae|experiments)/\S*)", TEXT, re.MULTILINE) + re.findall(
        r"\]\((\S+?)\)", TEXT
    ):
        assert (ROOT / path).exists(), path


def test_all_baselines_are_listed():
    table = "\n".join(line for line in section("Baselines").splitlines() if line.startswith("| "))
    assert set(re.findall(r"`(\w+)`", table)) - {"extended"} == set(baselines.__all__)
    named = [name for line in table.splitlines()[1:] for name in line.split("|")[2].strip().split(", ")]
    assert sorted(named) == sorted(BASELINES)


def test_all_kernels_are_listed():
    table = "\n".join(line for line in section("The losses").splitlines() if line.startswith("| "))
    kernels = {name for name in losses.__all__ if name[0].islower()}
    assert set(re.findall(r"`(\w+)`", table)) == kernels


def test_another_librarys_names_are_found_here():
    rows = [line.split("|")[1:4] for line in section("Coming from another library").splitlines() if "`" in line]
    assert {name for there, _, _ in rows for name in re.findall(r"\*\*([\w-]+)\*\*", there)} == LIBRARIES
    for there, here, differs in rows:
        assert there.strip()
        assert differs.strip()
        names = re.findall(r"`([^`]+)`", here)
        methods = [name for name in names if name in METHODS]
        flags = [name for name in names if name.startswith("--")]
        assert [name for name in names if name not in (*methods, *flags, *METRICS)] == []
        assert names
        assert methods or not flags
        for method in methods:
            for flag in flags:
                parse_train([method, *flag.split(), *["1"] * (" " not in flag)])
