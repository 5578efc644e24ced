"""Stochastic neighbour embedding: how far the neighbourhoods of codes are from those of the data, in a batch."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_at_least, check_positive, working_floats

LogKernel: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""(z [B, D], others [N, D]) -> unnormalised log-similarity [B, N]."""
BISECTIONS = 30
"""Halvings of the bracket: less than float32 resolves is left."""
BRACKET = 30.0
"""Nats either way of the inverse mean distance that widths are looked for in: some rows may be far from all others."""


def student_t_similarity(df: float = 1.0, scale: float = 1.0) -> LogKernel:
    """-(df + 1) / 2 log(1 + d^2 / (df scale^2)), d the distance: heavy tails, so that what is not near may be far.

    1 degree of freedom is t-SNE; many are the Gaussian kernel.

    ValueError for df or scale that are not positive.

    Reference: van der Maaten & Hinton (2008).
    """
    check_positive(df=df, scale=scale)

    def log_kernel(z: jax.Array, others: jax.Array) -> jax.Array:
        return -0.5 * (df + 1) * jnp.log1p(_differences(z, others) / (df * scale**2))

    return log_kernel


def gaussian_similarity(scale: float = 1.0) -> LogKernel:
    """-d^2 / (2 scale^2), d the distance. ValueError for a scale that is not positive.

    Reference: Hinton & Roweis (2003).
    """
    check_positive(scale=scale)
    return lambda z, others: -_differences(z, others) / (2 * scale**2)


def von_mises_similarity(concentration: float = 1.0) -> LogKernel:
    """concentration cos(angle between the codes), for codes on a sphere. ValueError for one that is not positive.

    Reference: Graving & Couzin (2020), for codes in polar coordinates.
    """
    check_positive(concentration=concentration)

    def log_kernel(z: jax.Array, others: jax.Array) -> jax.Array:
        return concentration * jnp.matmul(_unit(z), _unit(others).T, precision=jax.lax.Precision.HIGHEST)

    return log_kernel


def neighbour_affinities(
    x: Float[Array, "B P"], perplexity: float | Float[Array, ""], *, axis_name: str | None = None
) -> Float[Array, "B N"]:
    """How much example j is a neighbour of example i, in the data: p_ij = softmax over j != i of -b_i |x_i - x_j|^2.

    b_i is such that exp(entropy of row i) = perplexity, by bisection: an effective number of neighbours, of the N in
    the (global) batch. Perplexities out of reach are cut: more than 0.99 (N - 1); or fewer than the exact duplicates of
    x_i, which share the row equally. Standardise features first: distances depend on their scale, and squared ones are
    known to about 1e-6 of the largest squared distance from the batch's mean. No gradient.

    Args:
      x: examples, or features of them.
      perplexity: >= 1; a number or a scalar array.
      axis_name: axis that the batch is split over, in equal parts; neighbours are then those of the global batch.

    Returns:
      [B, N], at least float32: rows add up to 1, and p_ii = 0. N = B on one device.

    Raises:
      ValueError: x is not [B, P], or not floating; fewer than 3 examples; a perplexity below 1.

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

    symmetric=True is t-SNE's: p is made (p_ij + p_ji) / (2 N), q is normalised over all pairs, and the sum is times N,
    so that the mean over the batch is the divergence of the two.

    Args:
      z: codes; the gradient flows through both of a pair.
      affinities: p of the same batch, from `neighbour_affinities`; constant.
      similarity: `student_t_similarity`, `gaussian_similarity`, `von_mises_similarity`, or any such function.
      symmetric: as above.
      axis_name: axis that both are split over, in equal parts.

    Returns:
      Nats per (local) example, at least float32; >= 0, with symmetric=True in the mean.

    Raises:
      ValueError: z is not [B, D], affinities are not those of this batch, or an input is not floating.

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
    """log of the sum of all exp(log_sums), over all devices: a scalar as [1, 1]."""
    local = jax.nn.logsumexp(log_sums)[None]
    everywhere = local if axis_name is None else jax.lax.all_gather(local, axis_name, axis=0, tiled=True)
    return jax.nn.logsumexp(everywhere)[None, None]


def _gathered(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """The rows of the global batch [N, ...], and which of them is which of the local ones: bool [B, N]."""
    index = global_rows(x.shape[0], axis_name)
    everyone = x if axis_name is None else jax.lax.all_gather(x, axis_name, axis=0, tiled=True)
    if everyone.shape[0] < 3:
        raise ValueError(f"neighbours need a batch of at least 3 examples, got {everyone.shape[0]}")
    return everyone, index[:, None] == jnp.arange(everyone.shape[0])[None, :]


def _squared_distances(x: jax.Array, others: jax.Array) -> jax.Array:
    """[B, P], [N, P] -> [B, N], by a matrix product."""
    centre = others.mean(axis=0)[None, :]
    x, others = x - centre, others - centre
    squares = (x**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :]
    return squares - 2 * jnp.matmul(x, others.T, precision=jax.lax.Precision.HIGHEST)


def _differences(z: jax.Array, others: jax.Array) -> jax.Array:
    """[B, D], [N, D] -> squared distances [B, N], for few latents."""
    return ((z[:, None, :] - others[None, :, :]) ** 2).sum(axis=-1)


def _unit(z: jax.Array) -> jax.Array:
    square = (z**2).sum(axis=-1, keepdims=True)
    present = square > 0
    return jnp.where(present, z / jnp.sqrt(jnp.where(present, square, 1)), 0)
