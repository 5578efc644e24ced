"""`jaxvae encode --out FILE.h5ad` writes what `jaxvae.anndata.train` writes into an object."""

import json

import numpy as np
import pytest

from jaxvae.anndata import train
from jaxvae.cli.main import main
from jaxvae.files import read_json, write_json
from jaxvae.runs.load import load_run
from jaxvae.runs.score import SCORES, evaluate, represent
from tests.data.anndata_cells import anndata, cells, saved

pytestmark = pytest.mark.process

TINY = ["--latents", "4", "--hidden", "8", "--steps", "4", "--batch-size", "16", "--no-score"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A file of cells, and a run of it with scores."""
    place = tmp_path_factory.mktemp("annotations")
    data = f"anndata:{saved(place, cells())}"
    roles = ["--label-columns", "type", "donor", "--covariates", "donor"]
    main(["train", "drvi", "--data", data, *roles, *TINY, "--run", str(place / "run")])
    run = load_run(place / "run")
    evaluate(run, represent(run, 40), ["sap"])
    return place


def known_of(place, *words):
    main(["encode", str(place / "run"), *words, "--out", str(place / "codes.h5ad")])
    return anndata.read_h5ad(place / "codes.h5ad").uns["jaxvae"]


def test_the_file_has_what_training_in_python_writes(place):
    data = cells()
    train(data, batch="donor", labels=["type"], latents=4, hidden=(8,), steps=4, batch_size=16)
    wanted, found = data.uns["jaxvae"], known_of(place)
    assert set(wanted) <= set(found)
    assert found["method"] == "drvi"
    assert json.loads(found["settings"])["networks"] == json.loads(wanted["settings"])["networks"]
    assert set(found["scores"]) == {"type"}  # the donor is a covariate
    assert found["scores"]["type"] == pytest.approx(wanted["scores"]["type"], abs=1e-4)
    np.testing.assert_allclose(found["kl"], wanted["kl"], atol=1e-5)
    np.testing.assert_array_equal(found["order"], wanted["order"])
    assert {name: list(genes) for name, genes in found["top_genes"].items()} == {
        name: list(genes) for name, genes in wanted["top_genes"].items()
    }
    assert (found["step"], found["data"]) == (4, "cells")


def test_scores_of_the_run_are_in_the_file_if_they_are_of_its_step(place):
    scores = read_json(place / "run" / SCORES)
    assert json.loads(known_of(place)["run_scores"]) == scores
    write_json(place / "run" / SCORES, {**scores, "step": 3})
    assert "run_scores" not in known_of(place)
    (place / "run" / SCORES).write_text("{")
    assert "run_scores" not in known_of(place)


def test_labels_of_other_cells_are_scored_where_they_are_known(place):
    data = cells(seed=1)
    data.obs["type"] = data.obs["type"].astype(object)
    data.obs.loc[data.obs.index[:9], "type"] = np.nan
    found = known_of(place, f"anndata:{saved(place, data, name='others')}")
    assert 0 <= found["scores"]["type"]["LMS-SMI"] <= 1
