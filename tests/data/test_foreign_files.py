"""Files that are not what their names say, or lie packed: named with what they are, and never unpickled."""

import gzip
import io
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from jaxvae.data import open_data
from jaxvae.data.contents import content_of

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 8)).astype(np.float32)
PAGE = b"\r\n<!DOCTYPE html><html>quota exceeded</html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 26711681\n"


def opened(kind, path, **settings):
    return open_data(f"{kind}:{path}", **settings)


def every_image(source):
    return np.asarray(source.at(np.arange(source.size))["x"])


def npy(array, **settings):
    buffer = io.BytesIO()
    np.save(buffer, array, **settings)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.h5", "a.NPZ"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (PAGE, "it is a web page: download the data again"),
        (POINTER, "it is a Git LFS pointer, not the data themselves: run `git lfs pull`"),
        (b"../.git/annex/objects/Xk"[7:], "it is a git-annex pointer"),
        (b"", "it is empty"),
        (b"<?xml version='1.0'?><Error>AccessDenied", "it is an XML file, perhaps a server's message"),
        (gzip.compress(b"a", mtime=0), "it is packed by gzip: name it .gz, or unpack it"),
        (pickle.dumps([1]), "it is a Python pickle, which is never unpickled"),
        (b"MATLAB 5.0 MAT-file, Platform", "it is a MATLAB file"),
        (b"just text", "it begins as none does"),
    ],
)
def test_what_a_file_is_instead(name, content, found, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: not an (npz|npy|hdf5) file: {found}"):
        opened("arrays", tmp_path / name)


@pytest.mark.parametrize("content", [PAGE, POINTER, b"", b"MATLAB 5.0 MAT-file, cut", b"\0" * 50])
@pytest.mark.parametrize(
    "name",
    [
        *("dsprites.npz", "dsprites.hdf5", "shapes3d.h5", "mpi3d.npz", "arrays.npy", "cars3d.mat", "smallnorb.mat"),
        *("dsprites.npz.gz", "cars3d.mat.gz", "smallnorb.mat.gz"),
    ],
)
def test_every_layout_names_the_file_and_never_says_to_unpickle(name, content, tmp_path):
    kind = name.partition(".")[0]
    path = tmp_path / name
    if kind == "smallnorb":
        for part in ("dat", "cat", "info"):
            path = tmp_path / name.replace("smallnorb", f"smallnorb-5x-training-{part}")
            path.write_bytes(content)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\.(npz|npy|hdf5|h5|mat)(\.gz)?: ") as caught:
        opened(kind, tmp_path if kind in ("cars3d", "smallnorb") else path)
    assert "allow_pickle" not in str(caught.value)
    if content in (PAGE, POINTER):
        assert ("a web page" if content == PAGE else "a Git LFS pointer") in str(caught.value)


def test_a_single_value_is_no_array(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(imgs=np.uint8(1), latents_classes=np.zeros((1, 6))))
    with pytest.raises(ValueError, match="a.npz: 'imgs' is a single value, not an array"):
        opened("dsprites", tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", npy(IMAGES), "not an npz file: it is an npy file"),
        ("a.npy", npz(images=IMAGES), "not an npy file: it is a zip archive, or an npz file"),
        (
            "a.npy",
            npy(np.array([{}], object), allow_pickle=True),
            "a.npy: it holds Python objects: it can't be read with",
        ),
        (
            "a.npz",
            npz(images=np.array([{}], object)),
            "'images': it holds Python objects: it can't be read without unp",
        ),
        ("a.npz", npz(images=IMAGES, factor_names=np.array("hue")), "'factor_names' is a single value, not an array"),
        ("a.npz", npz(images=IMAGES, factor_names=np.zeros(1)), "must be a list of words"),
        ("a.npz", npz(images=IMAGES)[:-120], "a.npz: can't be read, it may be cut off"),
    ],
)
def test_what_lies_in_an_array_file(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        opened("arrays", tmp_path / name)
    assert "allow_pickle" not in str(caught.value)


def test_a_header_that_is_too_long(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 8, 8)" + b" " * 60_000 + b"}\n"
    content = b"\x93NUMPY\x01\0" + np.uint16(len(header)).tobytes() + header
    (tmp_path / "a.npy").write_bytes(content + IMAGES.tobytes())
    with pytest.raises(ValueError, match="a.npy: its header is too long") as caught:
        opened("arrays", tmp_path / "a.npy")
    assert "allow_pickle" not in str(caught.value)


def test_pipes_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    (tmp_path / "b.npy").mkdir()
    for name in ("a.npz", "b.npy"):
        with pytest.raises(ValueError, match=f"{name}: it is not a regular file"):
            opened("arrays", tmp_path / name)
    with pytest.raises(ValueError, match="a.npz: it is not a folder: unpack the archive"):
        opened("cars3d", tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", ["npz", "npy", "h5"])
def test_files_are_read_as_they_are_packed(suffix, tmp_path):
    plain = tmp_path / f"mine.{suffix}"
    if suffix == "h5":
        with h5py.File(plain, "w") as file:
            file["images"] = IMAGES
    else:
        plain.write_bytes(npy(IMAGES) if suffix == "npy" else npz(images=IMAGES))
    packed = tmp_path / f"mine.{suffix}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    source = opened("arrays", packed)
    np.testing.assert_array_equal(every_image(source)[..., 0], IMAGES)
    assert source.name == "mine"
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"mine.{suffix}.gz: it cannot be unpacked, it may be cut off"):
        opened("arrays", packed)


