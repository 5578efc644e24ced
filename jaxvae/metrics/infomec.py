"""InfoM, InfoE, InfoC: modularity, explicitness and compactness from mutual information."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from scipy.special import digamma
from sklearn.linear_model import LogisticRegression

from jaxvae.metrics.fitting import in_threads
from jaxvae.metrics.inputs import CONVENTIONS, Binning, choose, examples, known_rows, rows_in_words, split_rows
from jaxvae.metrics.mutual_information import contingency, entropy, plug_in_mutual_information
from jaxvae.metrics.results import Result

Active = Literal["range/20", "range/8", "iqr/10"]
LEAST_QUARTILES = 0.1
"""Interquartile range up to which discrete codes are not active by the rule "iqr/10", for codes in [-1, 1]."""

OVERFIT = 0.1
"""Relative excess of a cross entropy over that of guessing at which a warning is given."""


@dataclass(frozen=True, eq=False)
class InfoMEC(Result):
    """InfoM as the score, with InfoE, InfoC and the quantities that they are computed from."""

    infom: float
    infoe: float
    infoc: float
    normalised_information: np.ndarray
    """Mutual information divided by the factor's entropy [K, D]; NaN for ignored factors."""
    active: np.ndarray
    """Mask of the codes that are counted in InfoM and InfoC [D]."""
    ignored_factors: tuple[int, ...]
    num_samples: int
    num_train: int
    """Number of training rows of InfoE."""
    num_test: int
    """Number of test rows of InfoE."""


