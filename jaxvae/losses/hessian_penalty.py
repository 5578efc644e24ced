"""Mixing of latents in a decoder: how much of its curvature lies between different latents."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_positive, working_floats

LEAST_CURVATURE = 1e-10
"""Constant that is added to the curvature which the penalty is divided by."""


def hessian_penalty(
    function: Callable[[jax.Array], Any],
    z: Float[Array, "B D"],
    key: Key[Array, ""],
    *,
    scale: Float[Array, " D"] | float = 1.0,
    draws: int = 2,
    normalised: bool = True,
    derivatives: Literal["finite", "exact"] = "finite",
    step: float = 0.1,
    axis_name: str | None = None,
) -> Float[Array, " B"]:
    """Penalty for activations of a decoder that mix latents, from random second directional derivatives.

    For a direction u = scale * r, with r drawn for each example, the second derivative is u^T H u, with the Hessian H
    of an element of an activation. Its variance over random signs r is twice the sum of the squares of u_i H_ij u_j
    with i != j, and over normal r twice the sum of all squares, the diagonal included. With means over the elements of
    an activation and variances over the draws (divided by their number),

        off = mean of the variance over random signs      all = mean of the variance over normal draws
        normalised    sum over the activations of off / (all + 1e-10)
        otherwise     sum over the activations of off

    Decoders that add functions of single latents have a penalty of 0. Curvature in a single latent has none, and the
    ratio cannot be lowered by making all activations flat.

    "finite" takes differences, (f(z + step u) - 2 f(z) + f(z - step u)) / step^2, in 1 + 4 draws evaluations (1 + 2
    draws without `normalised`), which also see the kinks of ReLU. "exact" differentiates twice in forward mode, for
    which ReLU networks have no curvature. Both need smooth activations: the curvature that differences find in kinks
    depends on whether a step crosses one, so that the ratio is sometimes above 1e4. In float32, differences have an
    error of about 1e-5 times the activation, and the ratio of an activation that is linear in the code is noise: leave
    such activations out. In half precision, differences are nothing but rounding errors and are refused.

    Args:
      function: Function of codes [B', D] that returns activations, arrays [B', ...] in any pytree, for any B'. It must
        treat examples alone.
      z: Codes.
      key: Random key of the directions, the same on every device. Those of an example depend only on the key and on its
        index in the global batch.
      scale: Scale of the directions in each latent, such as `code_scale`, positive; one number for all, or [D].
      draws: Number of directions of each kind, at least 2.
      normalised: Whether to divide by the curvature in all directions.
      derivatives: Kind of derivatives: "finite" or "exact".
      step: Step of the finite differences, relative to the directions.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      One number per (local) example, at least float32.

    Raises:
      ValueError: z is not [B, D] or not floating-point, the scale is of another shape or not positive (unchecked if
        traced), there are fewer than 2 draws, the step is not positive, the kind of derivatives is unknown, or
        differences would be taken of activations in half precision.

    Reference: Hsu, Hamid, Burns, Finn & Wu (2024); without `normalised`, Peebles et al. (2020).
    """
    if jnp.ndim(z) != 2 or jnp.shape(scale) not in ((), jnp.shape(z)[1:]):
        raise ValueError(f"codes must be [B, D] and scale a number or [D], got {jnp.shape(z)} and {jnp.shape(scale)}")
    if draws < 2:
        raise ValueError(f"a variance over directions needs at least 2 draws, got {draws}")
    check_positive(scale=scale, step=step)
    (z,) = working_floats(z=z)
    batch, latents = z.shape
    scale = jnp.broadcast_to(jnp.asarray(scale, z.dtype), (latents,))

    def directions(draw: Callable[..., jax.Array], key: jax.Array) -> jax.Array:
        """Returns directions [draws, B, D], by example."""
        of = jax.vmap(lambda row: draw(jax.random.fold_in(key, row), (draws, latents), z.dtype), out_axes=1)
        return scale[None, None] * of(global_rows(batch, axis_name))

    sign_key, normal_key = jax.random.split(key)
    kinds = [directions(jax.random.rademacher, sign_key)]
    if normalised:
        kinds.append(directions(jax.random.normal, normal_key))
    along = jnp.concatenate(kinds)
    match derivatives:
        case "finite":
            curvatures = _differences(function, z, along, step)
        case "exact":
            curvatures = _second_derivatives(function, z, along)
        case _:
            raise ValueError(f"unknown derivatives {derivatives!r}; there are finite, exact")
    total = jnp.zeros(batch, z.dtype)
    for curvature in curvatures:
        spread = [part.var(axis=0).reshape(batch, -1).mean(axis=1) for part in jnp.split(curvature, len(kinds))]
        total += spread[0] / (spread[1] + LEAST_CURVATURE) if normalised else spread[0]
    return total


def _differences(function: Callable[..., Any], z: jax.Array, along: jax.Array, step: float) -> list[jax.Array]:
    """Computes second differences of each activation: directions [K, B, D] -> [K, B, ...]."""
    moved = step * along
    points = jnp.concatenate([z[None], z[None] + moved, z[None] - moved])
    found = []
    computed = function(points.reshape(-1, z.shape[1]))
    if narrow := {leaf.dtype.name for leaf in jax.tree.leaves(computed) if leaf.dtype.itemsize < 4}:
        raise ValueError(
            f"finite differences of activations in {' and '.join(sorted(narrow))} are rounding errors: take "
            "derivatives exact, or networks in float32"
        )
    for activation in _activations(computed, z.dtype):
        values = activation.reshape(points.shape[0], z.shape[0], *activation.shape[1:])
        there, ahead, behind = jnp.split(values, (1, 1 + len(along)))
        found.append(((ahead - there) + (behind - there)) / step**2)
    return found


def _second_derivatives(function: Callable[..., Any], z: jax.Array, along: jax.Array) -> list[jax.Array]:
    """Computes second directional derivatives of each activation: directions [K, B, D] -> [K, B, ...]."""
    places = jnp.broadcast_to(z[None], along.shape).reshape(-1, z.shape[1])
    flat, one = along.reshape(places.shape), jnp.ones((), z.dtype)

    def at(distance: jax.Array) -> list[jax.Array]:
        return _activations(function(places + distance * flat), z.dtype)

    def slope(distance: jax.Array) -> list[jax.Array]:
        return jax.jvp(at, (distance,), (one,))[1]

    curvatures = jax.jvp(slope, (jnp.zeros_like(one),), (one,))[1]
    return [curvature.reshape(*along.shape[:2], *curvature.shape[1:]) for curvature in curvatures]


def _activations(tree: Any, dtype: Any) -> list[jax.Array]:
    return [leaf.astype(dtype) for leaf in jax.tree.leaves(tree)]
