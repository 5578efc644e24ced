"""Sources of batches, with their ground-truth factors where they are known.

`open_data` finds any of them by what the command line calls it.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from jaxvae.data.classes import Augmented, Classified, augmented, classified
from jaxvae.data.decorated import Decorated, Look, decorated
from jaxvae.data.effects import CaseControl, case_control, squares
from jaxvae.data.files import array_file, picture_folder
from jaxvae.data.generated import bars, clusters, digits, segments, time_series
from jaxvae.data.grid import FactorGrid
from jaxvae.data.labels import Conditioned, Labelled, few_labels
from jaxvae.data.layouts import LAYOUTS
from jaxvae.data.pairs import Groups, Pairs
from jaxvae.data.rooms import Rooms
from jaxvae.data.scene import Scene
from jaxvae.data.shuffle import Epochs, shuffled_index
from jaxvae.data.source import GroundTruth, Part, Source, grid_index
from jaxvae.data.sprites import Sprites
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Correlated, Subset, all_factors, hold_out
from jaxvae.data.table import Table, from_arrays
from jaxvae.data.tfds import tfds_table
from jaxvae.data.videos import MovingSprites, moving_sprites

__all__ = [
    "CLIPS",
    "DATA",
    "FILES",
    "LOOKS",
    "TABLES",
    "Augmented",
    "CaseControl",
    "Classified",
    "Conditioned",
    "Correlated",
    "Decorated",
    "Epochs",
    "FactorGrid",
    "GroundTruth",
    "Groups",
    "Labelled",
    "MovingSprites",
    "Pairs",
    "Part",
    "Rooms",
    "Scene",
    "Source",
    "Sprites",
    "Streamed",
    "Subset",
    "Table",
    "all_factors",
    "array_file",
    "augmented",
    "bars",
    "case_control",
    "classified",
    "clusters",
    "decorated",
    "digits",
    "few_labels",
    "from_arrays",
    "grid_index",
    "hold_out",
    "moving_sprites",
    "open_data",
    "picture_folder",
    "segments",
    "shuffled_index",
    "squares",
    "tfds_table",
    "time_series",
]

DATA: dict[str, Callable[..., FactorGrid]] = {"scene": Scene, "sprites": Sprites, "rooms": Rooms}
"""Name on the command line -> constructor; `resolution` is optional everywhere."""

CLIPS: dict[str, Callable[..., MovingSprites]] = {"moving-sprites": moving_sprites}
"""Name on the command line -> maker of clips; `resolution` is optional everywhere."""

TABLES: dict[str, Callable[..., Table]] = {"digits": digits, "squares": squares}
"""Name on the command line -> maker; `image_size` is optional everywhere."""

FILES: dict[str, Callable[..., Table]] = {
    **LAYOUTS,
    "arrays": array_file,
    "pictures": picture_folder,
    "tfds": tfds_table,
}
"""Name before the colon on the command line -> reader of what is behind it; `image_size` is optional everywhere."""

LOOKS: tuple[Look, ...] = ("color", "noisy", "scream")
"""Before a dash and the name of black-and-white data: the study's harder variants of it."""


def open_data(
    name: str, *, image_size: int | None = None, skip_bad: bool = False, texture: Path | None = None
) -> Source:
    """A source by name.

    Args:
      name: a key of `DATA`, `CLIPS` or `TABLES`; or a key of `FILES`, a colon, and a path or, for tfds, the name of a
        set and, if wanted, of a split ("tfds:mnist", "tfds:smallnorb:train+test"). With one of `LOOKS` before it, that
        variant of it ("color-sprites").
      image_size: pixels a side; the data's own if not given.
      skip_bad: leave out pictures that can't be read.
      texture: picture for the look "scream"; one of our own if not given.

    Raises:
      ValueError: an unknown name, or data that can't be read; it says what to do.
    """
    look, dash, plain = name.partition("-")
    if dash and look in LOOKS:
        return decorated(open_data(plain, image_size=image_size, skip_bad=skip_bad), look, texture)
    kind, colon, where = name.partition(":")
    drawn: dict[str, Callable[..., Source]] = {**DATA, **CLIPS}
    if not colon and kind in drawn:
        return drawn[kind]() if image_size is None else drawn[kind](resolution=image_size)
    if not colon and kind in TABLES:
        return TABLES[kind](image_size=image_size)
    if not colon or kind not in FILES or not where:
        near = difflib.get_close_matches(kind, [*drawn, *TABLES, *FILES], n=1)
        hint = f": did you mean {near[0] + (':...' if near[0] in FILES else '')!r}?" if near else "."
        known = ", ".join([*drawn, *TABLES, *(f"{kind}:{'NAME' if kind == 'tfds' else 'PATH'}" for kind in FILES)])
        raise ValueError(f"unknown data {name!r}{hint} There are: {known}.")
    if kind == "tfds":
        which, _, split = where.partition(":")
        return tfds_table(which, split=split or "train", image_size=image_size)
    path = Path(where).expanduser()
    if not path.exists():
        raise ValueError(
            f"{path}: there is no such {'folder' if kind in ('pictures', 'cars3d', 'smallnorb') else 'file'}"
        )
    if kind == "pictures":
        return picture_folder(path, image_size=image_size, skip_bad=skip_bad)
    return FILES[kind](path, image_size=image_size)
