"""Examples as the page of the explorer takes them: pictures as bytes, numbers with few digits."""

import jax
import numpy as np
from PIL import Image

from jaxvae.analysis import random_examples
from jaxvae.data.pictures import resized
from jaxvae.method import Nets
from jaxvae.report.pictures import in_colours
from jaxvae.runs.load import Run
from jaxvae.runs.score import scored_examples

READ = 500
"""Number of examples that are read at a time."""


def examples_of(run: Run, count: int) -> dict[str, np.ndarray]:
    """Reads the examples that `represent` encodes, in the same order: "x" in float32, and all other columns of the
    batch where the decoder reads them.
    """
    source, key = scored_examples(run), run.evaluation_key
    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, count, READ):
        batch = random_examples(source, key, min(READ, count - first), first)
        read = batch if run.method.decode_with is not None else {"x": batch["x"]}
        parts.append({name: np.asarray(values) for name, values in read.items()})
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {**whole, "x": whole["x"].astype(np.float32)}


def prior_codes(run: Run, key: jax.Array, latents: int, batch: dict[str, jax.Array]) -> np.ndarray:
    """Draws a code for each example of a batch from the prior, or from a standard normal if there is none: [B, D].

    Raises:
      ValueError: The prior depends on more of an example than is in the batch.
    """
    if run.method.sample_prior is None:
        return np.asarray(jax.random.normal(key, (len(batch["x"]), latents)))
    try:
        return np.asarray(run.method.sample_prior(Nets(run.method.networks, run.state.params), key, batch))
    except KeyError as error:
        raise ValueError(f"the prior of {run.method.name} needs {error} of an example") from error


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


def short(value: float) -> float:
    """Rounds a number to 6 digits; JSON has no numbers that are not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else 0.0


def rounded(lines: np.ndarray) -> list[list[float]]:
    """Rounds all numbers [n, m] to 6 digits."""
    return [[short(value) for value in line] for line in lines]
