"""Coding rates of features, as a whole and per class: maximal coding rate reduction."""

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
    """Computes z / |z| with finite gradients. Vectors shorter than 1e-12 give 0, with a gradient of 0.

    Args:
      vector: Vectors [..., D], of length up to 1e18.

    Returns:
      Vectors [..., D] of length 1, at least float32.

    Raises:
      ValueError: The input is not floating-point.
    """
    (vector,) = working_floats(vector=vector)
    squared = (vector**2).sum(axis=-1, keepdims=True)
    has_direction = squared > SHORTEST**2
    # The root never sees 0: its gradient would be NaN even where it is not selected.
    return jnp.where(has_direction, vector / jnp.sqrt(jnp.where(has_direction, squared, 1)), 0)


def coding_rate(
    z: Float[Array, "B D"],
    *,
    eps_squared: float | Float[Array, ""] = 0.5,
    scale: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Coding rate of the batch up to a squared error of eps^2 in nats per feature vector, as if features were Gaussian:

        R = 1/2 log det( I + scale D / eps^2 mean_b z_b z_b^T )

    Features must be of unit length (which is not checked, see `unit_length`), because R grows without bound with their
    length. For such features and scale 1, R <= D/2 log(1 + 1/eps^2), with equality if they are spread evenly over all
    directions, and R >= 1/2 log(1 + D/eps^2), with equality if all are equal. Without axis_name, the smaller of the D x
    D and the B x B matrix is factorized.

    Args:
      z: Features of unit length.
      eps_squared: Distortion eps^2 > 0. In float32, R has an error of 0.2 % at D / eps^2 = 1e5, and no precision beyond
        1e7.
      scale: Factor of the second moments, > 0: gamma1 of the self-supervised objective.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      One number for the (global) batch, at least float32, the same on every device.

    Raises:
      ValueError: The shape is not [B, D], the input is empty or not floating-point, or eps^2 or scale is not positive.

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
    """Coding rate of the batch in nats per feature vector if every class is coded on its own:

        R_c = sum_k p_k / 2 log det( I + D / eps^2 mean_b (pi_bk / p_k) z_b z_b^T ),   p_k = mean_b pi_bk

    If memberships sum to 1 over the classes, R - R_c >= 0, with equality if all classes have the same second moments.
    With K balanced classes that are spread evenly over orthogonal subspaces of D / K dimensions, R reaches its bound
    and R_c is D / (2 K) log(1 + K / eps^2). Small classes make R_c too low: batches should hold several times D
    examples.

    Args:
      z: Features of unit length (not checked).
      membership: Memberships pi >= 0 (not checked): one-hot labels, or shares of classes that sum to 1. A class that is
        empty in the (global) batch contributes 0, with a gradient of 0.
      eps_squared: Distortion eps^2, as in `coding_rate`.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      One number for the (global) batch, at least float32, the same on every device. Memory is O(K D (B + D)).

    Raises:
      ValueError: The shapes are not [B, D] and [B, K], an input is empty or not floating-point, or eps^2 is not
        positive.

    Reference: Yu, Chan, You, Song & Ma (2020), equation 6, from memory.
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
    """Computes log det(I + A) of positive semidefinite matrices: [..., n, n] -> [...]."""
    size = moments.shape[-1]
    one = jnp.eye(size, dtype=moments.dtype).reshape((1,) * (moments.ndim - 2) + (size, size))
    diagonal = jnp.diagonal(jnp.linalg.cholesky(one + moments), axis1=-2, axis2=-1)
    return 2 * jnp.log(diagonal).sum(axis=-1)


def _checked(eps_squared: float | jax.Array, scale: float | jax.Array, **arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the arrays in at least float32, after checking that they are [B, ...] and not empty. Traced values are
    not checked.
    """
    for name, array in arrays.items():
        if jnp.ndim(array) != 2 or 0 in jnp.shape(array):
            raise ValueError(f"{name} must be [batch, ...] with two axes and not empty, got shape {jnp.shape(array)}")
    lengths = {name: jnp.shape(array)[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"these must have one row per example: {lengths}")
    check_positive(eps_squared=eps_squared, scale=scale)
    return working_floats(**arrays)
