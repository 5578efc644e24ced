"""Observation models: how a decoder's raw output becomes a likelihood and an image."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.choose import choose
from jaxvae.losses import (
    bernoulli_nll,
    categorical_nll,
    continuous_bernoulli_nll,
    gaussian_nll,
    laplace_nll,
    negative_binomial_nll,
    poisson_nll,
    zero_inflated_negative_binomial_nll,
)
from jaxvae.losses.checks import check_positive
from jaxvae.schema import Schema

LikelihoodName: TypeAlias = Literal[
    "auto", "bernoulli", "continuous-bernoulli", "gaussian", "laplace", "poisson", "negative-binomial", "zero-inflated"
]
REAL, COUNTS = ("gaussian", "laplace"), ("poisson", "negative-binomial", "zero-inflated")
LEAST_SCALE = 0.01
"""Least learned scale of a real column, in its standard deviations."""
Output: TypeAlias = Literal["linear", "sigmoid"]


class Likelihood(NamedTuple):
    """p(image | raw decoder output)."""

    nll: Callable[[jax.Array, jax.Array], jax.Array]
    """(raw [B, ...], image [B, ...]) -> negative log-likelihood, nats per image [B]"""
    mean: Callable[[jax.Array], jax.Array]
    """raw [B, ...] -> the expected image [B, ...]"""
    start: np.ndarray = np.zeros(0)
    """Initial values of learned parameters, which `jaxvae.networks.with_parameters` puts after the decoder's outputs"""


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


def by_columns(
    schema: Schema,
    *,
    real: Literal["gaussian", "laplace"] = "gaussian",
    scale: float | None = None,
    counts: Literal["poisson", "negative-binomial", "zero-inflated"] = "negative-binomial",
) -> Likelihood:
    """Likelihood of the rows of a table by the kinds of its columns; missing values count nothing.

    Binary columns are Bernoulli and categorical ones categorical. The logarithm of the expected count is the decoder's
    output plus the logarithm of the column's mean.

    Args:
      schema: Columns of the table.
      real: Likelihood of real columns, on their standardized scale.
      scale: Scale of the real columns. By default, each has a learned one, of 1 at the start and 0.01 at least.
      counts: Likelihood of counts. Dispersions, and probabilities of further zeros, are learned for each column.

    ValueError for a scale that is not positive.
    """
    if scale is not None:
        check_positive(scale=scale)
    width = schema.width
    at_real, at_counts, at_binary = schema.entries("real"), schema.entries("count"), schema.entries("binary")
    categories = [
        slice(start, start + column.width)
        for column, start in zip(schema.used, schema.starts, strict=True)
        if column.kind == "categorical"
    ]
    log_means = np.array([math.log(column.mean + 1e-3) for column in schema.used if column.kind == "count"], np.float32)
    scales = 0 if scale is not None else len(at_real)
    sizes = {"poisson": 0, "negative-binomial": 1, "zero-inflated": 2}[counts] * len(at_counts)
    missing = bool(len(schema.first_entries_with_missing))
    of_real = {"gaussian": gaussian_nll, "laplace": laplace_nll}[real]

    def nll(raw: jax.Array, x: jax.Array) -> jax.Array:
        raw, learned = raw[:, :width], raw[0, width:]
        observed = ~jnp.isnan(x) if missing else None

        def seen(entries: np.ndarray | slice) -> jax.Array | None:
            return None if observed is None else observed[:, entries]

        total = jnp.zeros(len(x))
        if len(at_real):
            spread: Any = scale if scale is not None else jnp.maximum(jnp.exp(learned[:scales]), LEAST_SCALE)
            total += of_real(raw[:, at_real], x[:, at_real], spread, observed=seen(at_real))
        if len(at_counts):
            of_counts = (raw[:, at_counts] + log_means[None], x[:, at_counts])
            log_theta, logits = learned[scales : scales + len(at_counts)], learned[scales + len(at_counts) :]
            if counts == "poisson":
                total += poisson_nll(*of_counts, observed=seen(at_counts))
            elif counts == "negative-binomial":
                total += negative_binomial_nll(*of_counts, log_theta, observed=seen(at_counts))
            else:
                logits = jnp.broadcast_to(logits[None], of_counts[0].shape)
                total += zero_inflated_negative_binomial_nll(*of_counts, log_theta, logits, observed=seen(at_counts))
        if len(at_binary):
            total += bernoulli_nll(raw[:, at_binary], x[:, at_binary], observed=seen(at_binary))
        for entries in categories:
            total += categorical_nll(raw[:, entries], x[:, entries], observed=seen(entries))
        return total

    def mean(raw: jax.Array) -> jax.Array:
        learned, raw = raw[0, width:], raw[:, :width]
        expected = raw
        if len(at_counts):
            rates = jnp.exp(raw[:, at_counts] + log_means[None])
            if counts == "zero-inflated":
                rates *= jax.nn.sigmoid(-learned[scales + len(at_counts) :])[None]
            expected = expected.at[:, at_counts].set(rates)
        if len(at_binary):
            expected = expected.at[:, at_binary].set(jax.nn.sigmoid(raw[:, at_binary]))
        for entries in categories:
            expected = expected.at[:, entries].set(jax.nn.softmax(raw[:, entries], axis=1))
        return expected

    start = np.zeros(scales + sizes, np.float32)
    start[scales + len(at_counts) :] = -2.0  # few further zeros
    return Likelihood(nll, mean, start)


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


def likelihood_for(
    name: LikelihoodName, scale: float, event_shape: tuple[int, ...], schema: Schema | None = None
) -> Likelihood:
    """The likelihood of examples of a kind, by name.

    Args:
      name: Name, or "auto" for what suits the data: Bernoulli for images, Gaussian for vectors and series, and for a
        table a likelihood for each kind of column. For a table, "gaussian" and "laplace" are for its real columns, with
        a fixed scale, and the names of the others for its counts.
      scale: Scale of gaussian and laplace.
      event_shape: Shape of an example.
      schema: Columns of a table.

    ValueError for a name that is unknown or for other data, or a scale that is not a positive number.
    """
    if schema is None:
        suits: LikelihoodName = "bernoulli" if len(event_shape) == 3 else "gaussian"
        return likelihood_of(suits if name == "auto" else name, scale)
    kinds = {column.kind for column in schema.used}
    if name == "auto":
        return by_columns(schema)
    if name in ("bernoulli", "continuous-bernoulli"):
        if kinds != {"binary"} or name != "bernoulli":
            raise ValueError(f"the {name} likelihood is not for the columns of this table: leave out --likelihood")
        return by_columns(schema)
    wanted = "count" if name in COUNTS else "real"
    if wanted not in kinds:
        raise ValueError(f"the {name} likelihood is for {wanted} columns, and the table has none: leave it out")
    if name in REAL:
        return by_columns(schema, real=name, scale=scale)  # type: ignore[arg-type]
    return by_columns(schema, counts=name)  # type: ignore[arg-type]
