"""Scores that hold a factor fixed: the BetaVAE score and the FactorVAE score, and codes that are encoded only once."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from sklearn.linear_model import LogisticRegression

from jaxvae.metrics.draws import BLOCK, Divisible, Draws, GridCodes, SampledCodes
from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import CONVENTIONS, choose
from jaxvae.metrics.results import Result


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
    """BetaVAE score: accuracy of predicting the factor that pairs of examples share from the differences of codes.

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
        predicted = in_threads(LogisticRegression().fit, [(x[:num_train], y[:num_train])])[0].predict(x)
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
    """FactorVAE score: accuracy of predicting the factor that is fixed in a batch from the code that varies least.

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


def _draws(codes: GridCodes | ArrayLike, factors: ArrayLike | None) -> Divisible:
    if isinstance(codes, GridCodes):
        return codes
    if factors is None:
        raise ValueError("codes [N, D] need the factors [N, K] of their examples")
    return SampledCodes(codes, factors)


def _checked(
    draws: Divisible, num_train: int, num_eval: int, batch_size: int, seed: int
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
