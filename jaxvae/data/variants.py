"""The study's harder variants of black-and-white sprites, with colour, noise or a picture in the background."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxvae.data.pictures import UNREADABLE, read_picture
from jaxvae.data.source import S, Wrapper
from jaxvae.streams import Stream

VariantName = Literal["color", "noisy", "scream"]
TEXTURE_SHAPE = (274, 350)


@partial(jax.tree_util.register_dataclass, data_fields=["source", "texture"], meta_fields=["look"])
@dataclass(frozen=True, eq=False)
class Variant(Wrapper[S]):
    """A source of one-channel images with a random addition to each, as in the study (Locatello et al., 2019).

        color    the sprite in a random colour, each channel uniform in [0.5, 1]
        noisy    the background uniform noise in each channel, the sprite white
        scream   a random crop of a texture behind it, averaged with a random colour; the sprite inverts it

    The random addition is not a factor. It is drawn anew with every sample. An example by index (`at`, and thus in
    `Epochs`) and an image rendered from factors always look the same.
    """

    source: S
    look: VariantName
    texture: jax.Array | np.ndarray
    """Texture of the background, float32 [h, w, 3] in [0, 1], larger than the images; empty if the variant needs
    none."""

    @property
    def name(self) -> str:
        """Name of the variant, such as "color-sprites"."""
        return f"{self.look}-{self.source.name}"

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of the images (height, width, 3)."""
        return (*self.source.event_shape[:2], 3)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the examples with these indices, as in `Source`."""
        return self._with_looks(self.source.at(index), jax.random.key(Stream.VARIANT), index)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns random examples, as in `Source`."""
        batch = self.source.sample(key, n, first)
        return self._with_looks(batch, jax.random.fold_in(key, Stream.VARIANT), first + jnp.arange(n))

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Samples factors, as in `GroundTruth`."""
        return self.source.sample_factors(key, n, first)  # type: ignore[attr-defined]

    def render(self, factors: jax.Array) -> jax.Array:
        """Renders factors, as in `GroundTruth`."""
        plain = {"x": self.source.render(factors)}  # type: ignore[attr-defined]
        return self._with_looks(plain, jax.random.key(Stream.VARIANT), jnp.arange(len(factors)))["x"]

    def _with_looks(self, batch: dict[str, jax.Array], key: jax.Array, place: jax.Array) -> dict[str, jax.Array]:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(place)
        dress: dict[VariantName, Callable[[jax.Array, jax.Array], jax.Array]] = {
            "color": _coloured,
            "noisy": _noisy,
            "scream": partial(_before_texture, jnp.asarray(self.texture)),
        }
        return {**batch, "x": jax.vmap(dress[self.look])(keys, batch["x"])}


def variant(source: S, look: VariantName, texture: Path | None = None) -> Variant[S]:
    """Returns a `Variant` of a source.

    Args:
      source: Source of one-channel images.
      look: Name of the variant: "color", "noisy" or "scream".
      texture: Path of a picture for "scream"; by default, a texture of our own. It is scaled down to at most 350 x 274
        pixels, as in the study, which uses Munch's painting.

    Raises:
      ValueError: The images have several channels, the variant is unknown, or the texture cannot be read or is smaller
        than the images.
    """
    if len(source.event_shape) != 3 or source.event_shape[2] != 1:
        shape = "x".join(map(str, source.event_shape))
        raise ValueError(f"{look} is a look of images of one channel; {source.name} has examples of {shape}")
    if look not in ("color", "noisy", "scream"):
        raise ValueError(f"unknown look {look!r}; there are color, noisy, scream")
    picture = np.zeros((0, 0, 3), np.float32)
    if look == "scream":
        picture = swirls() if texture is None else read_texture(texture)
        height, width = source.event_shape[:2]
        if picture.shape[0] <= height or picture.shape[1] <= width:
            raise ValueError(
                f"the texture is {picture.shape[1]} x {picture.shape[0]} pixels; it must be larger than the images, "
                f"which are {width} x {height}"
            )
    return Variant(source, look, picture)


def _coloured(key: jax.Array, image: jax.Array) -> jax.Array:
    return image * jax.random.uniform(key, (1, 1, 3), jnp.float32, 0.5, 1.0)


def _noisy(key: jax.Array, image: jax.Array) -> jax.Array:
    return jnp.minimum(image + jax.random.uniform(key, (*image.shape[:2], 3), jnp.float32), 1.0)


def _before_texture(texture: jax.Array, key: jax.Array, image: jax.Array) -> jax.Array:
    place_key, colour_key = jax.random.split(key)
    height, width = image.shape[:2]
    room = jnp.array([texture.shape[0] - height, texture.shape[1] - width, 1], jnp.int32)
    corner = jax.random.randint(place_key, (3,), 0, room, jnp.int32)
    crop = jax.lax.dynamic_slice(texture, (corner[0], corner[1], corner[2]), (height, width, 3))
    behind = 0.5 * (crop + jax.random.uniform(colour_key, (1, 1, 3), jnp.float32))
    return jnp.where(image == 1.0, 1.0 - behind, behind)


def read_texture(path: Path | str) -> np.ndarray:
    """Reads a picture as float32 [h, w, 3] in [0, 1], of at most 350 x 274 pixels.

    Raises:
      ValueError: The picture cannot be read.
    """
    try:
        levels = read_picture(Path(path))[0]
        levels = levels if levels.dtype == np.uint8 else np.round(255 * levels).astype(np.uint8)
        small = Image.fromarray(levels).convert("RGB")
        small.thumbnail(TEXTURE_SHAPE[::-1])
        return np.asarray(small, np.float32) / 255
    except UNREADABLE as error:
        raise ValueError(f"the texture {path} can't be read ({error})") from error


def swirls() -> np.ndarray:
    """Draws a warm sky over dark water: waves of a few lengths, bent by slower ones."""
    down, right = np.meshgrid(*(np.linspace(0, 1, side) for side in TEXTURE_SHAPE), indexing="ij")
    bent = down + 0.08 * np.sin(2 * math.pi * (1.3 * right + 0.7 * down)) + 0.03 * np.sin(2 * math.pi * 4.1 * right)
    bands = 0.5 + 0.5 * np.sin(2 * math.pi * (9 * bent + 0.8 * np.sin(2 * math.pi * 1.7 * right)))
    sky = np.array([0.95, 0.45, 0.1]) * bands[..., None] + np.array([0.9, 0.75, 0.35]) * (1 - bands[..., None])
    water = np.array([0.1, 0.15, 0.35]) * bands[..., None] + np.array([0.3, 0.35, 0.3]) * (1 - bands[..., None])
    return np.where((bent > 0.55)[..., None], water, sky).astype(np.float32)
