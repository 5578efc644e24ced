"""Readers of the field's data sets, from the files in which they were published.

Each reader checks the layout, and its error messages say what was found instead. Files are never unpickled.
"""

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxvae.data.contents import DAMAGED, content_of, identified, suffix_of
from jaxvae.data.files import HDF5, all_resized, read_hdf5, read_npz
from jaxvae.data.pictures import resized
from jaxvae.data.table import Table, from_arrays

MATRIX_TYPES: dict[int, np.dtype] = {0x1E3D4C55: np.dtype("<u1"), 0x1E3D4C54: np.dtype("<i4")}
"""Types of the values in a SmallNORB file, by its magic number."""
MPI3D_GRIDS = {1_036_800: (6, 6, 2, 3, 3, 40, 40), 460_800: (4, 4, 2, 3, 3, 40, 40)}
"""Sizes of the factors, by the number of images, for the sets of the competition and the one with complex shapes."""


def dsprites(path: Path, *, image_size: int | None = None) -> Table:
    """dSprites (Matthey et al., 2017), from the npz or hdf5 file: 737,280 binary images of 64 x 64 pixels."""
    if suffix_of(path) in HDF5:
        images, classes = read_hdf5(path, "imgs", "latents/classes")
    else:
        images, classes = read_npz(path, "imgs", "latents_classes")
    _expect(path, images, (len(images), 64, 64), np.uint8)
    if classes.shape != (len(images), 6):
        raise ValueError(f"{path}: latents classes must be [{len(images)}, 6], found {classes.shape}")
    names = ("shape", "scale", "orientation", "x", "y")
    return from_arrays(all_resized(images, image_size, path), classes[:, 1:], name="dsprites", factor_names=names)


def shapes3d(path: Path, *, image_size: int | None = None) -> Table:
    """Shapes3D (Burgess & Kim, 2018), from the h5 file: 480,000 colour images of 64 x 64 pixels."""
    images, labels = read_hdf5(path, "images", "labels")
    _expect(path, images, (len(images), 64, 64, 3), np.uint8)
    if labels.shape != (len(images), 6):
        raise ValueError(f"{path}: labels must be [{len(images)}, 6], found {labels.shape}")
    names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    return from_arrays(all_resized(images, image_size, path), labels, name="shapes3d", factor_names=names)


def mpi3d(path: Path, *, image_size: int | None = None) -> Table:
    """MPI3D (Gondal et al., 2019), from the npz file of any of its sets: colour images of 64 x 64 pixels."""
    (images,) = read_npz(path, "images")
    if len(images) not in MPI3D_GRIDS:
        raise ValueError(f"{path}: MPI3D has {' or '.join(map(str, MPI3D_GRIDS))} images, found {len(images)}")
    _expect(path, images, (len(images), 64, 64, 3), np.uint8)
    names = ("object_color", "object_shape", "object_size", "camera_height", "background", "horizontal", "vertical")
    factors = np.stack(np.unravel_index(np.arange(len(images)), MPI3D_GRIDS[len(images)]), axis=1)
    return from_arrays(all_resized(images, image_size, path), factors, name="mpi3d", factor_names=names)


def cars3d(path: Path, *, image_size: int | None = None) -> Table:
    """Cars3D (Reed et al., 2015), from the folder of mat files: 17,568 colour images, resized to 64 x 64 pixels.

    Cars are numbered in the order of their file names. (The study's code numbers them in the order of the directory.)
    """
    files = sorted(file for file in _mat_files(path, "*") if not file.name.startswith("."))
    if not files:
        raise ValueError(f"{path}: Cars3D is a folder of .mat files, found none")
    images, factors = [], []
    for car, file in enumerate(files):
        mesh = _read_mesh(file)
        views = mesh.transpose(4, 3, 0, 1, 2)  # elevation, azimuth, then the image
        images.append(np.stack([resized(image, image_size or 64) for image in views.reshape(-1, 128, 128, 3)]))
        elevation, azimuth = np.divmod(np.arange(96), 24)
        factors.append(np.stack([elevation, azimuth, np.full(96, car)], axis=1))
    names = ("elevation", "azimuth", "object")
    return from_arrays(np.concatenate(images), np.concatenate(factors), name="cars3d", factor_names=names)


