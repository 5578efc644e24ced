"""Clips of a sprite that moves before a background that does not."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import UNSHARDED, Shard, independent_batch
from jaxvae.data.sprites import Sprites
from jaxvae.data.variants import read_texture, swirls
from jaxvae.streams import Stream


@partial(jax.tree_util.register_dataclass, data_fields=["texture"], meta_fields=["resolution", "frames", "speed"])
@dataclass(frozen=True, eq=False)
class MovingSprites:
    """Clips of a coloured sprite of `Sprites` that crosses a still background and turns back at the borders.

        video       [n, T, H, W, 3] = mask * colour + (1 - mask) * background
        mask        [n, T, H, W, 1], 1 where the sprite is
        background  [n, H, W, 3], a random crop of a texture, the same in all frames
        image       [n, H, W, 3], the first frame
        factors     int32 [n, K], of the first frame

    Shape, scale and orientation stay, x and y move by a velocity of up to `speed` places a frame in each direction.
    """

    resolution: int
    frames: int
    speed: int
    texture: jax.Array | np.ndarray
    """float32 [h, w, 3] in [0, 1], larger than the frames"""

    name = property(lambda self: "moving-sprites")
    factor_names = property(lambda self: Sprites.factor_names)
    factor_sizes = property(lambda self: Sprites.factor_sizes)
    size = property(lambda self: Sprites(self.resolution).size)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, 3)"""
        return (self.resolution, self.resolution, 3)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """The clips that start with these points of the grid of `Sprites`, always the same ones."""
        return self._clips(jax.random.key(Stream.CLIP), Sprites(self.resolution).at(index)["factors"], index)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Clips first .. first+n-1 of the endless list that `key` names."""
        factors = Sprites(self.resolution).sample_factors(key, n, first)
        return self._clips(jax.random.fold_in(key, Stream.CLIP), factors, first + jnp.arange(n))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """The clips of update number `step`."""
        return independent_batch(self, key, step, n, part)

    def _clips(self, key: jax.Array, factors: jax.Array, place: jax.Array) -> dict[str, jax.Array]:
        clips = jax.vmap(lambda row, i: self._clip(jax.random.fold_in(key, i), row))(factors, place)
        return {**clips, "image": clips["video"][:, 0], "factors": factors}

    def _clip(self, key: jax.Array, factors: jax.Array) -> dict[str, jax.Array]:
        velocity_key, colour_key, corner_key = jax.random.split(key, 3)
        velocity = jax.random.randint(velocity_key, (1, 2), -self.speed, self.speed + 1, jnp.int32)
        places = factors[None, 3:] + jnp.arange(self.frames, dtype=jnp.int32)[:, None] * velocity
        still = jnp.broadcast_to(factors[None, :3], (self.frames, 3))
        mask = Sprites(self.resolution).render(jnp.concatenate([still, reflected(places, 32)], axis=1))
        colour = jax.random.uniform(colour_key, (1, 1, 1, 3), jnp.float32, 0.5, 1.0)
        texture = jnp.asarray(self.texture)
        room = jnp.array([texture.shape[0] - self.resolution, texture.shape[1] - self.resolution], jnp.int32)
        top, left = jax.random.randint(corner_key, (2,), 0, room, jnp.int32)
        behind = jax.lax.dynamic_slice(texture, (top, left, jnp.int32(0)), self.image_shape)
        return {"video": mask * colour + (1 - mask) * behind[None], "mask": mask, "background": behind}


def moving_sprites(resolution: int = 32, frames: int = 8, speed: int = 3, texture: str | None = None) -> MovingSprites:
    """Clips of a coloured sprite that crosses a still background and turns back at the borders

    Args:
      resolution: pixels a side, a multiple of 16.
      frames: T, at least 2.
      speed: most places of the 32 x 32 grid that a sprite moves in a frame and direction, 0 to 31.
      texture: picture that backgrounds are cropped from; one of our own if not given.

    Raises:
      ValueError: settings other than these, or a texture that can't be read or is smaller than the frames.
    """
    if frames < 2 or not 0 <= speed < 32:
        raise ValueError(f"clips need at least 2 frames and a speed of 0 to 31, got {frames} and {speed}")
    Sprites(resolution)  # checks it
    picture = swirls() if texture is None else read_texture(texture)
    if min(picture.shape[:2]) <= resolution:
        raise ValueError(f"the texture must be larger than the frames: {picture.shape[:2]} for {resolution} pixels")
    return MovingSprites(resolution, frames, speed, picture)


def reflected(place: jax.Array, size: int) -> jax.Array:
    """Whole numbers folded into 0 .. size-1, as a ball between two walls."""
    folded = jnp.abs(place) % (2 * size - 2)
    return jnp.minimum(folded, 2 * size - 2 - folded)
