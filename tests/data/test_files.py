"""Files of users and of the field: read as published, and refused with the reason when they are not."""

import h5py
import jax
import numpy as np
import pytest
from scipy.io import savemat

from jaxvae.data import open_data, published_files

RNG = np.random.default_rng(0)


def opened(kind, path, **settings):
    return open_data(f"{kind}:{path}", **settings)


@jax.jit
def numbered(source, index):
    return source.at(index)["x"]


@jax.jit
def observed(source, factors):
    return source.render(factors)


def every_image(source):
    return np.asarray(numbered(source, np.arange(source.size)))


def image_of(source, *factors):
    return np.asarray(observed(source, np.array(factors, np.int32)))


def grid(*sizes):
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)


@pytest.mark.parametrize("suffix", ["npz", "h5", "npy"])
def test_arrays_of_a_user(suffix, tmp_path):
    images, factors = RNG.random((6, 16, 16)).astype(np.float32), grid(2, 3)
    path = tmp_path / f"mine.{suffix}"
    names = np.array(["size", "hue"])
    if suffix == "npz":
        np.savez(path, images=images, factors=factors, factor_names=names)
    elif suffix == "npy":
        np.save(path, images)
    else:
        with h5py.File(path, "w") as file:
            file["images"], file["factors"], file["factor_names"] = images, factors, names.astype("S")
    source = opened("arrays", path)
    np.testing.assert_array_equal(every_image(source)[..., 0], images)
    assert source.name == "mine"
    assert source.factor_names == (() if suffix == "npy" else ("size", "hue"))


def dsprites_rows():
    """3 x 2 x 2 x 2 x 2 images, whose number is written in their first pixels."""
    factors = grid(1, 3, 2, 2, 2, 2)
    images = np.zeros((48, 64, 64), np.uint8)
    images[:, 0, :6] = np.unpackbits(np.arange(48, dtype=np.uint8)[:, None], axis=1)[:, 2:]
    return images, factors


@pytest.mark.parametrize("suffix", ["npz", "hdf5"])
def test_dsprites(suffix, tmp_path):
    images, classes = dsprites_rows()
    path = tmp_path / f"dsprites.{suffix}"
    if suffix == "npz":  # with the pickled metadata of the published file, which is never looked at
        np.savez(path, imgs=images, latents_classes=classes, metadata=np.array({"title": "dSprites"}, object))
    else:
        with h5py.File(path, "w") as file:
            file["imgs"], file["latents/classes"] = images, classes
    source = opened("dsprites", path)
    assert (source.storage, source.factor_sizes, source.is_grid) == ("bits", (3, 2, 2, 2, 2), True)
    assert source.factor_names == ("shape", "scale", "orientation", "x", "y")
    np.testing.assert_array_equal(every_image(source)[..., 0], images)
    np.testing.assert_array_equal(source.factors, classes[:, 1:])
    np.testing.assert_array_equal(image_of(source, [2, 1, 0, 0, 1]), every_image(source)[[2 * 16 + 8 + 1]])


def test_shapes3d(tmp_path):
    labels = grid(2, 2, 2, 2, 2, 3) * np.array([0.1, 0.1, 0.1, 0.5, 1, 30]) + np.array([0, 0, 0, 0.75, 0, -30])
    order = RNG.permutation(96)
    images = RNG.integers(0, 256, (96, 64, 64, 3), np.uint8)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"], file["labels"] = images[order], labels[order]
    source = opened("shapes3d", tmp_path / "3dshapes.h5")
    assert source.factor_sizes == (2, 2, 2, 2, 2, 3)
    np.testing.assert_allclose(every_image(source) * 255, images, atol=1e-3)


def test_mpi3d_is_a_grid_in_its_published_order(tmp_path, monkeypatch):
    monkeypatch.setattr(published_files, "MPI3D_GRIDS", {72: (2, 1, 2, 3, 3, 2, 1)})
    images = RNG.integers(0, 256, (72, 64, 64, 3), np.uint8)
    np.savez(tmp_path / "mpi3d.npz", images=images)
    source = opened("mpi3d", tmp_path / "mpi3d.npz", image_size=None)
    np.testing.assert_allclose(image_of(source, [1, 0, 0, 2, 1, 1, 0]) * 255, images[[36 + 12 + 3]], atol=1e-3)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="MPI3D has 1036800 or 460800 images, found 72"):
        opened("mpi3d", tmp_path / "mpi3d.npz")


def test_cars3d_takes_its_files_in_the_order_of_their_names(tmp_path):
    meshes = {name: RNG.integers(0, 256, (128, 128, 3, 24, 4), np.uint8) for name in ("car_b", "car_a")}
    for name, mesh in meshes.items():
        savemat(tmp_path / f"{name}_mesh.mat", {"im": mesh})
    source = opened("cars3d", tmp_path, image_size=128)
    assert (source.factor_names, source.factor_sizes) == (("elevation", "azimuth", "object"), (4, 24, 2))
    found = image_of(source, [3, 7, 1], [0, 23, 0]) * 255
    want = np.stack([meshes["car_b"][..., 7, 3], meshes["car_a"][..., 23, 0]])
    np.testing.assert_allclose(found, want, atol=1e-3)
    assert opened("cars3d", tmp_path).event_shape == (64, 64, 3)


