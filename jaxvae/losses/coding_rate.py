"""How many nats a set of features takes up, as a whole and class by class: maximal coding rate reduction."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import check_positive, working_floats

SHORTEST = 1e-12
"""Length below which a vector counts as 0 and has no direction."""
EMPTY = 1e-12
"""Share of the batch below which a class counts as empty."""


def unit_length(vector: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """z / |z|, with finite gradients everywhere; vectors shorter than 1e-12 give 0, with a gradient of 0.

    Args:
      vector: [..., D], of length up to 1e18.

    Returns:
      [..., D] of length 1, at least float32.

    ValueError for input that is not floating.
    """
    (vector,) = working_floats(vector=vector)
    squared = (vector**2).sum(axis=-1, keepdims=True)
    has_direction = squared > SHORTEST**2
    # The root never sees 0, or its gradient would be NaN where it is not taken.
    return jnp.where(has_direction, vector / jnp.sqrt(jnp.where(has_direction, squared, 1)), 0)


def coding_rate(
    z: Float[Array, "B D"],
    *,
    eps_squared: float | Float[Array, ""] = 0.5,
    scale: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Nats per feature vector for coding the batch up to a squared error of eps^2, as if it were Gaussian:

        R = 1/2 log det( I + scale D / eps^2 mean_b z_b z_b^T )

    Features must be of unit length (not checked, see `unit_length`): R grows without bound with their length. Then
    R <= D/2 log(1 + 1/eps^2), where they are spread evenly over all directions, and R >= 1/2 log(1 + D/eps^2), where
    all are equal (scale 1). The smaller one of D x D and B x B is factored, without axis_name.

    Args:
      z: features of unit length.
      eps_squared: eps^2 > 0, the distortion. In float32 R is 0.2 % off at D / eps^2 = 1e5, and lost beyond 1e7.
      scale: of the second moments, > 0: gamma1 of the self-supervised objective.
      axis_name: axis that the batch is split over, in equal parts.

    Returns:
      One number for the (global) batch, at least float32, the same on every device.

    Raises:
      ValueError: the shape is not [B, D], the input is empty or not floating, or eps^2 or scale is not positive.

    Reference: Ma, Derksen, Hong & Wright (2007); Yu, Chan, You, Song & Ma (2020).
    """
    (z,) = _checked(eps_squared, scale, z=z)
    batch, dimensions = z.shape
    weight = jnp.asarray(scale, z.dtype) * dimensions / jnp.asarray(eps_squared, z.dtype)
    if axis_name is None and batch < dimensions:
        moments = jnp.matmul(z, z.T, precision=jax.lax.Precision.HIGHEST) / batch
    else:
        moments = global_mean(jnp.matmul(z.T, z, precision=jax.lax.Precision.HIGHEST) / batch, axis_name)
    return 0.5 * _log_det_of_one_plus(weight * moments)


def class_coding_rate(
    z: Float[Array, "B D"],
    membership: Float[Array, "B K"],
    *,
    eps_squared: float | Float[Array, ""] = 0.5,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Nats per feature vector for coding every class of the batch for itself:

        R_c = sum_k p_k / 2 log det( I + D / eps^2 mean_b (pi_bk / p_k) z_b z_b^T ),   p_k = mean_b pi_bk

    R - R_c >= 0 where memberships sum to 1 over the classes, and 0 where all classes have the same second moments.
    With K balanced classes, spread evenly over orthogonal subspaces of D / K dimensions, R is at its bound and R_c is
    D / (2 K) log(1 + K / eps^2). Small classes make R_c too low: batches should hold several times D examples.

    Args:
      z: features of unit length (not checked).
      membership: pi >= 0 (not checked): one-hot labels, or shares of classes that sum to 1. A class that is empty
        in the (global) batch counts 0, with a gradient of 0.
      eps_squared: as in `coding_rate`.
      axis_name: axis that the batch is split over, in equal parts.

    Returns:
      One number for the (global) batch, at least float32, the same on every device. Memory is O(K D (B + D)).

    Raises:
      ValueError: shapes are not [B, D] and [B, K], an input is empty or not floating, or eps^2 is not positive.

    Reference: Yu, Chan, You, Song & Ma (2020), equation 6 by memory.
    """
    z, membership = _checked(eps_squared, 1.0, z=z, membership=membership)
    weight = z.shape[1] / jnp.asarray(eps_squared, z.dtype)
    share = global_mean(membership.mean(axis=0), axis_name)
    known = share > EMPTY
    relative = membership / jnp.where(known, share, 1)[None]
    weighted = relative.T[:, :, None] * z[None]
    moments = jnp.einsum("kbd,be->kde", weighted, z, precision=jax.lax.Precision.HIGHEST) / z.shape[0]
    moments = jnp.where(known[:, None, None], global_mean(moments, axis_name), 0)
    return 0.5 * (share * _log_det_of_one_plus(weight * moments)).sum()


def _log_det_of_one_plus(moments: jax.Array) -> jax.Array:
    """log det(I + A) of positive semidefinite matrices: [..., n, n] -> [...]."""
    size = moments.shape[-1]
    one = jnp.eye(size, dtype=moments.dtype).reshape((1,) * (moments.ndim - 2) + (size, size))
    diagonal = jnp.diagonal(jnp.linalg.cholesky(one + moments), axis1=-2, axis2=-1)
    return 2 * jnp.log(diagonal).sum(axis=-1)


def _checked(eps_squared: float | jax.Array, scale: float | jax.Array, **arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays in at least float32, if they are [B, ...] and hold anything; what is traced is not looked at."""
    for name, array in arrays.items():
        if jnp.ndim(array) != 2 or 0 in jnp.shape(array):
            raise ValueError(f"{name} must be [batch, ...] with two axes and not empty, got shape {jnp.shape(array)}")
    lengths = {name: jnp.shape(array)[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"these must have one row per example: {lengths}")
    check_positive(eps_squared=eps_squared, scale=scale)
    return working_floats(**arrays)
