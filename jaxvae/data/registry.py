"""Data sets by their names on the command line."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.choose import imported, near, unknown, with_installed
from jaxvae.data.anndata import anndata_file, split_layer
from jaxvae.data.cells import cells
from jaxvae.data.contents import DAMAGED, suffix_of
from jaxvae.data.effects import squares
from jaxvae.data.files import array_file
from jaxvae.data.generated import bars, clusters, digits, segments, time_series, waves
from jaxvae.data.grid import FactorGrid
from jaxvae.data.in_file import TrainingRows, streamed_table
from jaxvae.data.pictures import picture_folder
from jaxvae.data.published_files import PUBLISHED_FILES
from jaxvae.data.rendered_files import RENDERED_FILES
from jaxvae.data.rooms import Rooms
from jaxvae.data.scene import Scene
from jaxvae.data.series import series_file
from jaxvae.data.source import Source
from jaxvae.data.sprites import Sprites
from jaxvae.data.table import Table
from jaxvae.data.tabular import Columns, table_file
from jaxvae.data.tfds import tfds_table
from jaxvae.data.variants import VariantName, variant
from jaxvae.data.videos import MovingSprites, moving_sprites
from jaxvae.data.xy_squares import XYSquares
from jaxvae.schema import Schema

DATA: dict[str, Callable[..., FactorGrid]] = {
    "scene": Scene,
    "sprites": Sprites,
    "rooms": Rooms,
    "xy-squares": XYSquares,
}
"""Constructors by name on the command line. The argument `resolution` is optional."""

CLIPS: dict[str, Callable[..., MovingSprites]] = {"moving-sprites": moving_sprites}
"""Functions that return clips, by name on the command line. The argument `resolution` is optional."""


def _segments(*, image_size: int | None = None) -> Table:
    """Vectors of five nonlinearly mixed sources in 40 segments, for ivae; the factor is the segment."""
    _as_they_are("segments", "vectors of 5 numbers", image_size)
    return segments()


def _bars(*, image_size: int | None = None) -> Table:
    """2,048 squares of 8 x 8 real numbers with one row lit, in noise, for oi-vae; the factor is the row."""
    _as_they_are("bars", "squares of 8 x 8 pixels", image_size)
    return bars()


def _clusters(*, image_size: int | None = None) -> Table:
    """2,000 vectors of 50 numbers in ten Gaussian clusters, for vae-sne; the factor is the cluster."""
    _as_they_are("clusters", "vectors of 50 numbers", image_size)
    return clusters()


def _cells(*, image_size: int | None = None) -> Table:
    """2,000 simulated cells x 300 genes, counts of eight programs, for drvi; the factors are type and batch."""
    _as_they_are("cells", "rows of counts", image_size)
    return cells()


def _time_series(*, image_size: int | None = None) -> Table:
    """4,000 vectors of six groups of five channels that follow four slow oscillations, for oi-vae; no factors."""
    _as_they_are("time-series", "vectors of 30 numbers", image_size)
    return time_series()


def _waves(*, image_size: int | None = None) -> Table:
    """1,024 series of 64 times 3 numbers, sums of sines, for the network conv1d; three factors."""
    _as_they_are("waves", "series of 64 times 3 numbers", image_size)
    return waves()


def _as_they_are(name: str, what: str, image_size: int | None) -> None:
    if image_size is not None:
        raise ValueError(f"{name} are {what}, which are not resized: leave out --image-size")


TABLES: dict[str, Callable[..., Table]] = {
    "digits": digits,
    "squares": squares,
    "segments": _segments,
    "bars": _bars,
    "clusters": _clusters,
    "cells": _cells,
    "time-series": _time_series,
    "waves": _waves,
}
"""Functions that return tables, by name on the command line. The argument `image_size` is optional."""

FILES: dict[str, Callable[..., Table]] = {
    **PUBLISHED_FILES,
    **RENDERED_FILES,
    "anndata": anndata_file,
    "arrays": array_file,
    "pictures": picture_folder,
    "series": series_file,
    "table": table_file,
    "tfds": tfds_table,
}
"""Readers of the path or name after the colon, by the name before it. The argument `image_size` is optional."""

FOLDERS = ("pictures", "cars3d", "smallnorb", *RENDERED_FILES)
"""Keys of `FILES` whose data are folders."""

TABULAR = ("anndata", "table")
"""Keys of `FILES` whose data are tables with named columns."""

SERIES = "series"
"""Key of `FILES` whose data are series."""

COLUMNED = ("cells",)
"""Keys of `TABLES` whose data are tables with named columns."""

VARIANTS: tuple[VariantName, ...] = ("color", "noisy", "scream")
"""Prefixes of names of black-and-white data, which stand for the study's harder variants of these data."""


