"""Codes on a circle or sphere: von Mises-Fisher posteriors and their divergence from the uniform density."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import working_floats

SMALL = 0.1
"""Concentration below which divergences are computed by a power series."""
UNIFORM = 1e-4
"""Concentration below which samples are computed to first order in it, where they are almost uniform."""
LARGE = {4: 12.0, 8: 200.0}
"""Concentration above which the divergence on the circle is computed by a series in 1 / k, by the precision in bytes.
In its closed form, the derivative is a difference of numbers about k^2 times as large as itself."""
ASYMPTOTIC = (1 / 4, 3 / 16, 25 / 96, 65 / 128, 3219 / 2560, 721 / 192, 375733 / 28672)
"""Coefficients of 1 / k, 1 / k^2, ..."""


def kl_von_mises_uniform(concentration: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """KL( von Mises || uniform ) on the circle: k I1(k) / I0(k) - log I0(k), about log(2 pi k / e) / 2 for large k.

    Args:
      concentration: Concentration k >= 0 (not checked).

    Returns:
      Nats, at least float32.

    Raises:
      ValueError: The input is not floating-point.
    """
    (k,) = working_floats(concentration=concentration)
    small = k < SMALL
    k2 = jnp.where(small, k, 0) ** 2
    large = k > LARGE[k.dtype.itemsize]
    # Each branch sees only harmless values: its gradient would be NaN even where it is not selected.
    medium = jnp.where(small | large, 1, k)
    i0, i1 = jax.scipy.special.i0e(medium), jax.scipy.special.i1e(medium)
    closed = medium * (i1 / i0 - 1) - jnp.log(i0)
    far = jnp.where(large, k, 1)
    inverse, series = 1 / far, jnp.zeros_like(far)
    for coefficient in reversed(ASYMPTOTIC):
        series = (series + coefficient) * inverse
    asymptotic = 0.5 * (jnp.log(far) + math.log(2 * math.pi) - 1) - series
    near = k2 / 4 * (1 - k2 * (3 / 16 - k2 * 5 / 144))
    return jnp.where(small, near, jnp.where(large, asymptotic, closed))


def kl_von_mises_fisher_uniform(concentration: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """KL( von Mises-Fisher || uniform ) on the sphere in three dimensions: k coth k - 1 + log(k / sinh k).

    Args:
      concentration: Concentration k >= 0 (not checked).

    Returns:
      Nats, at least float32.

    Raises:
      ValueError: The input is not floating-point.

    Reference: The closed form is derived; it is 0.80915 for k = 3.
    """
    (k,) = working_floats(concentration=concentration)
    small = k < SMALL
    k2 = jnp.where(small, k, 0) ** 2
    large = jnp.where(small, 1, k)
    # k coth k and log sinh k hold a k each, which would take the digits of what is left.
    shrunk = jnp.exp(-2 * large)
    far = 2 * large * shrunk / (1 - shrunk) - 1 + jnp.log(2 * large) - jnp.log1p(-shrunk)
    return jnp.where(small, k2 / 6 * (1 - k2 * (1 / 10 - k2 * 2 / 189)), far)


def polar_coordinates(vector: Float[Array, "*batch D"]) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch"]]:
    """Splits a vector into direction and length, with finite gradients at 0, whose direction is 0.

    Args:
      vector: Vectors [..., D], of length up to 1e18.

    Returns:
      Directions [..., D] of length 1, and lengths [...], at least float32.

    Raises:
      ValueError: The input is not floating-point.
    """
    (vector,) = working_floats(vector=vector)
    length = jnp.sqrt((vector**2).sum(axis=-1) + 1e-12)
    return vector / length[..., None], length


def sample_von_mises_fisher(
    key: Key[Array, ""],
    direction: Float[Array, "B 3"],
    concentration: Float[Array, " B"],
    *,
    axis_name: str | None = None,
) -> Float[Array, "B 3"]:
    """Draws a point on the unit sphere from each density proportional to exp(k direction . z), differentiable in both.

        w = 1 + log(u + (1 - u) exp(-2 k)) / k,   z = w direction + sqrt(1 - w^2) t

    Here u is uniform, and t is a uniform direction of the tangent plane. The noise of an example depends only on `key`
    and on its index in the global batch, as in `reparameterize`.

    Args:
      key: Random key of the noise, the same on every device.
      direction: Unit vectors (not checked).
      concentration: Concentration k >= 0 (not checked); 0 is the uniform density.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Unit vectors, at least float32.

    Raises:
      ValueError: The shapes are not [B, 3] and [B], or an input is not floating-point.
    """
    if jnp.ndim(direction) != 2 or direction.shape[1] != 3 or jnp.shape(concentration) != direction.shape[:1]:
        raise ValueError(
            f"direction must be [B, 3] and concentration [B], got {jnp.shape(direction)} and {jnp.shape(concentration)}"
        )
    direction, k = working_floats(direction=direction, concentration=concentration)

    def noise(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        height, angle = jax.random.split(jax.random.fold_in(key, index))
        uniform = jax.random.uniform(height, (), direction.dtype, minval=1e-6, maxval=1 - 1e-6)
        return uniform, jax.random.uniform(angle, (), direction.dtype, maxval=2 * math.pi)

    u, angle = jax.vmap(noise)(global_rows(direction.shape[0], axis_name))
    w = jnp.clip(_heights(u, k), -1, 1)
    first, second = _tangents(direction)
    tangent = jnp.cos(angle)[:, None] * first + jnp.sin(angle)[:, None] * second
    # A hair off the pole, where the root has no derivative.
    across = jnp.sqrt(jnp.maximum((1 - w) * (1 + w), 1e-12))
    return w[:, None] * direction + across[:, None] * tangent


def _heights(u: jax.Array, k: jax.Array) -> jax.Array:
    """Computes w by inverting its distribution function, to first order in k if k is small."""
    small = k < UNIFORM
    large = jnp.where(small, 1, k)
    far = 1 + jnp.log1p((1 - u) * jnp.expm1(-2 * large)) / large
    near = (2 * u - 1) + 2 * jnp.where(small, k, 0) * u * (1 - u)
    return jnp.where(small, near, far)


def _tangents(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns two unit vectors orthogonal to each direction: [B, 3] twice."""
    # The coordinate axis that is least along it, so that the product doesn't vanish.
    axis = jax.nn.one_hot(jnp.abs(direction).argmin(axis=1), 3, dtype=direction.dtype)
    first = jnp.cross(direction, axis)
    first /= jnp.sqrt((first**2).sum(axis=1, keepdims=True))
    return first, jnp.cross(direction, first)
