"""Codes of random examples with a factor held fixed, for the scores that intervene on factors."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import Binning, checked_codes, examples, split_rows

TRAIN_FRACTION = 2 / 3
"""Share of the examples that training points are made of."""
MOST_DRAWS = 1000
"""Number of attempts to draw combinations of which two differ in one factor alone."""
BLOCK = 500
"""Number of points whose codes are looked up together."""


class Draws(Protocol):
    """Codes of random examples, optionally with a factor held fixed. There are K factors and D codes."""

    factor_sizes: tuple[int, ...]
    """K numbers of values."""
    size: int

    def any(self, rng: np.random.Generator, n: int) -> Array:
        """Draws codes of random examples [n, D]."""
        ...

    def alike(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples that share one value of each given factor [n]: [n, length, D]."""
        ...

    def pairs(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> tuple[Array, Array]:
        """Draws pairs of examples that agree in each given factor [n]: two arrays [n, length, D]."""
        ...

    def alike_in_others(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples that agree in all factors but each given one [n]: [n, length, D].

        Raises:
          ValueError: No two examples differ in one of these factors alone.
        """
        ...


class Divisible(Protocol):
    """Examples that can be divided, of K factors."""

    factor_sizes: tuple[int, ...]
    note: str
    """Description of the bins of factors, and of rows that are left out."""

    def split(self) -> tuple[Draws, Draws]:
        """Splits the examples into two thirds for training and one third for testing, always in the same way."""
        ...


class SampledCodes:
    """Codes of examples that are already encoded. Fixing a factor draws examples with its value, with replacement."""

    def __init__(self, codes: ArrayLike, factors: ArrayLike, binning: Binning | None = None) -> None:
        """Takes codes [N, D] and factors [N, K], and bins of continuous factors. Raises ValueError as `mig` does.

        Examples whose value of a factor is missing are never drawn with this factor fixed.
        """
        data = examples(codes, factors, binning)
        self.note = data.note
        """Description of the bins of factors, and of rows that are left out."""
        self._hold(data.codes, data.factors, tuple(data.sizes.tolist()))

    def _hold(self, codes: Array[np.float64], factors: Array[np.int64], sizes: tuple[int, ...]) -> None:
        self.factor_sizes, self.size = sizes, len(codes)
        self._codes, self._factors = codes, factors
        self._known = [np.flatnonzero(factor >= 0) for factor in factors.T]
        self._orders = [
            known[np.argsort(factor[known], kind="stable")]
            for factor, known in zip(factors.T, self._known, strict=True)
        ]
        self._counts = [
            np.bincount(factor[known], minlength=size)
            for factor, known, size in zip(factors.T, self._known, sizes, strict=True)
        ]
        self._lines: dict[int, tuple[Array[np.int64], ...]] = {}

    def split(self) -> tuple["SampledCodes", "SampledCodes"]:
        """Splits the examples as in `Divisible`.

        Raises:
          ValueError: There is only one example.
        """
        parts = []
        for rows in split_rows(self.size, TRAIN_FRACTION):
            part = object.__new__(SampledCodes)
            part._hold(self._codes[rows], self._factors[rows], self.factor_sizes)
            parts.append(part)
        return parts[0], parts[1]

    def any(self, rng: np.random.Generator, n: int) -> Array:
        """Draws codes of random examples, as in `Draws`."""
        return self._codes[rng.integers(len(self._codes), size=n)]

    def alike(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples with equal values of a factor, as in `Draws`."""
        first = self._with_known(rng, factor, rng.integers(len(self._codes), size=(len(factor), 1)))
        first = np.repeat(first, length, axis=1)
        return self._codes[self._partners(rng, factor, first)]

    def pairs(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> tuple[Array, Array]:
        """Draws pairs of examples that agree in a factor, as in `Draws`."""
        one = self._with_known(rng, factor, rng.integers(len(self._codes), size=(len(factor), length)))
        return self._codes[one], self._codes[self._partners(rng, factor, one)]

    def alike_in_others(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples that agree in all factors but one, as in `Draws`."""
        rows = np.empty((len(factor), length), np.int64)
        for k in np.unique(factor):
            mine = np.flatnonzero(factor == k)
            order, starts, counts = self._lines_of(int(k))
            line = np.searchsorted(np.cumsum(counts), rng.integers(len(order), size=len(mine)), side="right")
            place = (rng.random((len(mine), length)) * counts[line, None]).astype(np.int64)
            rows[mine] = order[starts[line, None] + place]
        return self._codes[rows]

    def _lines_of(self, factor: int) -> tuple[Array[np.int64], ...]:
        """Finds the rows that differ in one factor from a row with the same other factors, in order of the latter.

        Returns:
          The rows [n], and the first place and the number of rows of each combination of the other factors.
        """
        if factor not in self._lines:
            rows = np.flatnonzero((self._factors >= 0).all(axis=1))
            others, own = np.delete(self._factors[rows], factor, axis=1), self._factors[rows, factor]
            line = np.unique(others, axis=0, return_inverse=True)[1].reshape(-1)
            lowest = np.full(len(rows), self.factor_sizes[factor])
            highest = np.full(len(rows), -1)
            np.minimum.at(lowest, line, own)
            np.maximum.at(highest, line, own)
            kept = (highest > lowest)[line]
            if not kept.any():
                raise ValueError(
                    f"no two of {len(self._codes)} examples differ in factor {factor} alone: give more examples, a "
                    "grid (GridCodes in Python; the commands take examples), or fewer bins or factors"
                )
            order = np.argsort(line[kept], kind="stable")
            counts = np.unique(line[kept], return_counts=True)[1]
            self._lines[factor] = rows[kept][order], np.cumsum(counts) - counts, counts
        return self._lines[factor]

    def _with_known(self, rng: np.random.Generator, factor: Array[np.int64], rows: Array[np.int64]) -> Array[np.int64]:
        """Replaces those of the rows [n, L] whose value of the given factor [n] is missing by other random rows."""
        for k, known in enumerate(self._known):
            unknown = (factor == k)[:, None] & (self._factors[rows, k] < 0)
            if unknown.any():
                rows[unknown] = known[rng.integers(len(known), size=int(unknown.sum()))]
        return rows

    def _partners(self, rng: np.random.Generator, factor: Array[np.int64], rows: Array[np.int64]) -> Array[np.int64]:
        """Draws for each row [n, L] a random row with the same value of the given factor [n]."""
        partners = np.empty_like(rows)
        share = rng.random(rows.shape)
        for k, (order, counts) in enumerate(zip(self._orders, self._counts, strict=True)):
            mine = factor == k
            value = self._factors[rows[mine], k]
            partners[mine] = order[(np.cumsum(counts) - counts)[value] + (share[mine] * counts[value]).astype(np.int64)]
        return partners


class GridCodes:
    """Codes of the combinations of all factors. Each is encoded when it is first requested, and only once."""

    def __init__(self, encode: Callable[[Array[np.int64]], ArrayLike], factor_sizes: Sequence[int]) -> None:
        """Takes `encode`, a function from factors [n, K] to codes [n, D], and the number of values of each factor."""
        self.factor_sizes = tuple(factor_sizes)
        self.size = int(np.prod(self.factor_sizes))
        self.encoded = 0
        """Number of images encoded so far."""
        self.note = ""
        self._encode = encode
        self._codes: Array[np.float32] | None = None
        self._known = np.zeros(self.size, bool)

    @classmethod
    def of_array(cls, codes: ArrayLike, factor_sizes: Sequence[int]) -> "GridCodes":
        """Creates the codes from an array of the whole grid [N, D], with the last factor varying fastest.

        Raises:
          ValueError: N is not the product of the sizes.
        """
        array = checked_codes(codes)
        if len(array) != np.prod(factor_sizes):
            raise ValueError(f"a grid of {tuple(factor_sizes)} has {np.prod(factor_sizes)} codes, got {len(array)}")
        return cls(lambda factors: array[np.ravel_multi_index(tuple(factors.T), tuple(factor_sizes))], factor_sizes)

    def __call__(self, factors: Array[np.int64]) -> Array[np.float32]:
        """Returns the codes of factors: [n, K] -> [n, D]."""
        numbers = np.ravel_multi_index(tuple(factors.T), self.factor_sizes)
        new = np.unique(numbers[~self._known[numbers]])
        if len(new) or self._codes is None:
            found = checked_codes(self._encode(np.stack(np.unravel_index(new, self.factor_sizes), axis=1)))
            if self._codes is None:
                self._codes = np.zeros((len(self._known), found.shape[1]), np.float32)
            self._codes[new] = found
            self._known[new] = True
            self.encoded += len(new)
        return self._codes[numbers]

    def split(self) -> tuple["_PartOfGrid", "_PartOfGrid"]:
        """Splits the combinations as in `Divisible`.

        Raises:
          ValueError: The grid has only one combination.
        """
        train, test = split_rows(self.size, TRAIN_FRACTION)
        return _PartOfGrid(self, train), _PartOfGrid(self, test)


class _PartOfGrid:
    """Some combinations of a grid, all equally likely."""

    def __init__(self, grid: GridCodes, numbers: Array[np.int64]) -> None:
        self.factor_sizes, self.size = grid.factor_sizes, len(numbers)
        self._grid, self._numbers = grid, numbers
        self._inside = np.zeros(grid.size, bool)
        self._inside[numbers] = True

    def any(self, rng: np.random.Generator, n: int) -> Array:
        """Draws codes of random examples, as in `Draws`."""
        return self._grid(self._uniform(rng, (n,)))

    def alike(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples with equal values of a factor, as in `Draws`."""
        first = self._uniform(rng, (len(factor),))
        return self._of(self._partners(rng, factor, np.repeat(first[:, None], length, axis=1)))

    def pairs(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> tuple[Array, Array]:
        """Draws pairs of examples that agree in a factor, as in `Draws`."""
        one = self._uniform(rng, (len(factor), length))
        return self._of(one), self._of(self._partners(rng, factor, one))

    def _uniform(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array[np.int64]:
        """Draws combinations [*shape, K]."""
        numbers = self._numbers[rng.integers(self.size, size=shape)]
        return np.stack(np.unravel_index(numbers, self.factor_sizes), axis=-1)

    def alike_in_others(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples that agree in all factors but one, as in `Draws`."""
        combinations = np.empty((len(factor), length, len(self.factor_sizes)), np.int64)
        for k in np.unique(factor):
            mine = np.flatnonzero(factor == k)
            first, members = self._lines_of(rng, int(k), len(mine))
            place = (rng.random((len(mine), length)) * members.sum(axis=1, keepdims=True)).astype(np.int64)
            order = np.argsort(~members, axis=1, kind="stable")
            combinations[mine] = first[:, None]
            combinations[mine, :, k] = np.take_along_axis(order, place, axis=1)
        return self._of(combinations)

    def _lines_of(self, rng: np.random.Generator, factor: int, n: int) -> tuple[Array[np.int64], Array[np.bool_]]:
        """Draws combinations [n, K] with the values of a factor [n, S] for which they are inside, at least two each."""
        size = self.factor_sizes[factor]
        chosen, members = np.empty((n, len(self.factor_sizes)), np.int64), np.zeros((n, size), bool)
        left = np.arange(n)
        for _ in range(MOST_DRAWS):
            drawn = np.repeat(self._uniform(rng, (len(left),))[:, None], size, axis=1)
            drawn[:, :, factor] = np.arange(size)
            inside = self._inside[np.ravel_multi_index(tuple(np.moveaxis(drawn, -1, 0)), self.factor_sizes)]
            chosen[left], members[left] = drawn[:, 0], inside
            left = left[inside.sum(axis=1) < 2]
            if not len(left):
                return chosen, members
        raise ValueError(
            f"hardly two of {self.size} combinations differ in factor {factor} alone: a grid of {self.factor_sizes} "
            "is too small"
        )

    def _partners(
        self, rng: np.random.Generator, factor: Array[np.int64], combinations: Array[np.int64]
    ) -> Array[np.int64]:
        """Draws for each combination [n, L, K] a random one with the same value of the given factor [n]."""
        flat, fixed = combinations.reshape(-1, combinations.shape[-1]), np.repeat(factor, combinations.shape[1])
        partners, missing = flat.copy(), np.arange(len(flat))
        # Combinations outside of this part are drawn again; this ends, as the given one is inside.
        while len(missing):
            drawn = np.stack([rng.integers(size, size=len(missing)) for size in self.factor_sizes], axis=-1)
            rows = np.arange(len(missing))
            drawn[rows, fixed[missing]] = flat[missing, fixed[missing]]
            partners[missing] = drawn
            missing = missing[~self._inside[np.ravel_multi_index(tuple(drawn.T), self.factor_sizes)]]
        return partners.reshape(combinations.shape)

    def _of(self, combinations: Array[np.int64]) -> Array:
        """Returns the codes of combinations of factors: [n, L, K] -> [n, L, D]."""
        n, length, num_factors = combinations.shape
        return self._grid(combinations.reshape(-1, num_factors)).reshape(n, length, -1)
