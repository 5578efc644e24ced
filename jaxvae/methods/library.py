"""Library sizes: the sums of the counts of rows, to which the expected counts of a table can be scaled."""

import jax
import jax.numpy as jnp

from jaxvae.method import Batch, Method, Nets
from jaxvae.methods.likelihoods import CountColumns, Likelihood


def log_library(counts: CountColumns, x: jax.Array) -> jax.Array:
    """Computes the logarithm of the sum of each row's counts: [B, D] -> [B].

    Missing counts are taken to be in proportion to the columns' means, and a row whose counts are all missing has the
    sum of a mean row. A row of zeros has a sum of 1e-8.
    """
    values = x[:, counts.entries]
    observed = ~jnp.isnan(values)
    means = jnp.exp(counts.log_means)[None]
    share = jnp.where(observed, means, 0).sum(axis=1) / means.sum(axis=1)
    total = jnp.where(observed, values, 0).sum(axis=1)
    size = jnp.log(jnp.maximum(total, 1e-8)) - jnp.log(jnp.maximum(share, 1e-8))
    return jnp.where(share > 0, size, jax.nn.logsumexp(counts.log_means))


def with_library(counts: CountColumns, raw: jax.Array, log_size: jax.Array | None = None) -> jax.Array:
    """Returns raw outputs whose expected counts sum to a given size in each row, before further zeros: those of a
    zero-inflated column are 1 - pi of its part, where pi is its probability of a further zero.

    The logarithm of the expected count in column g is log_size + l_g - log sum_h exp(l_h), where l is the raw output
    plus the logarithm of the column's mean.

    Args:
      counts: Columns of counts of the likelihood.
      raw: Raw outputs of a decoder [B, D + ...].
      log_size: Logarithm of the sum of the expected counts of each row [B]. By default, that of a mean row.
    """
    rates = raw[:, counts.entries] + counts.log_means[None]
    size = jax.nn.logsumexp(counts.log_means) if log_size is None else log_size[:, None]
    scaled = rates - jax.nn.logsumexp(rates, axis=1, keepdims=True) + size
    return raw.at[:, counts.entries].set(scaled - counts.log_means[None])


def several_counts(likelihood: Likelihood) -> CountColumns | None:
    """Returns the columns of counts of a likelihood, or None if there are fewer than two: one would be its own sum."""
    counts = likelihood.counts
    return counts if counts is not None and len(counts.entries) > 1 else None


def given_library(likelihood: Likelihood) -> Likelihood:
    """Returns the likelihood of rows whose sums of counts are known: expected counts sum to those of the row. Those
    of zero-inflated columns are 1 - pi of their part, where pi is the column's probability of a further zero.

    `mean` does not see a row, and its expected counts sum to those of a mean row; see `reading_library`. A likelihood
    of fewer than two columns of counts is returned as it is.
    """
    counts = several_counts(likelihood)
    if counts is None:
        return likelihood

    def nll(raw: jax.Array, x: jax.Array) -> jax.Array:
        return likelihood.nll(with_library(counts, raw, log_library(counts, x)), x)

    return likelihood._replace(nll=nll, mean=lambda raw: likelihood.mean(with_library(counts, raw)))


def reading_library(method: Method, likelihood: Likelihood, *, raw: bool = False) -> Method:
    """Returns the method, built with a likelihood of `given_library`, whose expected counts of the rows of a batch sum
    to those of the rows, or to 1 - pi of them for zero-inflated columns, as for `given_library`.

    Args:
      method: Method that decodes codes into examples whose expected counts sum to those of a mean row.
      likelihood: Its likelihood.
      raw: Whether the method's `decode` returns what its likelihood takes, instead of expected examples.
    """
    counts = several_counts(likelihood)
    if counts is None:
        return method

    def expected(net: Nets, code: jax.Array, batch: Batch) -> jax.Array:
        decoded = method.expected(net, code, batch)
        larger = log_library(counts, batch["x"]) - jax.nn.logsumexp(counts.log_means)
        at = decoded.at[:, counts.entries]
        return at.add(larger[:, None]) if raw else at.multiply(jnp.exp(larger)[:, None])

    return method._replace(decode_with=expected)