def smallnorb(path: Path, *, image_size: int | None = None) -> Table:
    """SmallNORB (LeCun et al., 2004), from the folder of dat, cat and info files: 48,600 images, resized to 64 x 64.

    Training and test set are combined, and only images of the left camera are used. The factors are category, instance,
    elevation, azimuth and lighting; the study does not count the instance as a factor.
    """
    images, factors = [], []
    for part in ("training", "testing"):
        found = {kind: _mat_files(path, f"smallnorb-*-{part}-{kind}") for kind in ("dat", "cat", "info")}
        if missing := [kind for kind, files in found.items() if len(files) != 1]:
            there = ", ".join(file.name for file in found[missing[0]]) or "none"
            raise ValueError(f"{path}: expected one smallnorb-...-{part}-{missing[0]}.mat or .mat.gz, found {there}")
        pixels, category, info = (_read_matrix(files[0]) for files in found.values())
        if pixels.shape[1:] != (2, 96, 96) or pixels.dtype != np.uint8 or info.shape != (len(pixels), 4):
            raise ValueError(f"{path}: {part} set has images {pixels.dtype} {pixels.shape} and info {info.shape}")
        if category.shape != (len(pixels),):
            raise ValueError(f"{path}: {part} set has {len(pixels)} images and categories {category.shape}")
        images.append(np.stack([resized(image, image_size or 64) for image in pixels[:, 0]]))
        factors.append(np.column_stack([category, info]))
    names = ("category", "instance", "elevation", "azimuth", "lighting")
    return from_arrays(np.concatenate(images), np.concatenate(factors), name="smallnorb", factor_names=names)


PUBLISHED_FILES: dict[str, Callable[..., Table]] = {
    "dsprites": dsprites,
    "shapes3d": shapes3d,
    "mpi3d": mpi3d,
    "cars3d": cars3d,
    "smallnorb": smallnorb,
}
"""Readers (path, image_size=None) -> source, by the name before the colon on the command line."""


def _expect(path: Path, images: np.ndarray, shape: tuple[int, ...], dtype: type) -> None:
    if images.shape != shape or images.dtype != dtype:
        raise ValueError(
            f"{path}: images must be {np.dtype(dtype)} {shape}, found {images.dtype} {images.shape}: another data set?"
        )


def _mat_files(folder: Path, name: str) -> list[Path]:
    """Returns the .mat files that match a glob, and the .mat.gz files without an unpacked copy.

    Raises:
      ValueError: The path is not a folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: it is not a folder: unpack the archive, and give the folder of its .mat files")
    found = {file.name: file for file in sorted(folder.glob(f"{name}.mat"))}
    packed = {file.stem: file for file in sorted(folder.glob(f"{name}.mat.gz"))}
    return list({**packed, **found}.values())


def _read_mesh(path: Path) -> np.ndarray:
    """Reads the images of a car: uint8 [128, 128, 3, 24, 4]."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    content = content_of(path)
    try:
        mesh = loadmat(content, variable_names=["im"]).get("im")
    except (*DAMAGED, ValueError, MatReadError) as error:
        raise ValueError(
            f"{path}: can't be read as a MATLAB file: {identified(content) or f'it may be cut off ({error})'}"
        ) from error
    if mesh is None or mesh.shape != (128, 128, 3, 24, 4) or mesh.dtype != np.uint8:
        found = "no 'im'" if mesh is None else f"{mesh.dtype} {mesh.shape}"
        raise ValueError(f"{path}: 'im' must be uint8 (128, 128, 3, 24, 4), found {found}")
    return mesh


def _read_matrix(path: Path) -> np.ndarray:
    """Reads a SmallNORB matrix: magic number, number of dimensions, at least three sizes, then the values."""
    found = content_of(path)
    content = found.read_bytes() if isinstance(found, Path) else found.getvalue()
    if len(content) < 20:
        raise ValueError(f"{path}: cut off after {len(content)} bytes")
    magic, ndim = (int(value) for value in np.frombuffer(content, "<i4", 2))
    if magic not in MATRIX_TYPES or not 1 <= ndim <= 4:
        wrong = identified(found) or f"magic number {magic:#x}, {ndim} dimensions"
        raise ValueError(f"{path}: not a SmallNORB matrix: {wrong}")
    start, dtype = 8 + 4 * max(3, ndim), MATRIX_TYPES[magic]
    shape = struct.unpack_from(f"<{ndim}i", content, 8) if len(content) >= start else ()
    wanted = start + math.prod(shape) * dtype.itemsize
    if not shape or min(shape) < 0 or len(content) != wanted:
        raise ValueError(f"{path}: cut off, or too long: {shape} needs {wanted} bytes, found {len(content)}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
