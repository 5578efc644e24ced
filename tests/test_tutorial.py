"""The tutorial runs, and its notebook is in step with its page."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from jaxvae.cli.main import main
from jaxvae.training.run_folder import read_history

FOLDER = Path(__file__).parent.parent / "experiments"
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
sys.path.insert(0, str(FOLDER))
from make_notebook import notebook_of  # noqa: E402

PAGE = (FOLDER / "tutorial.md").read_text()


def test_the_notebook_is_that_of_the_page():
    committed = nbformat.read(FOLDER / "tutorial.ipynb", as_version=4)
    assert committed == notebook_of(PAGE), "run `python experiments/make_notebook.py`"


def test_every_block_is_a_cell_without_output():
    cells = [cell for cell in notebook_of(PAGE).cells if cell.cell_type == "code"]
    assert len(cells) == PAGE.count("```python\n") + PAGE.count("```sh\n")
    assert sum(cell.source.startswith("!jaxvae ") for cell in cells) == PAGE.count("```sh\n")
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def assert_that_all_is_there(printed, folder):
    for text in ("after 200 steps", "(4, 10) (4, 16, 16, 1)", "60 (16, 16, 1)", "trained for 200 steps"):
        assert text in printed
    for page in ("runs/first/report/index.html", "runs/discs/report/index.html", "comparison.html"):
        assert (folder / page).stat().st_size > 10_000
    assert read_history(folder / "runs/first")[-1]["step"] == 300
    light, heavy = (read_history(folder / f"runs/betas/beta-{beta}-seed-0")[-1] for beta in (1, 4))
    assert heavy["reconstruction"] > light["reconstruction"] + 1


@pytest.mark.process
def test_the_blocks_run_in_one_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for cell in notebook_of(PAGE).cells:
        if cell.cell_type == "code" and cell.source.startswith("!"):
            for line in cell.source.splitlines():
                main(shlex.split(line)[1:])
        elif cell.cell_type == "code":
            exec(compile(cell.source, "tutorial.md", "exec"), names)
    assert_that_all_is_there(capsys.readouterr().out, tmp_path)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = notebook_of(PAGE)
    client(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "jaxvae: " not in printed
    assert_that_all_is_there(printed, tmp_path)