def norb_matrix(path, values):
    magic = {np.dtype(np.uint8): 0x1E3D4C55, np.dtype(np.int32): 0x1E3D4C54}[values.dtype]
    shape = values.shape + (1,) * (3 - values.ndim)
    path.write_bytes(np.array([magic, values.ndim, *shape], "<i4").tobytes() + values.tobytes())


def test_smallnorb(tmp_path):
    rows = {
        part: grid(2, 2, 2, 3, 2) + np.array([0, first, 0, 0, 0]) for part, first in (("training", 0), ("testing", 2))
    }
    pixels = {part: RNG.integers(0, 256, (48, 2, 96, 96), np.uint8) for part in rows}
    for part, factors in rows.items():
        prefix = f"smallnorb-5x01235x9x18x6x2x96x96-{part}"
        norb_matrix(tmp_path / f"{prefix}-dat.mat", pixels[part])
        norb_matrix(tmp_path / f"{prefix}-cat.mat", factors[:, 0].astype(np.int32))
        norb_matrix(tmp_path / f"{prefix}-info.mat", (factors[:, 1:] * np.array([1, 1, 2, 1])).astype(np.int32))
    source = opened("smallnorb", tmp_path, image_size=96)
    assert source.factor_sizes == (2, 4, 2, 3, 2)
    assert source.is_grid
    found = image_of(source, [1, 3, 0, 2, 1]) * 255
    want = pixels["testing"][(rows["testing"] == [1, 3, 0, 2, 1]).all(axis=1), 0]
    np.testing.assert_allclose(found[..., 0], want, atol=1e-3)
    assert opened("smallnorb", tmp_path).event_shape == (64, 64, 1)
    cut = tmp_path / "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat"
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(ValueError, match="testing-dat.mat: cut off"):
        opened("smallnorb", tmp_path)


def test_resizing_crops_to_the_middle_square(tmp_path):
    image = np.zeros((1, 32, 64), np.uint8)
    image[:, :, :16] = 200  # outside of the middle square
    image[:, :, 16:48] = 100
    np.savez(tmp_path / "a.npz", images=image)
    source = opened("arrays", tmp_path / "a.npz", image_size=16)
    np.testing.assert_allclose(every_image(source) * 255, np.full((1, 16, 16, 1), 100), atol=1e-3)
    np.savez(tmp_path / "b.npz", images=np.zeros((1, 32, 64)))
    with pytest.raises(ValueError, match="only uint8 images"):
        opened("arrays", tmp_path / "b.npz", image_size=16)


def write(path, content):
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        ("dsprites", "a.npz", {"images": np.zeros(3)}, "there is no 'imgs' in it, only 'images'"),
        ("dsprites", "a.npz", b"PK\x03\x04 cut", "can't be read, it may be cut off"),
        ("dsprites", "a.hdf5", b"\x89HDF cut", "can't be read, it may be cut off"),
        (
            "dsprites",
            "a.npz",
            {"imgs": np.zeros((2, 32, 32), np.uint8), "latents_classes": np.zeros((2, 6))},
            r"images must be uint8 \(2, 64, 64\), found uint8 \(2, 32, 32\)",
        ),
        (
            "dsprites",
            "a.npz",
            {"imgs": np.zeros((2, 64, 64), np.uint8), "latents_classes": np.zeros((2, 5))},
            r"latents classes must be \[2, 6\]",
        ),
        ("arrays", "a.npz", {"images": np.array([{"code": 1}], object)}, "without unpickling, which is never done"),
        ("arrays", "a.npz", {"images": np.full((1, 4, 4), 7.0)}, r"must be in \[0, 1\], found 7 to 7"),
        ("arrays", "a.npy", b"\x93NUMPY cut", "can't be read, it may be cut off"),
        ("arrays", "a.csv", b"1,2", "not from '.csv'"),
    ],
)
def test_files_that_are_not_what_they_should_be(kind, name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        opened(kind, write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dsprites:nowhere.npz", "nowhere.npz: there is no such file"),
        ("pictures:nowhere", "nowhere: there is no such folder"),
        ("dsprite:x", "unknown data 'dsprite:x': did you mean 'dsprites:PATH'"),
        ("sprite", "did you mean 'sprites'"),
        ("dsprites", "unknown data 'dsprites': did you mean"),
        ("cars3d:", "unknown data"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    with pytest.raises(ValueError, match=message):
        open_data(name)


def test_empty_folders(tmp_path):
    for kind, message in (("pictures", "no pictures"), ("cars3d", "found none"), ("smallnorb", "training-dat.mat")):
        with pytest.raises(ValueError, match=message):
            opened(kind, tmp_path)


def test_a_truncated_npz(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((100, 16, 16)))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cut off"):
        opened("arrays", tmp_path / "a.npz")
