"""Clips of a sprite that moves in front of a static background."""

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
    """Clips of a coloured sprite of `Sprites` that crosses a static background and is reflected at the borders.

        video       [n, T, H, W, 3] = mask * colour + (1 - mask) * background
        mask        [n, T, H, W, 1], 1 where the sprite is
        background  [n, H, W, 3], a random crop of a texture, the same in all frames
        image       [n, H, W, 3], the first frame
        factors     int32 [n, K], of the first frame

    Shape, scale and orientation are constant. The position (x, y) moves by a velocity of at most `speed` grid positions
    per frame in each direction.
    """

    resolution: int
    frames: int
    speed: int
    texture: jax.Array | np.ndarray
    """Texture that backgrounds are cropped from, float32 [h, w, 3] in [0, 1], larger than the frames."""

    name = property(lambda self: "moving-sprites")
    factor_names = property(lambda self: Sprites.factor_names)
    factor_sizes = property(lambda self: Sprites.factor_sizes)
    size = property(lambda self: Sprites(self.resolution).size)

    @property
    def moving_factors(self) -> tuple[str, ...]:
        """Names of the factors that change within a clip."""
        return ("x", "y") if self.speed else ()

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of a frame (height, width, 3)."""
        return (self.resolution, self.resolution, 3)

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Returns the clips that start with these points of the grid of `Sprites`; they are always the same ones."""
        return self._clips(jax.random.key(Stream.CLIP), Sprites(self.resolution).at(index)["factors"], index)

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Returns clips first .. first+n-1 of the infinite sequence that `key` determines."""
        factors = Sprites(self.resolution).sample_factors(key, n, first)
        return self._clips(jax.random.fold_in(key, Stream.CLIP), factors, first + jnp.arange(n))

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Returns the clips of a step."""
        return independent_batch(self, key, step, n, part)

    def _clips(self, key: jax.Array, factors: jax.Array, place: jax.Array) -> dict[str, jax.Array]:
        clips = jax.vmap(lambda row, i: self._clip(jax.random.fold_in(key, i), row))(factors, place)
        return {**clips, "x": clips["video"][:, 0], "factors": factors}

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
        behind = jax.lax.dynamic_slice(texture, (top, left, jnp.int32(0)), self.event_shape)
        return {"video": mask * colour + (1 - mask) * behind[None], "mask": mask, "background": behind}


def moving_sprites(resolution: int = 32, frames: int = 8, speed: int = 3, texture: str | None = None) -> MovingSprites:
    """Clips of a coloured sprite that crosses a static background and is reflected at the borders.

    Args:
      resolution: Height and width in pixels, a multiple of 16.
      frames: Number of frames T, at least 2.
      speed: Largest number of positions of the 32 x 32 grid that a sprite moves per frame in each direction, 0 to 31.
      texture: Path of a picture that backgrounds are cropped from; by default, a texture of our own.

    Raises:
      ValueError: A setting is out of range, or the texture cannot be read or is smaller than the frames.
    """
    if frames < 2 or not 0 <= speed < 32:
        raise ValueError(f"clips need at least 2 frames and a speed of 0 to 31, got {frames} and {speed}")
    Sprites(resolution)  # checks it
    picture = swirls() if texture is None else read_texture(texture)
    if min(picture.shape[:2]) <= resolution:
        raise ValueError(f"the texture must be larger than the frames: {picture.shape[:2]} for {resolution} pixels")
    return MovingSprites(resolution, frames, speed, picture)


def reflected(place: jax.Array, size: int) -> jax.Array:
    """Reflects integers at the borders of 0 .. size-1, like a ball between two walls."""
    folded = jnp.abs(place) % (2 * size - 2)
    return jnp.minimum(folded, 2 * size - 2 - folded)
