"""TensorFlow Datasets without TensorFlow: its own builders, offline, and the cache of what they give."""

import importlib.util
import io
import json
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import h5py
import jax
import numpy as np
import pytest
from PIL import Image

from jaxvae.data import open_data
from jaxvae.data.cache import load_table, save_table, scratch_array
from jaxvae.data.table import from_arrays
from jaxvae.data.tfds import _decode
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import train
from jaxvae.training.run_folder import read_history

tfds = pytest.importorskip("tensorflow_datasets", reason="needs pip install 'jaxvae[tfds]'")
SIZES = (1, 3, 2, 4, 8, 8)


@pytest.fixture(autouse=True)
def _no_data_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))


def write_dsprites(path, sizes=SIZES):
    """A file in the published layout; images are numbered in their pixels. Returns images and classes."""
    count = int(np.prod(sizes))
    classes = np.stack(np.unravel_index(np.arange(count), sizes), axis=1)
    images = np.zeros((count, 64, 64), np.uint8)
    images[:, 0, :32] = np.unpackbits(np.arange(count, dtype=">u4")[:, None].view(np.uint8), axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("imgs", data=images, chunks=(1, 64, 64))
        file["latents/classes"], file["latents/values"] = classes, classes.astype(float)
    return images, classes


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    """They would be cut to their lower 8 bits."""
    image = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16)
    builder = SimpleNamespace(info=SimpleNamespace(features=tfds.features.FeaturesDict({"image": image})))
    with pytest.raises(ValueError, match="tfds:deep has images of type uint16; only uint8 images are read"):
        _decode(builder, [{"image": np.full((8, 8, 1), 300, np.uint16)}], "deep", None, tmp_path / "cache")


def test_caches_that_are_written_at_once(tmp_path):
    """As by the shards of a study: the last one wins, and none fails."""
    table = from_arrays(np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: save_table(tmp_path / "c", table, "origin"), range(40)))
    np.testing.assert_array_equal(load_table(tmp_path / "c", "origin").pixels, table.pixels)
    assert os.listdir(tmp_path) == ["c"]


def let_tfds_use(path, folder, monkeypatch):
    """Makes TFDS take `path` for what it would download. (It looks files up by checksum, and trusts that it did so.)"""
    import tensorflow_datasets.core.features.image_feature as image_feature
    from tensorflow_datasets.core.download.resource import get_dl_fname

    builder = tfds.builder("dsprites", file_format="array_record")
    ((url, info),) = builder.url_infos.items()
    target = folder / "downloads" / "dsprites" / get_dl_fname(url, info.checksum)
    target.parent.mkdir(parents=True)
    os.link(path, target)
    about = {"dataset_names": ["dsprites"], "original_fname": path.name, "urls": [url]}
    target.with_name(target.name + ".INFO").write_text(json.dumps(about))

    def png(self, array):
        buffer = io.BytesIO()
        Image.fromarray(array[..., 0] * 255 if array.max() <= 1 else array[..., 0]).save(buffer, "PNG")
        return buffer.getvalue()

    monkeypatch.setattr(image_feature._ImageEncoder, "_encode_image", png)


@jax.jit
def numbered(source, index):
    return source.at(index)


def test_tensorflow_is_not_needed():
    """All that follows runs without it."""
    assert importlib.util.find_spec("tensorflow") is None


def test_the_dsprites_builder_gives_what_the_file_gives(tmp_path, monkeypatch):
    path = tmp_path / "dsprites.hdf5"
    images, classes = write_dsprites(path)
    let_tfds_use(path, tmp_path / "tfds", monkeypatch)
    source, direct = open_data("tfds:dsprites"), open_data(f"dsprites:{path}")
    assert source.storage == "bits"
    assert source.is_grid
    assert source.factor_names == direct.factor_names
    assert source.factor_sizes == direct.factor_sizes == SIZES[1:]
    found, wanted = (numbered(one, np.arange(source.size)) for one in (source, direct))
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name])
    np.testing.assert_array_equal(np.asarray(found["x"])[..., 0], images)
    np.testing.assert_array_equal(source.factors, classes[:, 1:])


@pytest.mark.process
def test_a_run_on_the_dsprites_of_tfds(tmp_path, monkeypatch):
    write_dsprites(tmp_path / "dsprites.hdf5")
    let_tfds_use(tmp_path / "dsprites.hdf5", tmp_path / "tfds", monkeypatch)
    losses = {}
    for kind in ("tfds:dsprites", f"dsprites:{tmp_path / 'dsprites.hdf5'}"):
        source, method = build(default_config("beta-vae").with_flags(data=kind))
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            train(method, source, steps=8, batch_size=32, log_every=2, folder=tmp_path / kind[:4])
        losses[kind[:4]] = [row["loss"] for row in read_history(tmp_path / kind[:4])]
    assert losses["tfds"] == losses["dspr"]
    assert losses["tfds"][-1] < losses["tfds"][0]


