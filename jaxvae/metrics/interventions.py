"""Scores that hold a factor fixed: the BetaVAE score and the FactorVAE score, and codes that are encoded only once."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from jaxvae.metrics.inputs import CONVENTIONS, checked_codes, choose, examples, split_rows
from jaxvae.metrics.results import Result

TRAIN_FRACTION = 2 / 3
"""Share of the examples that training points are made of."""
BLOCK = 500
"""Number of points whose codes are looked up together."""


class Draws(Protocol):
    """Codes of random examples, optionally with a factor held fixed. There are K factors and D codes."""

    factor_sizes: tuple[int, ...]
    """K numbers of values."""
    size: int
    """Number of different examples."""

    def split(self) -> tuple["Draws", "Draws"]:
        """Splits the examples into two thirds for training and one third for testing, always the same ones."""
        ...

    def any(self, rng: np.random.Generator, n: int) -> Array:
        """Draws codes of random examples [n, D]."""
        ...

    def alike(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> Array:
        """Draws examples that share one value of each given factor [n]: [n, length, D]."""
        ...

    def pairs(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> tuple[Array, Array]:
        """Draws pairs of examples that agree in each given factor [n]: two arrays [n, length, D]."""
        ...


class SampledCodes:
    """Codes of examples that are already encoded. Fixing a factor draws examples with its value, with replacement."""

    def __init__(self, codes: ArrayLike, factors: ArrayLike) -> None:
        """Takes codes [N, D] and factors [N, K]. Raises ValueError as `mig` does."""
        data = examples(codes, factors)
        self._hold(data.codes, data.factors, tuple(data.sizes.tolist()))

    def _hold(self, codes: Array[np.float64], factors: Array[np.int64], sizes: tuple[int, ...]) -> None:
        self.factor_sizes, self.size = sizes, len(codes)
        self._codes, self._factors = codes, factors
        self._orders = [np.argsort(factor, kind="stable") for factor in factors.T]
        self._counts = [np.bincount(factor, minlength=size) for factor, size in zip(factors.T, sizes, strict=True)]

    def split(self) -> tuple["SampledCodes", "SampledCodes"]:
        """Splits the examples, as in `Draws`. Raises ValueError for a single example."""
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
        first = np.repeat(rng.integers(len(self._codes), size=(len(factor), 1)), length, axis=1)
        return self._codes[self._partners(rng, factor, first)]

    def pairs(self, rng: np.random.Generator, factor: Array[np.int64], length: int) -> tuple[Array, Array]:
        """Draws pairs of examples that agree in a factor, as in `Draws`."""
        one = rng.integers(len(self._codes), size=(len(factor), length))
        return self._codes[one], self._codes[self._partners(rng, factor, one)]

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
        """Splits the combinations, as in `Draws`. Raises ValueError for a grid of one combination."""
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


@dataclass(frozen=True, eq=False)
class Intervention(Result):
    """Accuracy on points of held-out examples, with the quantities that it is computed from."""

    train_score: float
    """Accuracy on the training points, which is biased upwards."""
    counts: np.ndarray
    """Votes of code d for factor k [D, K] for FactorVAE; true and predicted factor [K, K] for BetaVAE. Factors that are
    constant in given examples are left out."""
    active_codes: np.ndarray
    """Mask of the codes that were not left out [D]."""
    train_examples: int
    """Number of different examples in training points."""
    test_examples: int
    """Number of different examples in test points, which are disjoint from those in training points."""
    num_train: int
    num_eval: int
    batch_size: int


def beta_vae_score(
    codes: GridCodes | ArrayLike,
    factors: ArrayLike | None = None,
    *,
    num_train: int = 10_000,
    num_eval: int = 5000,
    batch_size: int = 64,
    convention: Literal["reference", "paper"] = "reference",
    seed: int = 0,
) -> Intervention:
    """BetaVAE score: does the mean difference of codes tell which factor two batches share?

    A point is the mean of |z_1 - z_2| over `batch_size` pairs of random examples that agree in a factor k. Logistic
    regression (scikit-learn's defaults) predicts k; the score is the accuracy on points of held-out examples. Chance
    level is 1/K; a single factor gives NaN.

    Args:
      codes: `GridCodes` of a source and an encoder, which draws combinations of factors as the reference does; or codes
        [N, D], with pairs drawn among these examples.
      factors: Factors [N, K], integers, for codes [N, D].
      num_train: Number of training points.
      num_eval: Number of test points.
      batch_size: Number of pairs per point.
      convention: "reference" does not scale differences, so that the penalty makes the score depend on the scale of
        codes (a perfect code times 0.01 scores chance); "paper" standardises them (Higgins et al. do not say).
      seed: Random seed for the points.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that the score is undefined.

    Raises:
      ValueError: The errors of `mig`; no factor varies; or a number is below 1.

    Reference: Higgins et al. (2017), section 4; Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    draws = _draws(codes, factors)
    rng, varying = _checked(draws, num_train, num_eval, batch_size, seed)
    train, test = draws.split()
    if len(varying) < 2:
        return _undefined("BetaVAE score", train, test, len(draws.factor_sizes), num_train, num_eval, batch_size)
    features, labels = [], []
    for part, number in ((train, num_train), (test, num_eval)):
        for n in _blocks(number):
            factor = varying[rng.integers(len(varying), size=n)]
            one, two = part.pairs(rng, factor, batch_size)
            features.append(np.abs(one - two).mean(axis=1, dtype=np.float64))
            labels.append(factor)
    x, y = np.concatenate(features), np.concatenate(labels)
    if convention == "paper":
        deviation = x[:num_train].std(axis=0)
        x = (x - x[:num_train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    predicted = np.full(len(y), y[0])
    if len(set(y[:num_train])) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            predicted = LogisticRegression().fit(x[:num_train], y[:num_train]).predict(x)
    confusion = np.zeros((len(draws.factor_sizes),) * 2, np.int64)
    np.add.at(confusion, (y[num_train:], predicted[num_train:]), 1)
    return Intervention(
        score=float((predicted[num_train:] == y[num_train:]).mean()),
        definition=f"BetaVAE score, {num_train} points of {batch_size} pairs of {train.size} examples, tested on "
        f"{num_eval} points of {test.size} others, {convention} convention",
        train_score=float((predicted[:num_train] == y[:num_train]).mean()),
        counts=confusion,
        active_codes=np.ones(x.shape[1], bool),
        train_examples=train.size,
        test_examples=test.size,
        num_train=num_train,
        num_eval=num_eval,
        batch_size=batch_size,
    )


def factor_vae_score(
    codes: GridCodes | ArrayLike,
    factors: ArrayLike | None = None,
    *,
    num_train: int = 10_000,
    num_eval: int = 5000,
    batch_size: int = 64,
    num_variance: int = 10_000,
    prune_below: float = 0.05,
    convention: Literal["reference", "paper"] = "reference",
    seed: int = 0,
) -> Intervention:
    """FactorVAE score: does the code that varies least, when a factor is fixed, name that factor?

    A vote is the code with the smallest variance, relative to its variance over all data, in a batch of random examples
    with one value of a factor k. A code predicts the factor that it voted for most often in training; the score is the
    share of correct votes on held-out examples. Chance level is about 1/K; a single factor gives NaN.

    Args:
      codes: `GridCodes` of a source and an encoder, which draws combinations of factors as the reference does; or codes
        [N, D], with batches drawn among these examples.
      factors: Factors [N, K], integers, for codes [N, D].
      num_train: Number of training votes.
      num_eval: Number of test votes.
      batch_size: Number of examples per vote.
      num_variance: Number of random examples for the variances.
      prune_below: Standard deviation below which codes have no vote; constant codes never have one.
      convention: "reference" uses `prune_below` as it is; "paper" uses it relative to the largest deviation, which
        removes the dependence on scale (Kim & Mnih leave out codes that collapsed to the prior, without a number).
      seed: Random seed for the votes.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that the score is undefined.

    Raises:
      ValueError: The errors of `mig`; no factor varies; or a number is below 1.

    Reference: Kim & Mnih (2018), section 5; Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    draws = _draws(codes, factors)
    rng, varying = _checked(draws, num_train, num_eval, batch_size, seed)
    train, test = draws.split()
    if batch_size < 2 or num_variance < 2:
        raise ValueError(f"variances need at least two examples, got {batch_size=} and {num_variance=}")
    if len(varying) < 2:
        return _undefined("FactorVAE score", train, test, len(draws.factor_sizes), num_train, num_eval, batch_size)
    overall = train.any(rng, num_variance).var(axis=0, ddof=1, dtype=np.float64)
    least = prune_below * (np.sqrt(overall.max()) if convention == "paper" else 1)
    active = (np.sqrt(overall) >= least) & (overall > 0)
    votes = np.zeros((2, len(overall), len(draws.factor_sizes)), np.int64)
    for place, (part, number) in enumerate(((train, num_train), (test, num_eval)) if active.any() else ()):
        for n in _blocks(number):
            factor = varying[rng.integers(len(varying), size=n)]
            local = part.alike(rng, factor, batch_size).var(axis=1, ddof=1, dtype=np.float64)
            relative = np.where(active, local / np.where(active, overall, 1), np.inf)
            np.add.at(votes[place], (relative.argmin(axis=1), factor), 1)
    chosen = votes[0].argmax(axis=1)
    right = votes[:, np.arange(len(overall)), chosen].sum(axis=1)
    return Intervention(
        score=float(right[1] / num_eval),
        definition=f"FactorVAE score, {num_train} votes of {batch_size} of {train.size} examples, tested on {num_eval} "
        f"votes of {test.size} others, {convention} convention",
        train_score=float(right[0] / num_train),
        counts=votes[0],
        active_codes=active,
        train_examples=train.size,
        test_examples=test.size,
        num_train=num_train,
        num_eval=num_eval,
        batch_size=batch_size,
    )


def _undefined(
    metric: str, train: Draws, test: Draws, factors: int, num_train: int, num_eval: int, batch_size: int
) -> Intervention:
    """Returns the undefined score (NaN) of a single factor, and warns: any code would name that factor."""
    warnings.warn(f"{metric} needs two factors that vary, and these examples have one", stacklevel=3)
    return Intervention(
        score=float("nan"),
        definition=f"{metric}, undefined for one factor",
        train_score=float("nan"),
        counts=np.zeros((0, factors), np.int64),
        active_codes=np.zeros(0, bool),
        train_examples=train.size,
        test_examples=test.size,
        num_train=num_train,
        num_eval=num_eval,
        batch_size=batch_size,
    )


def _draws(codes: GridCodes | ArrayLike, factors: ArrayLike | None) -> Draws:
    if isinstance(codes, GridCodes):
        return codes
    if factors is None:
        raise ValueError("codes [N, D] need the factors [N, K] of their examples")
    return SampledCodes(codes, factors)


def _checked(
    draws: Draws, num_train: int, num_eval: int, batch_size: int, seed: int
) -> tuple[np.random.Generator, Array[np.int64]]:
    """Returns a random generator, and the factors that vary."""
    if min(num_train, num_eval, batch_size) < 1:
        raise ValueError(
            f"num_train, num_eval and batch_size must be at least 1, got {num_train}, {num_eval}, {batch_size}"
        )
    varying = np.flatnonzero(np.asarray(draws.factor_sizes) > 1)
    if not len(varying):
        raise ValueError(f"every factor is constant in a grid of {draws.factor_sizes}")
    return np.random.default_rng(seed), varying


def _blocks(count: int) -> list[int]:
    return [min(BLOCK, count - first) for first in range(0, count, BLOCK)]