def open_data(
    name: str,
    *,
    image_size: int | None = None,
    skip_bad: bool = False,
    texture: Path | None = None,
    columns: Columns = Columns(),
    schema: Schema | None = None,
    training_rows: TrainingRows | None = None,
) -> Source:
    """Opens a data set by name.

    Args:
      name: Name of the data: a key of `DATA`, `CLIPS` or `TABLES`; a key of `FILES`, a colon, and a path or, for tfds,
        the name of a data set and optionally of a split ("tfds:mnist", "tfds:smallnorb:train+test"); or
        "package.module:NAME" for a source of your own, or a function without arguments that returns one. A prefix from
        `VARIANTS` selects a variant of the data ("color-sprites").
      image_size: Height and width of the images in pixels; by default, those of the data.
      skip_bad: Whether to skip pictures that cannot be read.
      texture: Path of the background picture of the variant "scream"; by default, a generated picture.
      columns: Roles and kinds of the columns of a table, or roles of the channels and labels of series.
      schema: Columns of the table, or channels of the series, that a model was trained on, for new rows; by default,
        they are found by their values.
      training_rows: Function that returns the rows to train on of a table that stays in its file, see
        `jaxvae.data.in_file`. By default, tables are read into memory.

    Returns:
      The source.

    Raises:
      ValueError: The name is unknown, or the data cannot be read. The message says what to do.
    """
    look, dash, plain = name.partition("-")
    if dash and look in VARIANTS:
        return variant(open_data(plain, image_size=image_size, skip_bad=skip_bad), look, texture)
    kind, colon, where = name.partition(":")
    drawn: dict[str, Callable[..., Source]] = {**DATA, **CLIPS}
    if not colon and kind in drawn:
        return drawn[kind]() if image_size is None else drawn[kind](resolution=image_size)
    if not colon and kind in TABLES:
        return TABLES[kind](image_size=image_size)
    others = with_installed("data", {})
    if colon and kind not in FILES and kind_of(name) == "anndata":
        kind, where = "anndata", name
    if not colon and kind in others:
        return _own(name, others[kind])
    if colon and where and kind not in FILES and not near(kind, FILES):
        return _own(name, imported("data", name))
    if not colon or kind not in FILES or not where:
        known = [*drawn, *TABLES, *others, *(f"{kind}:{'NAME' if kind == 'tfds' else 'PATH'}" for kind in FILES)]
        if not colon and (found := kind_of(name)):
            return open_data(
                f"{found}:{name}",
                image_size=image_size,
                skip_bad=skip_bad,
                columns=columns,
                schema=schema,
                training_rows=training_rows,
            )
        raise ValueError(unknown("data", name, known))
    if kind == "tfds":
        which, _, split = where.partition(":")
        return tfds_table(which, split=split or "train", image_size=image_size)
    path, layer = split_layer(where) if kind == "anndata" else (Path(where).expanduser(), None)
    if not path.exists():
        raise ValueError(f"{path}: there is no such {'folder' if kind in FOLDERS else 'file'}")
    if kind == "anndata":
        return anndata_file(path, layer, columns, schema, training_rows)
    if kind == "table" and training_rows is not None:
        return streamed_table(path, columns, schema, training_rows)
    if kind == "table":
        return table_file(path, columns, schema)
    if kind == SERIES:
        return series_file(path, columns, schema)
    if kind == "pictures":
        return picture_folder(path, image_size=image_size, skip_bad=skip_bad)
    return FILES[kind](path, image_size=image_size)


def kind_of(name: str) -> str:
    """Returns the key in `FILES` for a name, which is its prefix or follows from its path; "" for other data."""
    kind, colon, where = name.partition(":")
    if colon and kind not in FILES and (file := name.rpartition(":")[0]) and where:  # a layer
        is_file = suffix_of(Path(file)) == ".h5ad" or _is_zarr(Path(file).expanduser())
        return "anndata" if is_file else kind
    if colon:
        return kind if where else ""
    path = Path(name).expanduser()
    known = name in (*DATA, *CLIPS, *TABLES) or name in with_installed("data", {})
    named = suffix_of(path) in (
        ".csv",
        ".tsv",
        ".parquet",
        ".feather",
        ".h5ad",
    )  # also where it does not exist, which is said then
    return _kind_of(path) if not known and (path.exists() or named) else ""


def _kind_of(path: Path) -> str:
    """Returns the key in `FILES` for a path, from its suffix and the shapes of its arrays."""
    if suffix_of(path) == ".h5ad" or _is_zarr(path):
        return "anndata"
    if path.is_dir():
        return "pictures"
    if path.suffix.lower() in (".npy", ".npz"):
        with suppress(*DAMAGED, ValueError):
            return "table" if path.exists() and _is_matrix(path) else "arrays"
    return "arrays" if suffix_of(path) in (".npy", ".npz", ".h5", ".hdf5") else "table"


def _is_zarr(path: Path) -> bool:
    return path.suffix.lower() == ".zarr" and path.is_dir()


def _is_matrix(path: Path) -> bool:
    if path.suffix.lower() == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False).ndim == 2
    with np.load(path, allow_pickle=False) as file:
        return "images" not in file.files


def _own(name: str, found: Any) -> Source:
    source = found if isinstance(found, Source) or not callable(found) else found()
    if not isinstance(source, Source) and hasattr(source, "image_shape"):
        raise ValueError(
            f"the data {name} is of jaxvae 0.1: rename its image_shape to event_shape, and the key 'image' of its "
            "batches to 'x'"
        )
    if not isinstance(source, Source):
        raise ValueError(f"the data {name} must be a jaxvae.data.Source, or a function that makes one, got {found!r}")
    return source
