"""Weak supervision by images that share factors, without labels."""

import math
from typing import Literal, TypeAlias, get_args

import jax
from jaxtyping import Array, Bool, Float

from jaxvae.losses.checks import check_same_shape, working_floats

Averaging: TypeAlias = Literal["gvae", "ml-vae", "ml-vae-harmonic"]


def shared_latents(divergence: Float[Array, "*batch D"]) -> Bool[Array, "*batch D"]:
    """Finds the latents that two images share: those whose divergence is below the middle of the smallest and the
    largest.

        divergence_d < (max_d divergence_d + min_d divergence_d) / 2

    A latent with a divergence of 0 is always shared. Otherwise, if all divergences are equal, no latent is shared. The
    result has no gradient.

    Args:
      divergence: Divergence of the two posteriors per latent [..., D], >= 0; usually `kl_gaussian_per_latent`.

    Returns:
      Mask of the shared latents [..., D].

    Raises:
      ValueError: An input is not floating-point.

    Reference: Locatello et al. (2020), equation 5.
    """
    (divergence,) = working_floats(divergence=divergence)
    low, high = divergence.min(axis=-1, keepdims=True), divergence.max(axis=-1, keepdims=True)
    threshold = low + 0.5 * (high - low)  # half of the sum, which may overflow
    return (divergence < threshold) | (divergence == 0)


def average_posteriors(
    mean: Float[Array, "G *batch D"], logvar: Float[Array, "G *batch D"], kind: Averaging = "gvae"
) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch D"]]:
    """Combines the Gaussian posteriors of the images of a group into one posterior per latent.

        gvae              mean of the means, mean of the variances
        ml-vae            product of the densities: 1/v = sum_g 1/v_g, mean = v sum_g mean_g / v_g
        ml-vae-harmonic   the same mean, but G v: the harmonic mean of the variances, equal for equal posteriors

    Args:
      mean: Means [G, ..., D], with the images of a group on the first axis.
      logvar: Log variances, of the same shape.
      kind: Kind of combination: "gvae", "ml-vae" or "ml-vae-harmonic".

    Returns:
      Means and log variances [..., D], at least float32.

    Raises:
      ValueError: The shapes differ, an input is not floating-point, or the kind is unknown.

    Reference: Hosoya (2019) for "gvae"; Bouchacourt et al. (2018) for "ml-vae", whose product counts the prior once per
    image; "ml-vae-harmonic" is what the code of Locatello et al. (2020) computes.
    """
    check_same_shape(mean=mean, logvar=logvar)
    mean, logvar = working_floats(mean=mean, logvar=logvar)
    log_group = math.log(mean.shape[0])
    if kind == "gvae":
        return mean.mean(axis=0), jax.nn.logsumexp(logvar, axis=0) - log_group
    if kind not in get_args(Averaging):
        raise ValueError(f"posteriors are averaged as one of {', '.join(get_args(Averaging))}, got {kind!r}")
    product = (jax.nn.softmax(-logvar, axis=0) * mean).sum(axis=0), -jax.nn.logsumexp(-logvar, axis=0)
    return product if kind == "ml-vae" else (product[0], product[1] + log_group)
