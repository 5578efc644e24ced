"""Components of a mixture become clusters: blobs, one Gaussian in many pieces, the distance at which two part."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.analysis import clusters, find_clusters

EVEN = lambda k: np.full(k, -np.log(k), np.float32)  # noqa: E731


def found_in(means, log_weights, **settings):
    return find_clusters(jnp.asarray(means), jnp.asarray(log_weights), **settings)


def test_three_blobs_of_thirty_components():
    centres = np.array([[-8.0, 0.0], [8.0, 0.0], [0.0, 12.0]], np.float32)
    sizes = (18, 8, 4)
    blob = np.repeat(np.arange(3), sizes)
    means = centres[blob] + np.float32(0.7) * np.random.default_rng(0).standard_normal((30, 2), np.float32)
    found = found_in(means, EVEN(30))
    assert found.number == 3
    np.testing.assert_array_equal(found.of_component, blob)
    np.testing.assert_array_equal(found.of_points(centres[::-1]), [2, 1, 0])


def test_one_gaussian_in_twenty_pieces_is_one_cluster():
    quantiles = np.linspace(-2.5, 2.5, 20)
    weights = np.exp(-(quantiles**2) / 2)
    found = found_in(np.float32(quantiles[:, None]), np.log(np.float32(weights / weights.sum())))
    assert found.number == 1


@pytest.mark.parametrize("variance", [1.0, 0.25])
@pytest.mark.parametrize(("distance", "count"), [(1.0, 1), (1.9, 1), (2.2, 2), (5.0, 2)])
def test_two_components_part_at_two_deviations(distance, count, variance):
    means = np.float32(variance**0.5 * distance) * np.array([[0.0], [1.0]], np.float32)
    assert found_in(means, EVEN(2), variance=variance).number == count


def test_components_follow_one_another_to_a_hill(monkeypatch):
    """Stopped short of the modes, each component points up its slope: a chain, along arrows that go one way."""
    monkeypatch.setattr(clusters, "STEPS", 1)
    means = np.arange(5, dtype=np.float32)[:, None]
    found = found_in(means, np.log(np.array([0.02, 0.06, 0.14, 0.28, 0.5], np.float32)))
    assert found.number == 1


def test_weights_decide():
    """A light component on the slope of a heavy one has no hill of its own."""
    means = np.array([[0.0], [2.2]], np.float32)
    assert found_in(means, np.log(np.array([0.99, 0.01], np.float32))).number == 1


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match="variance must be positive"):
        find_clusters(jnp.zeros((3, 2)), jnp.zeros(3), variance=0.0)
    with pytest.raises(ValueError, match=r"means \[K, D\]"):
        find_clusters(jnp.zeros((3, 2)), jnp.zeros(2))
