"""The page of a method is its module's docstring: it has all sections, and its numbers are those that were measured."""

import ast
import html
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxvae.methods import METHODS

ROOT = Path(__file__).parent.parent
SECTIONS = ["Equation", "When to use", "Presets", "Measured here"]
PAGES = {entry.build.__module__: sys.modules[entry.build.__module__] for entry in METHODS.values()}
NUMBER = re.compile(r"(-?\d[\d,]*\.?\d*)\s*±\s*(\d+\.?\d*)")


def sections(page):
    """Heading -> text; what is before the first is left out."""
    parts = re.split(rf"^({'|'.join(SECTIONS)})\.", PAGES[page].__doc__, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def measured(path):
    """Pairs of mean and half width in the results of an experiment, and in its section of the page."""
    parts = re.split(r"^#+ (.*)$", (ROOT / "experiments/README.md").read_text(), flags=re.MULTILINE)
    section = dict(zip(parts[1::2], parts[2::2], strict=True))[path.name]
    results = ROOT / "experiments/results" / f"{path.stem}.json"
    text = section + json.dumps(json.loads(results.read_text()), ensure_ascii=False)
    return [tuple(map(float, pair)) for pair in NUMBER.findall(text)]


def close(claimed, value):
    """Whether a number, as it is written, is a value rounded to its digits."""
    return abs(float(claimed) - value) <= 0.501 * 10 ** -len(claimed.partition(".")[2])


@pytest.mark.parametrize("page", PAGES)
def test_sections_are_there_in_order(page):
    found = sections(page)
    assert [heading for heading, _ in found] == SECTIONS
    assert all(len(text.strip()) > 20 for _, text in found)
    assert re.search(r"^    \S.*=", found[0][1], re.MULTILINE), "the equation is an indented block"


@pytest.mark.parametrize("name", METHODS)
def test_every_preset_is_explained(name):
    text = dict(sections(METHODS[name].build.__module__))["Presets"]
    assert [preset for preset in METHODS[name].presets if not re.search(rf"\b{preset}[:,]", text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_what_was_measured_is_there(page):
    text = dict(sections(page))["Measured here"]
    files = [ROOT / name for name in re.findall(r"\b(?:experiments|benchmarks)/\w+\.\w+", PAGES[page].__doc__)]
    assert files
    assert [path for path in files if not path.exists()] == []
    known = [pair for path in files if path.parent.name == "experiments" for pair in measured(path)]
    assert NUMBER.search(text)
    for mean, width in NUMBER.findall(text):
        assert any(close(mean, a) and close(width, b) for a, b in known), f"{mean} ± {width}"


@pytest.mark.parametrize("name", METHODS)
def test_every_hyperparameter_says_what_it_is(name):
    fields = ast.parse(inspect.getsource(METHODS[name].hyperparameters)).body[0].body[1:]
    silent = [
        line.target.id
        for line, after in zip(fields, [*fields[1:], None], strict=True)
        if isinstance(line, ast.AnnAssign) and not (isinstance(after, ast.Expr) and after.value.value.strip())
    ]
    assert silent == []


@pytest.mark.process
def test_pages_need_no_more_than_their_extra():
    """Every module can be imported, as pdoc does, where the packages of other extras are not there."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    there = {"docs", *re.findall(r"jaxvae\[(\w+)\]", " ".join(extras["docs"]))}

    def packages(names):
        lines = [line for name in names for line in extras[name]]
        return {re.split(r"[\[>=]", line)[0].replace("-", "_") for line in lines}

    others = packages({*extras} - {*there, "dev"}) - packages(there) - {"jax"}
    assert {"h5py", "grain", "wandb", "tensorboardX"} <= others
    code = f"""import importlib, pkgutil, sys, jaxvae
sys.modules.update(dict.fromkeys({sorted(others)}))
for module in pkgutil.walk_packages(jaxvae.__path__, "jaxvae."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="needs pip install pdoc")
    # The README's command has source code and a search as well, and takes twice as long.
    options = ["-d", "google", "--no-show-source", "--no-search", "-o", str(tmp_path)]
    command, eager = [sys.executable, "-m", "pdoc", *options, "jaxvae"], {**os.environ, "EAGER_IMPORT": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=eager)
    assert (done.returncode, done.stderr) == (0, "")
    assert "load_own_run" in (tmp_path / "jaxvae/runs.html").read_text()
    for name in PAGES:
        assert (tmp_path / f"{name.replace('.', '/')}.html").exists(), name
    assert "EAGER_IMPORT=1 pdoc -d google jaxvae" in (ROOT / "README.md").read_text()
    training = (tmp_path / "jaxvae/training.html").read_text()
    assert "<li><strong>batch_size:</strong>  Number of examples per step" in training
    assert '<h2 id="devices">' in training
    assert "<td><code>scene</code></td>" in (tmp_path / "jaxvae/data.html").read_text()
    page = (tmp_path / "jaxvae/methods/beta_vae.html").read_text()
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    for text in ("Equation.", "When to use.", "Measured here.", "beta: float = 4.0", "Weight of the KL, >= 0."):
        assert text in shown
