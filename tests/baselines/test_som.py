"""Maps that keep order, and the step of k-means that they are without neighbours."""

import numpy as np
import pytest

from jaxvae.baselines import SelfOrganizingMap


def test_a_line_is_laid_out_in_order():
    x = np.linspace(0, 1, 300)[:, None] * np.array([[2.0, -1.0, 0.5]])
    model = SelfOrganizingMap((1, 15)).fit(x)
    assert model.topographic_error(x) == 0
    place = model.transform(x)[:, 1]
    assert (np.diff(place) * np.sign(place[-1] - place[0]) >= 0).all()
    assert model.quantization_error(x) < 0.1


def test_a_square_is_laid_out_as_a_grid():
    x = np.random.default_rng(0).uniform(size=(2000, 2))
    model = SelfOrganizingMap((7, 7)).fit(x)
    assert model.topographic_error(x) < 0.02
    assert model.quantization_error(x) < 0.08
    book = model.codebook_
    assert np.linalg.norm(np.diff(book, axis=0), axis=-1).max() < 0.3
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(x)), book[tuple(model.transform(x).astype(int).T)]
    )


def test_one_step_without_neighbours_is_a_step_of_k_means():
    x = np.random.default_rng(1).normal(size=(100, 3))
    start = SelfOrganizingMap((2, 3), sigma_end=50.0, max_iter=1)  # all neighbours: every prototype is the mean
    np.testing.assert_allclose(start.fit(x).codebook_, np.broadcast_to(x.mean(axis=0), (2, 3, 3)), atol=2e-3)
    model = SelfOrganizingMap((2, 3), sigma_end=0.05, max_iter=60).fit(x)
    book, place = model.codebook_.reshape(6, 3), model.transform(x) @ [3, 1]
    for node in np.unique(place).astype(int):
        np.testing.assert_allclose(book[node], x[place == node].mean(axis=0), atol=1e-4)


def test_nothing_is_random_and_codes_are_places():
    x = np.random.default_rng(2).normal(size=(50, 4))
    one, two = (SelfOrganizingMap((3, 2), max_iter=5).fit(x) for _ in range(2))
    np.testing.assert_array_equal(one.codebook_, two.codebook_)
    codes = one.transform(x)
    assert codes.shape == (50, 2)
    assert set(codes[:, 0]) <= {0, 1, 2}
    assert set(codes[:, 1]) <= {0, 1}
    np.testing.assert_array_equal(one.inverse_transform([[0.4, 9.0]])[0], one.codebook_[0, 1])
    alone = SelfOrganizingMap((1, 1)).fit(x)
    assert alone.topographic_error(x) == 0
    np.testing.assert_allclose(alone.codebook_[0, 0], x.mean(axis=0), atol=1e-6)
    constant = SelfOrganizingMap((2, 2)).fit(np.ones((5, 3)))
    np.testing.assert_allclose(constant.codebook_, 1)


@pytest.mark.parametrize("settings", [{"grid": (0, 3)}, {"sigma_end": 0.0}, {"max_iter": 0}])
def test_what_can_not_be(settings):
    with pytest.raises(ValueError, match="the grid must have sides of at least 1"):
        SelfOrganizingMap(**settings).fit(np.eye(4))
