"""What images that share factors tell about their codes, without a label."""

import math
from typing import Literal, TypeAlias, get_args

import jax
from jaxtyping import Array, Bool, Float

from jaxvae.losses.checks import check_same_shape, working_floats

Averaging: TypeAlias = Literal["gvae", "ml-vae", "ml-vae-harmonic"]


def shared_latents(divergence: Float[Array, "*batch D"]) -> Bool[Array, "*batch D"]:
    """Which latents two images have in common: those that differ less than halfway from the least to the most.

        divergence_d < (max_d divergence_d + min_d divergence_d) / 2

    A latent that does not differ at all is shared; otherwise, where all differ alike, none is. Without a gradient, as
    any choice.

    Args:
      divergence: of the two posteriors, per latent [..., D], >= 0: most often `kl_gaussian_per_latent`.

    Returns:
      Whether each is shared [..., D].

    Raises:
      ValueError: an input is not floating.

    Reference: Locatello et al. (2020), equation 5.
    """
    (divergence,) = working_floats(divergence=divergence)
    low, high = divergence.min(axis=-1, keepdims=True), divergence.max(axis=-1, keepdims=True)
    threshold = low + 0.5 * (high - low)  # half of the sum, which may overflow
    return (divergence < threshold) | (divergence == 0)


def average_posteriors(
    mean: Float[Array, "G *batch D"], logvar: Float[Array, "G *batch D"], kind: Averaging = "gvae"
) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch D"]]:
    """One Gaussian posterior per latent for the images of a group, from theirs.

        gvae              mean of the means, mean of the variances
        ml-vae            product of the densities: 1/v = sum_g 1/v_g, mean = v sum_g mean_g / v_g
        ml-vae-harmonic   the same mean, but G v: the harmonic mean of the variances, equal for equal posteriors

    Args:
      mean: [G, ..., D], the images of a group on the first axis.
      logvar: log variance, of the same shape.
      kind: as above.

    Returns:
      mean and log variance [..., D], at least float32.

    Raises:
      ValueError: shapes differ, an input is not floating, or an unknown kind.

    Reference: Hosoya (2019) for "gvae"; Bouchacourt et al. (2018) for "ml-vae", whose product counts the prior once
    per image; "ml-vae-harmonic" is what the code of Locatello et al. (2020) computes.
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
