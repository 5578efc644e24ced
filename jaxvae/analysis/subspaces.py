"""Classes as linear subspaces of the features: the nearest subspace, and the spectrum of each class."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.analysis.checks import checked_table


class Subspaces(NamedTuple):
    """One subspace through the origin for each class."""

    labels: np.ndarray
    """Labels of the classes [K], sorted."""
    bases: tuple[np.ndarray, ...]
    """Orthonormal bases, K arrays [D, rank]; the ranks may differ."""

    def residuals(self, features: ArrayLike) -> np.ndarray:
        """Computes the distance of every feature vector to every subspace: [N, D] -> [N, K]."""
        points = checked_table("features", features)
        if points.shape[1] != len(self.bases[0]):
            raise ValueError(f"features must have {len(self.bases[0])} dimensions, got {points.shape[1]}")
        left = [points - (points @ basis) @ basis.T for basis in self.bases]
        return np.stack([np.linalg.norm(rest, axis=1) for rest in left], axis=1)

    def predict(self, features: ArrayLike) -> np.ndarray:
        """Predicts the label of the nearest subspace: [N, D] -> [N]."""
        return self.labels[self.residuals(features).argmin(axis=1)]


def fit_subspaces(features: ArrayLike, labels: ArrayLike, rank: int) -> Subspaces:
    """Fits a subspace to each class; the nearest-subspace classifier is `fit_subspaces(...).predict`.

    The subspace of a class is spanned by the leading right singular vectors of its features, which are not centred.
    Directions with a singular value of 0 are left out.

    Args:
      features: Feature vectors [N, D].
      labels: Labels [N] with at least two different values.
      rank: Number of dimensions of each subspace, from 1 to D - 1; with all D dimensions, every distance is 0. The
        authors' code uses 30 for D = 128.

    Raises:
      ValueError: The shapes do not match, features are not finite, there is only one class, or the rank is out of
        range.

    Warns if a class spans fewer dimensions than `rank`.

    Reference: Yu, Chan, You, Song & Ma (2020), section 3.
    """
    by_class = _by_class(features, labels)
    dimensions = next(iter(by_class.values())).shape[1]
    if len(by_class) < 2:
        raise ValueError(f"telling classes apart needs at least 2 of them, got {len(by_class)}")
    if not 1 <= rank < dimensions:
        raise ValueError(
            f"the rank of a subspace must be from 1 to {dimensions - 1}, fewer than the features' {dimensions} "
            f"dimensions, got {rank}"
        )
    bases, short = [], {}
    for label, points in by_class.items():
        _, values, directions = np.linalg.svd(points, full_matrices=False)
        # Features are in single precision: singular values below its rounding are noise.
        filled = int((values > values[0] * max(points.shape) * np.finfo(np.float32).eps).sum())
        bases.append(directions[: min(rank, filled)].T)
        if filled < rank:
            short[label] = filled
    if short:
        warnings.warn(f"classes with fewer than {rank} dimensions get as many as they have: {short}", stacklevel=2)
    return Subspaces(np.array(list(by_class)), tuple(bases))


def class_spectra(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Computes the singular values of the features of each class, largest first. Features are not centred.

    The number of comparable singular values is the number of directions that a class uses.

    Args:
      features: Feature vectors [N, D].
      labels: Labels [N].

    Returns:
      Singular values [K, min(D, size of the largest class)], with classes in the order of their labels. Values are 0
      for a class with fewer examples than that.

    Raises:
      ValueError: The shapes do not match, or features are not finite.
    """
    spectra = [np.linalg.svd(points, compute_uv=False) for points in _by_class(features, labels).values()]
    longest = max(map(len, spectra))
    return np.stack([np.pad(values, (0, longest - len(values))) for values in spectra])


def _by_class(features: ArrayLike, labels: ArrayLike) -> dict[int, np.ndarray]:
    """Maps each label to the features of its examples, float64."""
    points, classes = checked_table("features", features), np.asarray(labels)
    if classes.shape != points.shape[:1]:
        raise ValueError(f"labels must be [{len(points)}], one per feature vector, got shape {classes.shape}")
    return {label: points[classes == label] for label in np.unique(classes).tolist()}
