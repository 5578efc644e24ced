"""AnnData objects in memory: the tables of their files, training and encoding, and what is wrong in one line."""

import json

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from jaxvae.anndata import encode, train
from jaxvae.data.anndata import NotCounts, anndata_file
from jaxvae.data.anndata_object import anndata_object
from jaxvae.data.tabular import Columns
from jaxvae.runs.score import represent, score
from jaxvae.schema import schema_of
from tests.data.anndata_cells import GENES, N, anndata, cells, saved, x_of

pytestmark = pytest.mark.process

TINY = {"latents": 4, "hidden": (8,), "steps": 4, "batch_size": 16}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_an_object_is_the_table_of_its_file(form, tmp_path):
    data = cells()
    data.X = form(data.X)
    ours = anndata_object(data, columns=Columns(labels=("type", "day")))
    theirs = anndata_file(saved(tmp_path, cells()), None, Columns(labels=("type", "day")))
    np.testing.assert_array_equal(x_of(ours), x_of(theirs))
    np.testing.assert_array_equal(ours.factors, theirs.factors)
    assert ours.schema.columns == theirs.schema.columns
    assert list(ours.ids) == list(data.obs_names)


def test_size_factors_are_in_any_unit():
    data = cells()
    data.obs["size"] = data.X.sum(axis=1)
    one = np.asarray(anndata_object(data, size_factor="size").extras["log_size"])
    np.testing.assert_allclose(one, np.log(data.X.sum(axis=1)), rtol=1e-5)
    data.obs["size"] /= 1e4
    np.testing.assert_allclose(anndata_object(data, size_factor="size").extras["log_size"], one, rtol=1e-5)
    data.obs.loc["cell3", "size"] = 0.0
    with pytest.raises(ValueError, match="must be positive numbers, and 1 of 40 in 'size' are not"):
        anndata_object(data, size_factor="size")


def test_what_is_wrong_is_said_in_one_line():
    data = cells()
    with pytest.raises(ValueError, match="there is no layer 'counts', and no other"):
        anndata_object(data, "counts")
    with pytest.raises(ValueError, match="size"):
        anndata_object(data, size_factor="size")
    with pytest.raises(ValueError, match="tipe.*type"):
        train(data, labels=["tipe"], **TINY)
    with pytest.raises(ValueError, match="vae.*covariates"):
        train(data, "vae", batch="donor", steps=2)
    with pytest.raises(ValueError, match="size factors are for drvi, and vae does not use them"):
        train(data, "vae", size_factor="size")
    data.X[[2, 5]] = 0
    with pytest.raises(ValueError, match="2 rows have no counts at all: 'cell2', 'cell5'"):
        train(data, **TINY)
    fractional = cells()
    fractional.X = fractional.X * 0.5
    with pytest.warns(NotCounts, match="% of the values other than 0 are no whole numbers"):
        anndata_object(fractional)


def test_codes_settings_scores_and_genes_are_written(tmp_path):
    data = cells()
    data.layers["counts"] = sparse.csr_matrix(data.X)
    data.X = np.log1p(data.X)
    data.obs["size"] = np.linspace(1, 2, N)
    run = train(data, batch="donor", labels=["type"], layer="counts", size_factor="size", seed=3, **TINY)
    assert data.obsm["X_jaxvae"].shape == (N, 4)
    known = data.uns["jaxvae"]
    assert known["method"] == "drvi"
    assert json.loads(known["settings"])["batches"] == {"covariates": ["donor"]}
    assert set(known["scores"]) == {"type"}
    assert 0 <= known["scores"]["type"]["LMS-SMI"] <= 1
    assert sorted(known["order"]) == list(range(4))
    assert set(np.concatenate([*known["top_genes"].values(), []])) <= set(data.var_names[:-1])
    data.write_h5ad(tmp_path / "out.h5ad")
    again = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(again.obsm["X_jaxvae"], data.obsm["X_jaxvae"])

    new = data[:7, ::-1].copy()
    np.testing.assert_allclose(encode(run, new, layer="counts"), data.obsm["X_jaxvae"][:7], atol=1e-5)
    codes = represent(run, 20)
    assert score(run, codes, ["class_matching"])["metrics"]["class_matching"]["score"] >= 0
    assert run.decoder(codes.mean).shape == (20, GENES - 1)


