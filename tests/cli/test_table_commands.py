"""A table from the command line: what is shown, trained, scored and reported."""

import json
import re
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.metrics import mig
from jaxvae.report.loadings import loadings_of
from jaxvae.report.tables import of_columns
from jaxvae.runs import load_run, represent
from jaxvae.runs.score import examples_of, known_factors, read_scores

pytestmark = pytest.mark.process

N = 300
TINY = ["--steps", "200", "--latents", "2", "--batch-size", "32", "--learning-rate", "1e-2", "--no-score"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two latent causes behind ten real columns, a count and a category; one value in twenty is missing."""
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(N, 2))
    real = cause @ rng.normal(size=(2, 10)) * 5 + 20 + 0.1 * rng.normal(size=(N, 10))
    table = pd.DataFrame(real, columns=[f"a{d}" for d in range(10)])
    table["visits"] = rng.poisson(np.exp(1 + cause[:, 0]))
    table["side"] = np.where(cause[:, 1] > 0, "left", np.where(cause[:, 1] > -1, "middle", "right"))
    table = table.mask(rng.random(table.shape) < 0.05)
    table["type"] = np.where(cause[:, 0] > 0, "up", "down")
    path = tmp_path_factory.mktemp("tables") / "mine.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def folder(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "r"
    main(["train", "vae", "--data", str(file), "--label-columns", "type", "--run", str(folder), *TINY])
    return folder


def test_columns_are_shown_before_training(file, tmp_path, capsys):
    words = ["--likelihood", "poisson", "--steps", "1"]
    main(["train", "vae", "--data", f"table:{file}", "--run", str(tmp_path / "r"), *TINY, *words])
    shown = capsys.readouterr().out
    assert "columns of mine (? has missing values; --kind NAME=KIND changes one):" in shown
    assert "10 real         a0?, a1?" in shown
    assert "1 count        visits?" in shown
    others = "10 real columns (gaussian with learned scales), 1 binary column (bernoulli), 1 categorical column"
    line = f"--likelihood poisson is for 1 count column; the others keep the likelihood of their kind: {others}"
    assert line in shown
    assert "vae on mine (300 rows): 1 steps of 32 rows" in shown


def test_a_row_is_reconstructed_by_what_its_columns_share(folder):
    run = load_run(folder)
    columns = of_columns(run, represent(run, N), np.arange(2))
    fit = dict(zip(columns.columns, columns.fit, strict=True))
    assert np.mean([fit[f"a{d}"] for d in range(10)]) > 0.8  # two latents hold ten columns
    assert fit["side=left"] > 0.6
    assert [plane.label for plane in columns.planes] == ["type"]
    assert columns.planes[0].value_names == ("down", "up")
    strongest = np.abs(columns.effects).argmax(axis=0)
    assert np.abs(columns.effects).max(axis=0).min() > 0.3  # every column moves with a latent
    means, x = represent(run, N).mean, examples_of(run, N)
    correlations = [
        np.corrcoef(means[there, strongest[p]], x[there, p])[0, 1] for p in range(10) for there in [~np.isnan(x[:, p])]
    ]
    assert np.abs(correlations).min() > 0.3
    signs = np.sign(columns.effects[strongest[:10], np.arange(10)])
    np.testing.assert_array_equal(signs, np.sign(correlations))
    assert set(signs) == {-1, 1}


def test_the_run_knows_the_columns_without_the_data(folder, file, tmp_path):
    known = load_run(folder, needs_data=False).source.schema
    assert [column.kind for column in known.columns] == ["real"] * 10 + ["count", "categorical"]
    assert known.to_json() == load_run(folder).source.schema.to_json()
    few = pd.read_csv(file).iloc[:20, ::-1]
    few.to_csv(tmp_path / "few.csv", index=False)
    with pytest.warns(UserWarning, match="trained on other data"):
        moved = load_run(folder, data=str(tmp_path / "few.csv"))
    rows, whole = np.asarray(moved.source.pixels), np.asarray(load_run(folder).source.pixels)
    np.testing.assert_array_equal(rows, whole[:20])  # on the scale of the training rows
    np.testing.assert_array_equal(moved.encode(rows).mean, load_run(folder).encode(whole[:20]).mean)


def test_the_report_has_the_codes_and_the_columns(folder):
    main(["report", str(folder)])
    page = (folder / "report" / "index.html").read_text()
    for text in ("Codes by type", "What each latent changes", "Reconstruction of each column", "A table of 300 rows"):
        assert text in page
    for text in ("200 of 32 rows", "in nats per row unless"):
        assert text in page
    words = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", "", page, flags=re.DOTALL)
    assert re.findall(r"(?<![\w-])(?:images?|pixels?)(?![\w-])", words) == []
    scores = json.loads((folder / "scores.json").read_text())
    assert 0 < scores["properties"]["reconstruction_error"] < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "a0=number"], "unknown kind 'number'"),
        (["--label-columns", "typ"], "unknown column 'typ': did you mean 'type'?"),
        (["--network", "conv"], "network 'conv' needs pictures, and the examples are vectors of"),
        (["--likelihood", "continuous-bernoulli"], "the continuous-bernoulli likelihood is not for the columns"),
        (["--image-size", "16"], "--image-size is for images: leave it out"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(arguments, message, file, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "vae", "--data", str(file), "--run", str(tmp_path / "r"), *TINY, *arguments])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_options_of_tables_are_for_tables(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "vae", "--data", "sprites", "--label-columns", "shape"])
    assert "--label-columns is for tables, such as table:PATH and anndata:PATH: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method", ["beta-tc-vae", "dip-vae-i", "dip-vae-ii", "factor-vae", "iwae", "vae-sne", "wae-mmd", "oi-vae"]
)
def test_other_methods_learn_from_tables(method, file, tmp_path):
    folder = tmp_path / "r"
    main(["train", method, "--data", str(file), "--label-columns", "type", "--run", str(folder), *TINY, "--steps", "3"])
    run = load_run(folder)
    assert np.isfinite(run.history[-1]["loss"])
    assert run.decoder(represent(run, 10).mean).shape == (10, 14)


def test_the_auxiliary_variable_is_a_label(file, tmp_path):
    folder = tmp_path / "r"
    main(["train", "ivae", "--data", str(file), "--label-columns", "type", "--run", str(folder), *TINY, "--steps", "3"])
    assert np.isfinite(load_run(folder).history[-1]["loss"])


def test_the_auxiliary_variable_is_the_label_that_aux_names(file, tmp_path):
    words = ["--label-columns", "side", "type", "--aux", "type", "--run", str(tmp_path / "r")]
    main(["train", "ivae", "--data", str(file), *words, *TINY, "--steps", "3"])
    run = load_run(tmp_path / "r")
    assert (run.source.aux_dim, run.source.factor_sizes[0]) == (2, 4)  # sides, one of which is missing
    assert np.isfinite(run.history[-1]["loss"])


def test_groups_of_columns_are_those_of_a_file(file, tmp_path):
    names = [*(f"a{d}" for d in range(10)), "visits", "side"]
    of_column = [("first" if place < 4 else "second") for place in range(12)]
    pd.DataFrame({"column": names, "group": of_column}).to_csv(tmp_path / "groups.csv", index=False)
    words = ["--label-columns", "type", "--groups", str(tmp_path / "groups.csv"), "--run", str(tmp_path / "r")]
    main(["train", "oi-vae", "--data", str(file), *words, *TINY, "--steps", "3"])
    run = load_run(tmp_path / "r")
    assert np.isfinite(run.history[-1]["loss"])
    found = loadings_of(run)
    assert list(found.groups) == ["first", "second"]


def test_rows_of_another_file_have_the_same_codes(folder, file, tmp_path, capsys):
    table = pd.read_csv(file)
    table.iloc[40:60, ::-1].drop(columns="type").to_csv(tmp_path / "new.csv", index=False)
    main(["encode", str(folder), "--out", str(tmp_path / "all.csv")])
    main(["encode", str(folder), str(tmp_path / "new.csv"), "--out", str(tmp_path / "new_codes.csv")])
    whole, new = (pd.read_csv(tmp_path / name) for name in ("all.csv", "new_codes.csv"))
    latents = ["z0", "z1", "sd0", "sd1"]
    np.testing.assert_array_equal(new[latents], whole[latents].iloc[40:60])
    assert capsys.readouterr().err == ""
    table.iloc[40:60].assign(site="Bern", day=3).to_csv(tmp_path / "new.csv", index=False)
    main(["encode", str(folder), str(tmp_path / "new.csv"), "--out", str(tmp_path / "new_codes.csv")])
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "new_codes.csv")[latents], new[latents])
    line = "columns that hold a single value, and that the model was not trained on, are left out: 'site', 'day'"
    assert capsys.readouterr().err == f"jaxvae: {line}\n"
    assert list(whole["type"]) == list(table["type"])


@pytest.mark.parametrize("kind", ["parquet", "h5ad", "npz"])
def test_codes_of_other_files_are_equal(kind, folder, file, tmp_path):
    main(["encode", str(folder), "--out", str(tmp_path / "all.csv")])
    main(["encode", str(folder), "--out", str(tmp_path / f"all.{kind}")])
    wanted = pd.read_csv(tmp_path / "all.csv")[["z0", "z1"]].to_numpy()
    match kind:
        case "parquet":
            found = pd.read_parquet(tmp_path / "all.parquet")[["z0", "z1"]].to_numpy()
        case "h5ad":
            found = anndata.read_h5ad(tmp_path / "all.h5ad").obsm["X_jaxvae"]
        case _:
            found = np.load(tmp_path / "all.npz")["means"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_codes_are_decoded_on_the_scale_of_the_table(folder, file, tmp_path):
    main(["encode", str(folder), "--out", str(tmp_path / "codes.csv")])
    main(["decode", str(folder), str(tmp_path / "codes.csv"), "--out", str(tmp_path / "rows.csv")])
    rows, table = pd.read_csv(tmp_path / "rows.csv"), pd.read_csv(file)
    assert list(rows.columns) == ["id", *(f"a{d}" for d in range(10)), "visits", "side"]
    there = table["a0"].notna()
    assert np.corrcoef(rows["a0"][there], table["a0"][there])[0, 1] > 0.9
    assert abs(rows["a0"].mean() - table["a0"].mean()) < 1.5
    assert set(rows["side"]) <= {"left", "middle", "right"}


def test_a_file_without_a_column_is_refused_by_name(folder, file, tmp_path, capsys):
    pd.read_csv(file).drop(columns="a3").to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(SystemExit, match="2"):
        main(["encode", str(folder), str(tmp_path / "new.csv"), "--out", str(tmp_path / "codes.csv")])
    assert "the table lacks the column 'a3'" in capsys.readouterr().err


def test_the_scale_of_columns_is_that_of_the_rows_to_train_on(file, tmp_path):
    folder = tmp_path / "r"
    held = ["--validation", "0.2", "--test", "0.1", "--validate-every", "2"]
    main(["train", "vae", "--data", str(file), "--run", str(folder), *TINY, *held, "--steps", "4"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = load_run(folder)  # the same data, told from its content
    column = run.source.schema.columns[0]
    values = pd.read_csv(file)["a0"].to_numpy()
    rows = np.asarray(run.source.index)
    assert len(rows) == 210
    assert column.mean == pytest.approx(np.nanmean(values[rows]))
    assert column.scale == pytest.approx(np.nanstd(values[rows]))
    assert np.isfinite(run.history[-1]["validation_loss"])


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("wae-mmd", ["--output", "sigmoid"], "--output sigmoid is for images; a table has a likelihood for each kind"),
        ("alae", [], "alae takes neither missing values nor counts, and column 'a0' has missing values"),
        ("mcr2", ["--columns", "visits"], "mcr2 takes neither missing values nor counts, and column 'visits' has"),
        ("vae", ["--library", "rows"], "--library rows is for tables with several columns of counts, got one column"),
        ("drvi", ["--library", "none"], "--library none is for tables with several columns of counts, got one column"),
        ("drvi", ["--library", "none", "--columns", "a0", "a1"], "got no column of counts: leave it out"),
    ],
)
def test_methods_say_which_columns_they_can_not_take(method, arguments, message, file, tmp_path, capsys):
    words = ["--data", str(file), "--label-columns", "type", "--run", str(tmp_path / "r"), "--steps", "1"]
    with pytest.raises(SystemExit, match="2"):
        main(["train", method, *words, *arguments])
    assert message in capsys.readouterr().err


def test_a_method_without_a_likelihood_takes_whole_real_columns(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 4)), columns=list("abcd"))
    table.assign(type=np.arange(40) % 2).to_csv(tmp_path / "whole.csv", index=False)
    data = ["--data", str(tmp_path / "whole.csv"), "--label-columns", "type", "--no-score", "--batch-size", "8"]
    for method in ("alae", "mcr2"):
        main(["train", method, *data, "--steps", "2", "--run", str(tmp_path / method)])
        assert np.isfinite(load_run(tmp_path / method).history[-1]["loss"])


def test_baselines_learn_from_tables_without_labels_and_missing_values(file, tmp_path, capsys):
    whole = tmp_path / "whole.csv"
    pd.read_csv(file).fillna(0).drop(columns=["side", "visits"]).to_csv(whole, index=False)
    fit = ["--latents", "2", "--run", str(tmp_path / "r")]
    main(["fit", "pca", "--data", str(whole), "--label-columns", "type", *fit])
    run = load_run(tmp_path / "r")
    assert run.source.schema.entry_names == tuple(f"a{d}" for d in range(10))
    assert run.source.factor_names == ("type",)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "pca", "--data", str(file), "--drop", "type", "--run", str(tmp_path / "other")])
    assert "pca takes no missing values, and" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "pca", "--data", "sprites", "--drop", "type", "--run", str(tmp_path / "other")])
    assert "--drop is for tables, such as table:PATH: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["semi-supervised-vae", "ivae"])
def test_a_missing_label_is_no_class_to_learn_from(method, file, tmp_path, capsys):
    table = pd.read_csv(file)
    table.loc[3, "type"] = None
    table.to_csv(tmp_path / "few.csv", index=False)
    words = ["--data", str(tmp_path / "few.csv"), "--label-columns", "type", "--run", str(tmp_path / "r")]
    with pytest.raises(SystemExit, match="2"):
        main(["train", method, *words, "--steps", "1"])
    assert f"{method} learns from the label 'type', which is missing in some rows" in capsys.readouterr().err


def test_the_auxiliary_variable_of_new_rows_is_that_of_the_old_ones(file, tmp_path, capsys):
    folder, table = tmp_path / "r", pd.read_csv(file)
    main(["train", "ivae", "--data", str(file), "--label-columns", "type", "--run", str(folder), *TINY, "--steps", "3"])
    table[table["type"] == "up"].iloc[:5].to_csv(tmp_path / "up.csv", index=False)  # the second of two values alone
    table.iloc[:5].assign(type="left").to_csv(tmp_path / "left.csv", index=False)
    main(["encode", str(folder), "--out", str(tmp_path / "all.csv")])
    main(["encode", str(folder), str(tmp_path / "up.csv"), "--out", str(tmp_path / "few.csv")])
    whole, few = (pd.read_csv(tmp_path / name) for name in ("all.csv", "few.csv"))
    wanted = whole[whole["type"] == "up"].iloc[:5][["z0", "z1"]]
    np.testing.assert_array_equal(few[["z0", "z1"]], wanted)
    with pytest.raises(SystemExit, match="2"):
        main(["encode", str(folder), str(tmp_path / "left.csv"), "--out", str(tmp_path / "few.csv")])
    assert "the auxiliary variable has 3 values" in capsys.readouterr().err


def test_a_missing_label_is_no_value_to_be_informed_about(file, tmp_path, capsys):
    table = pd.read_csv(file)
    table.loc[:99, "type"] = None
    table["parity"] = np.arange(N) % 2
    table.to_csv(tmp_path / "few.csv", index=False)
    words = ["--data", str(tmp_path / "few.csv"), "--label-columns", "type", "parity", "--run", str(tmp_path / "r")]
    main(["train", "vae", *words, *TINY, "--steps", "3"])
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "r"), "--metrics", "mig", "mcc", "pipe"])
    shown = capsys.readouterr().out
    assert "20 equal-width bins per code, 100 of 300 rows without factor 0 left out" in shown
    run = load_run(tmp_path / "r")
    codes = represent(run, N)
    stored = read_scores(tmp_path / "r")
    assert 0 <= stored["metrics"]["pipe"]["score"] <= 1
    assert "pipe" not in stored["sampled"]  # only of the means
    assert "150 reconstructions to learn from" in shown
    scores = stored["metrics"]["mig"]
    assert scores["factor_entropy"][0] == pytest.approx(np.log(2), abs=0.1)  # there are two types, and no third one
    known = codes.factors[:, 0] < 2
    factors = known_factors(run.source, codes.factors)
    with pytest.warns(UserWarning, match="100 of 300"):
        found = mig(codes.mean, factors)
    assert found.score == pytest.approx(scores["score"])
    np.testing.assert_array_equal(np.isnan(factors[:, 0]), ~known)
    assert not np.isnan(factors[:, 1]).any()
    assert known_factors(load_run(tmp_path / "r").source, None) is None
