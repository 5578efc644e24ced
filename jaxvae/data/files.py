"""Images in npz, npy and hdf5 files of the user."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.contents import DAMAGED, check_kind, content_of, suffix_of, unreadable
from jaxvae.data.pictures import resized
from jaxvae.data.table import Table, aligned, from_arrays
from jaxvae.files import printable

HDF5 = (".h5", ".hdf5")


def array_file(path: Path, *, image_size: int | None = None) -> Table:
    """An npz or hdf5 file with "images" and, if known, "factors" and "factor_names"; or an npy file of images."""
    names = None
    match suffix_of(path):
        case ".npy":
            images, factors = _load(path), None
        case ".npz":
            images, factors, names = read_npz(path, "images", "factors?", "factor_names?")
        case ".h5" | ".hdf5":
            images, factors, names = read_hdf5(path, "images", "factors?", "factor_names?")
        case suffix:
            raise ValueError(f"{path}: images come from .npz, .npy, .h5 and .hdf5 files, not from {suffix!r}")
    name = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    if images.ndim == 2:
        raise ValueError(
            f"{path}: images are an array [N, H, W] or [N, H, W, C], got shape {images.shape}: for a table of N rows, "
            + (
                "save them as an npy file, and name the data table:FILE"
                if suffix_of(path) in HDF5
                else f"name the data table:{path}"
            )
        )
    images = all_resized(images, image_size, path)
    try:
        return from_arrays(images, factors, name=printable(name), factor_names=_words(path, names))
    except ValueError as error:
        if images.ndim == 3 and "must be in [0, 1]" in str(error):
            raise ValueError(
                f"{error}; or, for series [N, T, D] of real numbers, name the data series:{path}"
            ) from None
        raise


def all_resized(images: np.ndarray, size: int | None, path: Path) -> np.ndarray:
    """Crops and resizes images [N, H, W] or [N, H, W, C] as `resized` does, if a size is given.

    Raises:
      ValueError: The images are not uint8, or do not have one or three channels.
    """
    if size is None or images.shape[1:3] == (size, size):
        return images
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(
            f"{path}: only uint8 images of one or three channels are resized, found {images.dtype} {images.shape}"
        )
    channels = images.shape[3:]
    if channels == (1,):
        images = images[..., 0]
    return np.stack([resized(image, size) for image in images]).reshape(len(images), size, size, *channels)


def read_npz(path: Path, *names: str) -> tuple:
    """Reads arrays of an npz file by name.

    Args:
      path: File to read; one that ends in .gz is unpacked.
      names: Names of the arrays. An array whose name ends in "?" may be missing and is then None.

    Returns:
      The arrays, in the order of their names.

    Raises:
      ValueError: The file cannot be read, or an array is missing.
    """
    content = content_of(path)
    check_kind(path, content, "npz")
    try:
        with np.load(content, allow_pickle=False) as arrays:
            return tuple(_pick(path, list(arrays.keys()), name, lambda name: arrays[name]) for name in names)
    except DAMAGED as error:
        raise unreadable(path, error) from error


def read_hdf5(path: Path, *names: str) -> tuple:
    """Reads arrays of an hdf5 file by name, as `read_npz` does. Values that are stored in other files are not read.

    Raises:
      ValueError: h5py is missing, the file cannot be read, an array is missing, or its values are in another file.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ValueError(f"{path}: hdf5 files need h5py: pip install 'jaxvae[tfds]'")
    import h5py

    content = content_of(path)
    # An HDF5 file may begin with a user block, which has no signature.
    if not isinstance(content, Path) or not h5py.is_hdf5(content):
        check_kind(path, content, "hdf5")
    try:
        with h5py.File(content, "r") as file:
            there: list[str] = []
            file.visititems(lambda name, item: there.append(name) if isinstance(item, h5py.Dataset) else None)
            return tuple(_pick(path, there, name, lambda name: _own_values(path, file[name])) for name in names)
    except DAMAGED as error:
        raise unreadable(path, error) from error


def _own_values(path: Path, dataset: Any) -> np.ndarray:
    """Reads the values of a dataset, which must be stored in the file itself."""
    if dataset.is_virtual or dataset.external:
        kept = "assembled from other files (a virtual dataset)" if dataset.is_virtual else "kept in another file"
        raise _Refused(f"{path}: {dataset.name!r} is {kept}, which is not read: copy the values into one file")
    if not dataset.size or dataset.dtype.kind not in "biuf":
        return dataset[()]
    values = aligned(dataset.shape, dataset.dtype)
    dataset.read_direct(values)
    return values


class _Refused(ValueError):
    """An error whose message needs no further context."""


def _load(path: Path) -> np.ndarray:
    content = content_of(path)
    check_kind(path, content, "npy")
    try:
        return np.load(content, mmap_mode="r" if isinstance(content, Path) else None, allow_pickle=False)
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error


def _pick(path: Path, there: list[str], name: str, read: Callable[[str], np.ndarray]) -> np.ndarray | None:
    wanted = name.removesuffix("?")
    if wanted in there:
        try:
            array = np.asanyarray(read(wanted))
            if not array.ndim:
                raise _Refused(f"{path}: {wanted!r} is a single value, not an array")
            return array
        except _Refused:
            raise
        except ValueError as error:
            raise unreadable(Path(f"{path}: {wanted!r}"), error) from error
    if name.endswith("?"):
        return None
    raise ValueError(f"{path}: there is no {wanted!r} in it, only {', '.join(map(repr, there)) or 'nothing'}")


def _words(path: Path, names: np.ndarray | None) -> list[str] | None:
    """Returns the names of factors as printable text."""
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "SUO":
        raise ValueError(f"{path}: factor_names must be a list of words, got {names.dtype} {names.shape}")
    words = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]
    return [printable(" ".join(word.split())) for word in words]
