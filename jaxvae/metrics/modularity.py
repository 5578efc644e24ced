"""Modularity and explicitness."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import (
    CONVENTIONS,
    Binning,
    choose,
    enough_factors,
    examples,
    known_rows,
    rows_in_words,
    split_rows,
    warn_of_fine_factors,
)
from jaxvae.metrics.mutual_information import discretise, mutual_information_matrix
from jaxvae.metrics.results import Result


@dataclass(frozen=True, eq=False)
class Modularity(Result):
    """Modularity as the score, with the quantities that it is computed from."""

    per_code: np.ndarray
    """Modularity of each code [D]; 0 for codes without information."""
    mutual_information: np.ndarray
    """Mutual information of binned codes and factors in nats [D, K]; NaN for ignored factors."""
    informed_codes: int
    """Number of codes with any information."""
    ignored_factors: tuple[int, ...]
    num_bins: int
    num_samples: int


@dataclass(frozen=True, eq=False)
class Explicitness(Result):
    """Explicitness as the score, with the quantities that it is computed from."""

    train_score: float
    per_factor: np.ndarray
    """Area under the ROC curve on the test rows, averaged over the factor's values [K]; NaN for ignored factors."""
    ignored_factors: tuple[int, ...]
    num_samples: int
    num_train: int
    """Number of training rows."""
    num_test: int
    """Number of test rows, which are disjoint from the training rows unless train_fraction is None."""


def modularity(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    convention: Literal["reference", "paper"] = "reference",
    binning: Binning | None = None,
) -> Modularity:
    """Modularity: whether each code is informative about a single factor only.

    For code d with mutual informations m[d, k] and t = max_k m^2, it is 1 - (sum_k m^2 - t) / (t (K - 1)), and the
    score is the mean over codes. Noise does not score 0 (its floor depends on the number of examples), and one factor
    gives NaN.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      num_bins: Number of bins per code, of equal width.
      convention: Convention: "reference" counts codes without any information as 0; "paper" leaves them out.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out, or has more values than there are bins; or only one factor varies,
        so that modularity is undefined.

    Raises:
      ValueError: The errors of `mig`.

    Reference: Ridgeway & Mozer (2018); Locatello et al. (2019).
    """
    choose("convention", convention, CONVENTIONS)
    data = examples(codes, factors, binning)
    enough_factors(data, "modularity")
    warn_of_fine_factors(data, num_bins)
    information = mutual_information_matrix(discretise(data.codes, num_bins), data.factors)
    per_code = modularity_of(information)
    informed = information.max(axis=1) > 0
    counted = per_code if convention == "reference" else per_code[informed]
    return Modularity(
        score=float(counted.mean()) if len(counted) else 0.0,
        definition=data.describe(
            f"modularity, {num_bins} bins, codes without information "
            + ("count as 0" if convention == "reference" else "left out")
        ),
        per_code=per_code,
        mutual_information=data.spread(information),
        informed_codes=int(informed.sum()),
        ignored_factors=data.ignored_factors,
        num_bins=num_bins,
        num_samples=len(data.codes),
    )


def modularity_of(information: Array[np.float64]) -> Array[np.float64]:
    """Computes the modularity of each code [D] from a mutual information matrix [D, K].

    It is 0 for codes without information, and NaN for a single factor.
    """
    if information.shape[1] < 2:
        return np.full(len(information), np.nan)
    squared = information**2
    top = squared.max(axis=1)
    rest = (squared.sum(axis=1) - top) / (np.where(top > 0, top, 1) * (information.shape[1] - 1))
    return np.where(top > 0, 1 - rest, 0)


