"""Pictures as data URIs, so that the page is a single file."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

PICTURE_BYTES = 600_000
"""Largest size in bytes of a PNG. Larger pictures, such as photographs, become a WebP of the best quality within this
size."""
QUALITIES = (85, 60, 30, 5)


class Embedded(NamedTuple):
    """A picture that is embedded in the page."""

    uri: str
    width: int
    """Width in pixels."""
    height: int


def embed(image: Image.Image, most: int = PICTURE_BYTES) -> Embedded:
    """Embeds a still picture, as PNG if that has at most `most` bytes."""
    data, kind = _save(image, "PNG", optimize=True), "png"
    if len(data) > most:
        data, kind = _webp(image, most, method=4), "webp"
    return _embedded(data, kind, image)


def gif(frames: Sequence[Image.Image], frame_milliseconds: int) -> bytes:
    """Encodes an endless animation as a GIF, in 256 colours for all frames together."""
    palette = _shared_palette(frames)
    few_colours = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    return _save(few_colours[0], "GIF", append_images=few_colours[1:], disposal=1, **_loop(frame_milliseconds))


def _loop(frame_milliseconds: int) -> dict[str, object]:
    return {"save_all": True, "duration": frame_milliseconds, "loop": 0}


def _webp(image: Image.Image, most: int, **options: object) -> bytes:
    data = b""
    for quality in QUALITIES:
        data = _save(image, "WEBP", quality=quality, **options)
        if len(data) <= most:
            break
    return data


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Chooses 256 colours for all frames together, since colours fitted to each frame alone would flicker.

    An octree also keeps rare colours. A median cut leaves speckles in areas that are small in most frames.
    """
    stacked = Image.fromarray(np.concatenate([np.asarray(frame)[::2, ::2] for frame in frames]))
    return stacked.quantize(256, method=Image.Quantize.FASTOCTREE)


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _embedded(data: bytes, kind: str, image: Image.Image) -> Embedded:
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Embedded(uri, image.width, image.height)
