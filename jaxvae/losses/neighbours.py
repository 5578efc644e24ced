"""Stochastic neighbour embedding: divergence between the neighbourhoods of codes and those of the data, in a batch."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_at_least, check_positive, working_floats

LogKernel: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""Function (z [B, D], others [N, D]) -> unnormalised log-similarity [B, N]."""
BISECTIONS = 30
"""Number of halvings of the bracket; the remainder is below the resolution of float32."""
BRACKET = 30.0
"""Half-width in nats of the bracket around the inverse mean distance, in which widths are searched. It is wide because
some rows may be far from all others."""


def student_t_similarity(df: float = 1.0, scale: float = 1.0) -> LogKernel:
    """Builds the similarity -(df + 1) / 2 log(1 + d^2 / (df scale^2)) of the distance d, whose tails are heavy.

    One degree of freedom gives t-SNE; many give the Gaussian similarity.

    Raises:
      ValueError: df or scale is not positive.

    Reference: van der Maaten & Hinton (2008).
    """
    check_positive(df=df, scale=scale)

    def log_kernel(z: jax.Array, others: jax.Array) -> jax.Array:
        return -0.5 * (df + 1) * jnp.log1p(_differences(z, others) / (df * scale**2))

    return log_kernel


def gaussian_similarity(scale: float = 1.0) -> LogKernel:
    """Builds the similarity -d^2 / (2 scale^2) of the distance d.

    Raises:
      ValueError: The scale is not positive.

    Reference: Hinton & Roweis (2003).
    """
    check_positive(scale=scale)
    return lambda z, others: -_differences(z, others) / (2 * scale**2)


def von_mises_similarity(concentration: float = 1.0) -> LogKernel:
    """Builds the similarity concentration cos(angle between the codes), for codes on a sphere.

    Raises:
      ValueError: The concentration is not positive.

    Reference: Graving & Couzin (2020), for codes in polar coordinates.
    """
    check_positive(concentration=concentration)

    def log_kernel(z: jax.Array, others: jax.Array) -> jax.Array:
        return concentration * jnp.matmul(_unit(z), _unit(others).T, precision=jax.lax.Precision.HIGHEST)

    return log_kernel


def neighbour_affinities(
    x: Float[Array, "B P"], perplexity: float | Float[Array, ""], *, axis_name: str | None = None
) -> Float[Array, "B N"]:
    """Affinity of example j as a neighbour of example i in the data: p_ij = softmax over j != i of -b_i |x_i - x_j|^2.

    b_i is found by bisection such that exp(entropy of row i) = perplexity, an effective number of neighbours among the
    N examples of the (global) batch. Perplexities that cannot be reached are clipped: those above 0.99 (N - 1), and
    those below the number of exact duplicates of x_i, which share the row equally. Standardise features first, since
    distances depend on their scale. Squared distances have an error of about 1e-6 of the largest squared distance from
    the batch's mean. The result has no gradient.

    Args:
      x: Examples, or features of them.
      perplexity: Perplexity >= 1; a number or a scalar array.
      axis_name: Mesh axis that the batch is split over, in equal parts; neighbours are then those of the global batch.

    Returns:
      Affinities [B, N], at least float32. Rows sum to 1, and p_ii = 0. N = B on one device.

    Raises:
      ValueError: x is not [B, P] or not floating-point, there are fewer than 3 examples, or the perplexity is below 1.

    Reference: Hinton & Roweis (2003).
    """
    if jnp.ndim(x) != 2:
        raise ValueError(f"x must be [examples, features], got shape {jnp.shape(x)}")
    check_at_least(1, perplexity=perplexity)
    (x,) = working_floats(x=jax.lax.stop_gradient(x))
    everyone, itself = _gathered(x, axis_name)
    distance = jnp.where(itself, jnp.inf, _squared_distances(x, everyone))
    distance -= distance.min(axis=1, keepdims=True)
    finite = jnp.where(itself, 0, distance)
    mean = finite.sum(axis=1, keepdims=True) / (everyone.shape[0] - 1)
    unit = jnp.where(mean > 0, mean, 1)
    distance, finite = distance / unit, finite / unit
    reachable = jnp.minimum(jnp.asarray(perplexity, x.dtype), 0.99 * (everyone.shape[0] - 1))
    target = jnp.log(reachable)

    def halve(_: jax.Array, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        weights = jnp.exp(-jnp.exp(middle) * distance)
        total = weights.sum(axis=1, keepdims=True)
        entropy = jnp.log(total) + jnp.exp(middle) * (weights * finite).sum(axis=1, keepdims=True) / total
        flat = entropy > target
        return jnp.where(flat, middle, low), jnp.where(flat, high, middle)

    start = jnp.zeros_like(unit) + 0 * unit
    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (start - BRACKET, start + BRACKET))
    return jax.nn.softmax(-jnp.exp(0.5 * (low + high)) * distance, axis=1)


