"""Support of the codes of a batch: how far its pairs of latents are from taking all combinations of their values."""

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxvae.losses.checks import check_positive, working_floats

Matching: TypeAlias = Literal["hard", "mean", "soft"]
Hinge: TypeAlias = Literal["variance", "minimal-support"]
LEAST_VARIANCE = 1e-6
"""Number that is added to the variance of a latent, so that the slope of the root is finite."""
ELEMENTS = 2**20
"""Number of distances that are computed at a time."""


def latent_pairs(key: Key[Array, ""], latents: int, count: int = 25) -> Int[Array, "P 2"]:
    """Draws different unordered pairs of latents: min(count, latents (latents - 1) / 2) of them.

    Args:
      key: Random key, the same on every device. Use a new key in every step.
      latents: Number of latents D.
      count: Largest number of pairs.

    Returns:
      Indices, int32 [P, 2], the smaller one first. P is known at trace time.

    Raises:
      ValueError: latents or count is below 1.

    Reference: Roth, Ibrahim, Akata, Vincent & Bouchacourt (2023).
    """
    if min(latents, count) < 1:
        raise ValueError(f"pairs need at least 1 latent and a count of at least 1, got {latents} and {count}")
    every = np.stack(np.triu_indices(latents, 1), axis=1).astype(np.int32)
    return jax.random.permutation(key, jnp.asarray(every), axis=0)[:count]


