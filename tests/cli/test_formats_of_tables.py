"""The same numbers from Parquet, npy, CSV, AnnData and zarr give the same codes, and the same trained parameters."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from jaxvae.cli.main import main
from jaxvae.runs import load_run

pytest.importorskip("pyarrow")
anndata = pytest.importorskip("anndata")

pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:Writing zarr v2")]

N, D = 60, 7
RNG = np.random.default_rng(0)
NUMBERS = {
    "real": np.where(RNG.random((N, D)) < 0.4, 0, RNG.normal(5, 20, (N, D))).astype(np.float32),
    "count": RNG.poisson(3, (N, D)).astype(np.float32),
}
FORMATS = ("csv", "parquet", "feather", "npy", "npz", "dense.h5ad", "csr.h5ad", "csc.h5ad", "dense.zarr", "csr.zarr")
NAMES = [f"column{d}" for d in range(D)]
TINY = ["--steps", "5", "--batch-size", "16", "--latents", "2", "--network", "mlp-small", "--no-score"]


def written(folder, kind, ending):
    path, x = folder / f"{kind}.{ending}", NUMBERS[kind]
    frame = pd.DataFrame(x, columns=NAMES)
    match ending.split("."):
        case ["csv"]:
            frame.to_csv(path, index=False)
        case ["parquet"]:
            frame.to_parquet(path)
        case ["feather"]:
            frame.to_feather(path)
        case ["npy"]:
            np.save(path, x)
        case ["npz"]:
            np.savez(path, x=x, columns=NAMES)
        case [form, where]:
            matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}.get(form, np.asarray)(x)
            data = anndata.AnnData(matrix, var=pd.DataFrame(index=NAMES))
            data.write_zarr(path) if where == "zarr" else data.write_h5ad(path)
    return path


@pytest.fixture(scope="module", params=NUMBERS)
def place(request, tmp_path_factory):
    """The kind of the columns, all files, and a run that was trained from one of them."""
    place = tmp_path_factory.mktemp(request.param)
    files = {ending: written(place, request.param, ending) for ending in FORMATS}
    main(["train", "vae", "--data", str(files["parquet"]), *TINY, "--run", str(place / "run")])
    assert {column.kind for column in load_run(place / "run").source.schema.columns} == {request.param}
    return place, files


def codes_of(run, out, *data):
    main(["encode", str(run), *map(str, data), "--out", str(out)])
    return pd.read_csv(out)[["z0", "z1", "sd0", "sd1"]].to_numpy()


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_the_same_codes(ending, place, tmp_path):
    folder, files = place
    wanted = codes_of(folder / "run", tmp_path / "own.csv")
    assert wanted.std(axis=0).min() > 1e-3
    np.testing.assert_allclose(codes_of(folder / "run", tmp_path / "a.csv", files[ending]), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ending", ["csv", "npy", "dense.h5ad", "csr.h5ad", "csr.zarr"])
def test_every_format_trains_the_same_parameters(ending, place, tmp_path):
    folder, files = place
    main(["train", "vae", "--data", str(files[ending]), *TINY, "--run", str(tmp_path / "run")])
    wanted, found = load_run(folder / "run"), load_run(tmp_path / "run")
    for one, other in zip(*(jax.tree.leaves(run.state.params) for run in (wanted, found)), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)
    for one, other in zip(wanted.source.schema.columns, found.source.schema.columns, strict=True):
        assert (other.name, other.kind) == (one.name, one.kind)
        assert other.mean == pytest.approx(one.mean, rel=1e-6)
        assert other.scale == pytest.approx(one.scale, rel=1e-6)
