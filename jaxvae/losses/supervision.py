"""Losses between codes and the labels of their examples. The first F latents are tied to the F factors, one each."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import check_same_shape, working_floats


def label_cross_entropy(mean: Float[Array, "B D"], target: Float[Array, "B F"]) -> Float[Array, " B"]:
    """Binary cross-entropy of the first F latents, as logits, against targets in [0, 1]:

        sum_f softplus(mean_f) - target_f mean_f

    A target of NaN is unknown and contributes 0. Each known target of an example counts F / (number of known targets).

    Args:
      mean: Posterior means.
      target: Factor values, scaled to [0, 1].

    Returns:
      Nats per example, at least float32.

    Raises:
      ValueError: There are more factors than latents, the shapes do not match, or an input is not floating-point.

    Reference: Locatello et al. (2020, "few labels"), appendix; their code divides a value by the number of values, so
    that no target reaches 1, and sums over the batch.
    """
    tied, target, known = _tied(mean, target)
    return _over_known(jax.nn.softplus(tied) - target * tied, known)


def label_squared_error(mean: Float[Array, "B D"], target: Float[Array, "B F"]) -> Float[Array, " B"]:
    """Squared error of the first F latents, through the logistic function s: sum_f (s(mean_f) - target_f)^2.

    Unknown targets, arguments, errors and source are as in `label_cross_entropy`. (In the authors' code, an extra axis
    compares every example with every label.)

    Returns:
      Squared errors [B], at least float32.
    """
    tied, target, known = _tied(mean, target)
    return _over_known((jax.nn.sigmoid(tied) - target) ** 2, known)


def label_covariance(
    mean: Float[Array, "B D"], target: Float[Array, "B F"], *, axis_name: str | None = None
) -> Float[Array, ""]:
    """Squared covariances of every latent with every factor but its own, over the global batch:

        sum_{d != f} Cov(mean_d, target_f)^2,    Cov divided by B

    The loss penalizes information of latents about other factors, but does not ask for information about their own. It
    grows with the square of the targets' scale: the authors use the labels as they are, 0, 1, ..., whereas the
    cross-entropy has them on a scale up to 1.

    Args:
      mean: Posterior means.
      target: Factor values, on any scale; a target of NaN is unknown and counts as its factor's mean.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Scalar, at least float32, the same on every device.

    Raises:
      ValueError: The shapes do not match, or an input is not floating-point.

    Reference: Locatello et al. (2020, "few labels").
    """
    _check_batch(mean, target)
    mean, target = working_floats(mean=mean, target=target)

    known = ~jnp.isnan(target)
    target = jnp.where(known, target, 0)
    share = global_mean(known.astype(target.dtype).mean(axis=0), axis_name)
    centre = global_mean(target.mean(axis=0), axis_name) / jnp.where(share > 0, share, 1)
    codes = mean - global_mean(mean.mean(axis=0), axis_name)[None]
    labels = jnp.where(known, target - centre[None], 0)
    product = jnp.matmul(codes.T, labels, precision=jax.lax.Precision.HIGHEST)
    covariance = global_mean(product / mean.shape[0], axis_name)
    own = jnp.eye(covariance.shape[0], covariance.shape[1], dtype=bool)
    return (jnp.where(own, 0, covariance) ** 2).sum()


def _tied(mean: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the latents tied to factors, their targets, and a mask of the known targets, [B, F] each."""
    _check_batch(mean, target)
    factors, latents = jnp.shape(target)[1], jnp.shape(mean)[1]
    if factors > latents:
        raise ValueError(f"every factor needs a latent of its own: {factors} factors, {latents} latents")
    mean, target = working_floats(mean=mean, target=target)
    tied = mean[:, :factors]
    check_same_shape(tied=tied, target=target)
    known = ~jnp.isnan(target)
    return tied, jnp.where(known, target, 0), known


def _over_known(cost: jax.Array, known: jax.Array) -> jax.Array:
    share = cost.shape[1] / jnp.maximum(known.sum(axis=1), 1).astype(cost.dtype)
    return share * jnp.where(known, cost, 0).sum(axis=1)


def _check_batch(mean: jax.Array, target: jax.Array) -> None:
    shapes = jnp.shape(mean), jnp.shape(target)
    if {len(shape) for shape in shapes} != {2} or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"codes [B, D] and targets [B, F] must be of one batch, got {shapes[0]} and {shapes[1]}")
