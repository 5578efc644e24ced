"""Continuous factors in every metric: a metric that bins them scores the bins, and its definition says how; the others
take the values as they are."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from jaxvae.metrics import (
    METRICS,
    Binning,
    beta_vae_score,
    dci,
    dci_es,
    downstream,
    explicitness,
    factor_vae_score,
    infomec,
    information_gaps,
    mcc,
    sap,
    z_max_variance,
)

pytestmark = pytest.mark.process  # every metric, several times

ROWS = 300
RNG = np.random.default_rng(0)
VALUES = np.stack([RNG.uniform(size=ROWS), RNG.exponential(size=ROWS), RNG.integers(0, 3, ROWS)], axis=1)
"""Two continuous factors, one of them skewed, and one of whole numbers."""
CODES = VALUES @ np.array([[1, 0.3, 0], [0, 1, 0.2], [0.1, 0, 1]]) + 0.1 * RNG.normal(size=(ROWS, 3))
BINS = 4
WORDS = {"width": "equal width", "quantiles": "about equal counts"}
FEW = {"num_train": 100, "num_eval": 50}


class Case(NamedTuple):
    """A metric with settings that make it fast."""

    metric: object
    bins: bool = True
    """Whether it cuts continuous factors into bins."""


QUICK = {
    "beta_vae_score": partial(beta_vae_score, **FEW),
    "factor_vae_score": partial(factor_vae_score, **FEW),
    "z_max_variance": partial(z_max_variance, **FEW),
    "downstream": partial(downstream, sizes=(100,)),
    "dci_es": partial(dci_es, depths=(1, 2), trees=3),
    "infomec": partial(infomec, convention="paper"),
}
TAKEN_AS_THEY_ARE = ("sap", "mcc")
"""Metrics that need no bins with their default settings."""
CASES = {name: Case(QUICK.get(name, metric), name not in TAKEN_AS_THEY_ARE) for name, metric in METRICS.items()}
CASES |= {
    "sap, discrete": Case(partial(sap, kind="discrete")),
    "dci, lasso": Case(partial(dci, learner="lasso"), bins=False),
    "dci, random-forest": Case(lambda z, y, **more: dci(z[::3], y[::3], learner="random-forest", **more), bins=False),
    "explicitness, per class": Case(partial(explicitness, per="class")),
}


def cut(kind):
    """The factors with the continuous ones in bins, computed without the package."""
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    columns = []
    for column in VALUES[:, :2].T:
        edges = np.quantile(column, inner) if kind == "quantiles" else column.min() + np.ptp(column) * inner
        columns.append(np.digitize(column, edges))
    return np.stack([*columns, VALUES[:, 2]], axis=1).astype(int)


def without_definition(result):
    return {key: value for key, value in result.to_json().items() if key != "definition"}


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bins])
def test_binned_factors_have_the_score_of_their_bins(name, kind):
    metric = CASES[name].metric
    found, expected = metric(CODES, VALUES, binning=Binning(BINS, kind)), metric(CODES, cut(kind))
    assert without_definition(found) == without_definition(expected)
    assert found.definition == f"{expected.definition}, factors 0, 1 cut into {BINS} bins of {WORDS[kind]}"
    with pytest.raises(ValueError, match=r"factors must be whole numbers.*binning=Binning\(10\)"):
        metric(CODES, VALUES)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.bins])
def test_the_others_take_the_values_as_they_are(name):
    """The number of bins has no effect, and the score is not that of the bins."""
    metric = CASES[name].metric
    settings = [{}] if name == "mcc" else [{"binning": Binning(BINS)}, {"binning": Binning(10, "quantiles")}]
    found = [metric(CODES, VALUES, **each) for each in settings]
    assert all(without_definition(each) == without_definition(found[0]) for each in found)
    assert all("cut into" not in each.definition for each in found)
    assert abs(found[0].score - metric(CODES, cut("width")).score) > 1e-3


def test_the_gaps_of_information_bin_once():
    found = information_gaps(CODES, VALUES, binning=Binning(BINS))
    for result, name in zip(found, ("mig", "mig_sup", "jemmig", "dcimig"), strict=True):
        assert result.to_json() == METRICS[name](CODES, VALUES, binning=Binning(BINS)).to_json()


def test_every_metric_of_factors_is_in_the_table():
    assert set(METRICS) <= set(CASES)
    assert mcc(CODES, VALUES).score > 0.9
