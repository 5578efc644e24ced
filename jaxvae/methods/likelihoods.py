"""Observation models: how a decoder's raw output becomes a likelihood and an image."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax

from jaxvae.losses import bernoulli_nll, gaussian_nll, laplace_nll


class Likelihood(NamedTuple):
    """p(image | raw decoder output)."""

    nll: Callable[[jax.Array, jax.Array], jax.Array]
    """(raw [B, ...], image [B, ...]) -> negative log-likelihood, nats per image [B]"""
    mean: Callable[[jax.Array], jax.Array]
    """raw [B, ...] -> the expected image [B, ...]"""


def bernoulli() -> Likelihood:
    """Each pixel a coin with the given logit: exact for binary images, the field's habit for grey ones.

    On values strictly between 0 and 1 it is not a normalised density, so bounds are not comparable across data sets.
    """
    return Likelihood(bernoulli_nll, jax.nn.sigmoid)


def gaussian(scale: float = 1.0) -> Likelihood:
    """Each pixel normal around the raw output, with a fixed standard deviation. `scale` and beta trade off exactly."""
    return Likelihood(partial(gaussian_nll, scale=scale), lambda raw: raw)


def laplace(scale: float = 1.0) -> Likelihood:
    """Each pixel Laplace around the raw output, with a fixed scale: the absolute error."""
    return Likelihood(partial(laplace_nll, scale=scale), lambda raw: raw)
