"""Folders of pictures: every mode that Pillow opens, upright, with its grey levels, and on a white ground.

What is made of a file:

- Grey levels are kept. Pictures of 8 bits stay bytes. Pictures of 16 bits (65,535 is white; 4,095 in TIFF files of 12
  bits) and of floats (1 is white) become floats, and so do all others of the folder then. Pillow itself cuts colours of
  16 bits to 8.
- A picture is turned as the orientation in its EXIF data says.
- Transparent pixels show a white ground.
- Every page of a TIFF file and every frame of an animation is a picture of its own. Thumbnails that a TIFF file or a
  phone's JPEG file carries beside its picture are none.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxvae.data.contents import DAMAGED
from jaxvae.data.table import ROUNDING, Table, from_arrays
from jaxvae.files import printable

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
UNREADABLE = (*DAMAGED, ValueError, Image.DecompressionBombError)
ORIENTATION, BITS, PHOTOMETRIC, SUBFILE_TYPE = 274, 258, 262, 254
"""Numbers of TIFF tags."""


def picture_folder(path: Path, *, image_size: int | None = None, skip_bad: bool = False) -> Table:
    """A folder of pictures, in the order of their names, colour kept if any has it

    Subfolders are searched, links to folders among them, each folder once. Hidden files and folders, whose names begin
    with a dot, are passed over, and so is what is no regular file.

    Args:
      path: folder with the pictures.
      image_size: height and width in pixels that pictures are brought to, after they are cropped to their middle
        square. By default, all must have one size.
      skip_bad: leave out files that can't be read, instead of stopping at the first.

    Raises:
      ValueError: no pictures, one that can't be read, or several sizes; it names the file.
    """
    if not path.is_dir():
        raise ValueError(f"{path}: it is not a folder")
    files = picture_files(path)
    if not files:
        raise ValueError(f"{path}: no pictures in this folder; known are {', '.join(PICTURES)}")
    images: list[np.ndarray] = []
    origins: list[str] = []
    ids: list[str] = []
    for file in files:
        try:
            pages = [resized(page, image_size) if image_size else page for page in read_picture(file)]
        except UNREADABLE as error:
            if skip_bad:
                continue
            raise ValueError(f"{file}: can't be read ({error}); --skip-bad leaves such files out") from error
        images += pages
        origins += [str(file) if len(pages) == 1 else f"page {number} of {file}" for number in range(1, len(pages) + 1)]
        ids += page_names(str(file.relative_to(path)), len(pages))
    if not images:
        raise ValueError(f"{path}: none of its {len(files)} pictures can be read")
    for image, origin in zip(images, origins, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{origin} is {_size(image)} pixels and {origins[0]} is {_size(images[0])}: "
                "give an image size for all of them"
            )
    return from_arrays(_stacked(images), name=printable(path.name or path.resolve().name), ids=ids)


def one_picture(path: Path, *, image_size: int | None = None) -> Table:
    """A single picture file, of one page or more, as `picture_folder` reads those of a folder.

    Raises:
      ValueError: It can't be read.
    """
    try:
        pages = [resized(page, image_size) if image_size else page for page in read_picture(path)]
    except UNREADABLE as error:
        raise ValueError(f"{path}: can't be read ({error})") from error
    return from_arrays(_stacked(pages), name=printable(path.name), ids=page_names(path.name, len(pages)))


def page_names(name: str, pages: int) -> list[str]:
    """Names of the pages of a picture file: that of the file, with a number behind it if there are several."""
    name = printable(name)
    return [name] if pages == 1 else [f"{name}:{number}" for number in range(1, pages + 1)]


def picture_files(folder: Path) -> list[Path]:
    """The picture files in a folder and its subfolders, sorted, as `picture_folder` describes them."""

    def fail(error: OSError) -> None:
        raise ValueError(f"{error.filename}: the folder can't be read ({error.strerror})") from error

    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [Path(place, name) for name in names if not name.startswith(".")]
        found += [file for file in files if file.suffix.lower() in PICTURES and (file.is_file() or not file.exists())]
    return sorted(found)


def read_picture(path: Path) -> list[np.ndarray]:
    """The pages of an image file, upright: uint8, or float32 in [0, 1]; [H, W] if grey, else [H, W, 3].

    Raises:
      ValueError: values that no grey level can be told from; or, as other errors, whatever Pillow says of damage.
    """
    # A pipe may have come under the name of a file meanwhile, and opening it would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    # Of a file by its name, Pillow maps plain TIFF pixels into memory, and mixes them up where the picture is turned.
    with path.open("rb") as file, Image.open(file) as picture:
        return [_upright(_levels(picture), picture) for _ in _pages(picture)]


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3], or float32 [H, W] in [0, 1], cropped to its middle square, at `size` pixels a side.

    By Lanczos; floats that it throws beyond [0, 1] are clipped, as bytes are.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square
    small = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
    return small if small.dtype == np.uint8 else small.clip(0, 1)


def _pages(picture: Any) -> Iterator[int]:
    # In a phone's file of several pictures (MPO), what follows the first one is a preview, or of another eye.
    count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    for page in range(count):
        picture.seek(page)
        if count == 1 or not _tag(picture, SUBFILE_TYPE, 0) & 1:
            yield page


def _levels(picture: Any) -> np.ndarray:
    """The page that is open: uint8, or float32 in [0, 1]; [H, W] or [H, W, 3]."""
    picture.load()
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _deep(picture)
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        straight = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)).convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), straight)
    try:
        return np.asarray(picture.convert("L" if grey else "RGB"))
    except ValueError as error:
        raise ValueError(f"its mode is {picture.mode}, which is neither grey nor convertible to colour") from error


def _deep(picture: Any) -> np.ndarray:
    """A page of more than 8 bits: float32 [H, W] in [0, 1]."""
    raw = np.asarray(picture)
    bits = _tag(picture, BITS, 16)
    white = 1 if picture.mode == "F" else 4095 if bits == 12 else 65535
    levels = raw.astype(np.float64) / white
    low, high = raw.min(), raw.max()
    beyond = ROUNDING if picture.mode == "F" else 0
    if not ((levels >= -beyond) & (levels <= 1 + beyond)).all():
        raise ValueError(
            f"its values (mode {picture.mode}) are {low:g} to {high:g}, and grey levels are 0 to {white}: rescale them"
        )
    levels = levels.clip(0, 1)
    if _tag(picture, PHOTOMETRIC, 1) == 0:  # white is zero: Pillow turns 8 bits round by itself
        levels = 1 - levels
    if isinstance(clear := picture.info.get("transparency"), int):
        levels[raw == clear] = 1
    return levels.astype(np.float32)


def _upright(levels: np.ndarray, picture: Any) -> np.ndarray:
    """As the EXIF orientation says; of TIFF files Pillow does it, and takes the tag away."""
    turned = {
        2: lambda image: image[:, ::-1],
        3: lambda image: image[::-1, ::-1],
        4: lambda image: image[::-1],
        5: lambda image: image.swapaxes(0, 1),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
        8: lambda image: np.rot90(image),
    }
    turn = turned.get(picture.getexif().get(ORIENTATION, 1))
    return levels if turn is None else np.ascontiguousarray(turn(levels))


def _tag(picture: Any, number: int, default: int) -> int:
    value = getattr(picture, "tag_v2", {}).get(number, default)
    return value[0] if isinstance(value, tuple) else value


def _stacked(images: list[np.ndarray]) -> np.ndarray:
    """[N, H, W] or [N, H, W, 3]: floats if any are, and colour if any has it."""
    if any(image.dtype != np.uint8 for image in images):
        images = [image if image.dtype != np.uint8 else image.astype(np.float32) / 255 for image in images]
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
    return np.stack(images)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
