"""The estimators of scikit-learn: its own checks, and that they do what the methods do."""

import inspect
import pickle

import flax.linen as nn
import jax
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import jaxvae.sklearn as estimators
from jaxvae.data import Sprites, moving_sprites
from jaxvae.methods import METHODS
from jaxvae.networks.autoencoders import ARCHITECTURES
from jaxvae.networks.mlp import MLPDecoder, MLPEncoder
from jaxvae.runs.options import options_of
from jaxvae.sklearn import IWAE, OIVAE, VAE, VAESNE, BetaTCVAE, BetaVAE
from jaxvae.sklearn.estimators import CHUNK

QUICK = {"network": "linear", "max_iter": 20, "batch_size": 16, "random_state": 0}
OF_PREDICTIONS = (
    "check_dict_unchanged",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_fit2d_predict1d",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_parameters_default_constructible",
    "check_no_attributes_set_in_init",
)
"""Of the VAE-SNE, all other checks see what those of the VAE have seen: they are slow ones."""


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """For what does not depend on networks: each number of rows or features is compiled for itself."""

    def of(*widths):
        return lambda shape, latents, dtype: (
            MLPEncoder(latents, widths, dtype=dtype),
            MLPDecoder(shape, widths, nn.relu, dtype),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "linear", of())
        patch.setitem(ARCHITECTURES, "one layer", of(32))
        yield


