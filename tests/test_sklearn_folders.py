"""The estimators of scikit-learn: run folders, and early stopping."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from jaxvae.method import Nets
from jaxvae.networks.autoencoders import ARCHITECTURES
from jaxvae.runs import load_run
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.sklearn import IVAE, VAE, VAESNE, BetaVAE, SemiSupervisedVAE
from jaxvae.sklearn.fitting import rows_to_train_on
from jaxvae.training import StoppedEarly, train
from jaxvae.training.run_folder import RunFolderError
from tests.mixed_table import QUICK, USED, linear, mixed_table, some_vectors

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "linear", linear)
        yield


@pytest.fixture(scope="module")
def table():
    return mixed_table()


@pytest.fixture(scope="module")
def vectors():
    return some_vectors()


@pytest.mark.parametrize("what", ["table", "vectors", "values in [0, 1]", "array with holes", "labels", "some labels"])
def test_what_was_saved_in_a_folder_gives_the_same_bits(what, table, vectors, tmp_path):
    y = np.where(table["ill"], "yes", "no")
    holes = np.where(np.arange(120).reshape(40, 3) % 7 == 0, np.nan, vectors)
    model, arguments = {
        "table": (VAESNE(components=4, **QUICK), (table,)),
        "vectors": (VAE(n_components=np.int64(3), likelihood="laplace", scale=0.5, **QUICK), (vectors,)),
        "values in [0, 1]": (VAE(likelihood="bernoulli", standardize=False, **QUICK), (vectors > 5,)),
        "array with holes": (VAE(**QUICK), (holes,)),
        "labels": (IVAE(**QUICK), (table, y)),
        "some labels": (SemiSupervisedVAE(**QUICK), (table, y)),
    }[what]
    model.fit(*arguments)
    arguments = arguments[:1] if what == "some labels" else arguments
    model.save(tmp_path / "run")
    loaded = type(model).load(tmp_path / "run")
    codes = model.transform(*arguments)
    np.testing.assert_array_equal(loaded.transform(*arguments), codes)
    before, after = model.inverse_transform(codes), loaded.inverse_transform(codes)
    assert after.equals(before) if what == "table" else np.array_equal(after, before)
    assert loaded.score(*arguments) == model.score(*arguments)
    assert loaded.get_params() == model.get_params()
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.n_features_in_ == model.n_features_in_
    assert hasattr(loaded, "feature_names_in_") == isinstance(arguments[0], pd.DataFrame)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(loaded)).transform(*arguments), codes)
    with pytest.raises(RunFolderError, match="holds a run already"):
        model.save(tmp_path / "run")


def test_a_saved_estimator_is_a_run(vectors, table, tmp_path):
    trained, of_vectors = VAE(**QUICK).fit(table), VAE(**QUICK).fit(vectors)
    for model, X in ((trained, {name: table[name].to_numpy() for name in table}), (of_vectors, None)):
        folder = tmp_path / f"run of {model.n_features_in_}"
        model.save(folder)
        run = load_run(folder, needs_data=False)
        X = {f"x{d}": vectors[:, d] for d in range(3)} if X is None else X
        rows = run.source.schema.encode(X)
        codes = run.method.encode(Nets(run.method.networks, run.state.params), {"x": rows}).mean
        own = model.transform(table if model is trained else vectors)
        np.testing.assert_allclose(codes, own, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="is of vae, and VAESNE is the estimator of vae-sne"):
        VAESNE.load(folder)
    with pytest.raises(RunFolderError, match="there is no run"):
        VAE.load(tmp_path / "nowhere")


def test_a_run_of_the_command_is_an_estimator(table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    settings = {"network": "linear", "latents": 2, "batch_size": 16, "steps": 3, "beta": 2.0}
    config = default_config("beta-vae").with_flags(data=f"table:{tmp_path / 't.csv'}", **settings)
    source, method = build(config)
    open_run(tmp_path / "run", config, resume=False)
    state = train(method, source, steps=3, batch_size=16, folder=tmp_path / "run", seed=config.seed)
    model = BetaVAE.load(tmp_path / "run")
    assert model.beta == 2.0
    assert model.max_iter == model.n_iter_ == 3
    codes = method.encode(Nets(method.networks, state.params), source.at(np.arange(120))).mean
    np.testing.assert_allclose(model.transform(table), codes, rtol=1e-5, atol=1e-6)
    assert list(model.inverse_transform(codes).columns) == USED


@pytest.mark.parametrize("what", ["vectors", "table", "labels"])
def test_training_stops_where_rows_held_out_no_longer_gain(what, vectors, table):
    X, y = (vectors, None) if what == "vectors" else (table, np.arange(120) % 2)
    stopping = {"early_stopping": True, "validation_fraction": 0.25, "validate_every": 10, "patience": 2}
    settings = {**QUICK, "max_iter": 2000, "learning_rate": 0.3, **stopping}
    kind = SemiSupervisedVAE if what == "labels" else VAE
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoppedEarly)
        model = kind(**settings).fit(X, y)
    losses = model.validation_curve_
    assert model.n_iter_ == 10 * len(losses) < 2000
    assert losses.index(min(losses)) == len(losses) - 3
    again = kind(**{**settings, "max_iter": 10 * (len(losses) - 2)}).fit(X, y)  # it ends at the lowest loss
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_columns_have_the_scale_of_the_rows_to_train_on(table):
    model = VAE(**{**QUICK, "early_stopping": True, "validation_fraction": 0.5}).fit(table)
    rows = table.iloc[rows_to_train_on(120, 0.5, model._config.seed)[0]]
    size, _, spikes = model.schema_.used[:3]
    np.testing.assert_allclose([size.mean, size.scale], [rows["size"].mean(), rows["size"].std(ddof=0)], rtol=1e-5)
    np.testing.assert_allclose(spikes.mean, rows["spikes"].mean(), rtol=1e-5)


def test_rows_held_out_are_not_looked_at(vectors):
    model = VAE(**{**QUICK, "early_stopping": True, "validation_fraction": 0.5}).fit(vectors)
    held_out = [row for row in range(40) if row not in rows_to_train_on(40, 0.5, model._config.seed)[0]]
    changed = vectors.copy()
    changed[held_out] *= 2
    again = VAE(**{**QUICK, "early_stopping": True, "validation_fraction": 0.5, "patience": 1}).fit(changed)
    assert len(held_out) == 20
    np.testing.assert_array_equal(again.mean_, model.mean_)
    np.testing.assert_array_equal(again.transform(vectors), model.transform(vectors))
    with pytest.raises(ValueError, match="validation_fraction must be above 0 and below 1, got 1.0"):
        VAE(early_stopping=True, validation_fraction=1.0).fit(vectors)
    with pytest.raises(ValueError, match="patience == 0, must be >= 1"):
        VAE(early_stopping=True, patience=0).fit(vectors)
