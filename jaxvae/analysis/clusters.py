"""How many clusters a mixture of many components stands for, and which point is in which."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from jaxvae.losses import component_log_densities

STEPS = 500
"""Of the climb to a mode."""
SAME = 0.01
"""Standard deviations up to which two modes are one."""


class Clusters(NamedTuple):
    """A partition of the components of a mixture by the hills of its density."""

    of_component: np.ndarray
    """int [K], cluster of each component: 0 .. number - 1, those with more weight first"""
    means: np.ndarray
    """[K, D]"""
    log_weights: np.ndarray
    """[K]"""
    variance: float

    @property
    def number(self) -> int:
        """Number of clusters, those that no point is in included: a component may be unused."""
        return int(self.of_component.max()) + 1

    def of_points(self, codes: np.ndarray) -> np.ndarray:
        """The cluster of the most responsible component: codes [N, D] -> int [N]."""
        arrays = (jnp.asarray(array, jnp.float32) for array in (codes, self.means, self.log_weights))
        densities = component_log_densities(*arrays, variance=self.variance)
        return self.of_component[np.asarray(densities.argmax(axis=-1))]


def find_clusters(means: jax.Array, log_weights: jax.Array, *, variance: float = 1.0) -> Clusters:
    """Sparse watershed: components whose modes lead to one another are one cluster.

    From every mean the density is climbed by mean-shift, z <- sum_k r_k(z) m_k with r the responsibilities, which needs
    no step size. A component points to the one that is most responsible for its mode; those that are linked by
    pointers, or reach the same mode, are one cluster: two equal ones on a line up to two standard deviations apart.

    Args:
      means, log_weights: [K, D] and [K], as the VAE-SNE's prior gives them.
      variance: of every latent of every component.

    Raises:
      ValueError: shapes do not fit, or the variance is not positive.

    Reference: Todd, Kain & de Bivort (2017), for the idea; merging by pointers as in Graving's code after the VAE-SNE.
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
