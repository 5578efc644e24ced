"""Diagonal Gaussians: sampling, log-density, KL to the standard normal."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_same_shape, working_floats

MAX_DEVIATIONS = 1e15
"""Number of standard deviations beyond which a log-density stays at -1e30 / 2, as its square would overflow float32."""
MAX_LOG_RATIO = 80.0
"""Largest log variance or log ratio of variances; larger ones count as 80. exp(88.8) would overflow float32."""


def reparameterize(
    key: Key[Array, ""],
    mean: Float[Array, "... D"],
    logvar: Float[Array, "... D"],
    *,
    axis_name: str | None = None,
) -> Float[Array, "... D"]:
    """Draws a sample of Normal(mean, diag exp(logvar)), differentiable in both: mean + exp(logvar / 2) * noise.

    The first axis is the example (a single vector is one example). The noise of an example depends only on `key` and on
    its index in the global batch, so a batch split over devices gets the noise of the whole batch on one device.

    Args:
      key: Random key of the noise, the same on every device.
      mean: Means [..., D].
      logvar: Log variances, of the same shape.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Samples z [..., D], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

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
    """Computes log Normal(z; mean, exp(logvar)) of every element: -(log 2 pi + logvar + (z - mean)^2 exp(-logvar)) / 2.

    The result and its gradients are finite for |logvar| <= 80 and |z|, |mean| <= 1e18. A z more than 1e15 standard
    deviations away counts as 1e15 away, with a gradient of 0.

    Args:
      z, mean, logvar: Codes, means and log variances [..., D], of equal rank; leading axes of size 1 are broadcast.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: The ranks or latent sizes differ, leading axes do not broadcast, or an input is not floating-point.
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

    expm1 preserves the precision of value and gradient for an inactive latent (mean and logvar near 0). The function
    equals `kl_gaussian_per_latent` for a prior of zeros, including its range: a mean beyond 1e15 counts as 1e15, and a
    logvar above 80 as 80 (a KL of 2.8e34), with a gradient of 0.

    Args:
      mean: Means [..., D].
      logvar: Log variances, of the same shape.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.

    Reference: Kingma & Welling (2014), appendix B.
    """
    check_same_shape(mean=mean, logvar=logvar)
    return _kl(*working_floats(mean=mean, logvar=logvar))


def kl_standard_normal(mean: Float[Array, "*batch D"], logvar: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """KL( Normal(mean, diag exp(logvar)) || Normal(0, I) ): `kl_standard_normal_per_latent` summed over the latents.

    Args:
      mean: Means [..., D].
      logvar: Log variances, of the same shape.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: The shapes differ, or an input is not floating-point.
    """
    return kl_standard_normal_per_latent(mean, logvar).sum(axis=-1)


def kl_gaussian_per_latent(
    mean: Float[Array, "*batch D"],
    logvar: Float[Array, "*batch D"],
    prior_mean: Float[Array, "*batch D"] | Float[Array, " D"],
    prior_logvar: Float[Array, "*batch D"] | Float[Array, " D"],
) -> Float[Array, "*batch D"]:
    """KL( Normal(mean, exp(logvar)) || Normal(prior_mean, exp(prior_logvar)) ) of every latent.

    It is ( (mean - prior_mean)^2 exp(-prior_logvar) + expm1(r) - r ) / 2 >= 0 with r = logvar - prior_logvar. For a
    prior of zeros, it is `kl_standard_normal_per_latent`. A mean more than 1e15 prior deviations away counts as 1e15
    away, and an r above 80 as 80, with a gradient of 0, because their squares and exponentials would overflow float32.

    Args:
      mean: Means [..., D].
      logvar: Log variances, of the same shape.
      prior_mean, prior_logvar: Means and log variances of the prior, each of the same shape, or [D] for one prior of
        all examples.

    Returns:
      Nats [..., D], at least float32.

    Raises:
      ValueError: The shapes do not match, or an input is not floating-point.
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

    It is `kl_gaussian_per_latent` summed over the latents.

    Args:
      mean: Means [..., D].
      logvar: Log variances, of the same shape.
      prior_mean, prior_logvar: Means and log variances of the prior, each of the same shape, or [D] for one prior of
        all examples.

    Returns:
      Nats per example [...], at least float32.

    Raises:
      ValueError: The shapes do not match, or an input is not floating-point.
    """
    return kl_gaussian_per_latent(mean, logvar, prior_mean, prior_logvar).sum(axis=-1)


def _kl(deviations: jax.Array, log_ratio: jax.Array) -> jax.Array:
    """Computes the KL from the distance of the means in the prior's deviations, and the log ratio of the variances."""
    deviations = jnp.clip(deviations, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    log_ratio = jnp.minimum(log_ratio, MAX_LOG_RATIO)
    return 0.5 * (deviations**2 + jnp.expm1(log_ratio) - log_ratio)
