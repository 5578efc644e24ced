"""Multiplicative factors: decompositions of a tensor of examples, with one axis per factor and one of features."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

SMALLEST = 1e-10
"""Share of the largest singular value below which a singular value is attributed to rounding."""
TINY = 1e-300
PARAFAC_ROUNDS = 500
MOST_COMBINATIONS = 10**6
"""Largest number of combinations of factors that are enumerated to name a missing one."""


def hosvd(tensor: np.ndarray, ranks: Sequence[int | None]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Computes the higher-order SVD of a tensor, tensor ~ core x_1 U_1 x_2 U_2 ... (De Lathauwer et al., 2000).

    U_k holds the leading left singular vectors of the tensor unfolded along axis k, and the core is the tensor in their
    coordinates. The squared error is at most the sum of all squared singular values that were left out, over all axes.
    If none were left out, slices of the core along every axis are orthogonal.

    Args:
      tensor: Tensor of any shape.
      ranks: Number of columns of U_k for each axis; None for the largest possible number.

    Returns:
      The core [r_1, r_2, ...], and one U_k [n_k, r_k] with orthonormal columns for each axis.

    Raises:
      ValueError: The number of ranks differs from the number of axes, or a rank is below 1 or above what the axis and
        the other ranks allow.
    """
    if len(ranks) != tensor.ndim:
        raise ValueError(f"there must be a rank for each of the {tensor.ndim} axes, got {list(ranks)}")
    bases = []
    for axis, rank in enumerate(ranks):
        left, scale, _ = np.linalg.svd(_unfolded(tensor, axis), full_matrices=False)
        most = max(1, int((scale > SMALLEST * scale[0]).sum()))
        if rank is not None and not 1 <= rank <= len(scale):
            raise ValueError(f"the rank of axis {axis} must be 1 to {len(scale)}, got {rank}")
        bases.append(left[:, : most if rank is None else rank])
    core = tensor
    for axis, basis in enumerate(bases):
        core = _times(core, basis.T, axis)
    return core, bases


