"""The estimators of scikit-learn on tables: kinds of columns, missing values, labels, and run folders."""

import pickle
import warnings
from contextlib import contextmanager

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxvae.method import Nets
from jaxvae.networks.autoencoders import ARCHITECTURES
from jaxvae.sklearn import IVAE, IWAE, MCR2, OIVAE, VAE, VAESNE, SemiSupervisedVAE, StandardizedCounts, estimators
from jaxvae.sklearn.fitting import Fit
from jaxvae.training.engine import make_train_step
from tests.mixed_table import QUICK, USED, linear, mixed_table, some_vectors


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


@pytest.fixture(scope="module")
def trained(table):
    return VAE(network="linear", max_iter=300, learning_rate=1e-2, batch_size=64, random_state=0).fit(table)


@contextmanager
def untrained():
    """For what training does not change, as it has to be compiled: fits end with the initial parameters."""

    def initial(method, training, held_out, params, *, batch_size, seed):
        init, _ = make_train_step(method, dataset_size=training.size)
        return Fit(init(jax.random.key(seed)), [{"loss": 0.0}])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "fit", initial)
        yield


@pytest.fixture
def no_training():
    with untrained():
        yield


def kinds(model):
    return {column.name: column.kind for column in model.schema_.columns}


def test_the_kinds_of_the_columns_are_found(trained):
    found = ["real", "real", "count", "categorical", "categorical", "binary", "identifier", "constant"]
    assert list(kinds(trained).values()) == found
    assert [column.name for column in trained.schema_.columns if column.has_missing] == ["size"]
    assert trained.n_features_in_ == 8
    assert not hasattr(trained, "mean_")


def test_codes_of_a_table(trained, table):
    codes = trained.transform(table)
    assert codes.shape == (120, 2)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(trained.transform(table.iloc[9:12]), codes[9:12])
    assert trained.loss_curve_[-1] < trained.loss_curve_[0]


def test_the_way_back_is_a_frame_on_the_scale_of_x(trained, table):
    codes = pd.DataFrame(trained.transform(table), index=table.index)
    back = trained.inverse_transform(codes)
    assert list(back.columns) == USED
    assert back.index.equals(table.index)
    assert back["size"].corr(table["size"]) > 0.8
    assert abs(back["size"].mean() - table["size"].mean()) < 10
    assert abs(back["spikes"].mean() - table["spikes"].mean()) < 2
    assert back["ill"].between(0, 1).all()
    assert (back["colour"] == table["colour"]).mean() > 0.5
    assert set(back["level"]) <= {0, 1, 2}
    assert back["level"].dtype == np.int64


def test_the_score_is_the_likelihood_of_the_observed_values(trained, table):
    expected = trained._in_chunks(trained._decode, trained.transform(table)).astype(np.float64)
    rows = trained.schema_.encode({name: table[name].to_numpy() for name in table}).astype(np.float64)
    log_scales, log_theta = np.split(np.asarray(trained.state_.params["decoder"]["likelihood"], np.float64), [2])
    of_real = stats.norm.logpdf(rows[:, :2], expected[:, :2], np.maximum(np.exp(log_scales), 0.01))
    theta, rate = np.exp(log_theta[0]), expected[:, 2]
    of_counts = stats.nbinom.logpmf(rows[:, 2], theta, theta / (theta + rate))
    of_categories = (rows[:, 3:9] * np.log(expected[:, 3:9])).sum(axis=1)
    of_binary = stats.bernoulli.logpmf(rows[:, 9], expected[:, 9])
    nats = np.nansum(of_real, axis=1) + of_counts + of_categories + of_binary
    assert np.isnan(of_real).any()
    np.testing.assert_allclose(trained.score(table), nats.mean(), rtol=1e-4)


def test_new_rows_may_miss_any_value(trained, table):
    few = table.iloc[:5].copy()
    few.loc[:, ["width", "spikes"]] = np.nan
    few["colour"] = None
    assert np.isfinite(trained.transform(few)).all()
    assert np.isfinite(trained.score(few))
    assert len(np.unique(trained.transform(few), axis=0)) > 1
    complete = table.drop(columns="size")
    with untrained():
        model = VAE(**QUICK).fit(complete)
    assert not any(column.has_missing for column in model.schema_.columns)
    assert np.isfinite(model.score(few[complete.columns]))


