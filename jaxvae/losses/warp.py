"""Affine warps of feature maps, differentiable in the map and in the motion.

A motion is [2, 3], (x, y) of a source from (u, v, 1) of a target; both go from -1 at the middle of the first pixel to 1
at the middle of the last, x to the right and y down. It says where the values come from: with (1, 0, t; 0, 1, 0) and
t > 0 a picture moves to the left, by t (width - 1) / 2 pixels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import working_floats


def affine_warp(feature_map: Float[Array, "B h w C"], motion: Float[Array, "B 2 3"]) -> Float[Array, "B h w C"]:
    """The maps with every value taken from where its motion says, bilinearly, and zeros from outside.

    Args:
      feature_map: sides of at least 2.
      motion: one per map.

    Returns:
      [B, h, w, C], at least float32. Finite for any finite motion; the gradient in a motion that leads outside is 0,
      and in one that leads to whole pixels, as none does, it is that of going right and down.

    Raises:
      ValueError: shapes other than these, or an input that is not floating.

    Reference: Jaderberg, Simonyan, Zisserman & Kavukcuoglu (2015), equations 1 and 5 by memory.
    """
    shape = jnp.shape(feature_map)
    if len(shape) != 4 or min(shape[1:3]) < 2 or jnp.shape(motion) != (shape[0], 2, 3):
        raise ValueError(
            f"maps must be [B, h, w, C] with sides of at least 2, and motions [B, 2, 3], got {shape} and "
            f"{jnp.shape(motion)}"
        )
    feature_map, motion = working_floats(feature_map=feature_map, motion=motion)
    return jax.vmap(_warped)(feature_map, motion)


def compose_affine(first: Float[Array, "*batch 2 3"], second: Float[Array, "*batch 2 3"]) -> Float[Array, "*batch 2 3"]:
    """One motion for two: warping by it is warping by the first, and the result by the second."""
    return jnp.concatenate(
        [
            jnp.einsum("...ij,...jk->...ik", first[..., :2], second[..., :2]),
            jnp.einsum("...ij,...jk->...ik", first[..., :2], second[..., 2:]) + first[..., 2:],
        ],
        axis=-1,
    )


def invert_affine(motion: Float[Array, "*batch 2 3"]) -> Float[Array, "*batch 2 3"]:
    """The motion that undoes another; not finite for one that folds the picture, with a determinant of 0."""
    (a, b), (c, d) = ((motion[..., i, 0], motion[..., i, 1]) for i in range(2))
    rows = jnp.stack([jnp.stack([d, -b], axis=-1), jnp.stack([-c, a], axis=-1)], axis=-2)
    inverse = rows / (a * d - b * c)[..., None, None]
    return jnp.concatenate([inverse, -jnp.einsum("...ij,...jk->...ik", inverse, motion[..., 2:])], axis=-1)


def _warped(feature_map: jax.Array, motion: jax.Array) -> jax.Array:
    """[h, w, C], [2, 3] -> [h, w, C]"""
    height, width, channels = feature_map.shape
    # In pixels from the middle, which are exact: no motion takes every value from its own pixel, bit for bit.
    across, down = (width - 1) / 2, (height - 1) / 2
    x = (jnp.arange(width, dtype=motion.dtype) - across)[None, :]
    y = (jnp.arange(height, dtype=motion.dtype) - down)[:, None]
    (a, b, right), (c, d, lower) = motion
    column = (a * x + b * y * (across / down) + right * across + across).reshape(-1)
    row = (c * x * (down / across) + d * y + lower * down + down).reshape(-1)
    # Two pixels outside all is 0, however far; what is not clipped could not be rounded to a whole number.
    column, row = jnp.clip(column, -2, width + 1), jnp.clip(row, -2, height + 1)
    left, above = (jnp.floor(jax.lax.stop_gradient(place)).astype(jnp.int32) for place in (column, row))
    beside, below = column - left.astype(column.dtype), row - above.astype(row.dtype)
    flat = feature_map.reshape(-1, channels)
    total = jnp.zeros_like(flat)
    for i, share_of_row in ((above, 1 - below), (above + 1, below)):
        for j, share_of_column in ((left, 1 - beside), (left + 1, beside)):
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            share = jnp.where(inside, share_of_row * share_of_column, 0)
            total += share[:, None] * flat[jnp.clip(i, 0, height - 1) * width + jnp.clip(j, 0, width - 1)]
    return total.reshape(height, width, channels)