def _unfolded(tensor: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def _times(tensor: np.ndarray, matrix: np.ndarray, axis: int) -> np.ndarray:
    """Multiplies every fibre along `axis` by the matrix [new, old]."""
    return np.moveaxis(np.tensordot(matrix, tensor, axes=(1, axis)), 0, axis)


class _Product(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base class of models in which an example is a product of one vector per factor.

    A subclass implements the product in `_decompose` and `_without`. The vectors of a new example are found by least
    squares for one factor at a time, starting from those of the nearest training cell.
    """

    max_iter: int
    bases_: list[np.ndarray]
    weights_: np.ndarray
    """Weights of the product [..., n_features]."""

    def fit(self, X: Any, y: Any) -> Self:
        """Fits the model to the mean example of each cell, a cell being a combination of factor values.

        Args:
          X: Training data [n_samples, n_features], finite.
          y: Factor values [n_samples, factors], which contain every combination at least once.

        Raises:
          ValueError: A combination is missing, or the ranks are invalid.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.values_, cells = _cells(X, check_array(y))
        self._decompose(cells)
        self._n_features_out = sum(basis.shape[1] for basis in self.bases_)
        return self

    @abstractmethod
    def _decompose(self, cells: np.ndarray) -> None:
        """Sets bases_ and weights_ from the cells [values_1, values_2, ..., n_features]."""

    @abstractmethod
    def _without(self, weights: np.ndarray, parts: list[np.ndarray], left_out: int | None) -> np.ndarray:
        """Computes the product of the vectors of all factors but one: [n_samples, (its rank,) the weights' last
        axis].
        """

    def transform(self, X: Any) -> np.ndarray:
        """Computes the vectors of all factors, concatenated: [n_samples, sum of ranks]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        grid = np.stack(np.meshgrid(*[np.arange(len(b)) for b in self.bases_], indexing="ij"), axis=-1)
        cells = np.concatenate([b[i] for b, i in zip(self.bases_, grid.reshape(-1, grid.shape[-1]).T, strict=True)], 1)
        seen = self.inverse_transform(cells)
        nearest = ((seen**2).sum(axis=1) - 2 * X @ seen.T).argmin(axis=1)
        parts = self._parts(cells[nearest])
        # Only the few directions that the weights span matter.
        _, _, directions = np.linalg.svd(self.weights_.reshape(-1, X.shape[1]), full_matrices=False)
        x, weights = X @ directions.T, self.weights_ @ directions.T
        for _ in range(self.max_iter):
            for axis in range(len(parts)):
                design = self._without(weights, parts, axis)
                parts[axis] = np.einsum("nrd,nd->nr", np.linalg.pinv(design).transpose(0, 2, 1), x)
        return np.concatenate(parts, axis=1)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Computes products of concatenated vectors: [n_samples, n_features]."""
        check_is_fitted(self)
        codes = check_array(codes, dtype=np.float64)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"codes must have {self._n_features_out} columns, got {codes.shape[1]}")
        return self._without(self.weights_, self._parts(codes), None)

    def _parts(self, codes: np.ndarray) -> list[np.ndarray]:
        return np.split(codes, np.cumsum([basis.shape[1] for basis in self.bases_[:-1]]), axis=1)


class Multilinear(_Product):
    """Multilinear analysis: an example is a product of one vector per factor (Vasilescu & Terzopoulos, 2002).

        x = W x_1 a_1 x_2 a_2 ...,    W from `hosvd` of the examples of all combinations of factors

    With two factors, it is the bilinear model of Tenenbaum & Freeman (2000). The model is symmetric, or asymmetric if
    the rank of one factor is left at None.

    Args:
      ranks: Sizes of the factors' vectors. None, for all of them or for one of them, is the largest possible size.
      max_iter: Number of rounds of least squares for a new example.

    After `fit`, the estimator has values_ (the sorted values of each factor), bases_ (one vector per value, [values,
    rank] for each factor) and weights_ [rank_1, rank_2, ..., n_features].
    """

    def __init__(self, ranks: tuple[int | None, ...] | None = None, *, max_iter: int = 50):
        self.ranks = ranks
        self.max_iter = max_iter

    def _decompose(self, cells: np.ndarray) -> None:
        factors = cells.ndim - 1
        ranks = (None,) * factors if self.ranks is None else tuple(self.ranks)
        if len(ranks) != factors:
            raise ValueError(f"ranks must be one for each of the {factors} factors, got {ranks}")
        core, bases = hosvd(cells, (*ranks, None))
        self.bases_ = bases[:-1]
        self.weights_ = _times(core, bases[-1], factors)

    def _without(self, weights: np.ndarray, parts: list[np.ndarray], left_out: int | None) -> np.ndarray:
        """Computes the product of W with the vectors of all factors but one: [n_samples, (its rank,) n_features]."""
        product = np.broadcast_to(weights, (len(parts[0]), *weights.shape))
        first = 1
        for axis, part in enumerate(parts):
            if axis == left_out:
                first = 2
            else:
                product = (
                    product * part.reshape(len(part), *[1] * (first - 1), -1, *[1] * (product.ndim - first - 1))
                ).sum(axis=first)
        return product


class CanonicalPolyadic(_Product):
    """CP, or PARAFAC: a sum of `rank` outer products of a vector per factor and one of features (Harshman, 1970).

        x = sum_r a_1r a_2r ... w_r

    The terms are fitted by TensorLy's alternating least squares (needs `pip install 'jaxvae[tensor]'`). They are unique
    up to order and scale if their number is small enough, whereas the vectors of `Multilinear` may be rotated.

    Args:
      rank: Number of terms.
      max_iter: Number of rounds of least squares for a new example.
      random_state: Random seed or generator of the initialization: int, RandomState or None.

    After `fit`, the estimator has values_ (the sorted values of each factor), bases_ ([values, rank] for each factor)
    and weights_ [rank, n_features].
    """

    def __init__(self, rank: int = 4, *, max_iter: int = 50, random_state: Any = None):
        self.rank = rank
        self.max_iter = max_iter
        self.random_state = random_state

    def _decompose(self, cells: np.ndarray) -> None:
        if self.rank < 1:
            raise ValueError(f"the rank must be at least 1, got {self.rank}")
        try:
            from tensorly.decomposition import parafac
        except ImportError:
            raise ImportError("CP is TensorLy's: pip install 'jaxvae[tensor]'") from None
        state = check_random_state(self.random_state)
        scale, bases = parafac(cells, self.rank, n_iter_max=PARAFAC_ROUNDS, init="random", tol=1e-9, random_state=state)
        # Each term's length is moved to its features, so that vectors of factors have length 1.
        lengths = [np.linalg.norm(basis, axis=0) for basis in bases[:-1]]
        self.bases_ = [basis / np.maximum(length, TINY) for basis, length in zip(bases[:-1], lengths, strict=True)]
        self.weights_ = (bases[-1] * scale * np.prod(lengths, axis=0)).T

    def _without(self, weights: np.ndarray, parts: list[np.ndarray], left_out: int | None) -> np.ndarray:
        others = [part for axis, part in enumerate(parts) if axis != left_out]
        product = np.prod(others, axis=0) if others else np.ones_like(parts[0])
        return product @ weights if left_out is None else product[:, :, None] * weights


def _cells(X: np.ndarray, factors: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the values of each factor, and the mean example of each combination [values_1, values_2, ...,
    n_features].
    """
    if len(factors) != len(X):
        raise ValueError(f"there must be factors for each of the {len(X)} examples, got {len(factors)}")
    columns = [np.unique(column, return_inverse=True) for column in factors.T]
    known = [values for values, _ in columns]
    shape = tuple(len(values) for values in known)
    if math.prod(shape) > max(len(X), MOST_COMBINATIONS):
        raise ValueError(
            f"there are {math.prod(shape)} combinations of the factors and {len(X)} examples: each must have one"
        )
    cell = np.ravel_multi_index(tuple(number for _, number in columns), shape)
    counts = np.bincount(cell, minlength=int(np.prod(shape)))
    if (counts == 0).any():
        missing = np.unravel_index(int(counts.argmin()), shape)
        names = tuple(values[i].item() for values, i in zip(known, missing, strict=True))
        raise ValueError(
            f"{int((counts == 0).sum())} of {counts.size} combinations of the factors have no example, "
            f"{names} is one: leave out values, or add examples"
        )
    sums = np.zeros((counts.size, X.shape[1]))
    np.add.at(sums, cell, X)
    return known, (sums / counts[:, None]).reshape(*shape, -1)