@pytest.mark.parametrize(
    ("likelihood", "parameters"), [("gaussian", 1), ("laplace", 1), ("poisson", 2), ("zero-inflated", 4), ("auto", 3)]
)
def test_likelihoods_of_a_table(likelihood, parameters, table, no_training):
    model = VAE(likelihood=likelihood, scale=0.5 if parameters == 1 else 1.0, **QUICK).fit(table)
    assert model.state_.params["decoder"]["likelihood"].shape == (parameters,)
    assert np.isfinite(model.score(table))


@pytest.mark.process
@pytest.mark.parametrize("kind", [OIVAE, VAESNE, IWAE])
def test_other_methods_take_tables(kind, table):
    model = kind(**QUICK).fit(table)
    assert np.isfinite(model.score(table))
    assert list(model.inverse_transform(model.transform(table)).columns) == USED
    if kind is OIVAE:
        weights = np.asarray(model.state_.params["loadings"]["weights"], np.float64)
        np.testing.assert_allclose(model.loadings_, np.sqrt((weights**2).sum(axis=-1)), rtol=1e-6)
        assert model.loadings_.shape == (6, 2)
        assert model.group_names_.tolist() == USED


def test_a_frame_of_real_numbers_is_an_array(vectors, no_training):
    of_array, of_frame = VAE(**QUICK).fit(vectors), VAE(**QUICK).fit(pd.DataFrame(vectors, columns=list("abc")))
    assert of_frame.schema_ is None
    np.testing.assert_array_equal(of_frame.mean_, of_array.mean_)
    codes = of_array.transform(vectors)
    np.testing.assert_array_equal(of_frame.transform(pd.DataFrame(vectors, columns=list("abc"))), codes)
    np.testing.assert_array_equal(of_frame.inverse_transform(codes), of_array.inverse_transform(codes))


def test_counts_are_not_standardized_in_silence(no_training):
    counts = np.random.default_rng(0).poisson(3.0, size=(40, 3)).astype(float)
    assert set(kinds(VAE(**QUICK).fit(pd.DataFrame(counts, columns=list("abc")))).values()) == {"count"}
    with pytest.warns(StandardizedCounts, match="3 of the 3 columns of X look like counts.*kinds='count'"):
        assert VAE(**QUICK).fit(counts).schema_ is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", StandardizedCounts)
        assert VAE(likelihood="gaussian", **QUICK).fit(counts).schema_ is None
        model = VAE(kinds="count", **QUICK).fit(counts)
    assert kinds(model) == {"x0": "count", "x1": "count", "x2": "count"}
    assert (model.inverse_transform(model.transform(counts)) > 0).all()
    mixed = VAE(kinds={"x1": "count"}, **QUICK).fit(counts)
    assert kinds(mixed) == {"x0": "real", "x1": "count", "x2": "real"}


def test_an_array_with_missing_values(vectors, no_training):
    holes = np.where(np.arange(120).reshape(40, 3) % 7 == 0, np.nan, vectors)
    model = VAE(**QUICK).fit(holes)
    assert kinds(model) == {"x0": "real", "x1": "real", "x2": "real"}
    back = model.inverse_transform(model.transform(holes))
    assert back.shape == (40, 3)
    assert np.isfinite(back).all()
    assert np.abs(back[:, 2] - 5).mean() > np.abs(back[:, 0] - 5).mean()
    assert np.isfinite(model.score(holes))


def test_kinds_and_scales_can_be_changed(table, no_training):
    model = VAE(kinds={"spikes": "real", "same": "real"}, standardize=False, **QUICK).fit(table)
    assert kinds(model)["spikes"] == "real"
    assert {(column.mean, column.scale) for column in model.schema_.used if column.kind == "real"} == {(0.0, 1.0)}
    assert VAE(kinds="real", **QUICK).fit(table[["width", "spikes"]]).schema_ is None


def test_output_as_a_frame(trained, table):
    model = pickle.loads(pickle.dumps(trained)).set_output(transform="pandas")
    codes = model.transform(table)
    assert codes.index.equals(table.index)
    assert list(codes.columns) == list(model.get_feature_names_out()) == ["vae0", "vae1"]
    np.testing.assert_array_equal(codes.to_numpy(), trained.transform(table))
    np.testing.assert_array_equal(model.inverse_transform(codes)["size"], trained.inverse_transform(codes)["size"])
    assert model.score(table) == trained.score(table)
    assert list(table.columns) == list(model.feature_names_in_)


