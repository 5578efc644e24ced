"""Pictures made of pixels: image grids, traversals and their animation, on a dark canvas that suits light and dark
pages, and strips of pictures.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CANVAS, INK, FAINT, LINE = (24, 27, 33), (236, 238, 241), (150, 158, 170), (58, 64, 75)
TILE = 128
"""Approximate length in pixels of the longer side of a shown image."""
GAP = 6
LABEL_WIDTH, HEADER = 250, 44
FRAME_MILLISECONDS = 90


class Label(NamedTuple):
    """Label beside a row of images."""

    name: str
    detail: str = ""
    dim: bool = False


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Returns the height and width at which an image is shown: an integer multiple of its size up to about `TILE`, or
    shrunk to `TILE`.
    """
    side = max(height, width)
    if side > TILE:
        return max(1, height * TILE // side), max(1, width * TILE // side)
    scale = round(TILE / side)
    return height * scale, width * scale


def in_colours(images: np.ndarray) -> np.ndarray:
    """Converts images with any number of channels [..., H, W, C] to 1 or 3 channels, in which they are shown.

    Two channels become red and green, and of four or more channels, the first three are shown.
    """
    channels = images.shape[-1]
    if channels in (1, 3):
        return images
    return images[..., :3] if channels > 3 else np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)


def shown_channels(event_shape: tuple[int, ...]) -> str:
    """Describes in brackets what `in_colours` does with images of this shape; "" if it does not change them."""
    if len(event_shape) != 3 or event_shape[2] in (1, 3):
        return ""
    channels = event_shape[2]
    return " (shown in red and green)" if channels == 2 else " (the first three channels are shown)"


def balanced_columns(count: int, most: int) -> int:
    """Returns the number of columns, at most `most`, that fills a grid of `count` entries evenly in the fewest rows."""
    return math.ceil(count / math.ceil(count / most))


