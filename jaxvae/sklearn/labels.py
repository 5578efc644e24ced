"""Estimators that learn from y: labels as the auxiliary variable of the prior, or labels of some rows."""

from typing import Any, Self

import numpy as np
from sklearn.utils import check_consistent_length

from jaxvae.data import Epochs, Labelled, Source, Subset
from jaxvae.data.labels import Labels
from jaxvae.data.tabular import column_array
from jaxvae.sklearn.columns import is_frame
from jaxvae.sklearn.estimators import VectorAutoencoder, VectorEncoder
from jaxvae.texts import is_missing

UNLABELLED = -1
"""Label of rows without one, besides NaN and None."""


class ConditionalVectorAutoencoder(VectorAutoencoder):
    """An estimator for a method whose prior depends on an observed label of each row, y."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X and their labels y.

        Args:
          X: Training data [n_samples, n_features], as for the other estimators.
          y: Label of each row [n_samples], such as a class or a time segment: numbers or texts.

        Raises:
          ValueError: A parameter, the data or the labels are invalid; the message states the reason.
          NonFiniteLoss: Training diverged.
        """
        self.classes_, factors = _classes(type(self).__name__, X, y)
        return self._fit(X, ("y",), factors)

    def transform(self, X: Any, y: Any = None) -> Any:
        """Computes posterior means: float32 [n_samples, n_components].

        Args:
          X: Data [n_samples, n_features].
          y: Labels [n_samples]. With encoder="marginal", they have no effect and may be left out.

        Raises:
          ValueError: The labels are missing, or not among those of the fit.
        """
        return self._encoded(self._labelled_batch(X, y))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Trains on the rows of X and their labels y, and computes posterior means."""
        return self.fit(X, y, **fit_params).transform(X, y)

    def score(self, X: Any, y: Any = None) -> float:
        """Computes the score as the other estimators do; y is as for `transform`."""
        return self._scored(self._labelled_batch(X, y))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _labelled_batch(self, X: Any, y: Any) -> dict[str, np.ndarray]:
        batch = self._batch(X)
        rows = len(batch["x"])
        if self._config.options.encoder == "marginal":
            return {**batch, "aux": np.zeros((rows, len(self.classes_)), np.float32)}
        if y is None:
            raise ValueError("the encoder sees the labels: pass y as well, or fit with encoder='marginal'")
        labels = column_array(y)
        check_consistent_length(X, labels)
        aux = np.asarray(labels)[:, None] == self.classes_[None]
        if unknown := labels[~aux.any(axis=1)].tolist():
            raise ValueError(f"y has the new label {unknown[0]!r}; the labels of the fit are {self.classes_.tolist()}")
        return {**batch, "aux": aux.astype(np.float32)}


class ClassEncoder(VectorEncoder):
    """An estimator for a method that learns features from the class of each row, y, and decodes nothing."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X and their classes y.

        Args:
          X: Training data [n_samples, n_features], as for the other estimators, without missing values and counts.
          y: Class of each row [n_samples]: numbers or texts.

        Raises:
          ValueError: A parameter, the data or the classes are invalid; the message states the reason.
          NonFiniteLoss: Training diverged.
        """
        self.classes_, factors = _classes(type(self).__name__, X, y)
        return self._fit(X, ("y",), factors)

    def transform(self, X: Any) -> Any:
        """Computes features of unit length: float32 [n_samples, n_components]."""
        return self._encoded(self._batch(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = False
        return tags


class SemiSupervisedVectorAutoencoder(VectorAutoencoder):
    """An estimator for a method that learns from labels of some rows."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains from scratch on the rows of X and the labels y of some of them.

        The k-th label is tied to the k-th latent. Labels are ordered, as numbers or texts.

        Args:
          X: Training data [n_samples, n_features], as for the other estimators.
          y: Labels [n_samples], or [n_samples, n_labels]: an array, a Series or a DataFrame. A row in which a label is
            -1, NaN or None has none.

        Raises:
          ValueError: A parameter, the data or the labels are invalid; the message states the reason.
          NonFiniteLoss: Training diverged.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        columns = _label_columns(y)
        check_consistent_length(X, *columns.values())
        known = np.all([~is_missing(labels) & (labels != UNLABELLED) for labels in columns.values()], axis=0)
        if not known.any():
            raise ValueError("y has no labelled row: all labels are -1 or missing")
        if len(columns) > self.n_components:
            raise ValueError(
                f"each label needs a latent: y has {len(columns)} labels, n_components={self.n_components}"
            )
        factors = np.zeros((len(known), len(columns)), np.int32)
        self.classes_ = []
        for k, labels in enumerate(columns.values()):
            classes, factors[known, k] = np.unique(labels[known], return_inverse=True)
            self.classes_.append(classes)
        self._known = known
        return self._fit(X, tuple(columns), factors)

    def _wrapped(self, source: Source, rows: np.ndarray) -> Source:
        labelled = np.flatnonzero(self._known[rows]).astype(np.int32)
        if not len(labelled):
            raise ValueError("too few rows are labelled for early stopping: both of its parts need some")
        sizes = source.factor_sizes
        labels = Labels(tuple(tuple(range(size)) for size in sizes), (True,) * len(sizes))
        return Labelled(source, Epochs(Subset(source, labelled)), labels)


def _classes(name: str, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different labels y of the rows of X, and the number of each row's label: int32 [n_samples, 1]."""
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None")
    labels = column_array(y)
    check_consistent_length(X, labels)
    if missing := int(is_missing(labels).sum()):
        raise ValueError(f"y misses {missing} of {len(labels)} labels: leave out those rows")
    classes, numbers = np.unique(labels, return_inverse=True)
    if not 2 <= len(classes) <= len(labels) / 2:
        raise ValueError(
            f"y has {len(classes)} different labels for {len(labels)} rows: there must be at least 2, with 2 rows "
            "each on average; bin continuous values"
        )
    return classes, numbers[:, None].astype(np.int32)


def _label_columns(y: Any) -> dict[str, np.ndarray]:
    if is_frame(y):
        return {str(name): column_array(y[name]) for name in y.columns}
    if np.ndim(y) == 2:
        return {f"y{k}": column_array(labels) for k, labels in enumerate(np.asarray(y).T)}
    return {"y": column_array(y)}
