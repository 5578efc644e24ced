"""Maximum mean discrepancy of two samples: does the aggregate posterior have the shape of the prior?"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.checks import check_positive, working_floats

Kernel = Callable[[jax.Array], jax.Array]
"""A positive definite kernel as a function of the squared distance, element by element."""

BLOCK_SIZE = 2**20
"""Numbers m n D that are held at once; larger problems are streamed in blocks of rows. Larger blocks leave the caches
of a CPU: half the speed at 2**22."""


def inverse_multiquadric(
    latent_dim: int,
    *,
    prior_variance: float | Float[Array, ""] = 1.0,
    scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
) -> Kernel:
    """The kernel sum_s C_s / (C_s + d^2), with C_s = s 2 D prior_variance, and d^2 the squared distance.

    2 D prior_variance is the expected squared distance of two draws of Normal(0, prior_variance I). The scales are
    summed, not averaged: the kernel is 7 at distance 0. Its tails are slow, so outliers still get a gradient.

    Args:
      latent_dim: D; 1 for `mmd_dimensionwise`.
      prior_variance: positive; a number or a scalar array. For a uniform prior on [-1, 1]^D the paper's code has
        C_s = s D, which is 0.5 here.
      scales: s, positive.

    Returns:
      Kernel of squared distances.

    Raises:
      ValueError: latent_dim < 1, a prior_variance that is known is not positive, or there is no scale, or one that
        is not positive.

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
    """The kernel exp(-d^2 / (2 h^2)), with d^2 the squared distance.

    A code many h away from all others has a gradient of exactly 0.

    Args:
      bandwidth_squared: h^2, positive; a number or a scalar array. D times the prior's variance is a good value. For a
        median of the squared distances, stop the gradient.

    Returns:
      Kernel of squared distances.

    Raises:
      ValueError: a bandwidth_squared that is known is not positive.
    """
    check_positive(bandwidth_squared=bandwidth_squared)

    def kernel(squared_distance: jax.Array) -> jax.Array:
        return jnp.exp(-squared_distance / (2 * jnp.asarray(bandwidth_squared, squared_distance.dtype)))

    return kernel


def mmd_unbiased(
    x: Float[Array, "m D"], y: Float[Array, "n D"], *, kernel: Kernel, axis_name: str | None = None
) -> Float[Array, ""]:
    """Squared maximum mean discrepancy, the unbiased U-statistic:

        sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1)) - 2 sum_ij k(x_i, y_j) / (m n)

    0 in expectation where x and y have one law, and then negative about half the time: neither clamp it nor take its
    root. Draw the prior's sample anew in every step. Pairs are streamed in blocks where m n D is large, forwards and
    backwards, in O((m + n) D) memory beside a block.

    Split over devices, both samples are gathered, and each device takes the pairs of its own rows: the statistic is the
    one of the global samples. (The mean of the devices' own statistics is unbiased too, and noisier.)

    Args:
      x, y: samples, for example codes and draws of the prior; each device has its own part of both.
      kernel: `inverse_multiquadric` (for the default of the paper), `radial_basis`, or any function of squared
        distances with a finite slope at 0.
      axis_name: axis that both samples are split over, in equal parts.

    Returns:
      One number for the batch, at least float32, the same on every device.

    Raises:
      ValueError: shapes are not [m, D] and [n, D], an input is not floating, or a (global) sample has fewer than 2.

    Reference: Gretton, Borgwardt, Rasch, Schoelkopf & Smola (2012); Tolstikhin et al. (2018), algorithm 2.
    """
    return _u_statistic(x, y, lambda squares: kernel(squares.sum(axis=0)), axis_name)


def mmd_dimensionwise(
    x: Float[Array, "m D"], y: Float[Array, "n D"], *, kernel: Kernel, axis_name: str | None = None
) -> Float[Array, ""]:
    """`mmd_unbiased` of every coordinate alone, summed over the coordinates: do the marginals match?

    Blind to dependence among the latents. The paper's kernel is
    `inverse_multiquadric(1, scales=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0))`.

    Args:
      x, y: samples, as in `mmd_unbiased`.
      kernel: function of squared distances along one coordinate.
      axis_name: axis that both samples are split over, in equal parts.

    Returns:
      One number for the batch, at least float32, the same on every device.

    Raises:
      ValueError: as `mmd_unbiased`.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019), its code.
    """
    return _u_statistic(x, y, lambda squares: kernel(squares).sum(axis=0), axis_name)


def _u_statistic(x: jax.Array, y: jax.Array, similarity: Kernel, axis_name: str | None) -> jax.Array:
    """`similarity` takes squared differences [D, n] to [n]: columns along the last axis keep its loops vectorised."""
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
    """Mean similarity of every row to the columns; to all but column `first + i` for row i, unless `first` is None."""
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
