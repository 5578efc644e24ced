"""Factors that multiply: a tensor of examples, one axis per factor and one of features, taken apart by SVDs."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

SMALLEST = 1e-10
"""Of a singular value as a share of the largest: smaller ones are rounding."""


def hosvd(tensor: np.ndarray, ranks: Sequence[int | None]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Higher-order SVD: tensor ~ core x_1 U_1 x_2 U_2 ... (De Lathauwer et al., 2000)

    U_k holds the leading left singular vectors of the tensor unfolded along axis k, and the core is the tensor in
    their coordinates. The squared error is at most the sum of all singular values squared that were left out, over all
    axes; slices of the core are orthogonal, along every axis, if nothing was.

    Args:
      tensor: of any shape.
      ranks: columns of U_k for each axis; None for as many as there are.

    Returns:
      core [r_1, r_2, ...], and one U_k [n_k, r_k] with orthonormal columns for each axis.

    Raises:
      ValueError: not one rank for each axis, or one beyond 1 and what the axis and the others allow.
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
    """Every fibre along `axis` times the matrix [new, old]."""
    return np.moveaxis(np.tensordot(matrix, tensor, axes=(1, axis)), 0, axis)


class Multilinear(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Multilinear analysis: an example is a product of one vector per factor (Vasilescu & Terzopoulos, 2002)

        x = W x_1 a_1 x_2 a_2 ...,    W from `hosvd` of the examples of all combinations of factors

    With two factors it is the bilinear model of Tenenbaum & Freeman (2000): symmetric, or asymmetric with the rank of
    one factor left at None. The vectors of a new example are found by least squares, one factor after the other, from
    those of the training cell that is nearest.

    Args:
      ranks: sizes of the factors' vectors; None for all of them, or for one of them, is as many as there are.
      max_iter: rounds of least squares for a new example.

    After `fit`: values_ (of each factor, sorted), bases_ (a vector per value: [values, rank] for each factor), weights_
    [rank_1, rank_2, ..., n_features].
    """

    def __init__(self, ranks: tuple[int | None, ...] | None = None, *, max_iter: int = 50):
        self.ranks = ranks
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> Self:
        """Learns W from the means of all cells.

        Args:
          X: [n_samples, n_features], finite.
          y: the factors' values, [n_samples, factors], every combination of them at least once.

        Raises:
          ValueError: a combination that is not there, or ranks that can't be.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        factors = check_array(y)
        if len(factors) != len(X):
            raise ValueError(f"there must be factors for each of the {len(X)} examples, got {len(factors)}")
        columns = [np.unique(column, return_inverse=True) for column in factors.T]
        self.values_ = [values for values, _ in columns]
        shape = tuple(len(values) for values in self.values_)
        cell = np.ravel_multi_index(tuple(number for _, number in columns), shape)
        counts = np.bincount(cell, minlength=int(np.prod(shape)))
        if (counts == 0).any():
            missing = np.unravel_index(int(counts.argmin()), shape)
            names = tuple(values[i].item() for values, i in zip(self.values_, missing, strict=True))
            raise ValueError(
                f"{int((counts == 0).sum())} of {counts.size} combinations of the factors have no example, "
                f"{names} is one: leave out values, or add examples"
            )
        sums = np.zeros((counts.size, X.shape[1]))
        np.add.at(sums, cell, X)
        ranks = (None,) * len(shape) if self.ranks is None else tuple(self.ranks)
        if len(ranks) != len(shape):
            raise ValueError(f"ranks must be one for each of the {len(shape)} factors, got {ranks}")
        core, bases = hosvd((sums / counts[:, None]).reshape(*shape, -1), (*ranks, None))
        self.bases_ = bases[:-1]
        self.weights_ = _times(core, bases[-1], len(shape))
        self._n_features_out = sum(self.weights_.shape[:-1])
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The factors' vectors side by side: [n_samples, sum of ranks]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        grid = np.stack(np.meshgrid(*[np.arange(len(b)) for b in self.bases_], indexing="ij"), axis=-1)
        cells = np.concatenate([b[i] for b, i in zip(self.bases_, grid.reshape(-1, grid.shape[-1]).T, strict=True)], 1)
        seen = self.inverse_transform(cells)
        nearest = ((seen**2).sum(axis=1) - 2 * X @ seen.T).argmin(axis=1)
        parts = self._parts(cells[nearest])
        for _ in range(self.max_iter):
            for axis in range(len(parts)):
                parts[axis] = self._least_squares(X, parts, axis)
        return np.concatenate(parts, axis=1)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Products of vectors side by side: [n_samples, n_features]."""
        check_is_fitted(self)
        codes = check_array(codes, dtype=np.float64)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"codes must have {self._n_features_out} columns, got {codes.shape[1]}")
        return self._without(self._parts(codes), None)

    def _parts(self, codes: np.ndarray) -> list[np.ndarray]:
        return np.split(codes, np.cumsum(self.weights_.shape[:-2]), axis=1)

    def _without(self, parts: list[np.ndarray], left_out: int | None) -> np.ndarray:
        """W times all vectors but those of one factor: [n_samples, (its rank,) n_features]."""
        product = np.broadcast_to(self.weights_, (len(parts[0]), *self.weights_.shape))
        first = 1
        for axis, part in enumerate(parts):
            if axis == left_out:
                first = 2
            else:
                product = (
                    product * part.reshape(len(part), *[1] * (first - 1), -1, *[1] * (product.ndim - first - 1))
                ).sum(axis=first)
        return product

    def _least_squares(self, X: np.ndarray, parts: list[np.ndarray], axis: int) -> np.ndarray:
        design = self._without(parts, axis)
        return np.einsum("nrd,nd->nr", np.linalg.pinv(design).transpose(0, 2, 1), X)