def neighbour_divergence(
    z: Float[Array, "B D"],
    affinities: Float[Array, "B N"],
    *,
    similarity: LogKernel,
    symmetric: bool = False,
    axis_name: str | None = None,
) -> Float[Array, " B"]:
    """Kullback-Leibler divergence of the neighbourhoods of codes from those of the data, the SNE objective, by example.

        sum_{j != i} p_ij (log p_ij - log q_ij),   q_ij = softmax over j != i of the log-similarity of z_i and z_j

    symmetric=True gives the objective of t-SNE: p becomes (p_ij + p_ji) / (2 N), q is normalised over all pairs, and
    the sum is multiplied by N, so that the mean over the batch is the divergence of the two.

    Args:
      z: Codes; the gradient flows through both codes of a pair.
      affinities: Affinities p of the same batch, from `neighbour_affinities`; constant.
      similarity: Log-similarity: `student_t_similarity`, `gaussian_similarity`, `von_mises_similarity`, or any such
        function.
      symmetric: Whether to use the symmetric objective of t-SNE.
      axis_name: Mesh axis that both are split over, in equal parts.

    Returns:
      Nats per (local) example, at least float32; >= 0, with symmetric=True in the mean.

    Raises:
      ValueError: z is not [B, D], the affinities are not those of this batch, or an input is not floating-point.

    Reference: Hinton & Roweis (2003); van der Maaten & Hinton (2008); Graving & Couzin (2020).
    """
    if jnp.ndim(z) != 2:
        raise ValueError(f"z must be [examples, latents], got shape {jnp.shape(z)}")
    z, p = working_floats(z=z, affinities=jax.lax.stop_gradient(affinities))
    others, itself = _gathered(z, axis_name)
    if p.shape != itself.shape:
        raise ValueError(f"affinities must be {itself.shape} for this batch, got {p.shape}")
    log_weights = similarity(z, others)
    hidden = jnp.where(itself, -jnp.inf, log_weights)
    log_total = jax.nn.logsumexp(hidden, axis=1)[:, None]
    if symmetric:
        log_total = _log_sum_of_all(log_total[:, 0], axis_name)
        columns = p if axis_name is None else jax.lax.all_gather(p, axis_name, axis=0, tiled=True)
        if axis_name is not None:
            first = jax.lax.axis_index(axis_name) * z.shape[0]
            columns = jax.lax.dynamic_slice_in_dim(columns, first, z.shape[0], axis=1)
        p = (p + columns.T) / 2
        # Times N: 1 / N of the joint probabilities is left out of p and put into q.
        log_total -= jnp.log(jnp.asarray(others.shape[0], z.dtype))
    log_q = jnp.where(itself, 0, log_weights - log_total)
    return (xlogy(p, p) - p * log_q).sum(axis=1)


def _log_sum_of_all(log_sums: jax.Array, axis_name: str | None) -> jax.Array:
    """Computes the log of the sum of all exp(log_sums) over all devices: a scalar as [1, 1]."""
    local = jax.nn.logsumexp(log_sums)[None]
    everywhere = local if axis_name is None else jax.lax.all_gather(local, axis_name, axis=0, tiled=True)
    return jax.nn.logsumexp(everywhere)[None, None]


def _gathered(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Gathers the rows of the global batch [N, ...], and marks the local ones among them: bool [B, N]."""
    index = global_rows(x.shape[0], axis_name)
    everyone = x if axis_name is None else jax.lax.all_gather(x, axis_name, axis=0, tiled=True)
    if everyone.shape[0] < 3:
        raise ValueError(f"neighbours need a batch of at least 3 examples, got {everyone.shape[0]}")
    return everyone, index[:, None] == jnp.arange(everyone.shape[0])[None, :]


def _squared_distances(x: jax.Array, others: jax.Array) -> jax.Array:
    """Computes squared distances by a matrix product: [B, P], [N, P] -> [B, N]."""
    centre = others.mean(axis=0)[None, :]
    x, others = x - centre, others - centre
    squares = (x**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :]
    return squares - 2 * jnp.matmul(x, others.T, precision=jax.lax.Precision.HIGHEST)


def _differences(z: jax.Array, others: jax.Array) -> jax.Array:
    """Computes squared distances by differences, for few latents: [B, D], [N, D] -> [B, N]."""
    return ((z[:, None, :] - others[None, :, :]) ** 2).sum(axis=-1)


def _unit(z: jax.Array) -> jax.Array:
    square = (z**2).sum(axis=-1, keepdims=True)
    present = square > 0
    return jnp.where(present, z / jnp.sqrt(jnp.where(present, square, 1)), 0)