def test_the_columns_must_be_those_of_the_fit(trained, table):
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        trained.transform(table[table.columns[::-1]])
    with pytest.raises(ValueError, match="(?s)Feature names seen at fit time, yet now missing.*spikes"):
        trained.transform(table.drop(columns="spikes"))
    with pytest.raises(ValueError, match="'colour' has the new value 'violet'; it had blue, green, red"):
        trained.transform(table.assign(colour="violet"))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        codes = trained.transform(table.to_numpy(object))
    np.testing.assert_array_equal(codes, trained.transform(table))
    truths = table.assign(ill=table["ill"].astype("boolean").mask(table.index > 1100))
    np.testing.assert_array_equal(trained.transform(truths)[:100], codes[:100])


@pytest.mark.parametrize(
    ("model", "broken", "message"),
    [
        (VAE(), lambda t: t.assign(day=pd.Timestamp("2026-01-01")), "column 'day' holds dates or times"),
        (VAE(), lambda t: t.assign(width=np.inf), "column 'width' has 120 infinite values"),
        (VAE(), lambda t: t.assign(text=[f"a {i % 110}" for i in range(120)]), "column 'text' holds text"),
        (VAE(), lambda t: pd.concat([t, t[["width"]]], axis=1), "two columns of X are named 'width': rename one"),
        (VAE(), lambda t: t.assign(width=t["width"] * 1e300), "too large for float32"),
        (VAE(), lambda t: t.iloc[:2].drop(columns=["name", "colour"]), "2 sample.*minimum of 3"),
        (VAE(likelihood="normal"), lambda t: t, "unknown likelihood 'normal'"),
        (VAE(likelihood="bernoulli"), lambda t: t[["size"]], "the bernoulli likelihood is for binary columns"),
        (VAE(likelihood="poisson"), lambda t: t[["size"]], "the poisson likelihood is for count columns"),
        (VAE(kinds={"sice": "real"}), lambda t: t, "unknown column 'sice'.*size"),
        (VAE(kinds={"size": "counts"}), lambda t: t, "unknown kind 'counts'.*count"),
        (VAE(kinds={"width": "count"}), lambda t: t, "'width' has negative or fractional values"),
        (OIVAE(noise="learned"), lambda t: t, "noise='learned' is for vectors"),
    ],
)
def test_what_can_not_be(model, broken, message, table):
    arguments = {**QUICK, "standardize": False} if "float32" in message else QUICK
    with pytest.raises(ValueError, match=message):
        model.set_params(**arguments).fit(broken(table))


def test_clusters_at_once(vectors, no_training):
    model = VAESNE(components=4, **QUICK)
    clusters = model.fit_predict(vectors)
    np.testing.assert_array_equal(clusters, model.labels_)
    np.testing.assert_array_equal(clusters, model.predict(vectors))
    assert not hasattr(VAESNE(space="sphere", n_components=3), "fit_predict")


def test_loadings_of_vectors_have_names(vectors, no_training):
    assert OIVAE(**QUICK).fit(vectors).group_names_.tolist() == ["x0", "x1", "x2"]


def test_groups_of_columns(vectors, tmp_path, no_training):
    """By name, of a file, by prefix: with names, vectors are a table; the estimator keeps the content of the file."""
    grouped = {"x0": "left", "x1": "left", "x2": "right"}
    model = OIVAE(groups=grouped, **QUICK).fit(vectors)
    assert model.group_names_.tolist() == ["left", "right"]
    assert model.loadings_.shape == (2, 2)
    assert kinds(model) == dict.fromkeys(grouped, "real")
    assert model.inverse_transform(model.transform(vectors)).shape == vectors.shape
    (tmp_path / "groups.csv").write_text("column,group\nx0,left\nx1,left\nx2,right\n")
    of_file = OIVAE(groups=str(tmp_path / "groups.csv"), **QUICK).fit(vectors)
    (tmp_path / "groups.csv").unlink()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(of_file)).transform(vectors), model.transform(vectors))
    frame = pd.DataFrame(vectors, columns=["a_x", "b_x", "a_y"])
    assert OIVAE(groups="prefix", **QUICK).fit(frame).group_names_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="--groups has no group for 'x2'"):
        OIVAE(groups={"x0": "left", "x1": "left"}, **QUICK).fit(vectors)


