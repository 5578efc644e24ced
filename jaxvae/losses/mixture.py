"""Log-density of points under a mixture of diagonal Gaussians, without the memory of all pairs.

The pairwise log-densities [B, N, D] of B points and N components are never stored. They are computed in blocks, and
twice more in the backward pass. The loops are elementwise over arrays whose last axis is long, with blocks and latents
unrolled. XLA vectorises this form and distributes it over cores; reductions of the same size ran up to 8 times slower.
"""

import math
from functools import partial, reduce
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxvae.losses.gaussian import MAX_DEVIATIONS, gaussian_log_density

DIRECT_COMPONENTS = 64
"""Number of components up to which the direct computation is as fast, measured for D = 10 and 64."""
BLOCK = 16
"""Number of components per block, the fastest of 8, 16, 32 and 64. Below 16, XLA fuses the weights into the inner
loop."""
LOWEST = -1e38

TwoArrays: TypeAlias = tuple[jax.Array, jax.Array]
FourArrays: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
Residuals: TypeAlias = tuple[jax.Array, ...]


class PairWeights(NamedTuple):
    """Log-weight of component k for point i, which depends on the distance from i to k in the cyclic order of the
    batch.
    """

    same: float
    """Log-weight for k = i."""
    next: float
    """Log-weight for k = i + 1."""
    rest: float

    def between(self, rows: jax.Array, columns: jax.Array, count: int) -> jax.Array:
        """Returns the log-weights, float32 [len(rows), len(columns)]. Columns beyond `count` are padding with weight
        0.
        """
        offset = columns[None, :] - rows[:, None]
        follows = (offset == 1) | (offset == 1 - count)  # the remainder of a division by count would be slow
        weights = jnp.where(follows, jnp.float32(self.next), jnp.float32(self.rest))
        weights = jnp.where(offset == 0, jnp.float32(self.same), weights)
        return jnp.where(columns[None, :] < count, weights, -jnp.inf)


def mixture_log_density(
    z: jax.Array,
    mean: jax.Array,
    logvar: jax.Array,
    rows: jax.Array,
    weights: PairWeights,
    block_size: int | None,
) -> tuple[jax.Array, jax.Array]:
    """Computes log sum_k W_ik N(z_i; k) of the whole vector [B] and of every latent [B, D].

    Args:
      z: Points [B, D].
      mean, logvar: Means and log variances of the components [N, D].
      rows: Index of each point among the components, for `weights`, int32 [B].
      weights: Weights W.
      block_size: Number of components per block; None chooses. N or more gives the direct computation.

    Raises:
      ValueError: block_size < 1.
    """
    count = mean.shape[0]
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    if block_size is None:
        block_size = count if count <= DIRECT_COMPONENTS else BLOCK
    if block_size >= count:
        return _direct(z, mean, logvar, rows, weights)
    return _streamed(*_vary_alike(z, mean, logvar), rows, weights, block_size)


