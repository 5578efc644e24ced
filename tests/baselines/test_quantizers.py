"""Discrete codes: objectives that never rise, known parts found, and reductions to k-means."""

import itertools

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from jaxvae.baselines import CooperativeVQ, MultipleCauseVQ, VectorQuantizer


def bars(n=600, side=5, noise=0.05, seed=0):
    """One horizontal and one vertical bar, added up: images [n, side^2] and their places [n, 2]."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, side, (n, 2))
    images = np.zeros((n, side, side))
    images[np.arange(n), places[:, 0]] += 1
    images[np.arange(n), :, places[:, 1]] += 1
    return images.reshape(n, -1) + noise * rng.normal(size=(n, side**2)), places


def halves(n=600, seed=0):
    """Features 0-9 follow one label of 4, 10-19 another: [n, 20] and the labels [n, 2]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (n, 2))
    parts = rng.normal(size=(2, 4, 10))
    return np.concatenate([parts[0][labels[:, 0]], parts[1][labels[:, 1]]], 1) + 0.1 * rng.normal(size=(n, 20)), labels


def information(codes, labels):
    """Normalised, [codes, labels]."""
    return np.array([[normalized_mutual_info_score(c, label) for label in labels.T] for c in codes.T])


def error(model, x):
    return ((model.inverse_transform(model.transform(x)) - x) ** 2).mean()


@pytest.mark.process
def test_books_find_bars_that_as_many_prototypes_do_not():
    x, places = bars()
    books = CooperativeVQ(2, 5, random_state=0).fit(x)
    found = information(books.transform(x), places)
    np.testing.assert_allclose(np.sort(found.max(axis=0)), 1, atol=1e-6)
    assert found.min() < 0.05
    assert error(books, x) < 1.1 * 0.05**2 < 0.1 * error(VectorQuantizer(10, random_state=0).fit(x), x)
    assert (np.diff(books.loss_curve_) <= 1e-4).all()
    np.testing.assert_allclose(books.codebooks_[1].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(books.loss_curve_[-1] / x.shape[1], error(books, x), rtol=1e-3)


def test_one_book_is_k_means():
    x, _ = bars(200)
    one, kmeans = CooperativeVQ(1, 3, random_state=0).fit(x), KMeans(3, n_init=10, random_state=0).fit(x)
    np.testing.assert_allclose(one.loss_curve_[-1] * len(x), kmeans.inertia_, rtol=0.02)
    codes = one.transform(x)[:, 0]
    for state in range(3):
        np.testing.assert_allclose(one.codebooks_[0, state], x[codes == state].mean(axis=0), atol=1e-4)


def test_states_are_the_best_of_all_combinations():
    x, _ = bars(100)
    model = CooperativeVQ(2, 3, random_state=0).fit(x)
    every = np.array(list(itertools.product(range(3), repeat=2)))
    distance = ((x[:, None] - model.inverse_transform(every)) ** 2).sum(axis=2)
    np.testing.assert_array_equal(model.transform(x), every[distance.argmin(axis=1)])


def test_too_many_combinations_are_taken_one_book_at_a_time():
    x, _ = bars(200)
    model = CooperativeVQ(6, 5, random_state=0, max_iter=15, n_init=2).fit(x)
    assert (np.diff(model.loss_curve_) <= 1e-4).all()
    codes = model.transform(x[:20])
    best = ((model.inverse_transform(codes) - x[:20]) ** 2).sum(axis=1)
    for book, state in itertools.product(range(6), range(5)):
        other = codes.copy()
        other[:, book] = state
        assert (((model.inverse_transform(other) - x[:20]) ** 2).sum(axis=1) >= best - 1e-4).all()


def test_every_feature_finds_its_factor():
    x, labels = halves()
    model = MultipleCauseVQ(2, 4, random_state=0).fit(x)
    np.testing.assert_allclose(np.sort(information(model.transform(x), labels).max(axis=0)), 1, atol=1e-6)
    owner = model.responsibilities_.argmax(axis=1)
    assert owner[0] != owner[-1]
    np.testing.assert_array_equal(owner, np.repeat([owner[0], owner[-1]], 10))
    assert (np.diff(model.loss_curve_) <= 1e-2).all()
    assert error(model, x) < 1.1 * 0.1**2
    np.testing.assert_allclose(model.scale_, 0.1, rtol=0.05)


def test_free_energy_is_its_equation():
    x, _ = halves(50)
    model = MultipleCauseVQ(2, 3, random_state=0, max_iter=30).fit(x)
    r, mu, s = model.responsibilities_, model.codebooks_, model.scale_
    square = (x[:, None, None] - mu[None]) ** 2
    # At the end of a fit nothing moves, so that m follows from the rest.
    logits = -(square * r.T[None, :, None]).sum(axis=3) / (2 * s**2)
    m = np.exp(logits - logits.max(axis=2, keepdims=True))
    m /= m.sum(axis=2, keepdims=True)
    entropies = sum((p * np.log(np.maximum(p, 1e-300))).sum() for p in (m, r))
    energy = (m[..., None] * r.T[None, :, None] * square).sum() / (2 * s**2) + x.size * np.log(s)
    np.testing.assert_allclose(model.loss_curve_[-1], (energy + entropies) / len(x), rtol=1e-3)


@pytest.mark.parametrize(
    "model",
    [VectorQuantizer(4, random_state=0), CooperativeVQ(2, 3, random_state=0), MultipleCauseVQ(3, 2, random_state=0)],
    ids=repr,
)
def test_what_every_quantizer_keeps(model):
    x, _ = bars(100)
    codes = model.fit_transform(x)
    assert codes.dtype == np.int32
    assert codes.shape == (100, getattr(model, "n_factors", 1))
    assert codes.min() >= 0
    assert model.inverse_transform(codes).shape == x.shape
    assert error(model, x) < x.var()
    np.testing.assert_array_equal(clone(model).fit(x).transform(x), codes)
    assert len(model.get_feature_names_out()) == codes.shape[1]
    for bad in (codes + 10, codes[:, :0] if codes.shape[1] == 1 else codes[:, :1]):
        with pytest.raises(ValueError, match=r"codes must be|0 feature"):
            model.inverse_transform(bad)


@pytest.mark.parametrize("build", [CooperativeVQ, MultipleCauseVQ])
def test_constant_and_repeated_data_are_finite(build):
    for x in (np.ones((30, 3)), np.repeat(np.eye(3), 10, axis=0)):
        model = build(2, 3, random_state=0, max_iter=10).fit(x)
        assert np.isfinite(model.loss_curve_).all()
        assert np.isfinite(model.inverse_transform(model.transform(x))).all()


def test_what_can_not_be():
    with pytest.raises(ValueError, match="must be at least 1"):
        CooperativeVQ(0, 3).fit(np.eye(4))
    with pytest.raises(ValueError, match="minimum of 5 is required"):
        MultipleCauseVQ(2, 5).fit(np.eye(4))
    with pytest.raises(ValueError, match="NaN"):
        CooperativeVQ().fit(np.full((5, 2), np.nan))
