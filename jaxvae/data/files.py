"""A user's own images: npz, npy and hdf5 files, and folders of pictures."""

import importlib.util
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvae.data.table import Table, from_arrays

DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers raise for files that are not what they seem."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def array_file(path: Path, *, image_size: int | None = None) -> Table:
    """An npz or hdf5 file with "images" and, if known, "factors" and "factor_names"; or an npy file of images"""
    names = None
    match path.suffix:
        case ".npy":
            images, factors = _load(path), None
        case ".npz":
            images, factors, names = read_npz(path, "images", "factors?", "factor_names?")
        case ".h5" | ".hdf5":
            images, factors, names = read_hdf5(path, "images", "factors?", "factor_names?")
        case suffix:
            raise ValueError(f"{path}: images come from .npz, .npy, .h5 and .hdf5 files, not from {suffix!r}")
    if names is not None:
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return from_arrays(all_resized(images, image_size, path), factors, name=path.stem, factor_names=names)


def picture_folder(path: Path, *, image_size: int | None = None, skip_bad: bool = False) -> Table:
    """A folder of pictures, in the order of their names, colour kept if any has it

    Args:
      path: searched with its subfolders.
      image_size: pictures are cropped to their middle square and brought to this many pixels a side; without it, all
        must have one size.
      skip_bad: leave out files that can't be read, instead of stopping at the first.

    Raises:
      ValueError: no pictures, one that can't be read, or several sizes; it names the file.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES)
    if not files:
        raise ValueError(f"{path}: no pictures in this folder; known are {', '.join(PICTURES)}")
    images: list[np.ndarray] = []
    for file in files:
        try:
            with Image.open(file) as picture:
                image = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "I", "I;16") else "RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if skip_bad:
                continue
            raise ValueError(f"{file}: can't be read ({error}); --skip-bad leaves such files out") from error
        images.append(resized(image, image_size) if image_size else image)
        if images[-1].shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{file} is {_size(images[-1])} pixels and {files[0]} is {_size(images[0])}: "
                "give an image size for all of them"
            )
    if not images:
        raise ValueError(f"{path}: none of its {len(files)} pictures can be read")
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
    return from_arrays(np.stack(images), name=path.name)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3], cropped to its middle square, at `size` pixels a side (Lanczos)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return (
        square if side == size else np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    )


def all_resized(images: np.ndarray, size: int | None, path: Path) -> np.ndarray:
    """[N, H, W] or [N, H, W, C] as `resized`, if a size is given. ValueError for other images than uint8."""
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
    """Arrays of an npz file by name; one whose name ends in "?" may be missing, and is None then."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return tuple(_pick(path, list(arrays.keys()), name, lambda name: arrays[name]) for name in names)
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def read_hdf5(path: Path, *names: str) -> tuple:
    """Arrays of an hdf5 file by name, as `read_npz`."""
    if importlib.util.find_spec("h5py") is None:
        raise ValueError(f"{path}: hdf5 files need h5py: pip install 'jaxvae[tfds]'")
    import h5py

    try:
        with h5py.File(path, "r") as file:
            there: list[str] = []
            file.visititems(lambda name, item: there.append(name) if isinstance(item, h5py.Dataset) else None)
            return tuple(_pick(path, there, name, lambda name: file[name][()]) for name in names)
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (*DAMAGED, ValueError) as error:
        raise _unreadable(path, error) from error


def _pick(path: Path, there: list[str], name: str, read: Callable[[str], np.ndarray]) -> np.ndarray | None:
    wanted = name.removesuffix("?")
    if wanted in there:
        try:
            return read(wanted)
        except ValueError as error:
            raise ValueError(f"{path}: {wanted!r} can't be read without unpickling, which is never done") from error
    if name.endswith("?"):
        return None
    raise ValueError(f"{path}: there is no {wanted!r} in it, only {', '.join(map(repr, there)) or 'nothing'}")


def _unreadable(path: Path, error: Exception) -> ValueError:
    if not path.exists():
        return ValueError(f"{path}: there is no such file")
    return ValueError(f"{path}: can't be read, it may be cut off ({error})")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
