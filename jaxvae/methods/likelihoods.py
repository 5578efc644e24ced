"""Observation models: how a decoder's raw output becomes a likelihood and an image."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.choose import choose
from jaxvae.losses import (
    bernoulli_nll,
    continuous_bernoulli_nll,
    gaussian_nll,
    laplace_nll,
)
from jaxvae.losses.checks import check_positive

LikelihoodName: TypeAlias = Literal[
    "auto", "bernoulli", "continuous-bernoulli", "gaussian", "laplace", "poisson", "negative-binomial", "zero-inflated"
]
COUNTS = ("poisson", "negative-binomial", "zero-inflated")
Output: TypeAlias = Literal["linear", "sigmoid"]


class CountColumns(NamedTuple):
    """Columns of raw outputs whose exponentials are rates of counts."""

    entries: np.ndarray
    """Entries of the raw outputs, and of x: int [C]."""
    log_means: np.ndarray
    """Logarithms of the columns' means, which are added to the raw outputs: float32 [C]."""


class Likelihood(NamedTuple):
    """p(image | raw decoder output)."""

    nll: Callable[[jax.Array, jax.Array], jax.Array]
    """(raw [B, ...], image [B, ...]) -> negative log-likelihood, nats per image [B]"""
    mean: Callable[[jax.Array], jax.Array]
    """raw [B, ...] -> the expected image [B, ...]"""
    start: np.ndarray = np.zeros(0)
    """Initial values of learned parameters, which `jaxvae.networks.with_parameters` puts after the decoder's outputs"""
    counts: CountColumns | None = None
    """Columns of counts, if there are any; see `jaxvae.methods.with_library`"""


def bernoulli() -> Likelihood:
    """Each pixel a coin with the given logit: exact for binary images, the field's habit for grey ones.

    On values strictly between 0 and 1 it is not a normalised density, so bounds are not comparable across data sets.
    """
    return Likelihood(bernoulli_nll, jax.nn.sigmoid)


def gaussian(scale: float = 1.0) -> Likelihood:
    """Each pixel normal around the raw output, with a fixed standard deviation. `scale` and beta trade off exactly.

    ValueError for a scale that is not positive.
    """
    check_positive(scale=scale)
    return Likelihood(partial(gaussian_nll, scale=scale), lambda raw: raw)


def laplace(scale: float = 1.0) -> Likelihood:
    """Each pixel Laplace around the raw output, with a fixed scale: the absolute error.

    ValueError for a scale that is not positive.
    """
    check_positive(scale=scale)
    return Likelihood(partial(laplace_nll, scale=scale), lambda raw: raw)


def with_output(likelihood: Likelihood, output: Output) -> Likelihood:
    """The likelihood given the decoder's output itself ("linear"), or the logistic function of it ("sigmoid")."""
    if output == "linear":
        return likelihood
    return Likelihood(
        lambda raw, image: likelihood.nll(jax.nn.sigmoid(raw), image), lambda raw: likelihood.mean(jax.nn.sigmoid(raw))
    )


def continuous_bernoulli() -> Likelihood:
    """Continuous Bernoulli, a density of grey values in [0, 1] (Loaiza-Ganem & Cunningham, 2019)."""

    def mean(raw: jax.Array) -> jax.Array:
        small = jnp.abs(raw) < 0.1
        logit = jnp.where(small, 1.0, raw)
        return jnp.where(small, 0.5 + raw / 12 - raw**3 / 720, 1 / -jnp.expm1(-logit) - 1 / logit)

    return Likelihood(continuous_bernoulli_nll, mean)


def likelihood_of(name: LikelihoodName, scale: float = 1.0) -> Likelihood:
    """A likelihood of images or vectors by name.

    ValueError for an unknown name, one that is for the columns of a table, or a scale that is not a positive number.
    """
    choose("likelihood", name, dict.fromkeys(get_args(LikelihoodName)[1:]))
    if name in COUNTS:
        raise ValueError(f"the {name} likelihood is for the counts of a table: choose gaussian, laplace or bernoulli")
    if name == "bernoulli":
        return bernoulli()
    if name == "continuous-bernoulli":
        return continuous_bernoulli()
    if not 0 < scale < math.inf:
        raise ValueError(f"the scale of the {name} likelihood must be positive, got {scale}")
    return gaussian(scale) if name == "gaussian" else laplace(scale)
