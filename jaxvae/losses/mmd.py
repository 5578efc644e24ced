"""Maximum mean discrepancy of two samples, such as codes and draws of the prior."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_positive, working_floats

Kernel = Callable[[jax.Array], jax.Array]
"""Positive definite kernel as an elementwise function of the squared distance."""

BLOCK_SIZE = 2**20
"""Number of values m n D that are held at once; larger problems are streamed in blocks of rows. Larger blocks exceed
the caches of a CPU: 2**22 has half the speed."""


def inverse_multiquadric(
    latent_dim: int,
    *,
    prior_variance: float | Float[Array, ""] = 1.0,
    scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
) -> Kernel:
    """Builds the kernel sum_s C_s / (C_s + d^2), with C_s = s 2 D prior_variance, and d^2 the squared distance.

    2 D prior_variance is the expected squared distance of two draws of Normal(0, prior_variance I). The scales are
    summed, not averaged: the kernel is 7 at distance 0. Its tails are heavy, so outliers still get a gradient.

    Args:
      latent_dim: Number of latents D; 1 for `mmd_dimensionwise`.
      prior_variance: Variance of the prior, positive; a number or a scalar array. For a uniform prior on [-1, 1]^D, the
        paper's code has C_s = s D, which corresponds to 0.5 here.
      scales: Scales s, positive.

    Returns:
      Kernel of squared distances.

    Raises:
      ValueError: latent_dim < 1, prior_variance is not positive (unchecked if traced), there is no scale, or a scale is
        not positive.

    Reference: Tolstikhin, Bousquet, Gelly & Schoelkopf (2018), and its code for the scales.
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
    check_positive(prior_variance=prior_variance)
    if not scales:
        raise ValueError("scales must be one or more positive numbers, got none")
    check_positive(scales=scales)

    def kernel(squared_distance: jax.Array) -> jax.Array:
        base = 2 * latent_dim * jnp.asarray(prior_variance, squared_distance.dtype)
        terms = (scale * base / (scale * base + squared_distance) for scale in scales)
        return sum(terms, start=jnp.zeros_like(squared_distance))

    return kernel


def radial_basis(bandwidth_squared: float | Float[Array, ""]) -> Kernel:
    """Builds the kernel exp(-d^2 / (2 h^2)), with d^2 the squared distance.

    The gradient of a code many h away from all others is exactly 0.

    Args:
      bandwidth_squared: Squared bandwidth h^2, positive; a number or a scalar array. D times the prior's variance is a
        good value. If it is a median of the squared distances, stop its gradient.

    Returns:
      Kernel of squared distances.

    Raises:
      ValueError: bandwidth_squared is not positive (unchecked if traced).
    """
    check_positive(bandwidth_squared=bandwidth_squared)

    def kernel(squared_distance: jax.Array) -> jax.Array:
        return jnp.exp(-squared_distance / (2 * jnp.asarray(bandwidth_squared, squared_distance.dtype)))

    return kernel


def mmd_unbiased(
    x: Float[Array, "m D"], y: Float[Array, "n D"], *, kernel: Kernel, axis_name: str | None = None
) -> Float[Array, ""]:
    """Computes the unbiased U-statistic of the squared maximum mean discrepancy:

        sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1)) - 2 sum_ij k(x_i, y_j) / (m n)

    If x and y have the same distribution, it is 0 in expectation and negative about half of the time, so neither clamp
    it nor take its root. Draw a new sample of the prior in every step. If m n D is large, pairs are streamed in blocks,
    in the forward and in the backward pass, in O((m + n) D) memory in addition to a block.

    If the batch is split over devices, both samples are gathered, and each device computes the pairs of its own rows.
    The result is the statistic of the global samples. (The mean of the devices' own statistics is also unbiased, but
    noisier.)

    Args:
      x, y: Samples, for example codes and draws of the prior. Each device has its own part of both.
      kernel: Kernel: `inverse_multiquadric` (the paper's default), `radial_basis`, or any function of squared distances
        with a finite slope at 0.
      axis_name: Mesh axis that both samples are split over, in equal parts.

    Returns:
      One number for the batch, at least float32, the same on every device.

    Raises:
      ValueError: The shapes are not [m, D] and [n, D], an input is not floating-point, or a (global) sample has fewer
        than 2 rows.

    Reference: Gretton, Borgwardt, Rasch, Schoelkopf & Smola (2012); Tolstikhin et al. (2018), algorithm 2.
    """
    return _u_statistic(x, y, lambda squares: kernel(squares.sum(axis=0)), axis_name)