def test_other_methods_and_validation():
    data = cells()
    data.obs["when"] = pd.Categorical(["a", "b"] * (N // 2))
    run = train(data, "vae", labels=["when"], latents=2, steps=4, batch_size=16, validation=0.25, validate_every=2)
    assert run.held_out.source.size == 10
    assert any("validation_loss" in row for row in run.history)
    assert data.obsm["X_jaxvae"].shape == (N, 2)
    assert "top_genes" not in data.uns["jaxvae"]


def test_flags_of_the_data_act():
    data = cells()
    data.obs["part"] = ["validation"] * 6 + ["train"] * (N - 6)
    groups = train(data, "vae", group_column="donor", labels=["donor"], validation=0.5, latents=2, steps=2)
    donors = [
        set(np.asarray(p.at(jnp.arange(p.size))["factors"])[:, 0]) for p in (groups.source, groups.held_out.source)
    ]
    assert not donors[0] & donors[1]
    told = train(data, "vae", split_column="part", latents=2, steps=2)
    assert (told.source.size, told.held_out.source.size) == (N - 6, 6)
    some = train(data, "vae", drop=(str(data.var_names[0]),), latents=2, steps=2)
    assert str(data.var_names[0]) not in some.source.schema.entry_names
    with pytest.raises(ValueError, match="stream is for files"):
        train(data, stream=True, **TINY)
    scored = train(data, "vae", labels=["donor"], validation=0.5, latents=2, steps=4, score_every=2)
    assert [row["step"] for row in scored.history if np.isfinite(row.get("score_mig", np.nan))] == [2, 4]
    for flag in ("images_every", "correlation"):
        with pytest.raises(ValueError, match=f"{flag} is for images.*: leave it out"):
            train(data, "vae", latents=2, steps=2, **{flag: 2})
    with pytest.raises(ValueError, match="--microbatch must be at least 1"):
        train(data, microbatch=0, **TINY)


def test_missing_labels_are_not_scored():
    data = cells()
    data.obs["type"] = data.obs["type"].astype(object)
    data.obs.loc[data.obs.index[:9], "type"] = np.nan
    with pytest.warns(UserWarning, match="9 of 40 rows without factor 0"):
        train(data, labels=["type"], **TINY)
    assert np.isfinite(data.uns["jaxvae"]["scores"]["type"]["LMS-SMI"])


def test_size_factors_of_new_rows_are_in_the_unit_of_the_training_rows():
    data = cells()
    data.obs["size"] = np.linspace(1, 3, N)
    run = train(data, size_factor="size", **TINY)
    schema, before = schema_of(run.source), data.obsm["X_jaxvae"]
    whole = anndata_object(data, size_factor="size").extras["log_size"]
    for rows in (np.arange(N), [3], np.argsort(data.X.sum(axis=1))[-5:]):
        new = data[rows].copy()
        table = anndata_object(new, size_factor="size", schema=schema)
        np.testing.assert_array_equal(table.extras["log_size"], whole[rows])
        np.testing.assert_allclose(encode(run, new), before[rows], atol=1e-6)
    with pytest.raises(ValueError, match="trained without size factors, and has no unit for 'size': leave it out"):
        anndata_object(data, size_factor="size", schema=anndata_object(data).schema)


def test_rows_that_are_held_out_do_not_set_the_unit_of_size_factors():
    data = cells()
    data.X[::4] *= 50
    data.obs["size"] = np.linspace(1, 3, N)
    data.obs["part"] = np.where(np.arange(N) % 4 == 0, "validation", "train")
    run = train(data, size_factor="size", split_column="part", **TINY)
    batch = run.source.at(jnp.arange(run.source.size))
    assert len(batch["x"]) == N * 3 // 4
    np.testing.assert_allclose(batch["log_size"].mean(), jnp.log(batch["x"].sum(axis=1)).mean(), rtol=1e-5)
