"""XY squares, and folders of pictures in the layout of Isaac3D and Falcor3D."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae.data import XYSquares, open_data, rendered_files


def test_squares_are_where_their_factors_say():
    factors = np.array([[0, 0, 7, 7, 3, 5], [4, 2, 4, 2, 4, 2]])
    images = np.asarray(XYSquares(32).render(jnp.asarray(factors)))
    assert images.shape == (2, 32, 32, 3)
    for image, (*places,) in zip(images, factors, strict=True):
        for channel in range(3):
            x, y = places[2 * channel : 2 * channel + 2]
            want = np.zeros((32, 32))
            want[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 1
            np.testing.assert_array_equal(image[..., channel], want)


def test_pixels_tell_only_which_squares_are_elsewhere():
    """However far a square moves, the squared distance is that of its area twice."""
    x = np.zeros((8, 6), int)
    x[:, 0] = np.arange(8)
    images = np.asarray(XYSquares(16).render(jnp.asarray(x))).reshape(8, -1)
    distance = ((images[:, None] - images[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(distance, 8 * (1 - np.eye(8)))


SIZES = {"one": 2, "two": 3, "three": 2}
GRID = np.array(list(itertools.product(range(2), range(3), range(2))))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures whose grey level is their number in the grid, in another order than that of the grid."""
    monkeypatch.setattr(rendered_files, "ISAAC3D", SIZES)
    monkeypatch.setattr(rendered_files, "FALCOR3D", SIZES)
    (tmp_path / "images").mkdir()
    order = np.random.default_rng(0).permutation(12)
    for place, number in enumerate(order):
        Image.new("RGB", (128, 128), (10 * int(number),) * 3).save(tmp_path / "images" / f"{place:06}.png")
    labels = GRID[order] / 10
    np.save(tmp_path / "labels.npy", labels)
    np.savetxt(tmp_path / "train-rec.labels", labels)
    return tmp_path


@pytest.mark.parametrize("name", ["isaac3d", "falcor3d"])
def test_folders_are_grids(folder, name):
    source = open_data(f"{name}:{folder}", image_size=16)
    assert (source.name, source.factor_names, source.factor_sizes) == (name, tuple(SIZES), (2, 3, 2))
    assert source.event_shape == (16, 16, 3)
    assert source.is_grid
    np.testing.assert_array_equal(source.factors, GRID)
    levels = np.asarray(source.render(jnp.asarray(GRID)))[:, 0, 0, 0] * 255
    np.testing.assert_allclose(levels, 10 * np.arange(12), atol=0.5)
    assert open_data(f"{name}:{folder}").event_shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "labels.npy").unlink(), "found no labels.npy"),
        (lambda folder: np.save(folder / "labels.npy", GRID[:, :2]), r"must be \[images, 3\], found \(12, 2\)"),
        (lambda folder: np.save(folder / "labels.npy", GRID[:6]), r"take \(1, 3, 2\) values, and those of isaac3d"),
        (lambda folder: (folder / "images" / "000003.png").unlink(), "11 pictures for 12 labels"),
        (
            lambda folder: np.save(folder / "labels.npy", np.concatenate([GRID[:11], GRID[:1]])),
            "not one of every combination of the 3 factors",
        ),
    ],
)
def test_other_folders_are_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        open_data(f"isaac3d:{folder}")


def test_falcor_needs_numbers(folder):
    (folder / "train-rec.labels").write_text("a b c\n")
    with pytest.raises(ValueError, match="rows of numbers"):
        open_data(f"falcor3d:{folder}")
    (folder / "train-rec.labels").unlink()
    with pytest.raises(ValueError, match=r"found no train-rec\.labels"):
        open_data(f"falcor3d:{folder}")
    with pytest.raises(ValueError, match="there is no such folder"):
        open_data(f"falcor3d:{folder / 'nowhere'}")


def test_grids_are_those_of_the_published_archives():
    assert np.prod(list(rendered_files.ISAAC3D.values())) == 737_280
    assert np.prod(list(rendered_files.FALCOR3D.values())) == 233_280
    assert (len(rendered_files.ISAAC3D), len(rendered_files.FALCOR3D)) == (9, 7)
