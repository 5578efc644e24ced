"""Generates the notebooks of tutorial.md and scanpy.md (needs `pip install jupytext`).

python experiments/make_notebook.py
"""

from pathlib import Path
from typing import Any

SOURCES = tuple(Path(__file__).parent / name for name in ("tutorial.md", "scanpy.md"))
SHELL = "%%sh\n"


def notebook_of(page: str) -> Any:
    """The notebook of a page: each block of Python is a cell, and shell commands start with an exclamation mark."""
    import jupytext

    notebook = jupytext.reads(page, fmt="md")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # random ones would change the file at every run
        if cell.cell_type == "code" and cell.source.startswith(SHELL):
            cell.source = "\n".join(f"!{line}" for line in cell.source.removeprefix(SHELL).splitlines())
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    import nbformat

    for source in SOURCES:
        nbformat.write(notebook_of(source.read_text("utf-8")), source.with_suffix(".ipynb"))