@pytest.mark.slow
def test_full_dsprites(tmp_path, monkeypatch, capsys):
    """All 737,280 images through TFDS's builder, the cache and back: image for image what the file holds."""
    path = tmp_path / "dsprites.hdf5"
    images, classes = write_dsprites(path, (1, 3, 6, 40, 32, 32))
    let_tfds_use(path, tmp_path / "tfds", monkeypatch)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        source = open_data("tfds:dsprites")
        seconds.append(time.perf_counter() - start)
    assert source.storage == "bits"
    assert source.factor_sizes == (3, 6, 40, 32, 32)
    np.testing.assert_array_equal(source.factors, classes[:, 1:])
    for first in range(0, len(images), 8192):
        image = np.asarray(numbered(source, np.arange(first, min(first + 8192, len(images))))["x"])
        np.testing.assert_array_equal(image[..., 0], images[first : first + 8192])
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print(
            f"\ndSprites: {seconds[0]:.0f} s to prepare, decode and pack, {seconds[1]:.1f} s from the cache,", end=" "
        )
        print(f"{source.pixels.nbytes / 2**20:.0f} MiB packed, {gigabytes:.1f} GiB of memory at most")


def test_the_cache_is_used_and_a_damaged_one_is_not(tmp_path, monkeypatch):
    path = tmp_path / "dsprites.hdf5"
    write_dsprites(path, (1, 3, 2, 1, 2, 2))
    let_tfds_use(path, tmp_path / "tfds", monkeypatch)
    first = open_data("tfds:dsprites")
    (folder,) = (tmp_path / "cache" / "jaxvae" / "data").iterdir()
    monkeypatch.setattr("jaxvae.data.tfds._decode", lambda *arguments: pytest.fail("decoded again"))
    again = open_data("tfds:dsprites")
    np.testing.assert_array_equal(again.pixels, first.pixels)
    assert isinstance(again.pixels, np.memmap)
    content = bytearray((folder / "pixels.npy").read_bytes())
    content[-1] ^= 1
    (folder / "pixels.npy").write_bytes(content)
    decoded = []
    monkeypatch.setattr("jaxvae.data.tfds._decode", lambda *arguments: decoded.append(1) or first)
    np.testing.assert_array_equal(open_data("tfds:dsprites").pixels, first.pixels)
    assert decoded == [1]


@pytest.mark.parametrize(
    ("name", "settings", "shape", "factors"),
    [
        ("mnist", {}, (28, 28, 1), ("label",)),
        ("mnist", {"image_size": 32}, (32, 32, 1), ("label",)),
        ("celeb_a", {"image_size": 64}, (64, 64, 3), None),
        ("smallnorb", {"image_size": 64}, (64, 64, 1), ("category", "instance", "elevation", "azimuth", "lighting")),
    ],
)
def test_other_builders_on_tfds_mock_data(name, settings, shape, factors):
    with tfds.testing.mock_data(num_examples=7):
        source = open_data(f"tfds:{name}:train", **settings)
    assert source.size == 7
    assert source.event_shape == shape
    assert source.name == name
    if factors:
        assert source.factor_names == factors
    else:
        assert {"attributes_Smiling", "attributes_Male"} <= set(source.factor_names)
        assert len(source.factor_names) == 40
    image = np.asarray(numbered(source, np.arange(7))["x"])
    assert 0 <= image.min() < image.max() <= 1


def test_what_tfds_can_not_do(monkeypatch):
    with pytest.raises(ValueError, match="TFDS has no image set 'dsprits'"):
        open_data("tfds:dsprits")

    def offline(self):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(tfds.builder("mnist")), "download_and_prepare", offline)
    with pytest.raises(ValueError, match=r"prepare 'mnist' \(no route to host\).*`tfds build mnist --file_format"):
        open_data("tfds:mnist")


def test_without_tfds_its_install_command_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'jaxvae\[tfds\]'"):
        open_data("tfds:mnist")


def test_a_cache_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    table = from_arrays(np.zeros((3, 4, 4), np.uint8), np.arange(3)[:, None], name="mine")
    folder = tmp_path / "cache" / "mine"

    def fail(*arguments, **settings):
        raise OSError("no space left")

    with monkeypatch.context() as context:
        context.setattr(np, "save", fail)
        with pytest.raises(ValueError, match="can't write the data cache .*no space left"):
            save_table(folder, table, "here")
    assert list(folder.parent.iterdir()) == []
    assert load_table(folder, "here") is None
    with monkeypatch.context() as context:
        context.setattr(os, "posix_fallocate", fail)
        with pytest.raises(ValueError, match="can't write the data cache .*no space left"):
            scratch_array(folder, (2, 3))
    assert list(folder.parent.iterdir()) == []
    np.testing.assert_array_equal(scratch_array(folder, (2, 3)), np.zeros((2, 3)))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ValueError, match="can't write the data cache .*(directory|exists)"):
        save_table(blocked / "cache" / "mine", table, "here")
    save_table(folder, table, "here")
    assert load_table(folder, "there") is None
    loaded = load_table(folder, "here")
    assert (loaded.name, loaded.factor_sizes, loaded.event_shape) == ("mine", (3,), (4, 4, 1))
    (folder / "manifest.json").write_text("{")
    assert load_table(folder, "here") is None
