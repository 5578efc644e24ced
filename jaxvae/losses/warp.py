"""Affine warps of feature maps, differentiable in the map and in the motion.

A motion is [2, 3] and maps a target position (u, v, 1) to a source position (x, y). Both range from -1 at the centre of
the first pixel to 1 at the centre of the last, with x to the right and y down. A motion says where values come from:
with (1, 0, t; 0, 1, 0) and t > 0, a picture moves to the left, by t (width - 1) / 2 pixels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import working_floats


def affine_warp(feature_map: Float[Array, "B h w C"], motion: Float[Array, "B 2 3"]) -> Float[Array, "B h w C"]:
    """Warps each map by bilinear interpolation at the positions given by its motion, with zeros from outside.

    Args:
      feature_map: Feature maps with sides of at least 2.
      motion: Motions, one per map.

    Returns:
      Warped maps [B, h, w, C], at least float32, which are finite for any finite motion. The gradient with respect to a
      motion that leads outside is 0. At a motion that leads to whole pixels, such as the identity, it is the one-sided
      gradient to the right and down.

    Raises:
      ValueError: The shapes are different from these, or an input is not floating-point.

    Reference: Jaderberg, Simonyan, Zisserman & Kavukcuoglu (2015), equations 1 and 5, from memory.
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
    """Composes two motions: warping by the result is warping by the first and then warping the result by the second."""
    return jnp.concatenate(
        [
            jnp.einsum("...ij,...jk->...ik", first[..., :2], second[..., :2]),
            jnp.einsum("...ij,...jk->...ik", first[..., :2], second[..., 2:]) + first[..., 2:],
        ],
        axis=-1,
    )


def invert_affine(motion: Float[Array, "*batch 2 3"]) -> Float[Array, "*batch 2 3"]:
    """Inverts a motion. The result is not finite for a motion with a determinant of 0."""
    (a, b), (c, d) = ((motion[..., i, 0], motion[..., i, 1]) for i in range(2))
    rows = jnp.stack([jnp.stack([d, -b], axis=-1), jnp.stack([-c, a], axis=-1)], axis=-2)
    inverse = rows / (a * d - b * c)[..., None, None]
    return jnp.concatenate([inverse, -jnp.einsum("...ij,...jk->...ik", inverse, motion[..., 2:])], axis=-1)


def _warped(feature_map: jax.Array, motion: jax.Array) -> jax.Array:
    """Warps a single map: [h, w, C], [2, 3] -> [h, w, C]."""
    height, width, channels = feature_map.shape
    # Positions are in pixels from the centre, which are exact: the identity copies every pixel, bit for bit.
    across, down = (width - 1) / 2, (height - 1) / 2
    x = (jnp.arange(width, dtype=motion.dtype) - across)[None, :]
    y = (jnp.arange(height, dtype=motion.dtype) - down)[:, None]
    (a, b, right), (c, d, lower) = motion
    column = (a * x + b * y * (across / down) + right * across + across).reshape(-1)
    row = (c * x * (down / across) + d * y + lower * down + down).reshape(-1)
    # All values are 0 from two pixels outside. Positions are clipped, as far ones cannot be rounded to an integer.
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
