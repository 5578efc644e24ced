"""Every document says the truth: its code runs, its commands are accepted, its links lead somewhere."""

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxvae import baselines, losses
from jaxvae.cli import compare, encode, evaluate, explore, export, figures, fit, hub, score, study
from jaxvae.cli.main import COMMANDS, main
from jaxvae.cli.train import parse_train
from jaxvae.data import CLIPS, DATA, FILES, TABLES, VARIANTS
from jaxvae.methods import METHODS
from jaxvae.metrics import BY_NAME
from jaxvae.runs.baseline import BASELINES

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "benchmarks", "experiments", "tests")
PAGES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
LIBRARIES = ["disentanglement_lib", "disentangling-vae", "pythae", "disent"]


class Text(NamedTuple):
    """A page, or a docstring."""

    name: str
    path: Path
    text: str


def docstrings():
    for path in sorted((ROOT / "jaxvae").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                name = ".".join([path.relative_to(ROOT).as_posix(), *([] if node is tree else [node.name])])
                yield Text(name, path.relative_to(ROOT), text)


TEXTS = [Text(str(path), path, (ROOT / path).read_text()) for path in PAGES] + list(docstrings())
BLOCKS = [
    pytest.param(code, text.path, id=f"{text.name}-{number}")
    for text in TEXTS
    # Blocks that build on each other: test_tutorial, test_cells, test_scanpy_notebook, test_poses
    if text.path.name not in ("tutorial.md", "cells.md", "scanpy.md", "poses.md")
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", text.text, re.DOTALL | re.MULTILINE))
]
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|\.\.\.|my_package")


def commands():
    """Command lines in blocks of code and between backticks, but those with a placeholder."""
    for text in TEXTS:
        blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text.text, re.DOTALL | re.MULTILINE)
        blocks += re.findall(r"^    +(.*)$", text.text, re.MULTILINE)
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        lines += [" ".join(code.split()) for code in re.findall(r"(?<!`)`(jaxvae [^`]+)`", text.text)]
        for line in lines:
            found = re.search(r"(?:^|&& |srun )(jaxvae \w.*)", line)
            if found and not PLACEHOLDER.search(re.sub(r"\$\w+", "", found[1])):
                yield text.name, found[1]


COMMAND_LINES = sorted(set(commands()))


def docstring(module):
    return next(text.text for text in TEXTS if text.name == f"jaxvae/{module}")


def in_first_column(text):
    cells = "\n".join(re.findall(r"^\|([^|]*)\|", text, re.MULTILINE))
    return re.findall(r"`([\w-]+)(?::\w+)?`", cells)


@pytest.mark.process
@pytest.mark.parametrize(("code", "path"), BLOCKS)
def test_python_blocks_run(code, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for library in re.findall(r"^import (equinox)", code, re.MULTILINE):
        pytest.importorskip(library)
    exec(compile(code, str(path), "exec"), {"__name__": "document"})


def test_documents_have_code_and_commands():
    places = {block.values[1].as_posix() for block in BLOCKS}
    packages = {
        f"jaxvae/{name}/__init__.py"
        for name in ("losses", "data", "metrics", "baselines", "methods", "runs", "sklearn")
    }
    assert {"README.md", *packages} <= places
    assert {command.split()[1] for _, command in COMMAND_LINES} >= {"train", "fit", "compare", "study"}


class Accepted(Exception):
    """The command line was understood."""


@pytest.mark.parametrize(("name", "line"), COMMAND_LINES)
def test_commands_are_accepted(name, line, monkeypatch):
    words = shlex.split(line, comments=True)[1:]
    assert words[0] in COMMANDS, f"{name}: {line}"
    if words[0] == "train":
        if words[-1] != "--help":
            parse_train(words[1:])
        return

    def parse_only(module):
        parse = module.parse

        def stop(*arguments):
            parse(*arguments)
            raise Accepted

        monkeypatch.setattr(module, "parse", stop)

    for module in (compare, encode, evaluate, explore, export, figures, fit, hub, score, study):
        parse_only(module)
    monkeypatch.setattr(fit, "use_compilation_cache", lambda: None)
    if words[0] == "list" or words[-1] == "--help" or words[1:] == []:
        return
    with pytest.raises(Accepted):
        main(words)


def slugs(text):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path):
    for link in re.findall(r"\]\(\s*([^)\s]+)\s*\)", (ROOT / path).read_text()):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / path.parent / file) if file else ROOT / path
        if not target.exists() or (anchor and anchor not in slugs(target.read_text())):
            yield link


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_lead_somewhere(path):
    assert list(broken(path)) == []


def test_files_that_are_named_exist():
    pattern = r"\b((?:experiments|benchmarks|tests|jaxvae)/[\w/]+\.(?:py|md|ipynb|html|png|jsonl?|parquet))\b"
    named = [(each.name, name) for each in TEXTS for name in re.findall(pattern, each.text)]
    missing = [(where, name) for where, name in named if not (ROOT / name).exists()]
    missing += [
        (each.name, module)
        for each in TEXTS
        for module in re.findall(r"python -m benchmarks\.(\w+)", each.text)
        if not (ROOT / "benchmarks" / f"{module}.py").exists()
    ]
    assert missing == []


def test_a_method_of_ones_own_takes_25_lines():
    code = re.search(r"```python\n(.*?)```", docstring("methods/__init__.py"), re.DOTALL)[1]
    assert "Objective(" in code
    assert len(code.splitlines()) <= 25


def test_all_data_is_listed():
    names = in_first_column(docstring("data/__init__.py"))
    assert set(names) - {"--data", "PATH"} == {
        *DATA,
        *CLIPS,
        *TABLES,
        *FILES,
        *(f"{look}-sprites" for look in VARIANTS),
    }


def test_all_metrics_are_listed():
    items = "\n".join(re.findall(r"^- (?:.*\n?)(?:  .*\n?)*", docstring("metrics/__init__.py"), re.MULTILINE))
    assert set(BY_NAME) <= set(re.findall(r"`(\w+)`", items))


def test_all_baselines_are_listed():
    lines = docstring("baselines/__init__.py").splitlines()
    rows = [line.split("|")[1:4] for line in lines if line.startswith("| `") and "`jaxvae fit`" not in line]
    names = {name for row in rows for name in re.findall(r"`(\w+)`", "".join(row))}
    assert names - {"extended", "tensor"} == set(baselines.__all__)
    assert sorted(row[1].strip() for row in rows) == sorted(BASELINES)


def test_all_kernels_are_listed():
    listed = docstring("losses/__init__.py").partition("## Kernels")[2]
    kernels = {name for name in losses.__all__ if name[0].islower()}
    assert set(re.findall(r"`(\w+)`", listed)) == kernels


@pytest.mark.process
def test_another_librarys_names_are_found_here():
    text = (ROOT / "experiments/migration.md").read_text()
    assert re.findall(r"^## (\S+)", text, re.MULTILINE) == LIBRARIES
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) >= 20
    for there, here, differs in rows:
        assert there.strip()
        assert differs.strip()
        names = re.findall(r"`([^`]+)`", here)
        methods = [name for name in names if name in METHODS]
        flags = [name for name in names if name.startswith("--")]
        assert [name for name in names if name not in (*methods, *flags, *BY_NAME)] == []
        assert names
        assert methods or not flags
        for method in methods:
            for flag in flags:
                parse_train([method, *flag.split(), *["1"] * (" " not in flag)])