def image_rows(rows: np.ndarray, labels: Sequence[Label], headers: Sequence[str] = ()) -> Image.Image:
    """Draws rows of images [R, T, H, W, C] with a label to the left of each row and an optional header above each
    column.
    """
    height, width = tile_size(*rows.shape[2:4])
    top = HEADER if headers else 0
    canvas = _canvas(LABEL_WIDTH + rows.shape[1] * (width + GAP), top + rows.shape[0] * (height + GAP))
    draw = ImageDraw.Draw(canvas)
    for column, header in enumerate(headers):
        _write(draw, (LABEL_WIDTH + column * (width + GAP) + width // 2, top // 2), header, 22, FAINT, "mm")
    for row, (images, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + row * (height + GAP)
        _write_label(draw, label, y + height // 2)
        for column, image in enumerate(images):
            canvas.paste(_tile(image), (LABEL_WIDTH + column * (width + GAP), y))
    return canvas


def comparison(images: np.ndarray, reconstructions: np.ndarray, most_columns: int = 8) -> Image.Image:
    """Draws images [n, H, W, C] with their reconstructions below them, in at most `most_columns` columns."""
    columns = balanced_columns(len(images), most_columns)
    blocks = []
    for start in range(0, len(images), columns):
        pair = np.stack([images[start : start + columns], reconstructions[start : start + columns]])
        blocks.append(image_rows(pair, [Label("data"), Label("reconstruction", dim=True)]))
    canvas = _canvas(blocks[0].width, sum(block.height for block in blocks) + 3 * GAP * (len(blocks) - 1))
    y = 0
    for block in blocks:
        canvas.paste(block, (0, y))
        y += block.height + 3 * GAP
    return canvas


def image_grid(images: np.ndarray, most_columns: int = 8) -> Image.Image:
    """Draws images [m, H, W, C] in at most `most_columns` columns."""
    height, width = tile_size(*images.shape[1:3])
    columns = balanced_columns(len(images), most_columns)
    rows = math.ceil(len(images) / columns)
    canvas = _canvas(columns * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        canvas.paste(_tile(image), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return canvas


def traversal_frames(
    traversals: np.ndarray, values: np.ndarray, labels: Sequence[Label], most_columns: int = 6
) -> list[Image.Image]:
    """Draws one frame per value [T]. Each frame shows the image of every latent [D, T, H, W, C] at that value, above
    its label.

    A mark at the bottom shows the position of the value. It also makes all frames different, as encoders of animations
    merge equal ones.
    """
    return [
        _traversal_frame(traversals[:, t], values, t, labels, balanced_columns(len(labels), most_columns))
        for t in range(len(values))
    ]


def strip(images: np.ndarray) -> tuple[Image.Image, float]:
    """Draws images [T, H, W, C] side by side without gaps, at their own size or shrunk to `TILE`.

    Returns:
      The strip, and its pixels per pixel of the size at which `tile_size` shows the images.
    """
    shown = tile_size(*images.shape[1:3])
    size = min(shown, (images.shape[1], images.shape[2]))
    tiles = [_tile(image, size) for image in images]
    canvas = _canvas(len(tiles) * size[1], size[0])
    for place, tile in enumerate(tiles):
        canvas.paste(tile, (place * size[1], 0))
    return canvas, size[1] / shown[1]


def back_and_forth(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Orders frames as a loop without jumps: T frames -> 2 T - 2."""
    return [*frames, *frames[-2:0:-1]]


def _traversal_frame(
    images: np.ndarray, values: np.ndarray, index: int, labels: Sequence[Label], columns: int
) -> Image.Image:
    height, width = tile_size(*images.shape[1:3])
    margin, caption, track = 14, 52, 44
    rows = math.ceil(len(images) / columns)
    canvas = _canvas(columns * (width + margin) + margin, margin + rows * (height + caption) + track)
    draw = ImageDraw.Draw(canvas)
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(place, columns)
        x, y = margin + column * (width + margin), margin + row * (height + caption)
        canvas.paste(_tile(image), (x, y))
        _write(draw, (x, y + height + 5), label.name, 15, FAINT if label.dim else INK, "la", width)
        _write(draw, (x, y + height + 25), label.detail, 12, FAINT, "la", width)
    _draw_track(draw, values, index, canvas.width, canvas.height - track // 2, margin)
    return canvas


def _draw_track(draw: ImageDraw.ImageDraw, values: np.ndarray, index: int, width: int, y: int, margin: int) -> None:
    left, right = margin + 40, width - margin - 40
    _write(draw, (margin, y), signed(values[0]), 13, FAINT, "lm")
    _write(draw, (width - margin, y), signed(values[-1]), 13, FAINT, "rm")
    draw.line([(left, y), (right, y)], fill=LINE, width=3)
    x = left + (right - left) * index / max(1, len(values) - 1)
    draw.ellipse([x - 7, y - 7, x + 7, y + 7], fill=INK)


def signed(value: float) -> str:
    """Formats a latent's value with a sign: +1.2, −2, 0."""
    text = f"{value:+.1f}".removesuffix(".0").replace("-", "−")
    return "0" if text in ("+0", "−0") else text


def _tile(image: np.ndarray, size: tuple[int, int] | None = None) -> Image.Image:
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {channels}")
    values = np.clip(np.nan_to_num(np.asarray(image, np.float64), nan=0.0), 0.0, 1.0)
    pixels = np.round(255 * np.broadcast_to(values, (height, width, 3))).astype(np.uint8)
    shown_height, shown_width = size or tile_size(height, width)
    filter_ = Image.Resampling.NEAREST if shown_width >= width else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize((shown_width, shown_height), filter_)


def _canvas(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), CANVAS)


def _write_label(draw: ImageDraw.ImageDraw, label: Label, y: int) -> None:
    room = LABEL_WIDTH - 30
    _write(draw, (10, y - (14 if label.detail else 0)), label.name, 24, FAINT if label.dim else INK, "lm", room)
    _write(draw, (10, y + 18), label.detail, 20, FAINT, "lm", room)


def _write(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    anchor: str,
    room: int | None = None,
) -> None:
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
    text = " ".join(text.split())
    while room is not None and len(text) > 1 and draw.textlength(text, font) > room:
        text = text[:-2] + "…"
    draw.text(position, text, fill=colour, font=font, anchor=anchor)
