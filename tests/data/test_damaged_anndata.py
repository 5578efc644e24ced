"""AnnData files that are packed, damaged, or no AnnData files: the right values, or one line."""

import gzip
import importlib.util
import shutil

import h5py
import numpy as np
import pytest

from jaxvae.data import open_data
from jaxvae.data.anndata import anndata_file
from tests.data.anndata_cells import GENES, N, cells, saved, x_of

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2")


def test_anndata_is_asked_for(tmp_path, monkeypatch):
    path = saved(tmp_path, cells())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"cells.h5ad: .h5ad files need anndata: pip install 'jaxvae\[anndata\]'$"):
        anndata_file(path)


def test_packed_files_are_read(tmp_path):
    path = saved(tmp_path, cells(), "csr")
    packed = tmp_path / "cells.h5ad.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    np.testing.assert_array_equal(x_of(open_data(str(packed))), x_of(open_data(str(path))))
    assert open_data(str(packed)).name == "cells"


def only_arrays(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)


def without_names(path):
    with h5py.File(path, "r+") as file:
        del file["var"]
        file["var"] = np.zeros(GENES)


def beyond_the_shape(path):
    with h5py.File(path, "r+") as file:
        file["X/indices"][7] = 10**6


def elsewhere(path):
    shutil.copy(path, path.with_name("other.h5ad"))
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(path.with_name("other.h5ad"), "X")


def words(path):
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.full((N, GENES), b"word")


def of_another_shape(path):
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.zeros((N, 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "can't be read, it may be cut off"),
        (lambda path: path.write_bytes(b""), "not an hdf5 file: it is empty"),
        (lambda path: path.write_text("<html>"), "not an hdf5 file: it is a web page"),
        (only_arrays, "there is no 'obs' in it: it is no AnnData file"),
        (without_names, "its 'var' is not a table: write the file again"),
        (beyond_the_shape, "can't be read, it may be cut off"),
        (elsewhere, "'X' is kept in another file, which is not read"),
        (words, "X has values of type .S4: it must hold numbers"),
        (of_another_shape, r"X has the shape \(40, 3\), and obs and var have \(40, 12\)"),
    ],
)
def test_damaged_files_are_named(damage, message, tmp_path):
    damage(path := saved(tmp_path, cells(), "csr"))
    with pytest.raises(ValueError, match=f"cells.h5ad: {message}") as caught:
        anndata_file(path)
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_folders_are_named(tmp_path):
    path = saved(tmp_path, cells(), "zarr-csr")
    for file in (path / "X/data").rglob("*"):
        if file.is_file() and file.suffix != ".json" and not file.name.startswith("."):
            file.write_bytes(b"?")
    with pytest.raises(ValueError, match="cells.zarr: can't be read, it may be cut off"):
        anndata_file(path)
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ValueError, match="empty.zarr: this folder is no zarr file"):
        open_data(str(tmp_path / "empty.zarr"))
    (tmp_path / "cells.h4").touch()
    with pytest.raises(ValueError, match="cells.h4: AnnData comes from .h5ad files and .zarr folders, not from '.h4'"):
        open_data(f"anndata:{tmp_path / 'cells.h4'}")


def outcome(path):
    """The table, or the message of why there is none."""
    try:
        return anndata_file(path)
    except ValueError as error:
        return str(error)


def test_bytes_that_changed_end_in_numbers_or_one_line(tmp_path):
    path = saved(tmp_path, cells(), "csr")
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        match outcome(path):
            case str(message):
                refused += 1
                assert message.startswith(f"{path}: ")
                assert len(message.splitlines()) == 1
            case table:
                assert np.isfinite(x_of(table)).all()
    assert refused > 10
