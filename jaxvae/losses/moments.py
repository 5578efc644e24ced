"""Second moments of the codes of a batch: the DIP-VAE penalty, and the dependence of a Gaussian with a given
covariance.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import check_same_shape, working_floats

MAX_LOGVAR = 34.0
"""Largest log variance; larger ones count as exp(34) = 6e14, with a gradient of 0, as their square would overflow
float32."""


def code_covariance(mean: Float[Array, "B D"], *, axis_name: str | None = None) -> Float[Array, "D D"]:
    """Covariance of codes over the global batch: mean_b (mu_b - mbar)(mu_b - mbar)^T, divided by B and not B - 1.

    Codes are centred before they are squared, as the mean of squares minus the square of the mean loses precision if
    the mean is large.

    Args:
      mean: Codes.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Covariance S [D, D], at least float32, the same on every device.

    Raises:
      ValueError: The shape is not [B, D], the input is not floating-point, or the global batch has fewer than 2
        examples.
    """
    if jnp.ndim(mean) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(mean)}; use vmap for further axes")
    batch = jnp.shape(mean)[0] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    if batch < 2:
        raise ValueError(f"a covariance needs a batch of at least 2 examples, got {batch}")
    (mean,) = working_floats(mean=mean)
    centred = mean
    for _ in range(2):  # The second pass takes away the rounding error of the first mean.
        centred = centred - global_mean(centred.mean(axis=0), axis_name)[None]
    product = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
    return global_mean(product / centred.shape[0], axis_name)


def dip_vae_penalty(
    mean: Float[Array, "B D"],
    logvar: Float[Array, "B D"],
    *,
    kind: Literal["i", "ii"],
    lambda_od: float | Float[Array, ""],
    lambda_d: float | Float[Array, ""],
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """Distance of the covariance S of the codes from the identity, the covariance of a prior Normal(0, I):

        lambda_od sum_{i != j} S_ij^2 + lambda_d sum_i (S_ii - 1)^2

        kind "i"   S = Cov(mu)                                  of the encoder's means
        kind "ii"  S = Cov(mu) + diag( mean_b exp(logvar_b) )   of the sampled codes (law of total covariance)

    Kind "i" pulls the variance of every latent's mean to 1 and lets no latent become inactive; kind "ii" does. Only
    second moments count: codes that are uncorrelated but dependent have no penalty, and if S = I, neither has any
    rotation of them. Even for independent codes of unit variance, the first sum is about D (D - 1) / B, so choose B
    well above D^2.

    If the batch is split over devices, the moments are those of the global batch, before they are squared.

    Args:
      mean, logvar: Means and log variances of the posteriors; kind "i" does not read logvar. Variances count as exp(34)
        at most.
      kind: Kind of penalty, "i" or "ii".
      lambda_od: Weight of the off-diagonal entries, both triangles.
      lambda_d: Weight of the diagonal. The paper's code uses 10 lambda_od for kind "i", and lambda_od for kind "ii".
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      One number for the batch, at least float32, the same on every device. Add it once to the mean loss.

    Raises:
      ValueError: The shapes differ or are not [B, D], an input is not floating-point, the global batch has fewer than 2
        examples, or the kind is unknown.

    Reference: Kumar, Sattigeri & Balakrishnan (2018), equations 6 and 7.
    """
    check_same_shape(mean=mean, logvar=logvar)
    mean, logvar = working_floats(mean=mean, logvar=logvar)
    covariance = code_covariance(mean, axis_name=axis_name)
    match kind:
        case "i":
            pass
        case "ii":
            variance = jnp.exp(jnp.minimum(logvar, MAX_LOGVAR)).mean(axis=0)
            covariance += jnp.diag(global_mean(variance, axis_name))
        case _:
            raise ValueError(f"unknown kind {kind!r}; there are i, ii")
    variances = jnp.diagonal(covariance)
    off_diagonal = jnp.sum((covariance - jnp.diag(variances)) ** 2)
    diagonal = jnp.sum((variances - 1) ** 2)
    return jnp.asarray(lambda_od, mean.dtype) * off_diagonal + jnp.asarray(lambda_d, mean.dtype) * diagonal


def gaussian_total_correlation(cov: Float[Array, "*batch D D"]) -> Float[Array, "*batch"]:
    """Total correlation of Normal(., S): ( sum_i log S_ii - log det S ) / 2 >= 0.

    It is computed by the chain rule from the Cholesky factor L of S: -sum_i log(1 - sum_{k<i} L_ik^2 / S_ii) / 2, the
    information that the latents before i have about i. This form is precise near independence, at any scale of the
    latents.

    A latent of variance 0 is constant, thus independent of all others, and contributes 0. Any other matrix that is not
    positive definite to working precision gives inf (a latent is a function of others), with a gradient that is not
    finite.

    Args:
      cov: Covariance matrices, symmetric.

    Returns:
      Nats [...], at least float32.

    Raises:
      ValueError: The last two axes are not square, or the input is not floating-point.

    Reference: Watanabe (1960), for Gaussians; Locatello et al. (2019), for codes of a batch.
    """
    (cov,) = _square_floats(cov)
    variance = jnp.diagonal(cov, axis1=-2, axis2=-1)
    constant = variance == 0
    variance = jnp.where(constant, 1, variance)
    ones = jnp.vectorize(jnp.diag, signature="(d)->(d,d)")(constant.astype(cov.dtype))
    factor = jnp.linalg.cholesky(cov + ones)
    explained = (jnp.tril(factor, -1) ** 2).sum(axis=-1) / variance
    nats = -0.5 * jnp.log1p(-explained).sum(axis=-1)
    failed = jnp.isnan(nats) & jnp.isfinite(cov).all(axis=(-2, -1))
    return jnp.where(failed, jnp.inf, nats)


def gaussian_wasserstein_correlation(
    cov: Float[Array, "*batch D D"], *, normalized: bool = False
) -> Float[Array, "*batch"]:
    """Squared 2-Wasserstein distance of Normal(., S) to the Gaussian with the same variances, Normal(., diag S):

        2 tr S - 2 tr( (diag(S)^1/2 S diag(S)^1/2)^1/2 ) >= 0

    Unlike the total correlation, it is finite for a singular S. Eigenvalues of the product that are rounding errors
    (below 1e-14 of the squared trace in float32) count as 0, with a gradient of 0, so that gradients are finite
    everywhere.

    Args:
      cov: Covariance matrices, symmetric.
      normalized: Whether to divide by tr S. The result is then the same at every common scale of the latents, and 0 for
        S = 0.

    Returns:
      Squared units of the codes (none if normalized) [...], at least float32.

    Raises:
      ValueError: The last two axes are not square, or the input is not floating-point.

    Reference: Dowson & Landau (1982) for the distance; disentanglement_lib of Locatello et al. (2019) for the use.
    """
    (cov,) = _square_floats(cov)
    trace = jnp.trace(cov, axis1=-2, axis2=-1)
    trace = jnp.where(trace == 0, 1, trace)
    scaled = cov / trace[..., None, None]
    variance = jnp.diagonal(scaled, axis1=-2, axis2=-1)
    deviation = _safe_sqrt(variance)
    roots = _safe_sqrt(jnp.linalg.eigvalsh(deviation[..., :, None] * scaled * deviation[..., None, :]))
    distance = jnp.maximum(2 * (variance.sum(axis=-1) - roots.sum(axis=-1)), 0)
    return distance if normalized else trace * distance


def _square_floats(cov: jax.Array) -> tuple[jax.Array, ...]:
    if jnp.ndim(cov) < 2 or jnp.shape(cov)[-1] != jnp.shape(cov)[-2]:
        raise ValueError(f"cov must be square in its last two axes, got shape {jnp.shape(cov)}")
    return working_floats(cov=cov)


def _safe_sqrt(value: jax.Array) -> jax.Array:
    """Computes the root; 0 with a gradient of 0 for values not positive to working precision. `value` is at most about
    1.
    """
    positive = value > jnp.finfo(value.dtype).eps ** 2
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)
