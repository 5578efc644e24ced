"""MIG, MIG-sup, JEMMIG and DCIMIG against tables of the review's public code and of the formulas, to six digits."""

import math

import numpy as np
import pytest
from review_cases import CASES, GOLDEN, case

from jaxvae.metrics import Binning, dcimig, information, information_gaps, jemmig, med, mig, mig_sup, modularity

TEN = {"num_bins": 10, "binning": Binning(10)}
BITS = math.log(2)


@pytest.mark.parametrize("name", CASES)
def test_every_form_has_the_tables_number(name):
    codes, factors = case(name)
    table, review = GOLDEN["information"][name], GOLDEN["review_information"][name]
    gaps = jemmig(codes, factors, **TEN)
    found = {
        "mig/code": mig(codes, factors, normalise="code", **TEN).score,
        "mig/factor": mig(codes, factors, **TEN).score,
        "mig/none_bits": mig(codes, factors, normalise="none", **TEN).score / BITS,
        "migsup/code": mig_sup(codes, factors, normalise="code", **TEN).score,
        "migsup/factor": mig_sup(codes, factors, **TEN).score,
        "migsup/none_bits": mig_sup(codes, factors, normalise="none", **TEN).score / BITS,
        "jemmig_ubi": gaps.score,
        "jemmig_raw_bits": gaps.per_factor.mean() / BITS,
        "dcimig_ubi": dcimig(codes, factors, **TEN).score,
        "dcimig_mean": dcimig(codes, factors, weighting="uniform", **TEN).score,
    }
    assert found == pytest.approx(table, abs=6e-7)
    assert [found[key] for key in ("mig/code", "migsup/code", "jemmig_ubi", "dcimig_ubi")] == pytest.approx(
        [review[key] for key in ("mig", "mig_sup", "jemmig", "dcimig")], abs=6e-7
    )
    assert modularity(codes, factors, **TEN).score == pytest.approx(review["modularity"], abs=6e-7)


def test_one_pass_gives_all_four():
    codes, factors = case("discrete_3_4_10")
    found = information_gaps(codes, factors, num_bins=10)
    for result, metric in zip(found, (mig, mig_sup, jemmig, dcimig), strict=True):
        alone = metric(codes, factors, num_bins=10)
        assert result.to_json() == alone.to_json()


@pytest.fixture
def passes(monkeypatch):
    """Examples of which tables were counted: shapes of the codes."""
    counted, count = [], information._counted
    monkeypatch.setattr(information, "_kept", {})
    monkeypatch.setattr(
        information, "_counted", lambda data, bins: counted.append(data.codes.shape) or count(data, bins)
    )
    return counted


def test_metrics_of_the_same_examples_share_one_pass(passes):
    codes, factors = case("discrete_3_4_10")
    alone = [metric(codes, factors).to_json() for metric in (mig, mig_sup, jemmig, dcimig, med)]
    assert passes == [(2000, 5)]
    mig(codes, factors).mutual_information[:] = mig_sup(codes, factors).code_entropy[:] = 7
    assert [metric(codes, factors).to_json() for metric in (mig, mig_sup, jemmig, dcimig, med)] == alone
    assert len(passes) == 1
    mig(codes, factors, num_bins=10)
    mig(codes[::-1], factors)
    mig(codes, factors[::-1])
    mig(codes[:, ::-1].reshape(1000, 10), factors[:1000])
    assert passes[1:] == [(2000, 5)] * 3 + [(1000, 10)]


def test_the_last_examples_are_kept(passes):
    codes, factors = case("discrete_3_4_10")
    for first in (*range(information.KEPT), 0, information.KEPT, 0, 1):
        mig(codes[first : first + 50], factors[first : first + 50])
    assert len(information._kept) == information.KEPT
    assert len(passes) == information.KEPT + 2  # a new one, in place of number 1


def test_the_two_forms_of_jemmig_go_in_opposite_directions():
    codes, factors = case("noise0.2")
    assert jemmig(codes, factors, **TEN).score + jemmig(codes, factors, form="authors", **TEN).score == pytest.approx(1)


def test_what_is_reported_suffices_for_every_normalisation():
    codes, factors = case("discrete_3_4_10")
    for metric in (mig, dcimig):
        found = metric(codes, factors, num_bins=10)
        first, second = np.sort(found.mutual_information / found.code_entropy[:, None], axis=0)[[-1, -2]]
        assert (first - second).mean() == pytest.approx(GOLDEN["information"]["discrete_3_4_10"]["mig/code"], abs=6e-7)


def test_codes_of_little_variance_are_left_out():
    codes, factors = case("discrete_3_4_10")
    dead = np.concatenate([codes, 0.05 * codes[:, -1:]], axis=1)
    assert mig_sup(dead, factors).score < mig_sup(codes, factors).score
    alive = mig_sup(codes, factors, convention="paper").score
    assert mig_sup(dead, factors, convention="paper").score == pytest.approx(alive)
    assert mig_sup(np.zeros((2000, 2)), factors, convention="paper").score == 0


@pytest.mark.parametrize("metric", [mig_sup, dcimig])
def test_a_single_factor_can_not_be_compared(metric):
    codes, factors = case("discrete_3_4_10")
    with pytest.warns(UserWarning, match="needs two factors that vary"):
        assert math.isnan(metric(codes, factors[:, :1]).score)


@pytest.mark.parametrize(
    ("metric", "settings"),
    [
        (mig, {"normalise": "bits"}),
        (mig_sup, {"convention": "old"}),
        (jemmig, {"form": "x"}),
        (dcimig, {"weighting": "x"}),
    ],
)
def test_words_that_do_not_exist_are_refused(metric, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be .* or .*, got"):
        metric(*case("discrete_3_4_10"), **settings)