@pytest.fixture(scope="module")
def plane():
    """300 rows of 6 features of different units that depend on two numbers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    return 5.0 + rows * np.array([0.01, 0.1, 1.0, 10.0, 100.0, 1.0])


@pytest.fixture(scope="module")
def trained(plane):
    return VAE(learning_rate=1e-2, scale=0.1, network="linear", max_iter=300, batch_size=64, random_state=0).fit(plane)


def checks():
    for estimator in (VAE(**QUICK), VAESNE(n_components=1, components=5, **QUICK)):
        for _, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            quick = isinstance(estimator, VAE) or name in OF_PREDICTIONS
            yield pytest.param(
                estimator,
                check,
                marks=[] if quick else pytest.mark.slow,
                id=f"{type(estimator).__name__}-{name}-{check.keywords}",
            )


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_agrees(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or the check of array_api input is left out
    check(clone(estimator))


def needs(name):
    """What the losses of a method read."""
    networks = METHODS[name].networks().make(moving_sprites(16) if name == "equivariant-rendering" else Sprites(16))
    return set(METHODS[name].build(networks).needs)


WITH_LIKELIHOOD = [name for name in METHODS if "likelihood" in inspect.signature(METHODS[name].build).parameters]
IMAGES_ONLY = [name for name in WITH_LIKELIHOOD if needs(name) <= {"x", "fresh_x"}]


def test_every_method_of_single_images_is_there():
    of_labels = {"IVAE", "MCR2", "SemiSupervisedVAE"}
    names = {METHODS[name].hyperparameters.__name__ for name in IMAGES_ONLY}
    assert {*names, *of_labels, "StandardizedCounts"} == set(estimators.__all__)
    for name in IMAGES_ONLY:
        kind = getattr(estimators, METHODS[name].hyperparameters.__name__)
        entry, signature = METHODS[name], inspect.signature(kind)
        own = {**entry.hyperparameters()._asdict(), **vars(options_of(entry)())}
        own = {key: value for key, value in own.items() if key not in ("likelihood", "scale")}
        assert own.items() <= {key: value.default for key, value in signature.parameters.items()}.items()
        assert ("components" in signature.parameters) == hasattr(kind, "predict") == (name == "vae-sne")
        assert entry.build.__doc__.splitlines()[0] in kind.__doc__


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    [n if n in ("vae", "factor-vae", "vae-sne") else pytest.param(n, marks=pytest.mark.slow) for n in IMAGES_ONLY],
)
def test_every_method_fits(name, plane):
    model = getattr(estimators, METHODS[name].hyperparameters.__name__)(**{**QUICK, "n_components": 2, "max_iter": 3})
    codes = model.fit_transform(plane[:20])
    assert model.method_.name == name
    assert int(model.state_.step) == 3
    assert codes.shape == (20, 2)
    assert codes.dtype == np.float32
    assert model.inverse_transform(codes).shape == (20, 6)
    assert np.isfinite(model.score(plane[:20]))
    assert len(model.loss_curve_) == 1


def test_parameters_reach_the_method():
    model = BetaTCVAE(beta=2.5, form="sampled", network="linear", max_iter=1).fit(np.eye(4))
    assert model.method_.hyperparameters.beta == 2.5
    assert float(model.state_.hyperparameters.beta) == 2.5
    with pytest.raises(TypeError, match="unexpected keyword argument 'alpha'"):
        BetaVAE(alpha=1.0)
    assert clone(IWAE(samples=7)).get_params()["samples"] == 7
    assert estimators.WAEMMD().scale == 10**0.5


@pytest.mark.parametrize("save", ["pickle", "joblib"])
def test_what_was_saved_gives_the_same_bits(trained, plane, save, tmp_path):
    codes, score = trained.transform(plane), trained.score(plane)
    key = jax.random.key_data(trained.state_.key)
    changed = clone(trained).set_params(**trained.get_params())
    changed.__setstate__(trained.__getstate__())
    changed.set_params(n_components=5, network="mlp")  # what was fitted stays what it was
    if save == "pickle":
        loaded = pickle.loads(pickle.dumps(changed))
    else:
        joblib.dump(changed, tmp_path / "model")
        loaded = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(plane), codes)
    np.testing.assert_array_equal(loaded.inverse_transform(codes), trained.inverse_transform(codes))
    assert loaded.score(plane) == score
    np.testing.assert_array_equal(jax.random.key_data(loaded.state_.key), key)
    assert loaded.get_feature_names_out().tolist() == ["vae0", "vae1"]


def test_pickles_from_before_a_parameter_have_its_default(trained, plane):
    for fitted in (True, False):
        older = clone(trained)
        if fitted:
            older.__setstate__(trained.__getstate__())
        del older.library, older.kinds
        loaded = pickle.loads(pickle.dumps(older))
        assert loaded.get_params() == trained.get_params()
        assert (loaded.library, loaded.kinds, loaded.scale) == ("none", None, 0.1)
        assert clone(loaded).get_params() == trained.get_params()
        if fitted:
            np.testing.assert_array_equal(loaded.transform(plane), trained.transform(plane))


def test_an_integer_decides_everything(trained, plane):
    again = clone(trained).fit(plane)
    np.testing.assert_array_equal(again.transform(plane), trained.transform(plane))
    assert again.loss_curve_ == trained.loss_curve_
    assert len(again.loss_curve_) == 3
    other = clone(trained).set_params(random_state=1).fit(plane)
    assert np.abs(other.transform(plane) - trained.transform(plane)).max() > 0.01


def test_rows_do_not_depend_on_their_company(trained, plane):
    many = np.concatenate([plane, plane, plane])
    assert len(many) > CHUNK
    np.testing.assert_array_equal(trained.transform(many), np.tile(trained.transform(plane), (3, 1)))


def test_easy_data_are_reconstructed_on_their_own_scale(trained, plane):
    back = trained.inverse_transform(trained.transform(plane))
    assert (((back - plane) ** 2).mean(axis=0) < 0.05 * plane.var(axis=0)).all()
    assert trained.loss_curve_[-1] < trained.loss_curve_[0]


def test_the_score_is_the_likelihood_of_standardised_rows(trained, plane):
    error = (trained.inverse_transform(trained.transform(plane)) - plane) / plane.std(axis=0)
    expected = -(error**2 / (2 * 0.1**2) + np.log(0.1) + 0.5 * np.log(2 * np.pi)).sum(axis=1).mean()
    np.testing.assert_allclose(trained.score(plane), expected, rtol=1e-4)


def test_values_in_0_to_1():
    rows = np.random.default_rng(0).random((40, 3))
    model = VAE(likelihood="bernoulli", standardize=False, max_iter=3, random_state=0).fit(rows)
    p = model.inverse_transform(model.transform(rows))
    np.testing.assert_allclose(
        model.score(rows), (rows * np.log(p) + (1 - rows) * np.log1p(-p)).sum(axis=1).mean(), rtol=1e-4
    )
    with pytest.raises(ValueError, match=r"for values in \[0, 1\], found .* to 2: rescale them"):
        model.transform(np.full((1, 3), 2.0))


def test_certain_values_have_a_finite_score():
    rows = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]] * 20)
    model = VAE(likelihood="bernoulli", standardize=False, max_iter=1, random_state=0).fit(rows)
    params = jax.tree.map(lambda leaf: 1e3 * leaf, model.state_.params)
    model.state_ = model.state_._replace(params=params)
    assert set(np.unique(model.inverse_transform(model.transform(rows)))) <= {0.0, 1.0}
    assert np.isfinite(model.score(rows))


def test_constant_features_are_left_alone():
    rows = np.random.default_rng(0).normal(size=(20, 3)) * [1.0, 0.0, 1.0] + 7.0
    model = VAE(**QUICK).fit(rows)
    assert model.scale_[1] == 1.0
    assert model.mean_[1] == 7.0
    model.set_params(standardize=False).fit(rows)
    assert (model.mean_.tolist(), model.scale_.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_in_a_pipeline(plane):
    pipeline = make_pipeline(StandardScaler(), VAE(**QUICK))
    assert pipeline.fit_transform(plane).shape == (300, 2)
    assert np.isfinite(pipeline.score(plane))
    assert pipeline.inverse_transform(pipeline.transform(plane)).shape == plane.shape


@pytest.mark.process
def test_the_oi_vae_sees_every_feature_as_a_group(plane):
    model = OIVAE(**{**QUICK, "max_iter": 1}, n_components=3).fit(plane)
    assert model.state_.params["loadings"]["weights"].shape == (6, 3, 1)


@pytest.mark.process
def test_blobs_become_clusters():
    rows, label = make_blobs([90, 60, 30], n_features=4, centers=20 * np.eye(4)[:3], random_state=0)
    model = VAESNE(
        learning_rate=1e-2,
        sne=0.1,  # at its usual weight it spreads a blob over several components
        perplexity=0.1,
        first_perplexity=0.2,
        annealing=100.0,
        components=10,
        network="one layer",
        max_iter=300,
        batch_size=128,
        random_state=0,
    ).fit(rows)
    assert adjusted_rand_score(label, model.labels_) > 0.9
    np.testing.assert_array_equal(model.predict(rows[:20]), model.labels_[:20])
    assert model.labels_.max() < model.clusters_.number


@pytest.mark.process
def test_a_sphere_has_no_clusters():
    model = VAESNE(n_components=3, space="sphere", **{**QUICK, "max_iter": 2})
    codes = model.fit_transform(np.random.default_rng(0).normal(size=(20, 4)))
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1.0, rtol=1e-5)
    assert not hasattr(model, "predict")
    assert not hasattr(model, "labels_")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (VAE(network="none"), ValueError, "unknown network 'none'.*mlp-small"),
        (VAE(likelihood="normal"), ValueError, "unknown likelihood 'normal'.*bernoulli, gaussian, laplace"),
        (VAESNE(similarity="cosine"), ValueError, "unknown similarity 'cosine'.*student-t, gaussian, von-mises"),
        (VAE(likelihood="bernoulli"), ValueError, "set standardize=False"),
        (VAE(likelihood="bernoulli", standardize=False), ValueError, r"for values in \[0, 1\]"),
        (VAE(likelihood="continuous-bernoulli"), ValueError, "the continuous-bernoulli .* set standardize=False"),
        (VAE(likelihood="continuous-bernoulli", standardize=False), ValueError, r"for values in \[0, 1\], found"),
        (VAE(standardize=False), ValueError, "too large for float32"),
        (VAE(max_iter=0), ValueError, "max_iter == 0, must be >= 1"),
        (VAE(n_components=1.5), TypeError, "n_components must be an instance of int"),
        (VAE(learning_rate=-1.0), ValueError, "learning rate must be positive"),
        (VAE(scale=0.0), ValueError, "scale of the gaussian likelihood must be positive"),
    ],
)
def test_what_can_not_be(model, error, message):
    with pytest.raises(error, match=message):
        model.fit(np.linspace(-1.0, 1e300, 12).reshape(4, 3))


def test_two_rows_are_too_few(trained):
    with pytest.raises(ValueError, match="2 sample.*minimum of 3"):
        clone(trained).fit(np.eye(2))
    with pytest.raises(ValueError, match="codes have 2 columns here, got 3"):
        trained.inverse_transform(np.zeros((1, 3)))