def mmd_dimensionwise(
    x: Float[Array, "m D"], y: Float[Array, "n D"], *, kernel: Kernel, axis_name: str | None = None
) -> Float[Array, ""]:
    """Computes `mmd_unbiased` of every coordinate, summed over the coordinates. It compares the marginal distributions.

    It does not detect dependence among the latents. The paper's kernel is
    `inverse_multiquadric(1, scales=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0))`.

    Args:
      x, y: Samples, as in `mmd_unbiased`.
      kernel: Kernel of squared distances along one coordinate.
      axis_name: Mesh axis that both samples are split over, in equal parts.

    Returns:
      One number for the batch, at least float32, the same on every device.

    Raises:
      ValueError: The errors of `mmd_unbiased`.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019), its code.
    """
    return _u_statistic(x, y, lambda squares: kernel(squares).sum(axis=0), axis_name)


def _u_statistic(x: jax.Array, y: jax.Array, similarity: Kernel, axis_name: str | None) -> jax.Array:
    """Computes the U-statistic of a `similarity` that takes squared differences [D, n] to [n].

    Columns are the last axis, which keeps its loops vectorised.
    """
    if jnp.ndim(x) != 2 or jnp.ndim(y) != 2 or jnp.shape(x)[1] != jnp.shape(y)[1]:
        raise ValueError(
            f"samples must be [m, latents] and [n, latents], got shapes {jnp.shape(x)} and {jnp.shape(y)}; "
            "use vmap for further axes"
        )
    x, y = working_floats(x=x, y=y)
    if axis_name is None:
        all_x, all_y, device = x, y, jnp.int32(0)
    else:
        all_x, all_y = jax.lax.all_gather((x, y), axis_name, axis=0, tiled=True)
        device = jax.lax.axis_index(axis_name)
    m, n = all_x.shape[0], all_y.shape[0]
    if min(m, n) < 2:
        raise ValueError(f"each sample must have at least 2 members, got {m} and {n}")
    # Means over a row's pairs before the sum over rows: all three terms then are of the size of the kernel.
    within_x = _row_means(x, all_x, similarity, device * x.shape[0]).sum() / m
    within_y = _row_means(y, all_y, similarity, device * y.shape[0]).sum() / n
    across = _row_means(x, all_y, similarity, None).sum() / m
    statistic = within_x + within_y - 2 * across
    return statistic if axis_name is None else jax.lax.psum(statistic, axis_name)


def _row_means(rows: jax.Array, columns: jax.Array, similarity: Kernel, first: jax.Array | None) -> jax.Array:
    """Computes the mean similarity of every row to the columns, or to all but column `first + i` for row i if `first`
    is given.
    """
    numbers, latents_first = jnp.arange(columns.shape[0]), columns.T

    def row_mean(numbered_row: tuple[jax.Array, jax.Array]) -> jax.Array:
        number, row = numbered_row
        similarities = similarity((row[:, None] - latents_first) ** 2)
        if first is None:
            return similarities.mean()
        return jnp.where(numbers == number + first, 0, similarities).sum() / (columns.shape[0] - 1)

    numbered_rows = (jnp.arange(rows.shape[0]), rows)
    if rows.shape[0] * columns.size <= BLOCK_SIZE:
        return jax.vmap(row_mean)(numbered_rows)
    return jax.lax.map(jax.checkpoint(row_mean), numbered_rows, batch_size=max(1, BLOCK_SIZE // columns.size))