def test_what_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvae.data.contents.MOST_UNPACKED", 1 << 20)
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(ValueError, match="a.npy.gz: it unpacks to more than"):
        content_of(tmp_path / "a.npy.gz")


def norb_matrix(values):
    magic = {np.dtype(np.uint8): 0x1E3D4C55, np.dtype(np.int32): 0x1E3D4C54}[values.dtype]
    shape = values.shape + (1,) * (3 - values.ndim)
    return np.array([magic, values.ndim, *shape], "<i4").tobytes() + values.tobytes()


def write_smallnorb(folder):
    """The six files, packed as they are published."""
    for part, name in (("training", "5x46789x9x18x6x2x96x96"), ("testing", "5x01235x9x18x6x2x96x96")):
        matrices = {
            "dat": RNG.integers(0, 256, (9, 2, 96, 96), np.uint8),
            "cat": np.arange(9, dtype=np.int32) % 5,
            "info": RNG.integers(0, 5, (9, 4)).astype(np.int32),
        }
        for kind, values in matrices.items():
            path = folder / f"smallnorb-{name}-{part}-{kind}.mat.gz"
            path.write_bytes(gzip.compress(norb_matrix(values), 1))


def test_smallnorb_as_it_is_published(tmp_path):
    write_smallnorb(tmp_path)
    packed = opened("smallnorb", tmp_path, image_size=96)
    for path in sorted(tmp_path.glob("*.gz")):  # one after the other, as `gunzip -k` leaves them
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    plain = opened("smallnorb", tmp_path, image_size=96)
    np.testing.assert_array_equal(every_image(packed), every_image(plain))
    np.testing.assert_array_equal(packed.factors, plain.factors)
    assert packed.size == 18


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([0x1E3D4C54, 2, 9, -4, 1], "<i4").tobytes() + bytes(99), "cut off, or too long"),
        (norb_matrix(np.zeros((9, 4), np.int32))[:-2], "cut off, or too long"),
        (np.array([0x1E3D4C54, 4, 2**31 - 1, 2**31 - 1, 2**31 - 1, 4], "<i4").tobytes(), "cut off, or too long"),
        (np.array([7, 2, 9, 4, 1], "<i4").tobytes(), "not a SmallNORB matrix: magic number 0x7, 2 dimensions"),
        (norb_matrix(np.zeros((8, 4), np.int32)), "training set has images"),
    ],
)
def test_smallnorb_files_that_are_damaged(content, message, tmp_path):
    write_smallnorb(tmp_path)
    (tmp_path / "smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=message):
        opened("smallnorb", tmp_path)


def test_cars3d_packed_and_of_another_type(tmp_path):
    mesh = RNG.integers(0, 256, (128, 128, 3, 24, 4), np.uint8)
    savemat(tmp_path / "car.mat", {"im": mesh})
    (tmp_path / "._car.mat").write_bytes(b"\0\5\x16\7")
    plain = every_image(opened("cars3d", tmp_path))
    with (tmp_path / "car.mat").open("rb") as file, gzip.open(tmp_path / "car.mat.gz", "wb", 1) as packed:
        shutil.copyfileobj(file, packed)
    assert opened("cars3d", tmp_path).size == 96
    (tmp_path / "car.mat").unlink()
    np.testing.assert_array_equal(every_image(opened("cars3d", tmp_path)), plain)
    savemat(tmp_path / "car.mat", {"im": mesh[..., :1, :1].astype(float)})
    with pytest.raises(ValueError, match=r"car.mat: 'im' must be uint8 .*found float64 \(128, 128, 3"):
        opened("cars3d", tmp_path)


def test_hdf5_files_read_nothing_from_other_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)) * 6)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = IMAGES
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("images", (6, 8, 8), np.uint8, external=[(str(secret), 0, 384)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((6, 8, 8), np.float32)
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "images", (6, 8, 8))
        file.create_virtual_dataset("images", layout)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
    for name, message in (
        ("external", "'/images' is kept in another file, which is not read: copy the values into one file"),
        ("virtual", r"'/images' is assembled from other files \(a virtual dataset\)"),
        ("link", "there is no 'images' in it"),
    ):
        with pytest.raises(ValueError, match=f"{name}.h5: {message}"):
            opened("arrays", tmp_path / f"{name}.h5")


def test_names_of_factors_can_be_printed(tmp_path):
    names = np.array([b"\x1b[31mhue", "größe".encode("latin-1"), b"a\n b"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["factors"], file["factor_names"] = IMAGES, np.zeros((6, 3)), names
    source = opened("arrays", tmp_path / "a.h5")
    assert source.factor_names == (r"\x1b[31mhue", "gr\ufffd\ufffde", "a b")
    assert source.factor_sizes == (1, 1, 1)  # factors that are all constant are data like any other
