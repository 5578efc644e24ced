"""ICA of groups of filters, which are active together within a group (Hyvärinen & Hoyer, 2000).

    loss = mean over examples of sum_g sqrt(e_g + 0.005),    e_g = sum_i pool_gi (w_i . x)^2

x is white and W orthogonal. The loss is the negative log-likelihood of spherical densities exp(-sqrt(e_g)). Only the
subspace of each group is determined: W may be rotated within it.
"""

from abc import abstractmethod
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.baselines.linear import LinearCode, orthogonal

SMALLEST_ENERGY = 0.005


class _PooledICA(LinearCode):
    """Base class that minimizes the loss for any pools [groups, filters] and halves the step size if the loss would
    increase.
    """

    learning_rate: float
    max_iter: int
    n_init: int

    @abstractmethod
    def _pools(self, filters: int) -> np.ndarray:
        """Returns the pools [groups, filters], with entries 0 or 1."""

    def _rotation(self, white: jax.Array, key: jax.Array) -> jax.Array:
        if self.learning_rate <= 0 or min(self.max_iter, self.n_init) < 1:
            raise ValueError(
                "learning_rate must be > 0, max_iter and n_init at least 1, "
                f"got {self.learning_rate}, {self.max_iter} and {self.n_init}"
            )
        filters = white.shape[1]
        pools = jnp.asarray(self._pools(filters), jnp.float32)
        starts = jax.vmap(orthogonal)(jax.random.normal(key, (self.n_init, filters, filters)))
        unmixing, losses = _descend(white, starts, pools, self.learning_rate, self.max_iter)
        best = int(losses[:, -1].argmin())
        self.loss_curve_, self.n_iter_ = np.asarray(losses[best]), self.max_iter
        return unmixing[best]

    def _order(self, mixing: np.ndarray) -> np.ndarray:
        return np.arange(mixing.shape[1])

    def energies(self, X: Any) -> np.ndarray:
        """Computes sqrt(e_g) of every group: [n_samples, groups]."""
        codes = self.transform(X)
        return np.sqrt(codes**2 @ self._pools(codes.shape[1]).T)


class IndependentSubspaces(_PooledICA):
    """Independent subspace analysis: groups of filters whose energies are independent (Hyvärinen & Hoyer, 2000).

    Args:
      n_components: Number of filters, a multiple of subspace_size; by default, the number of dimensions that the data
        vary in.
      subspace_size: Number of filters in a group, which are adjacent in the codes; 1 is ICA with a Laplace prior.
      learning_rate: Initial step size.
      max_iter: Number of steps.
      n_init: Number of initializations, of which the one with the lowest loss is kept. Many pairings of filters are
        local minima.
      random_state: Random seed or generator of the initialization: int, RandomState or None.

    After `fit`, the estimator has loss_curve_ [max_iter] and n_iter_ in addition to the attributes of `LinearCode`. The
    order of the groups is arbitrary.
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        subspace_size: int = 2,
        learning_rate: float = 0.1,
        max_iter: int = 500,
        n_init: int = 8,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.subspace_size = subspace_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def _pools(self, filters: int) -> np.ndarray:
        if self.subspace_size < 1 or filters % self.subspace_size:
            raise ValueError(f"subspace_size must divide the {filters} components, got {self.subspace_size}")
        return np.kron(np.eye(filters // self.subspace_size), np.ones((1, self.subspace_size)))


class TopographicICA(_PooledICA):
    """Topographic ICA: filters on a grid, each active with its 3 x 3 neighbours (Hyvärinen, Hoyer & Inki, 2001).

    Args:
      grid: Number of rows and columns, at least 3. The grid is periodic and has rows * columns components.
      learning_rate: Initial step size.
      max_iter: Number of steps.
      n_init: Number of initializations, of which the one with the lowest loss is kept. Many pairings of filters are
        local minima.
      random_state: Random seed or generator of the initialization: int, RandomState or None.

    After `fit`, the estimator has loss_curve_ [max_iter] and n_iter_ in addition to the attributes of `LinearCode`.
    Components are ordered row by row of the grid.
    """

    def __init__(
        self,
        grid: tuple[int, int] = (4, 4),
        *,
        learning_rate: float = 0.1,
        max_iter: int = 500,
        n_init: int = 8,
        random_state: Any = None,
    ):
        self.grid = grid
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.n_init = n_init
        self.random_state = random_state

    def _filters(self) -> int:
        return self.grid[0] * self.grid[1]

    def _pools(self, filters: int) -> np.ndarray:
        rows, columns = self.grid
        if min(rows, columns) < 3:
            raise ValueError(f"the grid must have at least 3 rows and columns, got {rows} x {columns}")
        row, column = np.divmod(np.arange(filters), columns)
        down, along = np.abs(row[:, None] - row), np.abs(column[:, None] - column)
        near = (np.minimum(down, rows - down) <= 1) & (np.minimum(along, columns - along) <= 1)
        return near.astype(float)


@partial(jax.jit, static_argnames="steps")
@partial(jax.vmap, in_axes=(None, 0, None, None, None))
def _descend(
    white: jax.Array, start: jax.Array, pools: jax.Array, rate: float, steps: int
) -> tuple[jax.Array, jax.Array]:
    def loss(unmixing: jax.Array) -> jax.Array:
        energy = (white @ unmixing.T) ** 2 @ pools.T
        return jnp.sqrt(energy + SMALLEST_ENERGY).sum(axis=1).mean()

    def step(state: tuple[jax.Array, jax.Array, jax.Array], _: None) -> tuple[Any, jax.Array]:
        unmixing, rate, value = state
        tried = orthogonal(unmixing - rate * jax.grad(loss)(unmixing))
        found = loss(tried)
        better = found <= value
        unmixing, value = jnp.where(better, tried, unmixing), jnp.where(better, found, value)
        return (unmixing, jnp.where(better, 1.1 * rate, 0.5 * rate), value), value

    (unmixing, _, _), losses = jax.lax.scan(step, (start, jnp.float32(rate), loss(start)), length=steps)
    return unmixing, losses
