"""Readers of Isaac3D and Falcor3D (Nie et al., 2020), folders of pictures of a full grid of factors.

Pictures of 128 x 128 pixels are resized by a Lanczos filter, as all pictures here; Hsu et al. (2023) take a bicubic
one. Factors are numbered by the distinct values of their labels, in order. The files were not at hand when this was
written: the layout is that of a description of the archives, and everything that differs from it is refused.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxvae.data.pictures import read_picture, resized
from jaxvae.data.table import Table, from_arrays

ISAAC3D = {
    "object_shape": 3,
    "robot_x": 8,
    "robot_y": 5,
    "camera_height": 4,
    "object_scale": 4,
    "lighting_intensity": 4,
    "lighting_y": 6,
    "object_color": 4,
    "wall_color": 4,
}
"""Numbers of values of the factors; the last one varies fastest."""
FALCOR3D = {
    "lighting_intensity": 5,
    "lighting_x": 6,
    "lighting_y": 6,
    "lighting_z": 6,
    "camera_x": 6,
    "camera_y": 6,
    "camera_z": 6,
}
"""Numbers of values of the factors; the last one varies fastest."""


def isaac3d(path: Path, *, image_size: int | None = None) -> Table:
    """Isaac3D (Nie et al., 2020), from the folder Isaac3D_down128: 737,280 colour images, resized to 64 x 64 pixels."""
    labels = path / "labels.npy"
    if not labels.is_file():
        raise ValueError(f"{path}: Isaac3D is a folder with labels.npy and images/, found no labels.npy")
    return _grid(path, "isaac3d", ISAAC3D, np.load(labels, allow_pickle=False), image_size)


def falcor3d(path: Path, *, image_size: int | None = None) -> Table:
    """Falcor3D (Nie et al., 2020), from the folder Falcor3D_down128: 233,280 colour images, resized to 64 x 64."""
    labels = path / "train-rec.labels"
    if not labels.is_file():
        raise ValueError(f"{path}: Falcor3D is a folder with train-rec.labels and pictures, found no train-rec.labels")
    try:
        values = np.loadtxt(labels, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{labels}: it must be rows of numbers ({error})") from error
    return _grid(path, "falcor3d", FALCOR3D, values[:, -len(FALCOR3D) :], image_size)


RENDERED_FILES: dict[str, Callable[..., Table]] = {"isaac3d": isaac3d, "falcor3d": falcor3d}
"""Readers (path, image_size=None) -> source, by the name before the colon on the command line."""


def _place(file: Path) -> tuple[Path, int, str]:
    """Returns the place of a picture in its folder: by its number if it is named by one, with or without zeros."""
    return file.parent, int(file.stem) if file.stem.isdecimal() else -1, file.stem


def _grid(path: Path, name: str, sizes: dict[str, int], values: np.ndarray, image_size: int | None) -> Table:
    """Reads the pictures of a folder, whose labels must be the full grid, in any order.

    Raises:
      ValueError: The labels or the pictures are not those of the data set. The message is one line.
    """
    if values.ndim != 2 or values.shape[1] != len(sizes):
        raise ValueError(f"{path}: labels must be [images, {len(sizes)}], found {values.shape}")
    factors = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
    found = tuple(int(column.max()) + 1 for column in factors.T)
    if found != tuple(sizes.values()):
        raise ValueError(f"{path}: the labels take {found} values, and those of {name} take {tuple(sizes.values())}")
    files = sorted(path.rglob("*.png"), key=_place)
    if len(files) != len(factors):
        raise ValueError(f"{path}: there are {len(files)} pictures for {len(factors)} labels")
    number = np.ravel_multi_index(tuple(factors.T), found)
    order = np.argsort(number)
    if not np.array_equal(number[order], np.arange(np.prod(found))):
        raise ValueError(f"{path}: the labels are not one of every combination of the {len(sizes)} factors")
    files, factors = [files[index] for index in order], factors[order]
    images = np.stack([resized(read_picture(file)[0][..., :3], image_size or 64) for file in files])
    return from_arrays(images, factors, name=name, factor_names=tuple(sizes))
