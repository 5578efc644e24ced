"""Priors over codes. Each has a log-density and a sampler."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_rows
from jaxvae.losses.checks import check_positive, working_floats
from jaxvae.losses.gaussian import MAX_DEVIATIONS, gaussian_log_density


class Prior(NamedTuple):
    """A density over codes with a fixed number of latents. It holds functions: close over it instead of passing it to
    `jax.jit`.

    Parameters that are arrays may be learned: build the prior inside the function that is differentiated.
    """

    log_density: Callable[[jax.Array], jax.Array]
    """Function log_density(z [..., D]) -> nats [...], summed over the latents, at least float32. Values and gradients
    are finite for |z| <= 1e18. A z more than 1e15 scales away counts as 1e15 away, with a gradient of 0. It raises
    ValueError for another number of latents, or a z that is not floating-point."""
    sample: Callable[..., jax.Array]
    """Function sample(key, n, axis_name=None) -> z [n, D], independent draws. Draw i depends only on the key and on its
    index in the global batch, as in `reparameterize`: with n draws per device and the same key on all devices, the
    draws of a device are its part of the draws on one device. Use a new key in every step. It raises ValueError for n <
    1."""
    variances: jax.Array | None = None
    """Variances [D] of a prior Normal(0, diag variances), for the closed form of its KL; None for any other prior."""


def standard_normal(latent_dim: int) -> Prior:
    """Builds the prior Normal(0, I).

    Args:
      latent_dim: Number of latents D.

    Returns:
      Prior.

    Raises:
      ValueError: latent_dim < 1.
    """
    return anisotropic_normal(jnp.ones(latent_dim))


def anisotropic_normal(variances: Float[Array, " D"]) -> Prior:
    """Builds the prior Normal(0, diag variances). Unequal variances break the invariance to rotations of the code.

    The KL to it has the closed form `kl_gaussian(mean, logvar, zeros, log(variances))`.

    Args:
      variances: Variances, positive; see `softmax_variances` for learned variances.

    Returns:
      Prior, differentiable in the variances.

    Raises:
      ValueError: The variances are not [D] with D >= 1, not floating-point, or not positive (unchecked if traced).

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019).
    """
    if jnp.ndim(variances) != 1:
        raise ValueError(f"variances must be [latents], got shape {jnp.shape(variances)}")
    check_positive(variances=variances)
    (variances,) = working_floats(variances=variances)

    def log_density(z: jax.Array) -> jax.Array:
        logvar = jnp.broadcast_to(jnp.log(variances), z.shape)
        return gaussian_log_density(z, jnp.zeros_like(z), logvar).sum(axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        return jnp.sqrt(variances) * jax.random.normal(key, variances.shape, variances.dtype)

    return _prior(variances.shape[0], log_density, draw)._replace(variances=variances)


def softmax_variances(v: Float[Array, " D"], scale: float = 1.0) -> Float[Array, " D"]:
    """Computes variances with a given mean, for `anisotropic_normal`: scale D softmax(v).

    v = 0 gives the isotropic prior. With v = log of the D largest squared singular values of the data, the variances
    are proportional to those of its principal components.

    Args:
      v: Unconstrained parameters; adding a constant changes nothing.
      scale: Mean of the variances, positive.

    Returns:
      Variances [D], at least float32.

    Raises:
      ValueError: v is not [D] or not floating-point, or scale is not positive.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019), its code.
    """
    if jnp.ndim(v) != 1:
        raise ValueError(f"v must be [latents], got shape {jnp.shape(v)}")
    check_positive(scale=scale)
    (v,) = working_floats(v=v)
    return scale * v.shape[0] * jax.nn.softmax(v)


def student_t(latent_dim: int, df: float, scale: float | Float[Array, ""] | Float[Array, " D"] = 1.0) -> Prior:
    """Builds a prior of independent Student-t latents with location 0. It is heavy-tailed and not invariant to
    rotation.

    The log-density of a latent with t = z/scale is

        lgamma((df + 1)/2) - lgamma(df/2) - log(df pi)/2 - log scale - (df + 1)/2 log(1 + t^2/df)

    It tends to the Normal for df -> infinity. The variance, scale^2 df/(df - 2), is infinite for df <= 2: samples then
    have huge outliers.

    Args:
      latent_dim: Number of latents D.
      df: Degrees of freedom, positive and finite.
      scale: Scale of the latents, positive; a number, a scalar array or [D].

    Returns:
      Prior, differentiable in a scale that is an array.

    Raises:
      ValueError: latent_dim < 1, df is not positive and finite, scale has another shape, or scale is not positive
        (unchecked if traced).

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019).
    """
    check_positive(scale=scale)
    if not 0 < df < math.inf:
        raise ValueError(f"df must be positive and finite, got {df}")
    if jnp.shape(scale) not in ((), (latent_dim,)):
        raise ValueError(f"scale must be a scalar or [{latent_dim}], got shape {jnp.shape(scale)}")
    df = float(df)
    half = 0.5 * df
    # Large lgammas cancel to their last digits; the limit is off by 1 / (8 half).
    lgammas = math.lgamma(half + 0.5) - math.lgamma(half) if half < 1e7 else 0.5 * math.log(half)
    constant = lgammas - 0.5 * math.log(df * math.pi)

    def log_density(z: jax.Array) -> jax.Array:
        scales = jnp.broadcast_to(jnp.asarray(scale, z.dtype), z.shape)
        t = jnp.clip(z / scales, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return (constant - jnp.log(scales) - (half + 0.5) * jnp.log1p(t**2 / df)).sum(axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        draws = jax.random.t(key, df, (latent_dim,))
        return jnp.asarray(scale, draws.dtype) * draws

    return _prior(latent_dim, log_density, draw)


def spike_and_slab(latent_dim: int, spike_share: float = 0.8, spike_scale: float = 0.05) -> Prior:
    """Builds a sparse prior: every latent is Normal(0, spike_scale^2) with probability spike_share, otherwise Normal(0,
    1).

    The variance of a latent is spike_share spike_scale^2 + 1 - spike_share.

    Args:
      latent_dim: Number of latents D.
      spike_share: Probability of the spike, in [0, 1]; 0 is the standard normal.
      spike_scale: Standard deviation (not variance) of the spike, positive.

    Returns:
      Prior.

    Raises:
      ValueError: latent_dim < 1, spike_share is outside [0, 1], or spike_scale is not positive.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019); 0.05 is the standard deviation in its code.
    """
    if not 0 <= spike_share <= 1:
        raise ValueError(f"spike_share must be in [0, 1], got {spike_share}")
    check_positive(spike_scale=spike_scale)
    # A share of 0 would be a log-density of -inf, with NaN gradients.
    parts = [(share, s) for share, s in ((spike_share, spike_scale), (1 - spike_share, 1.0)) if share > 0]

    def log_density(z: jax.Array) -> jax.Array:
        weighted = (
            math.log(share) + gaussian_log_density(z, jnp.zeros_like(z), jnp.full_like(z, 2 * math.log(s)))
            for share, s in parts
        )
        return functools.reduce(jnp.logaddexp, weighted).sum(axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        choice, noise = jax.random.split(key)
        spike = jax.random.uniform(choice, (latent_dim,)) < spike_share
        return jnp.where(spike, spike_scale, 1.0) * jax.random.normal(noise, (latent_dim,))

    return _prior(latent_dim, log_density, draw)


def gaussian_mixture(
    means: Float[Array, "K D"],
    variances: float | Float[Array, ""] | Float[Array, "K D"],
    weights: Float[Array, " K"] | None = None,
) -> Prior:
    """Builds a prior with clusters, sum_k w_k Normal(z; means_k, diag variances_k). Its latents are dependent.

    Args:
      means: Means of the K components.
      variances: Variances, positive; a number, a scalar array, or one per component and latent.
      weights: Weights, positive (not checked), which are divided by their sum; by default, equal weights.

    Returns:
      Prior, differentiable in the parameters that are arrays (but not in the choice of a sample's component).

    Raises:
      ValueError: The shapes do not match, K < 1, D < 1, arrays are not floating-point, or variances are not positive
        (unchecked if traced).

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019).
    """
    if jnp.ndim(means) != 2 or 0 in jnp.shape(means):
        raise ValueError(f"means must be [components, latents], at least one of each, got shape {jnp.shape(means)}")
    count, latent_dim = jnp.shape(means)
    if jnp.shape(variances) not in ((), (count, latent_dim)):
        raise ValueError(f"variances must be a scalar or {(count, latent_dim)}, got shape {jnp.shape(variances)}")
    check_positive(variances=variances)
    if weights is None:
        weights = jnp.ones(count)
    if jnp.shape(weights) != (count,):
        raise ValueError(f"weights must be [{count}], got shape {jnp.shape(weights)}")
    means, weights = working_floats(means=means, weights=weights)
    variances = jnp.broadcast_to(jnp.asarray(variances, means.dtype), means.shape)
    log_weights = jnp.log(weights / weights.sum())

    def log_density(z: jax.Array) -> jax.Array:
        leading = (1,) * (z.ndim - 1)
        expanded = (array.reshape(leading + array.shape) for array in (means, jnp.log(variances)))
        components = gaussian_log_density(z[..., None, :], *expanded).sum(axis=-1)
        offsets = jnp.broadcast_to(log_weights.astype(components.dtype), components.shape)
        return jax.nn.logsumexp(components + offsets, axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        choice, noise = jax.random.split(key)
        k = jax.random.categorical(choice, log_weights)
        return means[k] + jnp.sqrt(variances[k]) * jax.random.normal(noise, (latent_dim,), means.dtype)

    return _prior(latent_dim, log_density, draw)


def pinwheel_mixture() -> Prior:
    """Builds the mixture of the pinwheel experiment: four clusters in two latents, means at distance 1 on the axes,
    variance 0.03.

    Returns:
      Prior.

    Reference: Mathieu, Rainforth, Siddharth & Teh (2019).
    """
    return gaussian_mixture(jnp.array([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]), 0.03)


def _prior(
    latent_dim: int, log_density: Callable[[jax.Array], jax.Array], draw: Callable[[jax.Array], jax.Array]
) -> Prior:
    """Builds a prior from a density of checked codes, and a function that draws one code [D] from its own key."""
    if latent_dim < 1:
        raise ValueError(f"a prior needs at least 1 latent, got {latent_dim}")

    def checked_log_density(z: jax.Array) -> jax.Array:
        if jnp.shape(z)[-1:] != (latent_dim,):
            raise ValueError(f"z must be [..., {latent_dim}] under this prior, got shape {jnp.shape(z)}")
        return log_density(*working_floats(z=z))

    def sample(key: jax.Array, n: int, axis_name: str | None = None) -> jax.Array:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        return jax.vmap(lambda i: draw(jax.random.fold_in(key, i)))(global_rows(n, axis_name))

    return Prior(checked_log_density, sample)