def _direct(
    z: jax.Array, mean: jax.Array, logvar: jax.Array, rows: jax.Array, weights: PairWeights
) -> tuple[jax.Array, jax.Array]:
    count = mean.shape[0]
    log_weights = weights.between(rows, jnp.arange(count), count).astype(z.dtype)
    log_density = gaussian_log_density(z[:, None, :], mean[None, :, :], logvar[None, :, :])
    return (
        jax.nn.logsumexp(log_density.sum(axis=-1) + log_weights, axis=1),
        jax.nn.logsumexp(log_density + log_weights[:, :, None], axis=1),
    )


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _streamed(
    z: jax.Array, mean: jax.Array, logvar: jax.Array, rows: jax.Array, weights: PairWeights, block: int
) -> tuple[jax.Array, jax.Array]:
    """Computes the result of `_direct` in blocks of components, with a running maximum and sum. Points are the last
    axis.
    """
    points = z.T

    def absorb(carry: FourArrays, components: tuple[jax.Array, ...]) -> tuple[FourArrays, None]:
        top, total, joint_top, joint_total = carry
        *parameters, columns = components
        log_weights = weights.between(rows, columns, mean.shape[0]).astype(z.dtype).T
        terms = [
            constant - square + log_weight[None, :]
            for (_, square, constant), log_weight in zip(_pairs(points, *parameters), log_weights, strict=True)
        ]
        top, before = reduce(jnp.maximum, terms, top), top
        total = total * jnp.exp(before - top)
        for term in terms:
            total += jnp.exp(term - top)
        joint = _joint_density(points, *parameters) + log_weights
        joint_top, before = jnp.maximum(joint_top, joint.max(axis=0)), joint_top
        joint_total = joint_total * jnp.exp(before - joint_top) + jnp.exp(joint - joint_top[None, :]).sum(axis=0)
        return (top, total, joint_top, joint_total), None

    zero = points * 0
    start = (zero + LOWEST, zero, zero[0] + LOWEST, zero[0])
    (top, total, joint_top, joint_total), _ = jax.lax.scan(absorb, start, _component_blocks(mean, logvar, block))
    return joint_top + jnp.log(joint_total), (top + jnp.log(total)).T


def _forward(
    z: jax.Array, mean: jax.Array, logvar: jax.Array, rows: jax.Array, weights: PairWeights, block: int
) -> tuple[tuple[jax.Array, jax.Array], Residuals]:
    joint, marginals = _streamed(z, mean, logvar, rows, weights, block)
    return (joint, marginals), (z, mean, logvar, rows, joint, marginals)


