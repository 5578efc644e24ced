"""The notebook for scanpy users is in step with its page, and runs where scanpy is installed."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "experiments"
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
sys.path.insert(0, str(FOLDER))
from make_notebook import notebook_of  # noqa: E402

PAGE = (FOLDER / "scanpy.md").read_text()
TYPES = 6


def test_the_notebook_is_that_of_the_page():
    committed = nbformat.read(FOLDER / "scanpy.ipynb", as_version=4)
    assert committed == notebook_of(PAGE), "run `python experiments/make_notebook.py`"


@pytest.mark.process
def test_the_notebook_runs(tmp_path, monkeypatch):
    pytest.importorskip("scanpy", reason="needs pip install scanpy, about 300 MB with its dependencies")
    client = pytest.importorskip("nbclient").NotebookClient
    import anndata
    import numpy as np

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Pictures of the notebook are its outputs, and its kernel is that of this Python.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = notebook_of(PAGE)
    client(notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    printed = "".join(output.get("text", "") for output in outputs)
    assert "(1000, 16)" in printed
    assert "(50, 16)" in printed

    encoded = anndata.read_h5ad(tmp_path / "encoded.h5ad")
    assert encoded.obsm["X_umap"].shape == (1000, 2)
    assert {"type", "batch"} <= set(encoded.obs)
    known = encoded.uns["jaxvae"]
    genes = {gene for names in known["top_genes"].values() for gene in names}
    assert genes <= set(encoded.var_names)
    # Neighbours in the code are of one type, and of both batches.
    graph = encoded.obsp["connectivities"].tocoo()
    same = {
        name: np.average(
            encoded.obs[name].to_numpy()[graph.row] == encoded.obs[name].to_numpy()[graph.col], weights=graph.data
        )
        for name in ("type", "batch")
    }
    assert same["type"] > 0.5, same  # 0.17 by chance
    assert same["batch"] < 0.6, same  # 0.5 by chance
    assert known["scores"]["type"]["LMS-SMI"] > 0.25
