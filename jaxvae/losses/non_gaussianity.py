"""Non-Gaussianity of each latent, which linear independent component analysis maximizes."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.losses.batches import global_mean
from jaxvae.losses.checks import working_floats

Contrast: TypeAlias = Literal["logcosh", "exp", "moments"]


class _Even(NamedTuple):
    """An even function G, its mean under N(0, 1), and the variance of its part orthogonal to 1, y and y^2."""

    function: Callable[[jax.Array], jax.Array]
    mean: float
    variance: float


_EVEN = {
    "logcosh": _Even(
        lambda y: jnp.abs(y) + jax.nn.softplus(-2 * jnp.abs(y)) - jnp.log(jnp.asarray(2, y.dtype)),
        0.374567207491438,
        0.006327866991159947,
    ),
    "exp": _Even(lambda y: -jnp.exp(-(y**2) / 2), -(0.5**0.5), 1 / 3**0.5 - 9 / 16),
}


def excess_kurtosis(codes: Float[Array, "B D"], *, axis_name: str | None = None) -> Float[Array, " D"]:
    """Computes E[y^4] - 3 of every latent y, standardised to mean 0 and standard deviation 1.

    It is 0 for a normal, -1.2 for a uniform and 3 for a Laplace distribution. It is dominated by a few outliers.

    Args:
      codes: Codes of the batch.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Excess kurtosis [D], at least float32, the same on every device. It is 0, with a gradient of 0, for a constant
      latent.

    Raises:
      ValueError: The codes are not [B, D], or not floating-point.
    """
    y, varies = _standardised(codes, axis_name)
    return jnp.where(varies, global_mean((y**4).mean(axis=0), axis_name) - 3, 0)


def negentropy(
    codes: Float[Array, "B D"], *, contrast: Contrast = "logcosh", axis_name: str | None = None
) -> Float[Array, " D"]:
    """Approximates the negentropy of every standardised latent y: the entropy of a normal of equal variance minus its
    own.

        logcosh, exp   (E[G(y)] - E[G(n)])^2 / (2 v),   G = log cosh y or -exp(-y^2 / 2), n standard normal
        moments        E[y^3]^2 / 12 + excess kurtosis^2 / 48, for latents close to normal

    v is the variance under n of G minus its projection on 1, y and y^2. To first order, the result is then the
    negentropy of the density of maximum entropy with the given E[G(y)]. G is even, so only "moments" detects skewness
    alone.

    Args:
      codes: Codes of the batch.
      contrast: Kind of the approximation. FastICA's "logcosh" and "exp" are robust against outliers; "moments" is not.
      axis_name: Mesh axis that the batch is split over, in equal parts.

    Returns:
      Nats per latent [D], >= 0, at least float32, the same on every device; 0 for a constant latent. For normal
      latents, the expectation is of order 1 / B.

    Raises:
      ValueError: The codes are not [B, D] or not floating-point, or the contrast is unknown.

    Reference: Hyvärinen (1998); Hyvärinen & Oja (2000). v is derived, and that of "exp" agrees with theirs.
    """
    if contrast not in get_args(Contrast):
        raise ValueError(f"contrast must be one of {', '.join(get_args(Contrast))}, got {contrast!r}")
    y, varies = _standardised(codes, axis_name)

    def mean(values: jax.Array) -> jax.Array:
        return global_mean(values.mean(axis=0), axis_name)

    if contrast == "moments":
        value = mean(y**3) ** 2 / 12 + (mean(y**4) - 3) ** 2 / 48
    else:
        even = _EVEN[contrast]
        value = (mean(even.function(y)) - even.mean) ** 2 / (2 * even.variance)
    return jnp.where(varies, value, 0)


def _standardised(codes: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Standardises codes over the global batch [B, D], and marks the latents that vary [D]."""
    if jnp.ndim(codes) != 2:
        raise ValueError(f"codes must be [batch, latents], got shape {jnp.shape(codes)}")
    (codes,) = working_floats(codes=codes)
    centred = codes - global_mean(codes.mean(axis=0), axis_name)[None]
    variance = global_mean((centred**2).mean(axis=0), axis_name)
    # Rounding leaves a constant latent with a standard deviation of some ulps of its value.
    square = global_mean((codes**2).mean(axis=0), axis_name)
    varies = variance > (8 * jnp.finfo(codes.dtype).eps) ** 2 * square
    return centred / jnp.sqrt(jnp.where(varies, variance, 1))[None], varies