@pytest.mark.process
def test_features_of_classes(vectors):
    y = np.array(["a", "b"])[(vectors[:, 0] > 5).astype(int)]
    model = MCR2(n_components=3, max_iter=5, batch_size=16, random_state=0).fit(vectors, y)
    features = model.transform(vectors)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    assert features.shape == (40, 3)
    assert model.classes_.tolist() == ["a", "b"]
    assert not hasattr(model, "score")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(vectors), features)
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(vectors)
    with pytest.raises(ValueError, match="mcr2 takes neither missing values nor counts, and column 'x1' has missing"):
        model.fit(np.where(np.arange(3)[None] == 1, np.where(vectors > 0, np.nan, vectors), vectors), y)


def test_in_a_pipeline(vectors, no_training):
    holes = pd.DataFrame(vectors, columns=list("abc")).mask(np.eye(40, 3, dtype=bool))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), VAE(**QUICK))
    assert pipeline.fit_transform(holes).shape == (40, 2)
    assert np.isfinite(pipeline.score(holes))


@pytest.mark.process
def test_the_prior_depends_on_the_labels(table):
    y = np.where(table["ill"], "yes", "no")
    model = IVAE(**QUICK)
    codes = model.fit_transform(table, y)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(model.transform(table, pd.Series(y)), codes)
    assert np.abs(model.transform(table, y[::-1]) - codes).max() > 1e-3  # the encoder sees the labels
    assert np.isfinite(model.score(table, y))
    prior = Nets(model.method_.networks, model.state_.params).prior(np.eye(2, dtype=np.float32))
    assert np.abs(np.diff(prior.logvar, axis=0)).max() > 0
    with pytest.raises(ValueError, match="pass y as well, or fit with encoder='marginal'"):
        model.transform(table)
    with pytest.raises(ValueError, match=r"new label 'maybe'; the labels of the fit are \['no', 'yes'\]"):
        model.transform(table, ["maybe"] * 120)
    with untrained():
        marginal = IVAE(encoder="marginal", **QUICK).fit(table, y)
    np.testing.assert_array_equal(marginal.transform(table), marginal.transform(table, y))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        ([1.0, np.nan] * 60, "y misses 60 of 120 labels"),
        (np.linspace(0, 1, 120), "y has 120 different labels for 120 rows.*bin continuous values"),
        ([1] * 120, "y has 1 different labels"),
        ([0, 1] * 3, "inconsistent numbers of samples"),
    ],
)
def test_labels_that_can_not_be(y, message, table):
    with pytest.raises(ValueError, match=message):
        IVAE(**QUICK).fit(table, y)


@pytest.mark.process
def test_labels_of_some_rows(vectors):
    y = np.digitize(vectors[:, 0], [4.5, 5.5])
    some = np.where(np.arange(40) % 2, y, -1)
    settings = {**QUICK, "max_iter": 300, "learning_rate": 1e-2}
    model = SemiSupervisedVAE(**settings).fit(vectors, some)
    assert model.classes_[0].tolist() == [0, 1, 2]
    assert np.corrcoef(model.transform(vectors)[:, 0], y)[0, 1] > 0.8
    again = SemiSupervisedVAE(**settings).fit(vectors, pd.Series(some).where(some >= 0))
    np.testing.assert_array_equal(again.transform(vectors), model.transform(vectors))
    with pytest.raises(ValueError, match="y has no labelled row"):
        SemiSupervisedVAE(**QUICK).fit(vectors, [-1] * 40)
    with pytest.raises(ValueError, match="y has 3 labels, n_components=2"):
        SemiSupervisedVAE(**QUICK).fit(vectors, np.stack([y] * 3, axis=1))


@pytest.mark.process
def test_a_failed_fit_leaves_nothing_of_the_fit_before(vectors, table):
    model = VAE(**QUICK)
    with untrained():
        model.fit(vectors)
    model.fit(table)
    assert not hasattr(model, "mean_")
    assert jax.tree.all(jax.tree.map(lambda leaf: np.isfinite(leaf).all(), model.state_.params))
    with untrained():
        model.fit(vectors)
    assert model.schema_ is None
    assert not isinstance(model.inverse_transform(model.transform(vectors)), pd.DataFrame)
