import jax
import numpy as np
import pytest

from jaxvae.data import Sprites


@jax.jit
def observed(source, factors):
    return source.render(factors)


def draw(*rows, resolution=64):
    return np.asarray(observed(Sprites(resolution), np.array(rows, np.int32)))[..., 0]


def test_the_grid_is_that_of_dsprites():
    assert Sprites().factor_sizes == (3, 6, 40, 32, 32)
    assert Sprites().size == 737_280
    assert Sprites().event_shape == (64, 64, 1)


def test_images_are_binary_and_never_cropped():
    images = draw(
        *[(s, 5, o, x, y) for s in range(3) for o in range(40) for x, y in [(0, 0), (31, 31)]], resolution=256
    )
    assert set(np.unique(images)) == {0.0, 1.0}
    areas = images.sum((1, 2)).reshape(3, 80)
    # Nothing is lost at the edges: the area hardly depends on where and how the shape is turned.
    np.testing.assert_allclose(areas, np.broadcast_to(areas.mean(1, keepdims=True), areas.shape), rtol=0.05)


def test_area_of_the_square_and_ellipse():
    """The largest square has side sqrt(2)/4, the largest ellipse half axes 1/4 and 1/8, of a side of 1."""
    square, ellipse = draw((0, 5, 0, 16, 16), (1, 5, 0, 16, 16), resolution=256).mean((1, 2))
    np.testing.assert_allclose(square, 1 / 8, rtol=0.02)
    np.testing.assert_allclose(ellipse, np.pi / 32, rtol=0.02)


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_scale_position_and_orientation_do_what_they_say(shape):
    small, large = draw((shape, 0, 0, 16, 16), (shape, 5, 0, 16, 16), resolution=512).sum((1, 2))
    np.testing.assert_allclose(large / small, 4, rtol=0.03)
    images = draw((shape, 5, 0, 0, 0), (shape, 5, 0, 31, 0), (shape, 5, 0, 0, 31))
    rows, columns = np.mgrid[:64, :64]
    centres = np.array([[(image * axis).sum() / image.sum() for axis in (columns, rows)] for image in images])
    np.testing.assert_allclose(centres[1] - centres[0], [32, 0], atol=0.6)
    np.testing.assert_allclose(centres[2] - centres[0], [0, 32], atol=0.6)
    upright, turned = draw((shape, 5, 0, 16, 16), (shape, 5, 10, 16, 16), resolution=128)
    about_centre = np.roll(upright, (-2, -2), (0, 1)), np.roll(turned, (-2, -2), (0, 1))
    assert np.abs(np.rot90(about_centre[0], -1) - about_centre[1]).mean() < 0.02


def test_the_heart_stands_upright():
    (heart,) = draw((2, 5, 0, 16, 16), resolution=256)
    filled = np.flatnonzero(heart.any(axis=1))
    widest = heart.sum(axis=1).argmax()
    assert widest < filled.mean()
    assert heart[filled[-1]].sum() < 0.2 * heart.sum(axis=1).max()


def test_symmetries_of_dsprites():
    quarter = [draw((s, 5, 0, 16, 16), (s, 5, 10, 16, 16)) for s in range(3)]
    half = [draw((s, 5, 0, 16, 16), (s, 5, 20, 16, 16)) for s in range(3)]
    differ = lambda pair: np.abs(pair[0] - pair[1]).sum() / pair[0].sum()  # noqa: E731
    assert [differ(pair) < 0.1 for pair in quarter] == [True, False, False]
    assert [differ(pair) < 0.1 for pair in half] == [True, True, False]
