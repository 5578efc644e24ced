"""Baselines as runs: fitted from the command line, loaded by fitting again, and asked like any model."""

import json
import shutil
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.analysis.representation import random_examples
from jaxvae.cli.main import main
from jaxvae.data import open_data
from jaxvae.method import Nets, no_image
from jaxvae.report.collect import reproduce_command
from jaxvae.runs.baseline import BASELINES, BaselineConfig, build_estimator, fit_baseline, fitted_method
from jaxvae.runs.load import load_run
from jaxvae.runs.score import evaluate, properties, represent
from jaxvae.training.run_folder import OtherData, RunFolderError

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
QUICK_OPTIONS = {
    "fast-ica": ("max_iter=50",),
    "infomax": ("max_iter=50",),
    "independent-subspaces": ("max_iter=20", "n_init=1", "subspace_size=1"),
    "topographic-ica": ("max_iter=20", "n_init=1"),
    "recursive-ica": ("layers=[3,2]",),
    "nmf": ("max_iter=50",),
    "vector-quantizer": ("n_init=1",),
    "cooperative-vq": ("n_init=1", "max_iter=5"),
    "multiple-cause-vq": ("n_init=1", "max_iter=5"),
    "self-organizing-map": ("max_iter=5",),
    "multilinear": ("max_iter=2",),
    "canonical-polyadic": ("max_iter=2",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 images of two factors that multiply, in a file."""
    a, b = (RNG.uniform(0.2, 1, (n, 64)) for n in (8, 6))
    factors = np.stack(np.meshgrid(np.arange(8), np.arange(6), indexing="ij"), axis=-1).reshape(-1, 2)
    images = np.rint(255 * (a[factors[:, 0]] * b[factors[:, 1]])).astype(np.uint8).reshape(-1, 8, 8, 1)
    path = tmp_path_factory.mktemp("data") / "products.npz"
    np.savez(path, images=images, factors=factors, factor_names=("a", "b"))
    return f"arrays:{path}"


def config(name, data, **changes):
    settings = {"latents": 3, "options": QUICK_OPTIONS.get(name, ()), "seed": 1}
    return BaselineConfig(name, data=data, **(settings | changes))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_a_method(name, data):
    source, method, state, seconds, _ = fit_baseline(config(name, data))
    batch = source.at(np.arange(7))
    net = Nets(method.networks, state.params)
    mean, logvar = method.encode(net, batch)
    assert (mean.dtype, len(mean), mean.shape) == (np.float32, 7, logvar.shape)
    assert method.name == name
    assert seconds > 0
    drawn = method.sample_prior(net, state.key, batch)
    assert drawn.shape == mean.shape
    if name == "recursive-ica":
        assert method.decode is no_image
        return
    images = method.decode(net, mean)
    assert (images.shape, images.dtype) == ((7, 8, 8, 1), np.float32)
    estimator = build_estimator(config(name, data), (8, 6))
    every = source.at(np.arange(source.size))
    rows = np.asarray(every["x"], np.float64).reshape(48, -1)
    estimator.fit(rows, np.asarray(every["factors"]))
    np.testing.assert_allclose(mean, estimator.transform(rows[:7]), rtol=1e-4, atol=1e-4)
    rebuilt = estimator.inverse_transform(np.asarray(mean, np.float64))
    np.testing.assert_allclose(images.reshape(7, -1), rebuilt, rtol=1e-4, atol=1e-4)


def test_latents_are_what_was_asked_for():
    made = {name: build_estimator(BaselineConfig(name, latents=6), (3, 4, 12, 12)).get_params() for name in BASELINES}
    assert made["pca"]["n_components"] == made["nmf"]["n_components"] == made["infomax"]["n_components"] == 6
    assert made["recursive-ica"]["layers"] == (6, 6)
    assert made["topographic-ica"]["grid"] == (3, 3)
    assert made["vector-quantizer"]["n_codewords"] == 36
    assert made["self-organizing-map"]["grid"] == (6, 6)
    assert made["cooperative-vq"]["n_factors"] == made["multiple-cause-vq"]["n_factors"] == 6
    assert made["multilinear"]["ranks"] == (2, 2, 2, 2)
    assert made["canonical-polyadic"]["rank"] == 6


def test_seeds_are_other_fits(data):
    fits = [fit_baseline(config("infomax", data, seed=seed)) for seed in (0, 0, 1)]
    batch = fits[0].source.at(np.arange(9))
    one, again, other = (fit.method.encode(None, batch).mean for fit in fits)
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other, atol=1e-4)
    drawn = [fit_baseline(config("pca", "scene", image_size=16, examples=50, seed=seed)) for seed in (0, 1)]
    batch = drawn[0].source.at(np.arange(5))
    assert not np.allclose(*(fit.method.encode(None, batch).mean for fit in drawn))


def test_options_are_values():
    options = ("fun=cube", "max_iter=7", "tol=0.5", "w_init=null")
    made = build_estimator(BaselineConfig("fast-ica", options=options), ()).get_params()
    assert (made["fun"], made["max_iter"], made["tol"], made["w_init"]) == ("cube", 7, 0.5, None)
    assert build_estimator(BaselineConfig("recursive-ica", options=("layers=[4,2]",)), ()).layers == (4, 2)


def test_codes_of_the_prior_are_columns_mixed():
    codes = np.arange(40.0).reshape(20, 2)
    method = fitted_method("mixed", None, (2, 2, 1), codes)
    drawn = np.asarray(method.sample_prior(None, jax.random.key(0), {"x": np.zeros((300, 2, 2, 1))}))
    assert set(drawn[:, 0]) == set(codes[:, 0])
    assert set(drawn[:, 1]) == set(codes[:, 1])
    assert len(set(drawn[:, 1] - drawn[:, 0])) > 20


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "run"
    main(["fit", "pca", "--data", data, "--latents", "3", "--seed", "1", "--run", str(folder)])
    return folder


def test_fit_leaves_a_run(fitted, data, capsys):
    assert json.loads((fitted / "config.json").read_text())["baseline"] == "pca"
    scores = json.loads((fitted / "scores.json").read_text())
    assert 0 <= scores["metrics"]["mig"]["score"] <= 1
    assert scores["properties"]["overlap"] == pytest.approx(0, abs=1e-5)
    page = (fitted / "report" / "index.html").read_text()
    for text in ("pca on products", "What each latent changes", "quantiles of the latent", "fitted to 48 images"):
        assert text in page
    assert "KL of each latent" not in page
    main(["evaluate", str(fitted), "--metrics", "dci", "--num-samples", "100"])
    assert "dci" in capsys.readouterr().out
    main(["report", str(fitted), "--num-samples", "100"])
    assert "report: " in capsys.readouterr().out


def test_a_loaded_run_is_the_same(fitted, data):
    run, again = load_run(fitted), load_run(fitted)
    assert run.config == BaselineConfig("pca", data=data, latents=3, seed=1)
    one, two = represent(run, 60), represent(again, 60)
    np.testing.assert_array_equal(one.mean, two.mean)
    assert f"jaxvae fit pca \\\n    --data {data}" in reproduce_command(run)
    assert "--options" not in reproduce_command(run)
    evaluate(run, one, ("mig",))
    images = random_examples(run.source, run.evaluation_key, len(one.mean))["x"]
    error = ((run.decoder(one.mean) - np.asarray(images)) ** 2).mean()
    assert properties(run, one)["reconstruction_error"] == pytest.approx(error, rel=1e-5)
    with pytest.raises(RunFolderError, match="a baseline, which has no checkpoints"):
        load_run(fitted, "best")


def test_other_data_under_the_same_name_is_said(fitted, data, tmp_path, capsys):
    folder = shutil.copytree(fitted, tmp_path / "run")
    old = Path(data.removeprefix("arrays:"))
    with np.load(old) as file:
        arrays = dict(file)
    new = tmp_path / "products.npz"
    np.savez(new, **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OtherData)
        codes = represent(load_run(folder, data=f"arrays:{new}"), 48).mean
        np.testing.assert_array_equal(codes, represent(load_run(fitted), 48).mean)
    arrays["images"][3, 2, 1] ^= 1
    np.savez(new, **arrays)
    with pytest.warns(OtherData, match=r"was trained on other data: data.fingerprint '\w{16}' and now '\w{16}'"):
        load_run(folder, data=f"arrays:{new}")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "data": f"arrays:{new}"}))
    main(["evaluate", str(folder), "--metrics", "mig", "--num-samples", "20"])
    assert "was trained on other data" in capsys.readouterr().err
    (folder / "trained.json").unlink()  # baselines of 0.1 have none
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_run(folder)
    new.unlink()
    with pytest.raises(SystemExit):
        main(["report", str(folder)])
    assert "add --data arrays:PLACE" in capsys.readouterr().err


def test_a_config_of_another_version_is_refused():
    values = BaselineConfig("pca").to_json()
    assert BaselineConfig.from_json(values) == BaselineConfig("pca")
    with pytest.raises(ValueError, match="config.json cannot be read: unknown setting 'new'"):
        BaselineConfig.from_json({**values, "new": 1})
    with pytest.raises(ValueError, match="unknown baseline 'pac'"):
        BaselineConfig.from_json({**values, "baseline": "pac"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the baseline comes first: jaxvae fit BASELINE"),
        (["pac"], "did you mean 'pca'?"),
        (["pca", "--options", "whitten=true"], "did you mean 'whiten'?"),
        (["pca", "--options", "whiten"], "--options are NAME=VALUE, got 'whiten'"),
        (["pca", "--latents", "0"], "--latents must be at least 1, got 0"),
        (["pca", "--latents", "100", "--data", "DATA"], "n_components=100 must be between 0 and"),
        (["independent-subspaces", "--latents", "3", "--data", "DATA"], "subspace"),
        (["pca", "--data", "DATA", "--run", "TAKEN"], "holds a run already"),
        (["self-organizing-map", "--data", "DATA", "--options", "grid=5"], "self-organizing-map can't be fitted"),
    ],
)
def test_what_can_not_be_is_said_in_a_line(arguments, message, data, fitted, capsys):
    words = [data if word == "DATA" else str(fitted) if word == "TAKEN" else word for word in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *words])
    assert stopped.value.code in (1, 2)
    assert message in capsys.readouterr().err


def test_a_library_that_is_missing_is_said_in_a_line(data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorly.decomposition", None)
    with pytest.raises(SystemExit):
        main(["fit", "canonical-polyadic", "--data", data])
    assert "pip install 'jaxvae[tensor]'" in capsys.readouterr().err


def test_factors_must_be_known(tmp_path):
    np.save(tmp_path / "images.npy", RNG.random((20, 8, 8)).astype(np.float32))
    with pytest.raises(ValueError, match="multilinear learns from factors; those of"):
        fit_baseline(config("multilinear", f"arrays:{tmp_path / 'images.npy'}"))


def test_examples_are_drawn_where_there_are_more(data):
    few, more = (fit_baseline(config("pca", "scene", image_size=16, examples=n)) for n in (50, 60))
    batch = open_data("scene", image_size=16).at(np.arange(5))
    one, two = (f.method.encode(None, batch).mean for f in (few, more))
    assert not np.allclose(one, two)
