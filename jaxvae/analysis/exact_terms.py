"""Terms of the KL over a whole data set, computed exactly instead of estimated from batches."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.losses import exact_log_qz, kl_decomposition, reparameterize


class ExactTerms(NamedTuple):
    """Terms of the KL in nats per example, averaged over the data set. Each is a scalar, and their sum is the mean
    KL.
    """

    mutual_information: jax.Array
    total_correlation: jax.Array
    dimensionwise_kl: jax.Array


@partial(jax.jit, static_argnames="samples")
def exact_kl_terms(key: jax.Array, mean: jax.Array, logvar: jax.Array, *, samples: int = 1) -> ExactTerms:
    """Computes mutual information, total correlation and dimension-wise KL under the aggregate posterior of all N
    examples.

    The densities are exact; the expectation over q(z) is estimated from `samples` codes per example. The function takes
    O(samples N^2 D) time and O(N D) memory, and may be vmapped over models.

    Args:
      key: Random key of the sampled codes.
      mean: Posterior means of all examples [N, D].
      logvar: Posterior log variances of all examples [N, D].
      samples: Number of codes drawn per example.

    Returns:
      The three terms, in nats per example.

    Reference: Chen, Li, Grosse & Duvenaud (2018), equation 2.
    """

    def average(key: jax.Array) -> ExactTerms:
        z = reparameterize(key, mean, logvar)
        terms = kl_decomposition(z, mean, logvar, exact_log_qz(z, mean, logvar))
        return ExactTerms(*(term.mean() for term in terms))

    averages = jax.lax.map(average, jax.random.split(key, samples))
    return jax.tree.map(jnp.mean, averages)
