"""Scores of examples that share factors: the BetaVAE score, the FactorVAE score and its converse, Z-max variance."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from sklearn.linear_model import LogisticRegression

from jaxvae.metrics.draws import BLOCK, Divisible, Draws, GridCodes, SampledCodes
from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import CONVENTIONS, Binning, choose
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
    binning: Binning | None = None,
) -> Intervention:
    """BetaVAE score: accuracy of predicting the factor that pairs of examples share from the differences of codes.

    A point is the mean of |z_1 - z_2| over `batch_size` pairs of random examples that agree in a factor k. Logistic
    regression (scikit-learn's defaults) predicts k; the score is the accuracy on points of held-out examples. Chance
    level is 1/K; a single factor gives NaN.

    Args:
      codes: `GridCodes` of a source and an encoder, which draws combinations of factors as the reference does; or codes
        [N, D], with pairs drawn among these examples.
      factors: Factors [N, K], integers, for codes [N, D], with NaN or None where a value is missing.
      num_train: Number of training points.
      num_eval: Number of test points.
      batch_size: Number of pairs per point.
      convention: "reference" does not scale differences, so that the penalty makes the score depend on the scale of
        codes (a perfect code times 0.01 scores chance); "paper" standardises them (Higgins et al. do not say).
      seed: Random seed for the points.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that the score is undefined.

    Raises:
      ValueError: The errors of `mig`; no factor varies; or a number is below 1.

    Reference: Higgins et al. (2017), section 4; Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    draws = _draws(codes, factors, binning)
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
        f"{num_eval} points of {test.size} others, {convention} convention{draws.note}",
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
    binning: Binning | None = None,
) -> Intervention:
    """FactorVAE score: accuracy of predicting the factor that is fixed in a batch from the code that varies least.

    A vote is the code with the smallest variance, relative to its variance over all data, in a batch of random examples
    with one value of a factor k. A code predicts the factor that it voted for most often in training; the score is the
    share of correct votes on held-out examples. Chance level is about 1/K; a single factor gives NaN.

    Args:
      codes: `GridCodes` of a source and an encoder, which draws combinations of factors as the reference does; or codes
        [N, D], with batches drawn among these examples.
      factors: Factors [N, K], integers, for codes [N, D], with NaN or None where a value is missing.
      num_train: Number of training votes.
      num_eval: Number of test votes.
      batch_size: Number of examples per vote.
      num_variance: Number of random examples for the variances.
      prune_below: Standard deviation below which codes have no vote; constant codes never have one.
      convention: "reference" uses `prune_below` as it is; "paper" uses it relative to the largest deviation, which
        removes the dependence on scale (Kim & Mnih leave out codes that collapsed to the prior, without a number).
      seed: Random seed for the votes.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that the score is undefined.

    Raises:
      ValueError: The errors of `mig`; no factor varies; or a number is below 1.

    Reference: Kim & Mnih (2018), section 5; Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    return _score_of_votes(
        "FactorVAE score",
        _draws(codes, factors, binning),
        lambda part, rng, factor: part.alike(rng, factor, batch_size),
        lambda relative, active: np.where(active, relative, np.inf).argmin(axis=1),
        (num_train, num_eval, batch_size, num_variance),
        prune_below,
        convention,
        seed,
    )


def z_max_variance(
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
    binning: Binning | None = None,
) -> Intervention:
    """Z-max variance: accuracy of predicting the only factor that varies in a batch from the code that varies most.

    A vote is the code with the largest variance, relative to its variance over all data, in a batch of random examples
    that agree in all factors but one. Otherwise, this is the FactorVAE score, whose converse it is: a code predicts
    the factor that it voted for most often, and chance level is about 1/K.

    Give `GridCodes`, if there is an encoder. Among codes [N, D], only examples that differ in one factor alone are
    used, which may be few: the review's public code finds none, and returns NaN, for 8 factors in 10 bins and 20,000
    rows. The definition says which of the two a score is. `evaluate`, `score` and `jaxvae.runs` always compute the
    second, of the examples that they score, also where the data are a full grid: votes drawn from it would encode
    nearly all of it.

    The review's code scales the accuracy a to (a - 1/K) / (1 - 1/K), cuts factors into 3 bins or into 10, as the
    function or its configuration has it, and draws some of its numbers without the seed.

    Args:
      codes: `GridCodes` of a source and an encoder, which draws combinations of factors; or codes [N, D], with batches
        drawn among these examples.
      factors: Factors [N, K], integers, for codes [N, D]. Examples with a missing factor (NaN or None) are left out.
      num_train: Number of training votes.
      num_eval: Number of test votes.
      batch_size: Number of examples per vote.
      num_variance: Number of random examples for the variances.
      prune_below: Standard deviation below which codes have no vote; constant codes never have one.
      convention: "reference" uses `prune_below` as it is; "paper" uses it relative to the largest deviation.
      seed: Random seed for the votes.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out; or only one factor varies, so that the score is undefined.

    Raises:
      ValueError: The errors of `mig`; no factor varies; a number is below 1; or no two examples differ in one factor
        alone.

    Reference: Kim et al. (2019, "Relevance Factor VAE"); Carbonneau et al. (2020).
    """
    choose("convention", convention, CONVENTIONS)
    return _score_of_votes(
        "Z-max variance",
        _draws(codes, factors, binning),
        lambda part, rng, factor: part.alike_in_others(rng, factor, batch_size),
        lambda relative, active: np.where(active, relative, -np.inf).argmax(axis=1),
        (num_train, num_eval, batch_size, num_variance),
        prune_below,
        convention,
        seed,
        " of a grid" if isinstance(codes, GridCodes) else " among given examples that differ in one factor alone",
    )


def _score_of_votes(
    name: str,
    draws: Divisible,
    batches: Callable[[Draws, np.random.Generator, Array[np.int64]], Array],
    winner: Callable[[Array[np.float64], Array[np.bool_]], Array[np.int64]],
    numbers: tuple[int, int, int, int],
    prune_below: float,
    convention: str,
    seed: int,
    drawn: str = "",
) -> Intervention:
    """Computes the accuracy of a majority vote of codes.

    Args:
      name: Name of the score.
      draws: Codes to draw from.
      batches: Function (part, rng, factor [n]) -> codes of a batch for each factor [n, L, D].
      winner: Function (relative variances [n, D], mask of the active codes [D]) -> code that each batch votes for [n].
      numbers: Numbers of training votes, test votes, examples per vote, and examples for the variances.
      prune_below: Standard deviation below which codes have no vote.
      convention: Whether `prune_below` is relative ("paper").
      seed: Random seed.
      drawn: What the batches are drawn from, for the definition.
    """
    num_train, num_eval, batch_size, num_variance = numbers
    rng, varying = _checked(draws, num_train, num_eval, batch_size, seed)
    train, test = draws.split()
    if batch_size < 2 or num_variance < 2:
        raise ValueError(f"variances need at least two examples, got {batch_size=} and {num_variance=}")
    if len(varying) < 2:
        return _undefined(name, train, test, len(draws.factor_sizes), num_train, num_eval, batch_size, stacklevel=4)
    overall = train.any(rng, num_variance).var(axis=0, ddof=1, dtype=np.float64)
    least = prune_below * (np.sqrt(overall.max()) if convention == "paper" else 1)
    active = (np.sqrt(overall) >= least) & (overall > 0)
    votes = np.zeros((2, len(overall), len(draws.factor_sizes)), np.int64)
    for place, (part, number) in enumerate(((train, num_train), (test, num_eval)) if active.any() else ()):
        for n in _blocks(number):
            factor = varying[rng.integers(len(varying), size=n)]
            local = batches(part, rng, factor).var(axis=1, ddof=1, dtype=np.float64)
            np.add.at(votes[place], (winner(local / np.where(active, overall, 1), active), factor), 1)
    chosen = votes[0].argmax(axis=1)
    right = votes[:, np.arange(len(overall)), chosen].sum(axis=1)
    return Intervention(
        score=float(right[1] / num_eval),
        definition=f"{name}{drawn}, {num_train} votes of {batch_size} of {train.size} examples, tested on {num_eval} "
        f"votes of {test.size} others, {convention} convention{draws.note}",
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
    metric: str,
    train: Draws,
    test: Draws,
    factors: int,
    num_train: int,
    num_eval: int,
    batch_size: int,
    stacklevel: int = 3,
) -> Intervention:
    """Returns the undefined score (NaN) of a single factor, and warns: any code would name that factor."""
    warnings.warn(f"{metric} needs two factors that vary, and these examples have one", stacklevel=stacklevel)
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


def _draws(codes: GridCodes | ArrayLike, factors: ArrayLike | None, binning: Binning | None) -> Divisible:
    if isinstance(codes, GridCodes):
        return codes
    if factors is None:
        raise ValueError("codes [N, D] need the factors [N, K] of their examples")
    return SampledCodes(codes, factors, binning)


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