def factorised_support(
    codes: Float[Array, "B D"],
    pairs: Int[Array, "P 2"],
    *,
    matching: Matching = "hard",
    temperature: float | Float[Array, ""] = 1.0,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Distance of the support of the codes from a product of supports, summed over pairs of latents (a, b).

    The B points s_k = (z_ka, z_kb) are compared with the B^2 points f_ij = (z_ia, z_jb), all combinations of a value of
    latent a and a value of latent b, by the squared distance d_ij to the nearest point:

        hard    max_ij d_ij,            d_ij = min_k |f_ij - s_k|^2
        mean    mean of the d_ij > 0    of the same d_ij; 0 if there are none
        soft    sum_ij w_ij d_ij,       d_ij = sum_k v_ijk |f_ij - s_k|^2
                w = softmax over ij of d / temperature,   v_ij = softmax over k of -|f_ij - s_k|^2 / temperature

    "hard" is the one-sided Hausdorff distance; the other side is 0. It is 0 if the codes fill a grid, and not invariant
    to rotations of it. Its gradient reaches three or four numbers of each pair of latents, and that of "mean" reaches
    all codes. Scaling the codes by c scales both by c^2, so they need a counterweight. The value depends on B: compare
    it at equal B only. "soft" has one temperature for w and v, where the authors' code has two, both 1 by default.

    Distances are computed in blocks, with O(B^2 + B D) memory for "hard" and "mean", and O(P B^2) for "soft". If the
    batch is split over devices, each device gathers all codes, B D numbers, and computes the value of the global batch.

    Args:
      codes: Codes; for a VAE, the posterior means.
      pairs: Indices of the latents of each pair, from `latent_pairs`.
      matching: Kind of distance: "hard", "mean" or "soft".
      temperature: Temperature of "soft", in squared units of the codes, positive.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Squared units of the codes, at least float32, the same on every device. Add it once to the mean loss.

    Raises:
      ValueError: The shapes are not [B, D] and [P, 2], the codes are not floating-point, the matching is unknown, or
        the temperature is not positive (unchecked if traced).

    Reference: Roth et al. (2023); their code for "mean" and "soft".
    """
    shapes = jnp.shape(codes), jnp.shape(pairs)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[1][1] != 2:
        raise ValueError(f"codes must be [B, D] and pairs [P, 2], got {shapes[0]} and {shapes[1]}")
    if matching not in get_args(Matching):
        raise ValueError(f"matching must be one of {', '.join(get_args(Matching))}, got {matching!r}")
    check_positive(temperature=temperature)
    (codes,) = working_floats(codes=codes)
    if axis_name is not None:
        codes = jax.lax.all_gather(codes, axis_name, axis=0, tiled=True)
    if shapes[1][0] == 0:
        return 0 * codes.sum()

    def of_pair(pair: jax.Array) -> jax.Array:
        a, b = codes[:, pair[0]], codes[:, pair[1]]
        match matching:
            case "hard":
                return _worst(a, b)
            case "mean":
                return _mean(a, b)
        return _soft(a, b, jnp.asarray(temperature, codes.dtype))

    return jax.lax.map(of_pair, jnp.asarray(pairs)).sum()


def scale_hinge(
    codes: Float[Array, "B D"], *, form: Hinge = "variance", axis_name: str | None = None
) -> Float[Array, ""]:
    """Penalty on latents whose codes are too close together, which keeps `factorised_support` from shrinking them:

        variance          sum_d relu(1 - sqrt(var_d + 1e-6)),   var_d over the batch, divided by B
        minimal-support   sum_d relu(1 - max_d) + relu(min_d),  least and largest code over the batch

    "variance" is 0 if every latent has a standard deviation of 1, and "minimal-support" if the codes of every latent
    reach from 0 or less to 1 or more. The authors' code has both over the latents of each example in place of the
    batch, which lets a latent collapse.

    Args:
      codes: Codes; for a VAE, the posterior means.
      form: Form of the hinge: "variance" or "minimal-support".
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Units of the codes, at least float32, the same on every device. Add it once to the mean loss.

    Raises:
      ValueError: The shape is not [B, D], the codes are not floating-point, or the form is unknown.

    Reference: Roth et al. (2023), their code.
    """
    if jnp.ndim(codes) != 2:
        raise ValueError(f"codes must be [B, D], got {jnp.shape(codes)}")
    (codes,) = working_floats(codes=codes)
    if axis_name is not None:
        codes = jax.lax.all_gather(codes, axis_name, axis=0, tiled=True)
    match form:
        case "variance":
            return jax.nn.relu(1 - jnp.sqrt(codes.var(axis=0) + LEAST_VARIANCE)).sum()
        case "minimal-support":
            return (jax.nn.relu(1 - codes.max(axis=0)) + jax.nn.relu(codes.min(axis=0))).sum()
    raise ValueError(f"form must be one of {', '.join(get_args(Hinge))}, got {form!r}")


def _worst(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the distance of the worst combination from its nearest point, of values a and b [B] of two latents."""
    constant_a, constant_b = jax.lax.stop_gradient((a, b))
    shortest = _by_rows(lambda distance: distance.min(axis=1), constant_a, constant_b)
    i, j = jnp.unravel_index(shortest.argmax(), shortest.shape)
    k = ((constant_a - constant_a[i]) ** 2 + (constant_b - constant_b[j]) ** 2).argmin()
    return (a[i] - a[k]) ** 2 + (b[j] - b[k]) ** 2


def _mean(a: jax.Array, b: jax.Array) -> jax.Array:
    nearest = _by_rows(lambda distance: distance.argmin(axis=1), *jax.lax.stop_gradient((a, b)))
    shortest = (a[:, None] - a[nearest]) ** 2 + (b[None, :] - b[nearest]) ** 2
    count = (jax.lax.stop_gradient(shortest) > 0).sum().astype(shortest.dtype)
    return shortest.sum() / jnp.maximum(count, 1)


def _soft(a: jax.Array, b: jax.Array, temperature: jax.Array) -> jax.Array:
    def expected(distance: jax.Array) -> jax.Array:
        return (jax.nn.softmax(-distance / temperature, axis=1) * distance).sum(axis=1)

    distances = _by_rows(expected, a, b).reshape(-1)
    return (jax.nn.softmax(distances / temperature) * distances).sum()


def _by_rows(reduce: Callable[[jax.Array], jax.Array], a: jax.Array, b: jax.Array) -> jax.Array:
    """Reduces the distances [j, k] of f_ij and s_k over k, for one i after another: [i, j]."""
    between_b = (b[:, None] - b[None, :]) ** 2

    @jax.checkpoint
    def of_row(value: jax.Array) -> jax.Array:
        return reduce(((value - a) ** 2)[None, :] + between_b)

    return jax.lax.map(of_row, a, batch_size=max(1, ELEMENTS // between_b.size))
