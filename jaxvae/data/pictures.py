"""Folders of pictures in every mode that Pillow opens.

Files are read as follows:

- Grey levels are kept. Pictures of 8 bits remain bytes. Pictures of 16 bits (65,535 is white; 4,095 in TIFF files of 12
  bits) and of floats (1 is white) become floats, and so do all other pictures of the same folder. Pillow itself reduces
  colours of 16 bits, and greys of 16 bits with transparency, to 8.
- The EXIF orientation is applied.
- Transparent pixels show a white background.
- Every page of a TIFF file and every frame of an animation is a separate picture. Thumbnails in a TIFF file or a
  phone's JPEG file are ignored.
"""

import io
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxvae.data.contents import DAMAGED
from jaxvae.data.table import ROUNDING, Table, from_arrays
from jaxvae.files import printable

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats of the files, as Pillow names them."""
UNREADABLE = (*DAMAGED, ValueError, Image.DecompressionBombError)
ORIENTATION, BITS, PHOTOMETRIC, SUBFILE_TYPE = 274, 258, 262, 254
"""Numbers of TIFF tags."""


def picture_folder(path: Path, *, image_size: int | None = None, skip_bad: bool = False) -> Table:
    """A folder of pictures, in the order of their names; all are in colour if one of them is.

    Subfolders are searched, including links to folders, and each folder is read once. Hidden files and folders, whose
    names begin with a dot, are skipped, and so are files that are not regular files.

    Args:
      path: Folder with the pictures.
      image_size: Height and width in pixels to which pictures are resized, after they are cropped to their central
        square. By default, all pictures must have the same size.
      skip_bad: Whether to skip files that cannot be read, instead of stopping at the first one.

    Raises:
      ValueError: There are no pictures, a picture cannot be read, or sizes differ. The message names the file.
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
    """Reads a single picture file with one or several pages, as `picture_folder` reads the files of a folder.

    Args:
      path: Picture file.
      image_size: Height and width in pixels to which the pages are cropped and resized; by default, their own.

    Raises:
      ValueError: The file cannot be read.
    """
    try:
        pages = [resized(page, image_size) if image_size else page for page in read_picture(path)]
    except UNREADABLE as error:
        raise ValueError(f"{path}: can't be read ({error})") from error
    return from_arrays(_stacked(pages), name=printable(path.name), ids=page_names(path.name, len(pages)))


def page_names(name: str, pages: int) -> list[str]:
    """Returns names for the pages of a picture file: the name of the file, with a number appended for several pages."""
    name = printable(name)
    return [name] if pages == 1 else [f"{name}:{number}" for number in range(1, pages + 1)]


def picture_files(folder: Path) -> list[Path]:
    """Returns the picture files in a folder and its subfolders, sorted; see `picture_folder`.

    Raises:
      ValueError: A folder cannot be read.
    """

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
    """Reads the pages of an image file, upright: uint8, or float32 in [0, 1]; [H, W] if grey, otherwise [H, W, 3].

    Raises:
      ValueError: The values cannot be converted to grey levels. Pillow raises `UNREADABLE` errors for damaged files.
    """
    # A pipe may have replaced the file in the meantime, and opening it would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    # Given a file name, Pillow maps uncompressed TIFF pixels into memory, and garbles them if the picture is rotated.
    with path.open("rb") as file, Image.open(file) as picture:
        return [_upright(_levels(picture), picture) for _ in _pages(picture)]


def picture_of_bytes(content: bytes, most_pixels: int) -> np.ndarray:
    """Reads the first page of a picture from an untrusted place, upright, as `read_picture` does.

    Only the formats of `FORMATS` are tried, and the size is checked before any pixel is decoded.

    Args:
      content: Content of the file.
      most_pixels: Largest number of pixels.

    Raises:
      ValueError: It is no picture in one of the formats, is damaged, or is too large. The message is one line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        with picture:
            width, height = picture.size
            if width * height > most_pixels:
                raise ValueError(f"it has {width:,} x {height:,} pixels, and at most {most_pixels:,} are read")
            return _upright(_levels(picture), picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"it is no picture in one of the formats {', '.join(FORMATS)}") from error
    except UNREADABLE as error:
        raise ValueError(f"the picture can't be read: {error}") from error


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Crops an image to its central square and resizes it with a Lanczos filter.

    Args:
      image: Image, uint8 [H, W] or [H, W, 3], or float32 [H, W] in [0, 1].
      size: Height and width of the result in pixels.

    Returns:
      The resized image, of the same type. Values that the filter moves outside of the range are clipped.
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
    # In a phone's file of several pictures (MPO), those after the first one are previews or views for the other eye.
    count = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    for page in range(count):
        picture.seek(page)
        if count == 1 or not _tag(picture, SUBFILE_TYPE, 0) & 1:
            yield page


def _levels(picture: Any) -> np.ndarray:
    """Returns the values of the current page: uint8, or float32 in [0, 1]; [H, W] or [H, W, 3]."""
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
    """Returns the values of a page with more than 8 bits: float32 [H, W] in [0, 1]."""
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
    """Applies the EXIF orientation. Pillow has already done so for TIFF files, and has removed the tag."""
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
    """Stacks images to [N, H, W] or [N, H, W, 3]: as floats if one has floats, and in colour if one is in colour."""
    if any(image.dtype != np.uint8 for image in images):
        images = [image if image.dtype != np.uint8 else image.astype(np.float32) / 255 for image in images]
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
    return np.stack(images)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
