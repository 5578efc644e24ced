"""A second layer sees what is active together, and nothing in independent sources."""

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.decomposition import FastICA

from jaxvae.baselines import RecursiveICA

MIXING = np.random.default_rng(9).normal(size=(4, 4))


def together(n=4000, seed=0):
    """Four Laplace sources of which the first two, and the last two, share how active they are: mixed, [n, 4]."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 4)) * np.repeat(rng.exponential(size=(n, 2)), 2, axis=1)) @ MIXING.T


def dependence(model, x):
    """Between activities of sources of the first layer: largest correlation off the diagonal."""
    correlation = np.corrcoef(np.abs(model.transform_layers(x)[0]).T)
    return np.abs(correlation - np.eye(len(correlation))).max()


def test_the_second_layer_pairs_what_is_active_together():
    x = together()
    model = RecursiveICA((4, 2), random_state=0).fit(x)
    assert dependence(model, x) > 0.3
    # How much every source of the first layer weighs in the second: pairs share their weights.
    weights = np.abs(model.layers_[1].mixing_)
    active = np.abs(np.corrcoef(np.abs(model.transform_layers(x)[0]).T)) > 0.2
    for source, other in np.argwhere(active & ~np.eye(4, dtype=bool)):
        cosine = weights[source] @ weights[other] / np.linalg.norm(weights[source]) / np.linalg.norm(weights[other])
        assert cosine > 0.8
    independent = np.random.default_rng(1).laplace(size=(4000, 4)) @ MIXING.T
    assert dependence(RecursiveICA((4, 2), random_state=0).fit(independent), independent) < 0.1


def test_between_layers_is_a_standard_normal_on_training_and_new_data():
    x, new = together(), together(seed=5)
    model = RecursiveICA((4, 4), random_state=0).fit(x)
    for data in (x, new):
        activity = np.abs(model.transform_layers(data)[0])
        layer = model.layers_[1]
        gaussian = model.transform(data) @ np.linalg.pinv(layer.components_).T + layer.mean_
        assert kstest(gaussian[:, 0], "norm").pvalue > 1e-3
        np.testing.assert_allclose(gaussian.mean(axis=0), 0, atol=0.08)
        np.testing.assert_allclose(gaussian.std(axis=0), 1, atol=0.08)
        for column, of in zip(gaussian.T, activity.T, strict=True):
            order = np.argsort(of)
            assert (np.diff(column[order]) > -1e-6).all()


def test_one_layer_is_ica_and_training_data_are_as_new_ones():
    x = together(500)
    one = RecursiveICA((3,), random_state=0).fit(x)
    again = FastICA(3, whiten="unit-variance", max_iter=500, random_state=one.layers_[0].random_state).fit_transform(x)
    np.testing.assert_allclose(one.transform(x), again, atol=1e-8)
    two = RecursiveICA((3, 2), random_state=0)
    np.testing.assert_allclose(two.fit_transform(x), two.transform(x))
    far = two.transform(1e6 * x[:3])
    assert np.isfinite(far).all()


@pytest.mark.parametrize("layers", [(), (0,), (2, 3)])
def test_what_can_not_be(layers):
    with pytest.raises(ValueError, match="layers must be sizes of at least 1"):
        RecursiveICA(layers).fit(together(50))
