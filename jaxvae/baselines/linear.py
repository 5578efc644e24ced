"""Linear codes: their common base class, and Infomax.

    codes = (x - mean) components^T,    x ~ mean + codes mixing^T

PCA, FastICA and NMF are those of scikit-learn.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

SMALLEST = 1e-10
"""Share of the largest eigenvalue below which an eigenvalue is attributed to rounding."""


class LinearCode(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base class of rotations of whitened data of `n_components` dimensions. A subclass implements `_rotation`."""

    n_components: int | None
    random_state: Any

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns mean_ [F], components_ [K, F] (unmixing) and mixing_ [F, K] from the rows of X.

        Codes of the training data have variance 1. They are sorted by the variance of the data that they explain, and
        the largest entry of every column of mixing_ is positive.

        Args:
          X: Training data [n_samples, n_features], finite.
          y: Ignored.

        Raises:
          ValueError: The parameters or the data are invalid; the message states the reason.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        mean, whitening, dewhitening = whiten(X, self._filters())
        white = (X - mean) @ whitening.T
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        rotation = np.asarray(self._rotation(jnp.asarray(white, jnp.float32), jax.random.key(seed)), np.float64)
        mixing = dewhitening @ np.linalg.inv(rotation)
        scale = (white @ rotation.T).std(axis=0)
        mixing = mixing * scale * np.sign(mixing[np.abs(mixing).argmax(axis=0), np.arange(len(scale))])
        self.mean_ = mean
        self.mixing_ = mixing[:, self._order(mixing)]
        self.components_ = np.linalg.pinv(self.mixing_)
        self._n_features_out = len(self.components_)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes codes: [n_samples, n_components]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return (X - self.mean_) @ self.components_.T

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Reconstructs data from codes: [n_samples, n_components] -> [n_samples, n_features]."""
        check_is_fitted(self)
        return check_array(codes, dtype=np.float64) @ self.mixing_.T + self.mean_

    def _filters(self) -> int | None:
        return self.n_components

    @abstractmethod
    def _rotation(self, white: jax.Array, key: jax.Array) -> jax.Array:
        """Returns the rotation for white data [n_samples, K], a nonsingular matrix [K, K]."""

    def _order(self, mixing: np.ndarray) -> np.ndarray:
        return np.argsort(-(mixing**2).sum(axis=0), kind="stable")


def whiten(X: np.ndarray, n_components: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the mean [F], a whitening matrix K [n, F] and its pseudo-inverse [F, n] along the leading directions.

    The covariance of K (x - mean), normalised by 1 / N, is the identity.

    Raises:
      ValueError: The data vary in fewer than n_components directions.
    """
    mean = X.mean(axis=0)
    _, scale, directions = np.linalg.svd((X - mean) / len(X) ** 0.5, full_matrices=False)
    rank = int((scale**2 > SMALLEST * scale[0] ** 2).sum()) if scale[0] > 0 else 0
    n = rank if n_components is None else n_components
    if not 1 <= n <= rank:
        raise ValueError(f"n_components must be 1 to {rank}, the directions that the data vary in, got {n}")
    return mean, directions[:n] / scale[:n, None], directions[:n].T * scale[:n]


class Infomax(LinearCode):
    """ICA by maximum likelihood (Bell & Sejnowski, 1995; Lee, Girolami & Sejnowski, 1999).

        W <- W + rate (I - E[phi(y) y^T]) W,    y = W x of white x

    By default, phi(y) = tanh(y / 2), the score of the logistic density. With `extended`, phi(y) = k tanh(y) + y, where
    k is 1 for sources with heavier tails than a Gaussian and -1 for other sources, according to the sign of E[sech^2 y]
    E[y^2] - E[y tanh y].

    Args:
      n_components: Number of sources; by default, the number of dimensions that the data vary in.
      extended: Whether to allow sources with lighter tails than a Gaussian, which are not found otherwise.
      learning_rate: Learning rate of the natural gradient.
      max_iter: Largest number of steps.
      tol: Tolerance for convergence: the largest entry of I - E[phi(y) y^T] that counts as 0.
      random_state: Random seed or generator of the initialization: int, RandomState or None.

    After `fit`, the estimator has n_iter_ in addition to the attributes of `LinearCode`.
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        extended: bool = True,
        learning_rate: float = 0.2,
        max_iter: int = 2000,
        tol: float = 1e-4,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.extended = extended
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _rotation(self, white: jax.Array, key: jax.Array) -> jax.Array:
        if self.learning_rate <= 0 or self.max_iter < 1:
            raise ValueError(f"learning_rate must be > 0 and max_iter >= 1, got {self.learning_rate}, {self.max_iter}")
        start = orthogonal(jax.random.normal(key, (white.shape[1], white.shape[1])))
        unmixing, steps = _infomax(white, start, self.learning_rate, self.max_iter, self.tol, bool(self.extended))
        self.n_iter_ = int(steps)
        return unmixing


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Returns the nearest orthogonal matrix, (W W^T)^(-1/2) W."""
    left, _, right = jnp.linalg.svd(matrix, full_matrices=False)
    return left @ right


@partial(jax.jit, static_argnames="extended")
def _infomax(
    white: jax.Array, start: jax.Array, rate: float, most: int, tol: float, extended: bool
) -> tuple[jax.Array, jax.Array]:
    def slope(unmixing: jax.Array) -> jax.Array:
        y = white @ unmixing.T
        score = jnp.tanh(y / 2)
        if extended:
            tanh = jnp.tanh(y)
            heavy = jnp.sign((1 - tanh**2).mean(axis=0) * (y**2).mean(axis=0) - (y * tanh).mean(axis=0))
            score = heavy[None] * tanh + y
        return jnp.eye(y.shape[1]) - score.T @ y / len(y)

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        unmixing, change, count = state
        unmixing = unmixing + rate * change @ unmixing
        return unmixing, slope(unmixing), count + 1

    def goes_on(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return (jnp.abs(state[1]).max() > tol) & (state[2] < most)

    unmixing, _, count = jax.lax.while_loop(goes_on, step, (start, slope(start), jnp.int32(0)))
    return unmixing, count