def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    per: Literal["factor", "class"] = "factor",
    train_fraction: float | None = 2 / 3,
    shuffle: bool = True,
    binning: Binning | None = None,
) -> Explicitness:
    """Explicitness: how well a linear classifier predicts each factor from all codes.

    A logistic regression (scikit-learn's defaults) is fitted to standardised codes. The score is the area under the ROC
    curve of each value against all others on the test rows, averaged over the values that occur there, then over
    factors. Noise scores 0.5. A value that does not occur in training gets the probability 0 everywhere, and thus
    scores 0.5. (In the reference, it shifts the other values.)

    There is one multinomial regression per factor, or one of two balanced classes per value. The latter does not find
    the middle values of an ordered factor, which no line separates from the others on both sides: perfect codes of a
    uniform factor in 10 bins score 0.78. The review's public code scores the training rows and reports 2 (score - 0.5);
    its form per factor takes balanced regressions of one value against the others, of codes in [0, 1], whose
    probabilities are made to sum to 1.

    Args:
      codes: Codes [N, D], real.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      per: Whether a regression is fitted per "factor" or per "class".
      train_fraction: Share of the rows to train on; the other rows are for testing. None trains and tests on all rows,
        as the review's code does.
      shuffle: Whether to draw the training rows at random; otherwise, they are the first ones, as in the reference.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Raises:
      ValueError: The errors of `mig`; or the rows cannot be split.

    Reference: Ridgeway & Mozer (2018); Locatello et al. (2019); Carbonneau et al. (2020).
    """
    choose("per", per, ("factor", "class"))
    data = examples(codes, factors, binning)
    everything = np.arange(len(data.codes))
    train, test = (
        (everything, everything) if train_fraction is None else split_rows(len(data.codes), train_fraction, shuffle)
    )
    deviation = data.codes[train].std(axis=0)
    scaled = (data.codes - data.codes[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    areas_of = _areas if per == "factor" else _areas_per_class
    parts = in_threads(areas_of, [(scaled, factor, train, test) for factor in data.factors.T])
    areas = np.array(parts)
    return Explicitness(
        score=float(areas[:, 1].mean()),
        definition=data.describe(
            f"explicitness, {'one-vs-rest AUC' if per == 'factor' else 'AUC of a classifier per value'}, "
            f"{rows_in_words(train, test)}"
        ),
        train_score=float(areas[:, 0].mean()),
        per_factor=data.spread(areas[:, 1]),
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
        num_train=len(train),
        num_test=len(test),
    )


def _areas(
    codes: Array[np.float64], factor: Array[np.int64], train: Array[np.int64], test: Array[np.int64]
) -> tuple[float, float]:
    train, test = known_rows(factor, train), known_rows(factor, test)
    if len(set(factor[train])) < 2:
        return 0.5, 0.5
    model = LogisticRegression().fit(codes[train], factor[train])
    return _area(model, codes[train], factor[train]), _area(model, codes[test], factor[test])


def _areas_per_class(
    codes: Array[np.float64], factor: Array[np.int64], train: Array[np.int64], test: Array[np.int64]
) -> tuple[float, float]:
    train, test = known_rows(factor, train), known_rows(factor, test)
    models = {
        value: LogisticRegression(class_weight="balanced").fit(codes[train], factor[train] == value)
        for value in np.unique(factor[train])
        if (factor[train] != value).any()
    }

    def area(rows: Array[np.int64]) -> float:
        values = np.unique(factor[rows])
        if len(values) < 2:
            return 0.5
        known = [value for value in values if value in models]
        areas = [roc_auc_score(factor[rows] == v, models[v].decision_function(codes[rows])) for v in known]
        return float(np.mean(areas + [0.5] * (len(values) - len(known))))

    return area(train), area(test)


def _area(model: LogisticRegression, codes: Array[np.float64], factor: Array[np.int64]) -> float:
    values = np.unique(factor)
    if len(values) < 2:
        return 0.5
    probability = np.zeros((len(codes), max(int(values.max()), int(model.classes_.max())) + 1))
    probability[:, model.classes_] = model.predict_proba(codes)
    return float(np.mean([roc_auc_score(factor == value, probability[:, value]) for value in values]))
