"""Recursive ICA: ICA of the activity of the sources of another ICA."""

from typing import Any, Self

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import FastICA
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

LEAST_PROBABILITY = 1e-6
"""Smallest distance of rank probabilities from 0 and 1. It keeps the codes of unseen extreme values finite."""


class RecursiveICA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Recursive ICA: the absolute values of sources, made Gaussian, are the data of another ICA (Shan et al., 2006).

        z = Phi^-1(F(|s|)),    F the distribution of |s| in training: by ranks (r - 1/2) / N, ties at their mean

    A second layer finds sources that are active together, which independent sources are not. The signs are lost between
    layers, so there is no inverse transform.

    Args:
      layers: Number of sources of each layer. That of the first layer is at most the number of dimensions that the data
        vary in.
      max_iter: Largest number of iterations of each FastICA.
      random_state: Random seed or generator: int, RandomState or None.

    After `fit`, the estimator has layers_ (one FastICA of scikit-learn per layer) and n_iter_ (the largest number of
    iterations of any layer).
    """

    def __init__(self, layers: tuple[int, ...] = (8, 8), *, max_iter: int = 500, random_state: Any = None):
        self.layers = layers
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learns one layer after the other from the rows of X. Warns if a layer does not converge."""
        if (
            not self.layers
            or min(self.layers) < 1
            or any(b > a for a, b in zip(self.layers, self.layers[1:], strict=False))
        ):
            raise ValueError(f"layers must be sizes of at least 1, none larger than the one before, got {self.layers}")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=max(2, self.layers[0]))
        rng = check_random_state(self.random_state)
        self.layers_: list[FastICA] = []
        self._activity: list[np.ndarray] = []
        for size in self.layers:
            if self.layers_:
                activity = np.abs(X)
                self._activity.append(np.sort(activity, axis=0))
                X = _gaussian_by_rank(activity)
            layer = FastICA(size, whiten="unit-variance", max_iter=self.max_iter, random_state=rng.randint(2**31))
            X = layer.fit_transform(X)
            self.layers_.append(layer)
        self.n_iter_ = max(layer.n_iter_ for layer in self.layers_)
        self._n_features_out = self.layers[-1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Computes the sources of the last layer: [n_samples, layers[-1]]."""
        return self.transform_layers(X)[-1]

    def transform_layers(self, X: Any) -> list[np.ndarray]:
        """Computes the sources of every layer: one array [n_samples, size] per layer."""
        check_is_fitted(self)
        codes = [self.layers_[0].transform(validate_data(self, X, dtype=np.float64, reset=False))]
        for layer, known in zip(self.layers_[1:], self._activity, strict=True):
            codes.append(layer.transform(_gaussian_of(np.abs(codes[-1]), known)))
        return codes


def _gaussian_by_rank(values: np.ndarray) -> np.ndarray:
    """Maps each column of values [N, K] to the standard-normal quantiles of its ranks."""
    return norm.ppf((rankdata(values, axis=0) - 0.5) / len(values))


def _gaussian_of(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Maps new values by the sorted training values `known` [N, K], with linear interpolation between them."""
    levels = (np.arange(len(known)) + 0.5) / len(known)
    columns = []
    for new, old in zip(values.T, known.T, strict=True):
        # Ties share one level, their mean.
        unique, inverse = np.unique(old, return_inverse=True)
        mean = np.bincount(inverse, levels) / np.bincount(inverse)
        columns.append(np.interp(new, unique, mean))
    return norm.ppf(np.clip(np.stack(columns, axis=1), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
