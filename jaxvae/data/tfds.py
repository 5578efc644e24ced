"""Image sets of TensorFlow Datasets, read without TensorFlow."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.cache import cache_folder, load_table, save_table, scratch_array
from jaxvae.data.pictures import resized
from jaxvae.data.table import Table, from_arrays


def tfds_table(name: str, *, split: str = "train", image_size: int | None = None) -> Table:
    """An image data set of TensorFlow Datasets, with its labels as factors.

    On first use, all images are decoded and packed into a cache in the user's cache folder. A cache that is damaged or
    belongs to another version is created again. TFDS shuffles rows; if the labels form a full grid, its order is
    restored.

    Args:
      name: Name of the data set, such as "dsprites". TFDS prepares it if necessary.
      split: Split, such as "train" or "train+test".
      image_size: Height and width in pixels to which images are cropped and resized; by default, their own.

    Raises:
      ValueError: TFDS is not installed, does not know the name or cannot prepare the data set, or it has no images.
    """
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ValueError(f"tfds:{name} needs TensorFlow Datasets: pip install 'jaxvae[tfds]'")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
    except (tfds.core.registered.DatasetNotFoundError, ValueError, ImportError) as error:
        raise ValueError(f"TFDS has no image set {name!r}: {str(error).splitlines()[0]}") from error
    origin = f"tfds:{builder.info.full_name}:{split}:{image_size or 'own'}"
    folder = cache_folder() / origin.replace(":", "-").replace("/", "-")
    cached = load_table(folder, origin)
    if cached is not None:
        return cached
    table = _decode(builder, _prepared(builder, name, split), name, image_size, folder)
    save_table(folder, table, origin)
    return load_table(folder, origin) or table


def _prepared(builder: Any, name: str, split: str) -> Any:
    """Prepares a data set and returns the rows of a split, with random access."""
    try:
        builder.download_and_prepare()
        return builder.as_data_source(split)
    except (ImportError, OSError, ValueError, RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"TFDS could not prepare {name!r} ({reason}). Some sets need TensorFlow once: where it is installed, run "
            f"`tfds build {name} --file_format=array_record`, and try again"
        ) from error


def _decode(builder: Any, rows: Any, name: str, image_size: int | None, folder: Path) -> Table:
    """Decodes all rows into a table in a file, so that they need not fit into memory."""
    labels = list(_labels(builder.info.features))
    if "image" not in builder.info.features:
        raise ValueError(f"tfds:{name} has no feature 'image', only {', '.join(builder.info.features)}")
    images: np.ndarray | None = None
    factors = np.zeros((len(rows), len(labels)), np.int64)
    for number, row in enumerate(rows):
        image = row["image"]
        if image.dtype != np.uint8:
            raise ValueError(f"tfds:{name} has images of type {image.dtype}; only uint8 images are read")
        image = image if image_size is None else _square(image, image_size)
        if images is None:
            images = scratch_array(folder, (len(rows), *image.shape))
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"tfds:{name} has images of several sizes, {images.shape[1:]} and {image.shape}: give an image size"
            )
        images[number] = image
        factors[number] = [_pick(row, path) for path in labels]
    if images is None:
        raise ValueError(f"tfds:{name} has no rows in this split")
    names = ["_".join(path).removeprefix("label_").removesuffix("_position") for path in labels]
    return from_arrays(images, factors if labels else None, name=name, factor_names=names or None)


def _labels(features: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the paths of all scalar features that are classes or truth values."""
    import tensorflow_datasets as tfds

    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _labels(feature, (*path, name))
        elif isinstance(feature, tfds.features.ClassLabel) or (feature.shape == () and feature.np_dtype == np.bool_):
            yield (*path, name)


def _pick(row: Any, path: tuple[str, ...]) -> int:
    for name in path:
        row = row[name]
    return int(row)


def _square(image: np.ndarray, size: int) -> np.ndarray:
    grey = image.shape[-1] == 1
    small = resized(image[..., 0] if grey else image, size)
    return small[..., None] if grey else small
