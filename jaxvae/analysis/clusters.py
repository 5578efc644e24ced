"""Clusters of a mixture with many components: their number, and the cluster of each point."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from jaxvae.losses import component_log_densities

STEPS = 500
"""Number of mean-shift steps from a mean to a mode."""
SAME = 0.01
"""Largest distance, in standard deviations, at which two modes count as the same mode."""


class Clusters(NamedTuple):
    """A partition of the components of a mixture by the modes of its density."""

    of_component: np.ndarray
    """Cluster of each component, int [K]. Clusters are numbered from 0 in the order of decreasing weight."""
    means: np.ndarray
    """Means of the components [K, D]."""
    log_weights: np.ndarray
    """Log weights of the components [K]."""
    variance: float

    @property
    def number(self) -> int:
        """Number of clusters. It includes clusters without points, as a component may be unused."""
        return int(self.of_component.max()) + 1

    def of_points(self, codes: np.ndarray) -> np.ndarray:
        """Returns the cluster of the component most responsible for each code: codes [N, D] -> int [N]."""
        arrays = (jnp.asarray(array, jnp.float32) for array in (codes, self.means, self.log_weights))
        densities = component_log_densities(*arrays, variance=self.variance)
        return self.of_component[np.asarray(densities.argmax(axis=-1))]


def find_clusters(means: jax.Array, log_weights: jax.Array, *, variance: float = 1.0) -> Clusters:
    """Groups the components of a mixture into clusters by a sparse watershed.

    Components are in the same cluster if their modes lead to one another. The density is climbed from every mean by
    mean-shift, z <- sum_k r_k(z) m_k with responsibilities r, which needs no step size. A component points to the
    component that is most responsible for its mode. Components that are linked by pointers, or that reach the same
    mode, form one cluster. Two equal components in one dimension merge if they are at most two standard deviations
    apart.

    Args:
      means: Means of the components [K, D], as returned by the VAE-SNE's prior.
      log_weights: Log weights of the components [K], as returned by the VAE-SNE's prior.
      variance: Variance of every latent in every component.

    Returns:
      The partition of the components.

    Raises:
      ValueError: The shapes do not match, or the variance is not positive.

    Reference: Todd, Kain & de Bivort (2017) for the idea. Merging by pointers follows Graving's code, written after the
    VAE-SNE paper.
    """

    def densities(z: jax.Array) -> jax.Array:
        return component_log_densities(z, means, log_weights, variance=variance)

    @jax.jit
    def climb(z: jax.Array) -> jax.Array:
        def shift(_: jax.Array, z: jax.Array) -> jax.Array:
            return jnp.matmul(jax.nn.softmax(densities(z), axis=-1), means, precision=jax.lax.Precision.HIGHEST)

        return jax.lax.fori_loop(0, STEPS, shift, z)

    modes = climb(means)
    pointer = np.asarray(densities(modes).argmax(axis=-1))
    links = squareform(pdist(np.asarray(modes, np.float64)) < SAME * variance**0.5)
    links[np.arange(len(pointer)), pointer] = True
    _, label = connected_components(links, connection="weak")
    weight = np.bincount(label, np.exp(np.asarray(log_weights, np.float64)))
    rank = np.argsort(np.argsort(-weight, kind="stable"))
    return Clusters(rank[label], np.asarray(means), np.asarray(log_weights), variance)
