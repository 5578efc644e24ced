"""Nearest subspaces: exact ones, what is not centred, ranks that are too large; singular values by class."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.analysis import class_spectra, fit_subspaces

RNG = np.random.default_rng(0)


def turn(dimensions, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dimensions, dimensions)))[0]


def exact(classes=3, own=4, each=20, seed=0):
    """Features in orthogonal subspaces, turned in space, and their labels, 10, 20, 30 ..."""
    rng = np.random.default_rng(seed)
    points = np.zeros((classes, each, classes * own))
    for k in range(classes):
        points[k, :, k * own : (k + 1) * own] = rng.standard_normal((each, own))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    label = np.repeat(10 * (1 + np.arange(classes)), each)
    order = rng.permutation(len(label))
    return (points.reshape(-1, classes * own) @ turn(classes * own, seed))[order], label[order]


@given(st.integers(2, 5), st.integers(1, 5), st.integers(0, 100))
def test_exact_subspaces_are_told_without_error(classes, own, seed):
    features, label = exact(classes, own, seed=seed)
    test, truth = exact(classes, own, each=7, seed=seed)
    found = fit_subspaces(features.astype(np.float32), label, own)
    np.testing.assert_array_equal(found.labels, np.unique(label))
    np.testing.assert_array_equal(found.predict(test), truth)
    residuals, mine = found.residuals(test), truth[:, None] == found.labels
    np.testing.assert_allclose(residuals[mine], 0, atol=1e-6)
    np.testing.assert_allclose(residuals[~mine], 1, atol=1e-6)


def test_residuals_are_those_of_the_projection():
    """(I - U U^T) z of the leading singular vectors, on features that fill the space."""
    features, label = RNG.standard_normal((60, 6)) * [3, 2, 1, 1, 0.5, 0.1], np.arange(60) % 2
    found = fit_subspaces(features, label, 2)
    for k, basis in enumerate(found.bases):
        own = features[label == k]
        np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
        values, vectors = np.linalg.eigh(own.T @ own)
        projector = vectors[:, -2:] @ vectors[:, -2:].T
        np.testing.assert_allclose(basis @ basis.T, projector, atol=1e-10)
        want = np.linalg.norm(features @ (np.eye(6) - projector), axis=1)
        np.testing.assert_allclose(found.residuals(features)[:, k], want, atol=1e-10)
        np.testing.assert_allclose(class_spectra(features, label)[k], np.sqrt(values[::-1]), rtol=1e-10)


def test_features_are_not_centred():
    """Two clouds in opposite directions lie on one line through 0, and on lines of their own at a right angle."""
    noise = 0.01 * RNG.standard_normal((40, 3))
    label = np.repeat([0, 1], 20)
    angles = np.where(label[:, None] == 0, [1.0, 0, 0], [0, 1.0, 0])
    found = fit_subspaces(angles + noise, label, 1)
    np.testing.assert_array_equal(found.predict([[5, 0.1, 0], [-0.2, -3, 0]]), [0, 1])
    np.testing.assert_allclose(np.abs(found.bases[0][:, 0]), [1, 0, 0], atol=0.02)


def test_ranks_that_a_class_does_not_have_are_cut_with_a_warning():
    features, label = exact(3, 4)
    with pytest.warns(UserWarning, match="fewer than 6 dimensions get as many as they have: {10: 4, 20: 4, 30: 4}"):
        found = fit_subspaces(features.astype(np.float32), label, 6)
    assert [basis.shape for basis in found.bases] == [(12, 4)] * 3
    np.testing.assert_array_equal(found.predict(features), label)
    few = np.flatnonzero(label == 10)[2:]
    features, label = np.delete(features, few, axis=0), np.delete(label, few)
    with pytest.warns(UserWarning, match="fewer than 3 dimensions get as many as they have: {10: 2}"):
        found = fit_subspaces(features, label, 3)
    assert [basis.shape[1] for basis in found.bases] == [2, 3, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_subspaces(*exact(3, 4), 4)


def test_a_class_of_zeros_is_the_point_0():
    features, label = exact(2, 2)
    features[label == 10] = 0
    with pytest.warns(UserWarning, match="{10: 0}"):
        found = fit_subspaces(features, label, 2)
    np.testing.assert_allclose(found.residuals(np.eye(4))[:, 0], 1)


def test_spectra():
    """Even features have even singular values, sqrt(m / dimensions); repeated ones a single value; absent ones 0."""
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    same = np.tile([0.6, 0.8, 0, 0], (9, 1))
    pair = np.eye(4)[:2] * [[2.0], [1.0]] @ np.eye(4)
    features = np.concatenate([axes, same, pair]) @ turn(4)
    spectra = class_spectra(features, np.repeat([0, 1, 2], [8, 9, 2]))
    np.testing.assert_allclose(spectra, [[2**0.5] * 4, [3, 0, 0, 0], [2, 1, 0, 0]], atol=1e-7)
    few = class_spectra(features[[0, 1, 8]], [0, 0, 1])
    assert few.shape == (2, 2)
    np.testing.assert_allclose(few[1], [1, 0])


@pytest.mark.parametrize(
    ("features", "labels", "rank", "message"),
    [
        (np.ones((4, 3)), [0, 1, 0, 1], 3, "from 1 to 2, fewer than the features' 3 dimensions, got 3"),
        (np.ones((4, 3)), [0, 1, 0, 1], 0, "from 1 to 2, .* got 0"),
        (np.ones((4, 3)), [0, 1, 0], 1, r"labels must be \[4\], one per feature vector, got shape \(3,\)"),
        (np.ones((4, 3)), [7] * 4, 1, "at least 2 of them, got 1"),
        (np.ones(4), [0, 1, 0, 1], 1, "features must have two axes"),
        (np.full((4, 3), np.nan), [0, 1, 0, 1], 1, "features must be finite"),
    ],
)
def test_bad_input(features, labels, rank, message):
    with pytest.raises(ValueError, match=message):
        fit_subspaces(features, labels, rank)


def test_features_of_another_size_are_refused():
    with pytest.raises(ValueError, match="must have 12 dimensions, got 5"):
        fit_subspaces(*exact(3, 4), 4).predict(np.ones((2, 5)))