def infomec(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    neighbours: int = 10,
    active: Active = "range/20",
    discrete_codes: bool = False,
    train_fraction: float | None = 2 / 3,
    convention: Literal["reference", "paper"] = "reference",
    seed: int = 0,
    binning: Binning | None = None,
) -> InfoMEC:
    """InfoM, InfoE and InfoC: modularity, explicitness and compactness from mutual information.

    NMI[k, d] = I(y_k; z_d) / H(y_k) is estimated by nearest neighbours (Ross, 2014). It is used for the A active codes,
    whose range is above 1/20 of the largest by default:

        InfoM = (mean_d max_k NMI / sum_k NMI - 1/K) / (1 - 1/K)
        InfoC = (mean_k max_d NMI / sum_d NMI - 1/A) / (1 - 1/A)
        InfoE = mean_k 1 - CE_k / log S_k

    CE_k is the cross entropy, on rows that were not learned from, of an unpenalised, class-balanced logistic regression
    from all codes; a factor that it predicts worse than guessing counts as 0. Without information InfoM and InfoC are
    not near 0: read them beside InfoE.

    Four public codes compute four different scores under this name. Scores can only be compared within one of them:

        code                                  neighbours  active
        latent_quantization, standalone file  10          range/20
        latent_quantization, training logs    3           range/8
        Tripod                                10          iqr/10
        FactorQVAE (samples of posteriors)    3           range/20

    All of them evaluate InfoE on the rows that the regression learned from: `train_fraction=None`.

    Args:
      codes: Codes [N, D], real, or integers with `discrete_codes`.
      factors: Factors [N, K], integers, with NaN or None where a value is missing.
      neighbours: Number of neighbours of the estimate of information.
      active: Rule for active codes: the range is above 1/20 or 1/8 of the largest range, or the interquartile range is
        above 1/10 of the largest. Of discrete codes, those are active whose range is above 0, above 1/8 of the largest
        range, or whose interquartile range is above 0.1.
      discrete_codes: Whether codes are categories, each value one, with plug-in information and one column per category
        in the regression. The rules for active codes are about the values, as those of a grid in [-1, 1].
      train_fraction: Share of the rows, drawn at random, that the regression is trained on; the other rows are for
        testing. None trains on all rows and computes CE_k on the same rows, as the reference does.
      convention: Convention: "reference" has NaN if an active code has no information about any factor; "paper" leaves
        such codes out.
      seed: Random seed for the tiny noise (relative 1e-10) that breaks ties.
      binning: Bins of factors that are not whole numbers, which are refused without it.

    Warns:
      UserWarning: A factor is constant and left out; InfoM is undefined; or the regression of InfoE is far worse than
        guessing, as one of many columns on few rows is.

    Raises:
      ValueError: The errors of `mig`; or a discrete code has a value of its own in most rows.

    Reference: Hsu et al. (2023), sections 3 and A.
    """
    choose("convention", convention, CONVENTIONS)
    choose("active", active, ("range/20", "range/8", "iqr/10"))
    data = examples(codes, factors, binning)
    kinds = np.stack([np.unique(code, return_inverse=True)[1] for code in data.codes.T], axis=1)
    if discrete_codes:
        if (different := int(kinds.max()) + 1) > max(2, len(kinds) // 2):
            raise ValueError(f"a discrete code has few values, and one here has {different} in {len(kinds)} rows")
        information = np.array(
            [[plug_in_mutual_information(contingency(y, z)) for z in kinds.T] for y in data.factors.T]
        )
    else:
        information = neighbour_information(data.codes, data.factors, neighbours, np.random.default_rng(seed)).T
    normalised = information / entropy(data.factors)[:, None]
    mask = _active(data.codes, active, discrete_codes)
    counted = mask & (normalised.sum(axis=0) > 0) if convention == "paper" else mask
    everything = np.arange(len(data.codes))
    train, test = (everything, everything) if train_fraction is None else split_rows(len(data.codes), train_fraction)
    infom, infoc = _gap(normalised[:, counted].T), _gap(normalised[:, counted])
    if np.isnan(infom):
        warnings.warn(
            "InfoM is undefined: there is one factor, no active code, or an active code without information "
            '(convention="paper" leaves such codes out)',
            stacklevel=2,
        )
    return InfoMEC(
        score=infom,
        definition=data.describe(
            f"InfoM, {'plug-in' if discrete_codes else f'{neighbours} neighbours'}, "
            f"{'' if active == 'range/20' else f'active by {active}, '}{convention} convention; "
            f"InfoE from {rows_in_words(train, test)}"
        ),
        infom=infom,
        infoe=_explicitness(data.codes, kinds, data.factors, discrete_codes, train, test),
        infoc=infoc,
        normalised_information=data.spread(normalised.T).T,
        active=mask,
        ignored_factors=data.ignored_factors,
        num_samples=len(data.codes),
        num_train=len(train),
        num_test=len(test),
    )


def _active(codes: Array[np.float64], rule: Active, discrete: bool) -> Array[np.bool_]:
    """Finds the active codes [D] by a rule of `infomec`."""
    if rule == "iqr/10":
        low, high = np.quantile(codes, [0.25, 0.75], axis=0)
        return high - low > (LEAST_QUARTILES if discrete else (high - low).max() / 10)
    ranges = np.ptp(codes, axis=0)
    if rule == "range/8":
        return ranges > ranges.max() / 8
    return ranges > (0 if discrete else ranges.max() * (1 / 20))


def neighbour_information(
    codes: Array[np.float64], factors: Array[np.int64], neighbours: int, rng: np.random.Generator
) -> Array[np.float64]:
    """Estimates mutual information of real codes [N, D] and discrete factors [N, K], nats [D, K], clipped at 0 (Ross,
    2014).

    Within each value of the factor, r is the distance of a code to its k-th nearest code with the same value (k is at
    most the number of others with it). Let m be the number of codes with any value that are nearer than r, including
    the code itself. Then I = psi(N) + mean(psi(k) - psi(n_value) - psi(m)). Values with one example are left out.
    One-dimensional codes are sorted, so that no pairwise comparison is needed.
    """
    noisy = codes / np.where(codes.std(axis=0) > 0, codes.std(axis=0), 1)
    noisy = noisy + 1e-10 * np.maximum(1, np.abs(noisy).mean(axis=0)) * rng.standard_normal(noisy.shape)
    orders = np.argsort(noisy, axis=0, kind="stable")
    information = np.zeros((codes.shape[1], factors.shape[1]))
    for d, order in enumerate(orders.T):
        for k, factor in enumerate(factors.T):
            information[d, k] = _neighbour_information(noisy[order, d], factor[order], neighbours)
    return information


def _neighbour_information(code: Array[np.float64], factor: Array[np.int64], neighbours: int) -> float:
    """Estimates the mutual information of a sorted code [N] and a factor [N], nats. Missing values are left out."""
    if factor.min() < 0:
        code, factor = code[factor >= 0], factor[factor >= 0]
    counts = np.bincount(factor)
    several = counts[factor] > 1
    code, factor = code[several], factor[several]
    if len(code) == 0:
        return 0.0
    distance, nearest = np.empty(len(code)), np.empty(len(code))
    for value in np.unique(factor):
        rows = factor == value
        nearest[rows] = k = min(neighbours, counts[value] - 1)
        distance[rows] = _distance_to(code[rows], k)
    # The k-th neighbour itself lies outside, whatever the rounding of code + distance.
    inside = distance * (1 - 1e-12) - 4 * np.finfo(np.float64).eps * np.abs(code)
    within = np.searchsorted(code, code + inside, "right") - np.searchsorted(code, code - inside, "left")
    terms = digamma(nearest) - digamma(counts[factor]) - digamma(np.maximum(within, 1))
    return max(0.0, float(digamma(len(code)) + terms.mean()))


def _distance_to(code: Array[np.float64], k: int) -> Array[np.float64]:
    """Computes the distance of each entry of a sorted column to its k-th nearest other entry."""
    padded = np.concatenate([np.full(k, -np.inf), code, np.full(k, np.inf)])
    left = np.arange(len(code))
    return np.min(
        [np.maximum(code - padded[left + shift], padded[left + shift + k] - code) for shift in range(k + 1)], axis=0
    )


def _gap(normalised: Array[np.float64]) -> float:
    """Computes the row mean of largest entry / sum, rescaled so that an even spread gives 0; NaN if it is undefined."""
    rows, columns = normalised.shape
    total = normalised.sum(axis=1)
    if rows == 0 or columns < 2 or (total == 0).any():
        return float("nan")
    return float(((normalised.max(axis=1) / total).mean() - 1 / columns) / (1 - 1 / columns))


def _explicitness(
    codes: Array[np.float64],
    kinds: Array[np.int64],
    factors: Array[np.int64],
    discrete_codes: bool,
    train: Array[np.int64],
    test: Array[np.int64],
) -> float:
    if discrete_codes:
        columns = np.concatenate([np.eye(int(kind.max()) + 1)[kind] for kind in kinds.T], axis=1)
    else:
        deviation = codes[train].std(axis=0)
        columns = (codes - codes[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    gains = np.array(in_threads(_gain, [(columns, factor, train, test) for factor in factors.T]))
    if (gains < -OVERFIT).any():
        warnings.warn(
            f"InfoE counts {(gains < -OVERFIT).sum()} of {len(gains)} factors as 0, whose regression on {len(train)} "
            f"rows and {columns.shape[1]} columns predicts other rows worse than guessing: more rows would help",
            stacklevel=3,
        )
    return float(np.mean(np.maximum(gains, 0)))


def _gain(columns: Array[np.float64], factor: Array[np.int64], train: Array[np.int64], test: Array[np.int64]) -> float:
    """Computes the relative reduction of the cross entropy by a regression, compared with uniform guessing; below 0 if
    guessing is better.
    """
    train, test = known_rows(factor, train), known_rows(factor, test)
    if len(set(factor[train])) < 2:
        return 0.0
    model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(columns[train], factor[train])
    probability = np.zeros((len(test), int(factor.max()) + 1))
    probability[:, model.classes_] = model.predict_proba(columns[test])
    # Without codes, a balanced regression gives all values the same probability.
    nothing = np.log(factor.max() + 1)
    likelihood = probability[np.arange(len(test)), factor[test]]
    loss = -np.log(np.maximum(likelihood, np.finfo(np.float64).eps)).mean()
    return float((nothing - loss) / nothing)
