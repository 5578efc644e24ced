"""ICA by maximum likelihood, of subspaces and on a grid: what they must find, and what they may not change."""

import numpy as np
import pytest
from sklearn.base import clone

from jaxvae.baselines import PCA, FastICA, IndependentSubspaces, Infomax, TopographicICA
from jaxvae.metrics import amari_index


def sources(n=3000, seed=0):
    """A uniform, a Laplace, a square wave and a sine: [n, 4]."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    return np.stack([rng.uniform(-1, 1, n), rng.laplace(size=n), np.sign(np.sin(0.05 * t)), np.sin(0.0313 * t)], axis=1)


def spheres(n=3000, groups=3, size=2, seed=0):
    """Independent groups, each of a random direction and a length with heavy tails: [n, groups * size]."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(n, groups, size))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return (direction * rng.exponential(size=(n, groups, 1)) ** 2).reshape(n, -1)


MIXING = np.random.default_rng(1).normal(size=(6, 4))
DATA = sources() @ MIXING.T + 3


def test_extended_infomax_separates_what_plain_infomax_and_pca_can_not():
    extended = Infomax(4, random_state=0).fit(DATA)
    plain = Infomax(4, extended=False, random_state=0).fit(DATA)
    assert amari_index(extended.components_ @ MIXING) < 0.02
    assert (np.diff((extended.mixing_**2).sum(axis=0)) <= 0).all()
    assert amari_index(plain.components_ @ MIXING) > 0.1
    assert amari_index(PCA(4).fit(DATA).components_ @ MIXING) > 0.1
    agrees = FastICA(4, whiten="unit-variance", random_state=0).fit(DATA).components_ @ extended.mixing_
    assert amari_index(agrees) < 0.02


def test_plain_infomax_separates_heavy_tails_at_the_fixed_point_of_its_equation():
    rng = np.random.default_rng(0)
    heavy, mixing = rng.laplace(size=(4000, 3)), rng.normal(size=(3, 3))
    model = Infomax(extended=False, random_state=0, tol=1e-5).fit(heavy @ mixing.T)
    assert amari_index(model.components_ @ mixing) < 0.05
    y = model.transform(heavy @ mixing.T)
    for scale in (1.0, 2.0):
        off = np.tanh(scale * y / 2).T @ y / len(y)
        # Independent sources have no cross terms for any score; the diagonal fixes the scale, which is 1 here.
        assert np.abs(off - np.diag(np.diag(off))).max() < 0.05


def test_mixing_the_features_changes_nothing():
    """Equivariance: X B^T has the sources of X."""
    other = DATA @ np.random.default_rng(2).normal(size=(6, 6)).T
    one, two = (Infomax(4, random_state=0, tol=1e-5).fit(x).transform(x) for x in (DATA, other))
    correlation = np.abs(np.corrcoef(one.T, two.T)[:4, 4:])
    np.testing.assert_allclose(correlation.max(axis=0), 1, atol=1e-3)
    assert amari_index(correlation) < 0.05


@pytest.mark.parametrize(
    "model",
    [
        Infomax(random_state=0),
        Infomax(3, random_state=0),
        IndependentSubspaces(4, random_state=0, max_iter=50),
        TopographicICA((3, 3), random_state=0, max_iter=20),
    ],
    ids=repr,
)
def test_what_every_linear_code_keeps(model):
    rng = np.random.default_rng(3)
    x = DATA if not isinstance(model, TopographicICA) else rng.laplace(size=(400, 9)) @ rng.normal(size=(9, 11))
    codes = model.fit_transform(x)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(codes.shape[1]), atol=0.02)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-8)
    assert (model.mixing_[np.abs(model.mixing_).argmax(axis=0), np.arange(codes.shape[1])] > 0).all()
    back = model.inverse_transform(codes)
    pca = PCA(codes.shape[1]).fit(x)
    np.testing.assert_allclose(back, pca.inverse_transform(pca.transform(x)), atol=1e-6)
    np.testing.assert_allclose(clone(model).fit(x).transform(x[:5]), codes[:5], rtol=1e-9)
    assert len(model.get_feature_names_out()) == codes.shape[1]


def test_subspaces_are_found_and_groups_are_next_to_each_other():
    data, mixing = spheres(), np.random.default_rng(4).normal(size=(6, 6))
    model = IndependentSubspaces(subspace_size=2, random_state=0).fit(data @ mixing.T)
    blocks = np.linalg.norm((model.components_ @ mixing).reshape(3, 2, 3, 2), axis=(1, 3))
    assert amari_index(blocks) < 0.05
    assert (np.diff(model.loss_curve_) <= 1e-6).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    energy = model.energies(data @ mixing.T)
    np.testing.assert_allclose(energy**2, (model.transform(data @ mixing.T).reshape(-1, 3, 2) ** 2).sum(2), rtol=1e-6)


def test_subspaces_of_one_filter_are_ica():
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(3, 3))
    model = IndependentSubspaces(subspace_size=1, random_state=0).fit(rng.laplace(size=(4000, 3)) @ mixing.T)
    assert amari_index(model.components_ @ mixing) < 0.05


def test_neighbours_on_the_grid_are_active_together():
    """Of data whose variance is shared by neighbours on a ring of columns, energies of close filters correlate."""
    rng = np.random.default_rng(6)
    scale = rng.exponential(size=(3000, 3))
    data = rng.normal(size=(3000, 9)) * np.repeat(scale, 3, axis=1)
    model = TopographicICA((3, 3), random_state=0, max_iter=100).fit(data)
    assert (np.diff(model.loss_curve_) <= 1e-6).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    # On 3 x 3 with its edges joined all places are neighbours: every pool is everything.
    np.testing.assert_allclose(model.energies(data), np.tile(model.energies(data)[:, :1], (1, 9)))
    wide = TopographicICA((5, 4))._pools(20)
    np.testing.assert_array_equal(wide, wide.T)
    np.testing.assert_array_equal(wide.sum(axis=0), 9)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (Infomax(7), DATA, "n_components must be 1 to 4, the directions that the data vary in, got 7"),
        (Infomax(0), DATA, "got 0"),
        (Infomax(), np.ones((5, 3)), "1 to 0"),
        (Infomax(learning_rate=0), DATA, "learning_rate must be > 0"),
        (Infomax(), np.full((5, 3), np.nan), "NaN"),
        (IndependentSubspaces(4, subspace_size=3), DATA, "subspace_size must divide the 4 components, got 3"),
        (IndependentSubspaces(4, n_init=0), DATA, "n_init at least 1"),
        (TopographicICA((2, 2)), DATA, "at least 3 rows and columns, got 2 x 2"),
    ],
)
def test_what_can_not_be(model, data, message):
    with pytest.raises(ValueError, match=message):
        model.fit(data)
