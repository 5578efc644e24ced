"""Small AnnData files."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

anndata = pytest.importorskip("anndata", reason="needs pip install 'jaxvae[anndata]'")
N, GENES = 40, 12


def cells(real=False, seed=0):
    """Negative binomial counts, the last gene without any; or real numbers."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 0.3, (N, GENES)).astype(np.float32)
    counts[:, -1] = 0
    obs = pd.DataFrame(
        {
            "type": pd.Categorical(rng.choice(["B", "T"], N)),
            "day": rng.integers(1, 4, N),
            "donor": rng.choice(["x", "y", "z"], N),
            "barcode": [f"AC{i}" for i in range(N)],
        },
        index=[f"cell{i}" for i in range(N)],
    )
    x = rng.normal(5, 2, (N, GENES)).astype(np.float32) if real else counts
    return anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(GENES)]))


def saved(tmp_path, data, kind="dense", name="cells"):
    path = tmp_path / (f"{name}.zarr" if kind.startswith("zarr") else f"{name}.h5ad")
    forms = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}
    data = data.copy()
    data.X = forms.get(kind.removeprefix("zarr-"), np.asarray)(data.X)
    data.write_zarr(path) if kind.startswith("zarr") else data.write_h5ad(path)
    return path


def x_of(table):
    return np.asarray(table.pixels)
