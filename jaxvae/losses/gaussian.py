"""Diagonal Gaussians: sampling, log-density, KL to the standard normal."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_same_shape, working_floats

MAX_DEVIATIONS = 1e15
"""Beyond this many standard deviations a log-density stays at -1e30 / 2: its square would overflow float32."""
MAX_LOG_RATIO = 80.0
"""A log variance, or log ratio of variances, counts as 80 at most: exp(88.8) would overflow float32."""


def reparameterize(
    key: Key[Array, ""],
    mean: Float[Array, "... D"],
    logvar: Float[Array, "... D"],
    *,
    axis_name: str | None = None,
) -> Float[Array, "... D"]:
    """A sample of Normal(mean, diag exp(logvar)), differentiable in both: mean + exp(logvar / 2) * noise.

    The first axis is the example (a single vector is one example), and the noise of an example depends on `key` and on
    its index in the global batch alone: a batch split over devices gets the noise of the whole batch on one.

    Args:
      key: the same on every device.
      mean: [..., D].
      logvar: log variance, of the same shape.
      axis_name: axis that the batch is split over, in equal parts.

    Returns:
      z [..., D], at least float32.

    Raises:
      ValueError: shapes differ, or an input is not floating.

    Reference: Kingma & Welling (2014), section 2.4.
    """
    check_same_shape(mean=mean, logvar=logvar)
    mean, logvar = working_floats(mean=mean, logvar=logvar)
    examples = jnp.atleast_2d(mean)

    def noise(index: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, index), examples.shape[1:], examples.dtype)

    return mean + jnp.exp(0.5 * logvar) * jax.vmap(noise)(global_rows(examples.shape[0], axis_name)).reshape(mean.shape)


def gaussian_log_density(
    z: Float[Array, "*#batch D"], mean: Float[Array, "*#batch D"], logvar: Float[Array, "*#batch D"]
) -> Float[Array, "*batch D"]:
    """log Normal(z; mean, exp(logvar)) of every element: -(log 2 pi + logvar + (z - mean)^2 exp(-logvar)) / 2.

    Finite, with finite gradients, for |logvar| <= 80 and |z|, |mean| <= 1e18; a z more than 1e15 standard deviations
    away counts as 1e15 away, with a gradient of 0.

    Args:
      z, mean, logvar: [..., D], of equal rank; leading axes of size 1 are broadcast.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: ranks or latent sizes differ, leading axes do not broadcast, or an input is not floating.
    """
    shapes = {"z": jnp.shape(z), "mean": jnp.shape(mean), "logvar": jnp.shape(logvar)}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if len({(len(shape), shape[-1:]) for shape in shapes.values()}) > 1:
        raise ValueError(f"these must have one rank and one number of latents (last axis): {listed}")
    try:
        jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"leading axes must be equal or 1: {listed}") from None
    z, mean, logvar = working_floats(z=z, mean=mean, logvar=logvar)
    deviations = jnp.clip((z - mean) * jnp.exp(-0.5 * logvar), -MAX_DEVIATIONS, MAX_DEVIATIONS)
    return -0.5 * (math.log(2 * math.pi) + logvar + deviations**2)


def kl_standard_normal_per_latent(
    mean: Float[Array, "*batch D"], logvar: Float[Array, "*batch D"]
) -> Float[Array, "*batch D"]:
    """KL( Normal(mean, exp(logvar)) || Normal(0, 1) ) of every latent: (mean^2 + expm1(logvar) - logvar) / 2 >= 0.

    expm1 keeps its digits, and those of its gradient, for a latent that is switched off (mean and logvar near 0). It is
    `kl_gaussian_per_latent` for a prior of zeros, in its range as well: a mean beyond 1e15 counts as 1e15, and a logvar
    above 80 as 80 (a KL of 2.8e34), with a gradient of 0.

    Args:
      mean: [..., D].
      logvar: log variance, of the same shape.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: shapes differ, or an input is not floating.

    Reference: Kingma & Welling (2014), appendix B.
    """
    check_same_shape(mean=mean, logvar=logvar)
    return _kl(*working_floats(mean=mean, logvar=logvar))


def kl_standard_normal(mean: Float[Array, "*batch D"], logvar: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """KL( Normal(mean, diag exp(logvar)) || Normal(0, I) ): `kl_standard_normal_per_latent` summed over the latents.

    Args:
      mean: [..., D].
      logvar: log variance, of the same shape.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: shapes differ, or an input is not floating.
    """
    return kl_standard_normal_per_latent(mean, logvar).sum(axis=-1)


def kl_gaussian_per_latent(
    mean: Float[Array, "*batch D"],
    logvar: Float[Array, "*batch D"],
    prior_mean: Float[Array, "*batch D"] | Float[Array, " D"],
    prior_logvar: Float[Array, "*batch D"] | Float[Array, " D"],
) -> Float[Array, "*batch D"]:
    """KL( Normal(mean, exp(logvar)) || Normal(prior_mean, exp(prior_logvar)) ) of every latent.

    ( (mean - prior_mean)^2 exp(-prior_logvar) + expm1(r) - r ) / 2 >= 0, r = logvar - prior_logvar. For a prior of
    zeros it is `kl_standard_normal_per_latent`. A mean more than 1e15 prior deviations away counts as 1e15 away, and an
    r above 80 as 80, with a gradient of 0: their squares and exponentials would overflow float32.

    Args:
      mean: [..., D].
      logvar: log variance, of the same shape.
      prior_mean, prior_logvar: each of the same shape, or [D] for one prior of all examples.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: shapes do not fit, or an input is not floating.
    """
    check_same_shape(mean=mean, logvar=logvar)
    shape = jnp.shape(mean)
    for name, array in (("prior_mean", prior_mean), ("prior_logvar", prior_logvar)):
        if jnp.shape(array) not in (shape, shape[-1:]):
            raise ValueError(f"{name} must be {shape} or {shape[-1:]}, got {jnp.shape(array)}")
    mean, logvar, prior_mean, prior_logvar = (
        jnp.broadcast_to(array, shape)
        for array in working_floats(mean=mean, logvar=logvar, prior_mean=prior_mean, prior_logvar=prior_logvar)
    )
    return _kl((mean - prior_mean) * jnp.exp(-0.5 * prior_logvar), logvar - prior_logvar)


def kl_gaussian(
    mean: Float[Array, "*batch D"],
    logvar: Float[Array, "*batch D"],
    prior_mean: Float[Array, "*batch D"] | Float[Array, " D"],
    prior_logvar: Float[Array, "*batch D"] | Float[Array, " D"],
) -> Float[Array, "*batch"]:
    """KL( Normal(mean, diag exp(logvar)) || Normal(prior_mean, diag exp(prior_logvar)) ).

    `kl_gaussian_per_latent` summed over the latents.

    Args:
      mean: [..., D].
      logvar: log variance, of the same shape.
      prior_mean, prior_logvar: each of the same shape, or [D] for one prior of all examples.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: shapes do not fit, or an input is not floating.
    """
    return kl_gaussian_per_latent(mean, logvar, prior_mean, prior_logvar).sum(axis=-1)


def _kl(deviations: jax.Array, log_ratio: jax.Array) -> jax.Array:
    """From the distance of the means in the prior's deviations, and the log ratio of the variances."""
    deviations = jnp.clip(deviations, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    log_ratio = jnp.minimum(log_ratio, MAX_LOG_RATIO)
    return 0.5 * (deviations**2 + jnp.expm1(log_ratio) - log_ratio)
