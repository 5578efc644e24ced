"""Pictures of the explorer: as the page shows them, and a user's own as the encoder needs them."""

import numpy as np
from PIL import Image

from jaxvae.data.pictures import resized
from jaxvae.report.pictures import in_colours


def levels(pictures: np.ndarray) -> np.ndarray:
    """Returns pictures as they are shown, uint8 [B, H, W, 1 or 3]."""
    shown = np.nan_to_num(in_colours(np.asarray(pictures, np.float32)), nan=0.0)
    return np.rint(255 * shown.clip(0, 1)).astype(np.uint8)


def fitted(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Crops and resizes a picture [H, W] or [H, W, 3] to the shape of the run's examples, float32 in [0, 1]."""
    height, width, channels = shape
    if height == width:
        picture = resized(picture, height)
    else:
        tall, wide = picture.shape[:2]
        room = min(tall / height, wide / width)
        crop = max(1, round(room * height)), max(1, round(room * width))
        top, left = (tall - crop[0]) // 2, (wide - crop[1]) // 2
        part = Image.fromarray(picture[top : top + crop[0], left : left + crop[1]])
        picture = np.asarray(part.resize((width, height), Image.Resampling.LANCZOS))
    if picture.ndim == 3 and channels == 1:
        picture = np.asarray(Image.fromarray(picture).convert("L"))
    values = picture.astype(np.float32) / 255 if picture.dtype == np.uint8 else picture.clip(0, 1)
    values = values if values.ndim == 3 else values[..., None]
    return np.broadcast_to(values, shape).astype(np.float32)


def in_view(images: np.ndarray, signed: bool) -> np.ndarray:
    """Returns pictures in colours [n, H, W, 3]; signed ones are grey where they are 0."""
    if signed:
        images = 0.5 + 0.5 * images / max(float(np.abs(images).max()), 1e-12)
    shown = in_colours(images.clip(0, 1))
    return np.broadcast_to(shown, (*shown.shape[:3], 3))
