"""Classes as linear subspaces of the features: which one is nearest, and how evenly each is filled."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.analysis.checks import checked_table


class Subspaces(NamedTuple):
    """One subspace through 0 for each class."""

    labels: np.ndarray
    """[K], the classes' labels, in order"""
    bases: tuple[np.ndarray, ...]
    """K of [D, rank], orthonormal columns; ranks may differ"""

    def residuals(self, features: ArrayLike) -> np.ndarray:
        """Distance of every feature vector to every subspace: [N, D] -> [N, K]."""
        points = checked_table("features", features)
        if points.shape[1] != len(self.bases[0]):
            raise ValueError(f"features must have {len(self.bases[0])} dimensions, got {points.shape[1]}")
        left = [points - (points @ basis) @ basis.T for basis in self.bases]
        return np.stack([np.linalg.norm(rest, axis=1) for rest in left], axis=1)

    def predict(self, features: ArrayLike) -> np.ndarray:
        """Label of the nearest subspace: [N, D] -> [N]."""
        return self.labels[self.residuals(features).argmin(axis=1)]


def fit_subspaces(features: ArrayLike, labels: ArrayLike, rank: int) -> Subspaces:
    """The directions that hold most of each class: the nearest-subspace classifier is `fit_subspaces(...).predict`.

    A class's subspace is spanned by the first right singular vectors of its features, which are not centred.
    Directions that none of its features have a part in are left out.

    Args:
      features: [N, D].
      labels: [N], at least two different ones.
      rank: dimensions of each subspace, from 1 to D - 1: all of D are near to everything, and every point a tie. 30 in
        the authors' code for D = 128.

    Raises:
      ValueError: shapes do not fit, features are not finite, one class only, or rank out of range. It warns where a
        class has fewer dimensions than that.

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
        # Features come in single precision: what is below its rounding is noise.
        filled = int((values > values[0] * max(points.shape) * np.finfo(np.float32).eps).sum())
        bases.append(directions[: min(rank, filled)].T)
        if filled < rank:
            short[label] = filled
    if short:
        warnings.warn(f"classes with fewer than {rank} dimensions get as many as they have: {short}", stacklevel=2)
    return Subspaces(np.array(list(by_class)), tuple(bases))


def class_spectra(features: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Singular values of the features of each class, not centred, largest first.

    How many of them are comparable is the number of directions that a class uses.

    Args:
      features: [N, D].
      labels: [N]

    Returns:
      [K, min(D, size of the largest class)], in the order of the labels; 0 where a class has fewer examples than that.

    ValueError where shapes do not fit, or features are not finite.
    """
    spectra = [np.linalg.svd(points, compute_uv=False) for points in _by_class(features, labels).values()]
    longest = max(map(len, spectra))
    return np.stack([np.pad(values, (0, longest - len(values))) for values in spectra])


def _by_class(features: ArrayLike, labels: ArrayLike) -> dict[int, np.ndarray]:
    """Label -> the features of its examples, float64."""
    points, classes = checked_table("features", features), np.asarray(labels)
    if classes.shape != points.shape[:1]:
        raise ValueError(f"labels must be [{len(points)}], one per feature vector, got shape {classes.shape}")
    return {label: points[classes == label] for label in np.unique(classes).tolist()}
