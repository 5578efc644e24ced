"""A data set is in memory once while its run is trained and scored."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxvae.data import from_arrays, open_data
from jaxvae.data.table import aligned
from jaxvae.runs.build import kept_once


def grid(shuffled):
    """Images of a grid, and their factors, in the order of the grid or not."""
    rng = np.random.default_rng(0)
    order = rng.permutation(60) if shuffled else np.arange(60)
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((60, 4, 4, 1), np.uint8)
    return images[order], np.stack(np.unravel_index(order, (3, 4, 5)), axis=1)


def test_images_that_are_in_order_are_not_copied():
    images, factors = grid(shuffled=False)
    assert from_arrays(images, factors).pixels is images
    images, factors = grid(shuffled=True)
    ordered = from_arrays(images, factors).pixels
    np.testing.assert_array_equal(ordered[:, 0, 0, 0], np.arange(60))


def test_what_is_read_is_what_jax_computes_with(tmp_path):
    h5py = pytest.importorskip("h5py")
    images, factors = grid(shuffled=True)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["factors"] = images, factors
    source = open_data(f"arrays:{tmp_path / 'a.h5'}")
    kept = kept_once(source).pixels
    assert kept.unsafe_buffer_pointer() == source.pixels.ctypes.data
    np.testing.assert_array_equal(kept, source.pixels)
    assert jax.device_put(kept, jax.devices()[0]).unsafe_buffer_pointer() == kept.unsafe_buffer_pointer()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_aligned_arrays_hold_what_is_written(dtype):
    array = aligned((3, 5), np.dtype(dtype))
    array[:] = np.arange(15).reshape(3, 5)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.sum() == 105


MEASURED = """
import resource, subprocess, sys
ended = subprocess.run([sys.executable, "-m", "jaxvae", *sys.argv[1:]], stdout=subprocess.DEVNULL)
print(ended.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss has other units elsewhere")
def test_training_and_reporting_take_two_and_a_half_times_the_images(tmp_path):
    h5py = pytest.importorskip("h5py")
    sizes = (10, 10, 10, 8, 4, 2)
    factors = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        images = np.zeros((len(factors), 64, 64, 3), np.uint8)
        images[:, :32, :32, 0] = (factors[:, 0] * 20)[:, None, None]
        file["images"], file["labels"] = images, factors / 10
    run = str(tmp_path / "run")
    train = ["train", "vae", "--data", f"shapes3d:{tmp_path / 's.h5'}", "--steps", "4", "--batch-size", "16", "--run"]
    for words in ([*train, run], ["report", run]):
        told = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True).stdout
        code, kilobytes = map(int, told.split())
        assert code == 0
        assert kilobytes * 1024 <= 2.5 * images.nbytes, f"{words[0]}: {kilobytes / 1024:.0f} MiB"
