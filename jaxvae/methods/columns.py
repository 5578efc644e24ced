"""The likelihood of a row of a table, by the kinds of its columns."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.losses import (
    bernoulli_nll,
    categorical_nll,
    gaussian_nll,
    laplace_nll,
    negative_binomial_nll,
    poisson_nll,
    zero_inflated_negative_binomial_nll,
)
from jaxvae.losses.checks import check_positive
from jaxvae.methods.likelihoods import COUNTS, CountColumns, Likelihood, LikelihoodName, likelihood_of
from jaxvae.schema import Kind, Schema

LEAST_SCALE = 0.01
"""Least learned scale of a real column, in its standard deviations."""
OWN: dict[Kind, str] = {
    "real": "gaussian with learned scales",
    "count": "negative-binomial",
    "binary": "bernoulli",
    "categorical": "categorical",
}
"""Likelihoods of columns by their kinds, if no other is asked for."""


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
    return Likelihood(nll, mean, start, CountColumns(at_counts, log_means) if len(at_counts) else None)


def likelihood_for(
    name: LikelihoodName, scale: float, event_shape: tuple[int, ...], schema: Schema | None = None
) -> Likelihood:
    """The likelihood of examples of a kind, by name.

    Args:
      name: Name, or "auto" for what suits the data: Bernoulli for images, Gaussian for vectors and series, and for a
        table a likelihood for each kind of column. For a table, "gaussian" and "laplace" are for its real columns, with
        a fixed scale, "bernoulli" is for its binary columns, and "poisson", "negative-binomial" and "zero-inflated" are
        for its counts. Columns of other kinds keep their own, as `likelihoods_in_words` says.
      scale: Scale of gaussian and laplace.
      event_shape: Shape of an example.
      schema: Columns of a table.

    ValueError for a name that is unknown or for other data, or a scale that is not a positive number.
    """
    if schema is None:
        suits: LikelihoodName = "bernoulli" if len(event_shape) == 3 else "gaussian"
        return likelihood_of(suits if name == "auto" else name, scale)
    if name == "auto":
        return by_columns(schema)
    if name == "continuous-bernoulli":
        raise ValueError(f"the {name} likelihood is not for the columns of a table: choose auto")
    wanted = kind_of_likelihood(name)
    if not len(schema.entries(wanted)):
        raise ValueError(f"the {name} likelihood is for {wanted} columns, and the table has none: choose auto")
    if wanted == "real":
        return by_columns(schema, real=name, scale=scale)  # type: ignore[arg-type]
    return by_columns(schema, counts=name) if wanted == "count" else by_columns(schema)  # type: ignore[arg-type]


def kind_of_likelihood(name: LikelihoodName) -> Kind:
    """Returns the kind of the columns that a likelihood is for."""
    return "count" if name in COUNTS else "binary" if name == "bernoulli" else "real"


def likelihoods_in_words(name: LikelihoodName, schema: Schema) -> str:
    """Says which columns of a table a likelihood is for, and which others keep the likelihood of their kind.

    Returns:
      One line; "" for "auto", or if there are no other columns.
    """
    numbers = {kind: sum(column.kind == kind for column in schema.used) for kind in OWN}
    wanted = kind_of_likelihood(name)
    others = [
        f"{_counted(numbers[kind], kind)} ({own})" for kind, own in OWN.items() if numbers[kind] and kind != wanted
    ]
    if name == "auto" or not others:
        return ""
    of_its_kind = f"--likelihood {name} is for {_counted(numbers[wanted], wanted)}"
    return f"{of_its_kind}; the others keep the likelihood of their kind: {', '.join(others)}"


def _counted(number: int, kind: Kind) -> str:
    return f"{number:,} {kind} column{'s' * (number > 1)}"
