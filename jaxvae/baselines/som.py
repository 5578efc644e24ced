"""Self-organizing maps: prototypes on a grid, where neighbours are similar."""

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data


class SelfOrganizingMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Self-organizing map, batch version: a prototype is the mean of examples near it on the grid (Kohonen, 1982).

        c_i = sum_n h_{i, b(n)} x_n / sum_n h_{i, b(n)},    h_ij = exp(-|place_i - place_j|^2 / (2 s^2))

    b(n) is the prototype nearest to x_n. The width s decays geometrically from half the longer side of the grid to
    `sigma_end`. Prototypes are initialized on the plane of the two leading principal components, so the fit is
    deterministic.

    Args:
      grid: Number of rows and columns; a grid with one row or column is a line.
      sigma_end: Final width of the neighbourhood in units of the grid spacing, > 0.
      max_iter: Number of steps.

    After `fit`, the estimator has codebook_ [rows, columns, n_features] and n_iter_.
    """

    def __init__(self, grid: tuple[int, int] = (8, 8), *, sigma_end: float = 0.5, max_iter: int = 50):
        self.grid = grid
        self.sigma_end = sigma_end
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns the prototypes from the rows of X."""
        if min(self.grid) < 1 or self.sigma_end <= 0 or self.max_iter < 1:
            raise ValueError(
                "the grid must have sides of at least 1, sigma_end be > 0 and max_iter >= 1, "
                f"got {self.grid}, {self.sigma_end} and {self.max_iter}"
            )
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        places = self._places()
        start = max(self.sigma_end, max(self.grid) / 2)
        sigmas = np.geomspace(start, self.sigma_end, self.max_iter)
        mean = X.mean(axis=0)
        _, scale, directions = np.linalg.svd(X - mean, full_matrices=False)
        # The longer side of the grid follows the direction of the largest variance.
        axes = np.argsort([-side for side in self.grid], kind="stable")
        leading = (scale[:, None] * directions)[:2] / len(X) ** 0.5
        plane = np.zeros((2, X.shape[1]))
        plane[axes[: len(leading)]] = leading
        # The grid spans two standard deviations to either side.
        spread = 2 * (2 * places / np.maximum(places.max(axis=0), 1) - 1)
        prototypes = mean + np.where(places.max(axis=0) > 0, spread, 0) @ plane
        fitted = _fit(*(jnp.asarray(part, jnp.float32) for part in (X, prototypes, places, sigmas)))
        self.codebook_ = np.asarray(fitted, np.float64).reshape(*self.grid, -1)
        self.n_iter_, self._n_features_out = self.max_iter, 2
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes the row and column of the nearest prototype: [n_samples, 2]."""
        return self._places()[self._distances(X).argmin(axis=1)]

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Returns the prototypes at positions [n_samples, 2], rounded and clipped to the grid: [n_samples,
        n_features].
        """
        check_is_fitted(self)
        places = np.rint(check_array(codes, dtype=np.float64)).astype(int)
        if places.shape[1] != 2:
            raise ValueError(f"codes must be [n_samples, 2], rows and columns, got {places.shape}")
        row, column = (np.clip(places[:, i], 0, side - 1) for i, side in enumerate(self.grid))
        return self.codebook_[row, column]

    def quantization_error(self, X: Any) -> float:
        """Computes the mean distance of examples to the nearest prototype."""
        return float(np.sqrt(np.maximum(self._distances(X).min(axis=1), 0)).mean())

    def topographic_error(self, X: Any) -> float:
        """Computes the share of examples whose two nearest prototypes are not adjacent; diagonal neighbours are
        adjacent.
        """
        nearest = np.argsort(self._distances(X), axis=1)[:, :2]
        places = self._places()
        if len(places) < 2:
            return 0.0
        return float((np.abs(places[nearest[:, 0]] - places[nearest[:, 1]]).max(axis=1) > 1).mean())

    def _places(self) -> np.ndarray:
        return np.stack(np.divmod(np.arange(self.grid[0] * self.grid[1]), self.grid[1]), axis=1).astype(float)

    def _distances(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        book = self.codebook_.reshape(-1, X.shape[1])
        return (X**2).sum(axis=1)[:, None] - 2 * X @ book.T + (book**2).sum(axis=1)


@jax.jit
def _fit(x: jax.Array, prototypes: jax.Array, places: jax.Array, sigmas: jax.Array) -> jax.Array:
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=-1)

    def step(prototypes: jax.Array, sigma: jax.Array) -> tuple[jax.Array, None]:
        winner = ((prototypes**2).sum(axis=1)[None] - 2 * x @ prototypes.T).argmin(axis=1)
        won = jax.nn.one_hot(winner, len(places))
        near = jnp.exp(-apart / (2 * sigma**2))
        weight = near @ won.sum(axis=0)
        means = near @ (won.T @ x) / jnp.maximum(weight, 1e-30)[:, None]
        return jnp.where(weight[:, None] > 1e-30, means, prototypes), None

    prototypes, _ = jax.lax.scan(step, prototypes, sigmas)
    return prototypes