def _backward(
    weights: PairWeights, block: int, residuals: Residuals, cotangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    z, mean, logvar, rows, joint, marginals = residuals
    # A point too far from every component lies on the flat floor of gaussian_log_density.
    floor = -0.4 * MAX_DEVIATIONS**2
    to_joint = jnp.where(joint > floor, cotangents[0], 0)
    to_marginals = jnp.where(marginals > floor, cotangents[1], 0)
    points = (z, rows, joint, marginals, to_joint, to_marginals)
    to_z = _point_gradient(points, mean, logvar, weights, block)
    return to_z, *_component_gradients(points, mean, logvar, weights, block), None


_streamed.defvjp(_forward, _backward)


def _point_gradient(
    points: tuple[jax.Array, ...], mean: jax.Array, logvar: jax.Array, weights: PairWeights, block: int
) -> jax.Array:
    """Computes the gradient with respect to z [B, D] in blocks of components. Points are the last axis."""
    z, rows, joint, marginals, to_joint, to_marginals = points
    z, marginals, to_marginals = z.T, marginals.T, to_marginals.T

    def add(gradient: jax.Array, components: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        *parameters, columns = components
        log_weights = weights.between(rows, columns, mean.shape[0]).astype(z.dtype).T
        through_joint = jnp.exp(_joint_density(z, *parameters) + log_weights - joint[None, :]) * to_joint[None, :]
        pairs = _pairs(z, *parameters)
        for k, (deviation, square, constant) in enumerate(pairs):
            share = jnp.exp(constant - square + log_weights[k][None, :] - marginals) * to_marginals
            share += through_joint[k][None, :]
            gradient -= 2 * share * deviation * parameters[1][k][:, None]
        return gradient, None

    return jax.lax.scan(add, z * 0, _component_blocks(mean, logvar, block))[0].T


def _component_gradients(
    points: tuple[jax.Array, ...], mean: jax.Array, logvar: jax.Array, weights: PairWeights, block: int
) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients with respect to mean and logvar [N, D] in blocks of points. Components are the last
    axis.
    """
    count = mean.shape[0]
    centre, precision, constant, columns = (array.T for array in _components(mean, logvar))

    def add(carry: TwoArrays, points: tuple[jax.Array, ...]) -> tuple[TwoArrays, None]:
        to_mean, to_logvar = carry
        z, rows, joint, marginals, to_joint, to_marginals = points
        log_weights = weights.between(rows, columns, count).astype(z.dtype)
        joint_density = constant.sum(axis=0)[None, :]
        for latent in range(z.shape[1]):
            joint_density -= _square((z[:, latent][:, None] - centre[latent][None, :]) * precision[latent][None, :])
        through_joint = jnp.exp(joint_density + log_weights - joint[:, None]) * to_joint[:, None]
        for i in range(z.shape[0]):
            deviation = (z[i][:, None] - centre) * precision
            square = _square(deviation)
            share = jnp.exp(constant - square + log_weights[i][None, :] - marginals[i][:, None])
            share = share * to_marginals[i][:, None] + through_joint[i][None, :]
            to_mean += share * deviation
            to_logvar += share * (square - 0.5)
        return (to_mean, to_logvar), None

    # Padded points have no cotangent, and so high a density that their shares are 0 times 0, not 0 times infinity.
    high = -LOWEST
    padded = _blocks(points, block, fill=(0, 0, high, high, 0, 0))
    zero = centre * 0
    (to_mean, to_logvar), _ = jax.lax.scan(add, (zero, zero), padded)
    return (2 * to_mean * precision).T, to_logvar.T


def _components(mean: jax.Array, logvar: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns the components in the form of the loops: mean, sqrt(1/2) / deviation, log-density at the mean [N, D];
    index [N].

    log N(z; k) = constant - ((z - mean) * precision)^2, so the loops contain no exponential of a logvar.
    """
    precision = math.sqrt(0.5) * jnp.exp(-0.5 * logvar)
    constant = -0.5 * (math.log(2 * math.pi) + logvar)
    return mean, precision, constant, jnp.arange(mean.shape[0])


def _pairs(
    points: jax.Array, mean: jax.Array, precision: jax.Array, constant: jax.Array
) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Returns the scaled deviation of all points [D, B], its square, and the constant [D, 1], for each component of a
    block.
    """
    deviations = [(points - m[:, None]) * p[:, None] for m, p in zip(mean, precision, strict=True)]
    return [(d, _square(d), c[:, None]) for d, c in zip(deviations, constant, strict=True)]


def _joint_density(points: jax.Array, mean: jax.Array, precision: jax.Array, constant: jax.Array) -> jax.Array:
    """Computes the log-density of all points [D, B] under each component of a block: [block, B]."""
    density = constant.sum(axis=1)[:, None]
    for latent in range(points.shape[0]):
        deviation = (points[latent][None, :] - mean[:, latent][:, None]) * precision[:, latent][:, None]
        density -= _square(deviation)
    return density


def _square(deviation: jax.Array) -> jax.Array:
    return jnp.minimum(deviation * deviation, 0.5 * MAX_DEVIATIONS**2)


def _component_blocks(mean: jax.Array, logvar: jax.Array, block: int) -> tuple[jax.Array, ...]:
    """Returns `_components` in blocks. The components that pad the last block have indices beyond the count."""
    return _blocks(_components(mean, logvar), block, fill=(0, 0, 0, mean.shape[0]))


def _blocks(arrays: tuple[jax.Array, ...], block: int, fill: tuple[int | float, ...]) -> tuple[jax.Array, ...]:
    """Reshapes each array [n, ...] to [blocks, block, ...], with padding at the end."""
    missing = -arrays[0].shape[0] % block
    padded = []
    for array, value in zip(arrays, fill, strict=True):
        widths = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
        padded.append(jnp.pad(array, widths, constant_values=value).reshape(-1, block, *array.shape[1:]))
    return tuple(padded)


def _vary_alike(z: jax.Array, mean: jax.Array, logvar: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Makes all three arrays vary over the same mesh axes, as `shard_map` requires of the carries of loops."""
    zero = 0 * (z[0, 0] + mean[0, 0] + logvar[0, 0])
    return z + zero, mean + zero, logvar + zero
