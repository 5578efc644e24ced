"""Findings of Locatello et al. (2019), by the figures of their sections, and whether a table reproduces them."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

from jaxvae.metrics import mig
from jaxvae.study.statistics import Rows, bootstrap, column, rank_correlation, transfer, variance_shares

METRICS = {
    "mean/mig": "MIG",
    "mean/sap": "SAP",
    "mean/dci": "DCI",
    "mean/modularity": "modularity",
    "mean/beta_vae_score": "BetaVAE score",
    "mean/factor_vae_score": "FactorVAE score",
}
"""Names of metrics by their columns."""
UNSUPERVISED = {
    "train/reconstruction": "reconstruction",
    "train/kl": "KL",
    "elbo": "minus ELBO",
    "mean/gaussian_total_correlation": "total correlation of means",
    "mean/gaussian_wasserstein_correlation": "Wasserstein correlation",
    "mean/mutual_information_score": "mutual information of latents",
}
"""Scores that need no labels."""
DOWNSTREAM = {
    f"downstream/{learner}/{labels}": f"{learner}, {labels if labels == 'efficiency' else f'{labels} labels'}"
    for learner in ("logistic", "trees")
    for labels in ("10", "100", "1000", "10000", "efficiency")
}
"""Names of downstream accuracies by their columns. The efficiency is the accuracy with 100 labels divided by the
accuracy with the largest number of labels."""
CORRELATED = 0.5
"""Rank correlation above which a score could be used for model selection."""


class Finding(NamedTuple):
    """A claim of the study, with the numbers of the table that support or contradict it."""

    claim: str
    outcome: str
    """"shown", "not shown" or "not testable at this scale"."""
    numbers: str


def with_elbo(rows: Rows) -> list[dict[str, object]]:
    """Adds the negative evidence lower bound, in nats per image, to the rows as "elbo"."""
    elbo = column(rows, "train/reconstruction") + column(rows, "train/kl")
    return [{**row, "elbo": float(value)} for row, value in zip(rows, elbo, strict=True)]


def findings(rows: Rows) -> list[Finding]:
    """Evaluates every claim of the study on the rows of a merged table."""
    rows = with_elbo(rows)
    return [
        _correlation_of_codes(rows, "sampled", falls=True),
        _correlation_of_codes(rows, "mean", falls=False),
        _agreement(rows),
        _variance(rows),
        _selection(rows),
        _transfer(rows),
        _downstream(rows),
    ]


def data_of(rows: Rows) -> list[str]:
    """Returns the data sets of the rows, in order."""
    return list(dict.fromkeys(row["data"] for row in rows))


def pick(rows: Rows, **where: object) -> Rows:
    """Selects the rows whose columns have these values."""
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def strength_effect(rows: Rows, name: str) -> np.ndarray:
    """Computes the number at the largest strength minus the number at the smallest, for every data set, method and
    seed: float [models].
    """
    found = []
    for data in data_of(rows):
        for method in dict.fromkeys(row["method"] for row in rows):
            part = pick(rows, data=data, method=method)
            strengths = sorted({row["strength"] for row in part})
            for seed in dict.fromkeys(row["seed"] for row in part):
                ends = [pick(part, strength=strength, seed=seed) for strength in (strengths[-1], strengths[0])]
                if all(ends):
                    high, low = (column(end, name)[0] for end in ends)
                    found.append(high - low)
    return np.array(found)


def correlations(rows: Rows, data: str, ones: Iterable[str], others: Iterable[str] = tuple(METRICS)) -> np.ndarray:
    """Computes rank correlations of columns over the models of a data set: [ones, others]."""
    part = pick(rows, data=data)
    return np.array([[rank_correlation(column(part, one), column(part, other)) for other in others] for one in ones])


def transfer_shares(rows: Rows) -> dict[tuple[str, str], float]:
    """Computes how often a setting that is chosen by a metric beats a random one, see `transfer`.

    Returns:
      Means over metrics and data sets, by whether the metric, and the data, are the "same" or "other" ones.
    """
    names, sets = list(METRICS), data_of(rows)
    cells: dict[tuple[str, str], list[float]] = {}
    for by in names:
        for target in names:
            for of in sets:
                for to in sets:
                    key = ("same" if by == target else "other", "same" if of == to else "other")
                    cells.setdefault(key, []).append(transfer(rows, by=by, of=of, target=target, to=to))
    return {key: float(np.nanmean(values)) if np.isfinite(values).any() else np.nan for key, values in cells.items()}


def theorem(samples: int = 20_000, seed: int = 0) -> dict[str, float]:
    """Illustrates the impossibility theorem by codes z ~ N(0, I), and z rotated by 45 degrees.

    Both have the same distribution. A decoder, and the same decoder preceded by the inverse rotation, therefore
    generate the same images with the same likelihood. With z as the factors, however, only one of the codes is
    disentangled.

    Args:
      samples: Number of codes.
      seed: Random seed of the codes.

    Returns:
      "mig" and "mig turned", the MIG of the two codes, and "p", the smallest p-value of Kolmogorov-Smirnov tests of the
      normality of the rotated latents.
    """
    z = np.asarray(jax.random.normal(jax.random.key(seed), (samples, 2)), np.float64)
    turned = z @ np.array([[1, 1], [-1, 1]]) / 2**0.5
    factors = np.stack([np.digitize(column, stats.norm.ppf(np.arange(1, 10) / 10)) for column in z.T], axis=1)
    return {
        "mig": mig(z, factors).score,
        "mig turned": mig(turned, factors).score,
        "p": float(min(stats.kstest(column, "norm").pvalue for column in turned.T)),
    }


def _correlation_of_codes(rows: Rows, kind: str, *, falls: bool) -> Finding:
    # AnnealedVAE is left out, because its strengths are capacities, and a larger capacity means less regularization.
    # (From memory, the study's figure does not show it either.)
    others = [row for row in rows if row["method"] != "annealed-vae"]
    change = bootstrap(strength_effect(others, f"{kind}/gaussian_total_correlation"))
    claim = (
        "The stronger the regulariser, the less correlated are sampled codes"
        if falls
        else "The total correlation of mean codes does not fall with it, and often rises"
    )
    outcome = _outcome((change.high < 0) == falls, change.high)
    return Finding(claim, outcome, f"from the weakest to the strongest, {change} nats, without AnnealedVAE")


def _agreement(rows: Rows) -> Finding:
    names = list(METRICS.values())
    others: list[float] = []
    odd: list[float] = []
    for data in data_of(rows):
        matrix = correlations(rows, data, METRICS)
        for i, j in combinations(range(len(names)), 2):
            (odd if "modularity" in (names[i], names[j]) else others).append(matrix[i, j])
    agree, modularity = bootstrap(np.array(others)), bootstrap(np.array(odd))
    return Finding(
        "Metrics agree in how they rank models, but for modularity",
        _outcome(agree.low > 0 and modularity.value < agree.value, agree.low, modularity.value),
        f"mean rank correlation {agree}, of modularity with the others {modularity}",
    )


def _variance(rows: Rows) -> Finding:
    shares = [variance_shares(pick(rows, data=data), name) for data in data_of(rows) for name in METRICS]
    method, strength, seed = (bootstrap(np.array(part)) for part in zip(*shares, strict=True))
    return Finding(
        "Strength and seed matter more than the objective (published: objective 37 %, with strength 59 %)",
        _outcome(method.value < 0.5, method.value),
        f"shares of variance, means over metrics and data: objective {method}, strength {strength}, seed {seed}",
    )


def _selection(rows: Rows) -> Finding:
    spans = _spans(rows, UNSUPERVISED, METRICS)
    # A reliable score has large correlations of the same sign with every metric on all data.
    reliable = [name for name, (low, high) in spans.items() if low > CORRELATED or high < -CORRELATED]
    return Finding(
        "No score without labels tells which models are disentangled",
        _outcome(not reliable, *np.ravel(list(spans.values()) or np.nan)),
        f"rank correlations with the metrics on all data: {_ranges(spans)}",
    )


def _downstream(rows: Rows) -> Finding:
    efficiencies = [name for name in DOWNSTREAM if name.endswith("efficiency")]
    spans = _spans(rows, METRICS, efficiencies)
    helps = [name for name, (low, _) in spans.items() if low > CORRELATED]
    most = _spans(rows, METRICS, [name for name in DOWNSTREAM if name.endswith("/1000")])
    return Finding(
        "Disentangled codes do not make learning downstream need fewer examples",
        _outcome(not helps, *np.ravel(list(spans.values()) or np.nan)),
        "rank correlations of metrics with accuracy at 100 labels over that at the most, both learners, all data: "
        f"{_ranges(spans)}; with accuracy at 1,000 labels: {_ranges(most)}",
    )


def _spans(rows: Rows, ones: Mapping[str, str], others: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Returns the smallest and the largest rank correlation with the others on all data, by name, if any is known."""
    matrices = np.stack([correlations(rows, data, ones, others) for data in data_of(rows)])
    known = {
        name: values[np.isfinite(values)] for name, values in zip(ones.values(), matrices.swapaxes(0, 1), strict=True)
    }
    return {name: (float(values.min()), float(values.max())) for name, values in known.items() if len(values)}


def _ranges(spans: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in spans.items()) or "unknown"


def _transfer(rows: Rows) -> Finding:
    shares = transfer_shares(rows)
    published = {("same", "same"): 80.7, ("same", "other"): 59.3, ("other", "same"): 62.6, ("other", "other"): 54.9}
    known = {key: shares.get(key, np.nan) for key in published}
    told = ", ".join(
        f"{metric} metric on {data} data {100 * known[metric, data]:.0f} % ({percent} % published)"
        for (metric, data), percent in published.items()
        if np.isfinite(known[metric, data])
    )
    best, least = known["same", "same"], min(known.values())
    return Finding(
        "A setting that was good beats a random one more often than not, less so by another metric or on other data",
        _outcome(least > 0.5 and best == max(known.values()), *known.values()),
        told,
    )


def _outcome(shown: bool, *numbers: float) -> str:
    """Returns the outcome of a claim, which is not testable if one of the numbers is not finite."""
    if not np.isfinite(numbers).all():
        return "not testable at this scale"
    return "shown" if shown else "not shown"
