"""Metrics of the review besides gaps of information, against its tables and by their formulas."""

from itertools import combinations

import numpy as np
import pytest
from review_cases import CASES, GOLDEN, case
from scipy.special import expit
from scipy.stats import wasserstein_distance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from jaxvae.metrics import (
    Binning,
    GridCodes,
    dci,
    explicitness,
    infomec,
    irs,
    med,
    sap,
    support,
    wasserstein_dependency_gap,
    z_max_variance,
)
from jaxvae.metrics.inputs import examples
from jaxvae.metrics.regressors import lasso
from jaxvae.metrics.support import support_distance

OTHER = GOLDEN["review_other"]
SIZES = (3, 4, 5)
FACTORS = np.tile(np.stack(np.unravel_index(np.random.default_rng(0).permutation(60), SIZES), axis=1), (20, 1))
IDEAL = 2.0 * FACTORS / (np.array(SIZES) - 1) - 1
TURN = np.array([[1, 1], [-1, 1]]) / np.sqrt(2)


QUICK = ("independent", "mix0.5", "discrete_3_4_10")
"""Cases that stand for all where one takes a second."""
LASSO = [name for name in CASES if OTHER[name]["dci_lasso"] is not None]


@pytest.mark.process  # half a second for each case
@pytest.mark.parametrize("name", LASSO)
def test_dci_of_the_lasso(name):
    codes, factors = case(name)
    found = dci(codes, factors, learner="lasso", train_fraction=None, binning=Binning())
    disentanglement, completeness, explained = OTHER[name]["dci_lasso"]
    assert found.disentanglement == pytest.approx(disentanglement, abs=6e-5)
    # The review's completeness is a plain mean over factors.
    assert found.per_factor.mean() == pytest.approx(completeness, abs=6e-5)
    # Its informativeness is max(1 - 12 MSE, 0) of factors in [0, 1], on the rows that were learned from.
    everything = np.arange(len(codes))
    variances = ((factors - factors.min(axis=0)) / np.ptp(factors, axis=0)).var(axis=0)
    shares = [lasso(codes, factor, everything, everything).test for factor in factors.T.astype(float)]
    theirs = [max(1 - 12 * (1 - share) * variance, 0) for share, variance in zip(shares, variances, strict=True)]
    assert np.mean(theirs) == pytest.approx(explained, abs=6e-5)
    assert found.informativeness == pytest.approx(np.mean(shares), abs=1e-12)


def test_a_lasso_without_information():
    """Where the public code crashes: here, few coefficients remain, and they may even be of one code each."""
    found = dci(*case("independent"), learner="lasso", train_fraction=None, binning=Binning())
    assert found.informativeness < 0.01
    assert 0 <= found.completeness <= 1


def test_dci_of_random_forests():
    codes, factors = case("duplicate")
    found = dci(codes[:300], factors[:300, :2], learner="random-forest", binning=Binning())
    assert found.disentanglement > 0.98
    assert found.completeness == pytest.approx(1 - np.log(2) / np.log(8), abs=0.06)
    assert found.informativeness > 0.98
    codes, factors = case("discrete_3_4_10")
    classes, boosted = (dci(codes[:300], factors[:300, :2], learner=name) for name in ("random-forest", "lightgbm"))
    assert classes.informativeness == pytest.approx(boosted.informativeness, abs=0.08)
    assert "random forests, 200 training and 100 test rows" in classes.definition


@pytest.mark.parametrize("name", [name for name in CASES if OTHER[name]["sap_reg"] is not None])
def test_sap_of_continuous_factors(name):
    assert sap(*case(name), binning=Binning()).score == pytest.approx(OTHER[name]["sap_reg"][0], abs=6e-5)


@pytest.mark.parametrize("name", CASES)
def test_irs_with_the_largest_deviation(name):
    found = irs(*case(name), num_bins=10, convention="paper", binning=Binning())
    assert found.score == pytest.approx(OTHER[name]["irs"][0], abs=6e-5)


@pytest.mark.process  # half a second for each case
@pytest.mark.parametrize("name", CASES)
def test_explicitness_per_class_and_per_factor(name):
    codes, factors = case(name)
    settings = {"train_fraction": None, "binning": Binning()}
    per_class = 2 * explicitness(codes, factors, per="class", **settings).score - 1
    assert per_class == pytest.approx(OTHER[name]["expl2"][0], abs=5e-3 if name == "cos_sin" else 2e-4)
    # The review's form per factor is of one value against the others, which orders the middle values less well: see
    # the next test.
    per_factor = 2 * explicitness(codes, factors, **settings).score - 1
    assert OTHER[name]["expl1"][0] - 1e-3 < per_factor < 1


@pytest.mark.process
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_the_reviews_explicitness_per_factor(name):
    """Its regressions, of one value against the others with balanced classes, are of codes scaled to [0, 1]."""
    codes, factors = case(name)
    scaled = (codes - codes.min(axis=0)) / np.ptp(codes, axis=0)
    areas = []
    for factor in examples(codes, factors, Binning()).factors.T:
        values = np.arange(factor.max() + 1)
        models = [LogisticRegression(class_weight="balanced").fit(scaled, factor == value) for value in values]
        probability = expit([model.decision_function(scaled) for model in models])
        probability /= probability.sum(axis=0)
        areas.append(np.mean([roc_auc_score(factor == value, probability[value]) for value in values]))
    assert 2 * np.mean(areas) - 1 == pytest.approx(OTHER[name]["expl1"][0], abs=6e-5)


def test_explicitness_per_class_of_a_value_that_training_never_saw():
    factors = FACTORS.copy()
    factors[(np.arange(1200) < 800) & (factors[:, 2] == 4), 2] = 3
    found = explicitness(IDEAL, factors, per="class", shuffle=False)
    assert 0.6 < found.per_factor[2] < 0.95
    assert explicitness(np.zeros((1200, 2)), FACTORS, per="class").score == 0.5


def test_the_only_factor_that_varies():
    few = {"num_train": 400, "num_eval": 300}
    grid = GridCodes(lambda factors: 2.0 * factors, SIZES)
    whole, some = z_max_variance(grid, **few), z_max_variance(IDEAL, FACTORS, **few)
    assert whole.score == some.score == 1
    assert whole.definition.startswith("Z-max variance of a grid, 400 votes")
    assert some.definition.startswith("Z-max variance among given examples that differ in one factor alone, 400 votes")
    assert (whole.counts.argmax(axis=0) == [0, 1, 2]).all()
    assert (whole.train_examples, whole.test_examples) == (40, 20)
    noise = np.random.default_rng(0).normal(size=(1200, 3))
    assert z_max_variance(noise, FACTORS, **few).score == pytest.approx(1 / 3, abs=0.08)
    turned = np.concatenate([IDEAL[:, :2] @ TURN, IDEAL[:, 2:]], axis=1)
    assert z_max_variance(turned, FACTORS, **few).score < 0.8
    dead = z_max_variance(np.concatenate([IDEAL, 0.001 * noise], axis=1), FACTORS, **few)
    assert dead.active_codes.tolist() == [True] * 3 + [False] * 3
    assert dead.score == 1


def test_no_two_examples_that_differ_in_one_factor_alone():
    diagonal = np.repeat(np.arange(10)[:, None], 3, axis=1)
    with pytest.raises(ValueError, match="differ in factor . alone: give more examples, a grid"):
        z_max_variance(diagonal, diagonal, num_train=10, num_eval=10)
    with pytest.raises(ValueError, match="hardly two of .* differ in factor . alone"):
        z_max_variance(GridCodes(lambda factors: 1.0 * factors, (2, 2)), num_train=10, num_eval=10)


@pytest.mark.parametrize("standardise", [True, False])
def test_the_wasserstein_gap_against_scipy(standardise):
    rng = np.random.default_rng(1)
    factors = rng.integers(3, size=(200, 2))
    codes = factors @ rng.normal(size=(2, 3)) + rng.normal(size=(200, 3))
    found = wasserstein_dependency_gap(codes, factors, num_bins=7, standardise=standardise)
    for d, k in ((0, 0), (2, 1)):
        edges = np.linspace(codes[:, d].min(), codes[:, d].max(), 8)
        centres = (edges[:-1] + edges[1:]) / 2 / (codes[:, d].std() if standardise else 1)
        binned = centres[np.searchsorted(edges[:-1], codes[:, d], side="right") - 1]
        groups = [binned[factors[:, k] == value] for value in range(3)]
        expected = sum(len(group) / 200 * wasserstein_distance(group, binned) for group in groups)
        assert found.dependency[d, k] == pytest.approx(expected)
    first, second = np.sort(found.dependency, axis=0)[[-1, -2]]
    np.testing.assert_allclose(found.per_factor, first - second)
    assert "codes as they are" not in found.definition or not standardise


def test_the_wasserstein_gap_of_perfect_codes():
    halves = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (50, 1))
    assert wasserstein_dependency_gap(halves, halves).score == pytest.approx(0.95)  # 19 of 20 bins apart
    assert wasserstein_dependency_gap(9.0 * halves, halves).score == pytest.approx(0.95)
    assert wasserstein_dependency_gap(np.tile(halves, 2), halves).score == pytest.approx(0)
    assert wasserstein_dependency_gap(np.zeros((200, 2)), halves).score == 0


def test_med_by_its_formula():
    codes, factors = case("discrete_3_4_10")
    found = med(codes, factors)
    np.testing.assert_allclose(found.importance.sum(axis=0), 1)
    shares = found.importance / found.importance.sum(axis=1, keepdims=True)
    per_code = 1 + (shares * np.log(shares)).sum(axis=1) / np.log(3)
    np.testing.assert_allclose(found.per_code, per_code, atol=1e-6)
    weights = found.importance.sum(axis=1)
    assert found.score == pytest.approx((per_code * weights).sum() / weights.sum(), abs=1e-6)
    columns = -(found.importance * np.log(found.importance)).sum(axis=0) / np.log(5)
    assert found.completeness == pytest.approx(1 - columns.mean(), abs=1e-6)
    best = med(codes, factors, best=1)
    assert best.chosen.tolist() == [True, True, True, False, False]
    assert best.score > found.score
    with pytest.raises(ValueError, match="best must be at least 1, got 0"):
        med(codes, factors, best=0)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 0), (1, 1)], 1),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 0),
        ([(0, 0), (0, 1), (1, 0)], 1),
        ([(x / 4, x / 4) for x in range(5)], 0.5),
    ],
)
def test_the_distance_of_a_support_from_a_product(points, expected):
    assert support_distance(*np.array(points, float).T) == pytest.approx(expected)


def test_the_distance_of_normal_codes():
    codes = np.random.RandomState(0).randn(64, 4)
    found = [support_distance(codes[:, a], codes[:, b]) for a, b in combinations(range(4), 2)]
    np.testing.assert_allclose(found, [2.685787, 2.556056, 2.665441, 1.713617, 1.827859, 3.689356], atol=6e-7)
    whole = support(codes)
    assert whole.raw_distance == pytest.approx(15.138116, abs=6e-7)
    assert (whole.num_batches, whole.batch_size) == (1, 64)
    assert support(10 * codes).raw_distance == pytest.approx(1513.8116, abs=6e-5)
    assert support(10 * codes).score == pytest.approx(whole.score)
    codes[:, 1] = codes[:, 0]
    assert support(codes).raw_distance == pytest.approx(26.315731, abs=6e-7)


def test_the_support_of_codes():
    rng = np.random.default_rng(0)
    independent = rng.uniform(size=(5120, 2))
    few = {"batch_size": 64}
    assert support(independent, **few).score == pytest.approx(1, abs=0.15)
    assert support(independent @ TURN, **few).score > 1.3
    assert support(np.repeat(independent[:, :1], 2, axis=1), **few).score > 2
    for codes in (np.zeros((10, 2)), independent[:, :1]):  # no pair of live codes
        assert np.isnan(support(codes).score)
    grid = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (32, 1))
    assert support(grid).distance == 0
    many = support(rng.normal(size=(200, 30)), num_batches=1, batch_size=32)
    assert np.isfinite(many.per_pair).sum() == 600
    with pytest.raises(ValueError, match="at least 2 codes"):
        support(independent[:1])


FORMS = [(10, "range/20"), (3, "range/8"), (10, "iqr/10"), (3, "range/20")]


def test_the_four_public_forms_of_infomec():
    """A code whose range is between 1/20 and 1/8 of the largest, and one whose range is due to few outliers."""
    rng = np.random.default_rng(0)
    narrow, outliers = 0.1 * rng.uniform(size=(1200, 1)), np.zeros((1200, 1))
    outliers[:12] = rng.normal(size=(12, 1))
    codes = np.concatenate([IDEAL, narrow, outliers + 1e-3 * rng.normal(size=(1200, 1))], axis=1)
    found = [
        infomec(codes, FACTORS, neighbours=k, active=rule, convention="paper", train_fraction=None) for k, rule in FORMS
    ]
    assert [form.active[3:].tolist() for form in found] == [
        [False, True],
        [False, True],
        [False, False],
        [False, True],
    ]
    wide = infomec(codes * [1, 1, 1, 2, 1], FACTORS)
    assert wide.active[3]
    assert not infomec(codes * [1, 1, 1, 2, 1], FACTORS, active="range/8").active[3]
    assert "active by iqr/10" in found[2].definition
    assert "3 neighbours" in found[3].definition


@pytest.mark.parametrize(("rule", "expected"), [("range/20", [1, 1, 1]), ("range/8", [1, 0, 1]), ("iqr/10", [1, 1, 0])])
def test_active_discrete_codes(rule, expected):
    levels = np.tile(np.arange(20), 60)
    rare = np.where(np.arange(1200) < 12, 19, 0)
    codes = np.stack([levels, levels % 2, rare], axis=1)
    found = infomec(codes, FACTORS, discrete_codes=True, active=rule, convention="paper")
    assert found.active.tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize(("rule", "expected"), [("range/20", [1, 1, 1]), ("range/8", [1, 1, 0]), ("iqr/10", [1, 1, 0])])
def test_the_rules_for_discrete_codes_are_about_their_values(rule, expected):
    """A latent of two far values has a wide range, and one of twelve close values a narrow one."""
    numbers = np.tile(np.arange(12), 100)
    codes = np.stack([np.linspace(-0.5, 0.5, 12)[numbers], np.where(numbers < 6, -0.5, 0.5), 0.002 * numbers], axis=1)
    found = infomec(codes, FACTORS, discrete_codes=True, active=rule, convention="paper")
    assert found.active.tolist() == [bool(value) for value in expected]


def test_discrete_codes_have_few_values():
    with pytest.raises(ValueError, match="a discrete code has few values, and one here has 1200 in 1200 rows"):
        infomec(np.arange(1200.0)[:, None], FACTORS, discrete_codes=True)


def test_a_regression_that_overfits_is_told():
    rng = np.random.default_rng(0)
    codes, factors = rng.integers(0, 12, (60, 8)), rng.integers(0, 4, (60, 2))
    with pytest.warns(
        UserWarning, match="InfoE counts 2 of 2 factors as 0, whose regression on 40 rows and 9. columns"
    ):
        assert infomec(codes, factors, discrete_codes=True).infoe == 0


@pytest.mark.parametrize(
    ("metric", "settings"),
    [(dci, {"learner": "trees"}), (explicitness, {"per": "row"}), (infomec, {"active": "range/9"})],
)
def test_other_words_of_options_are_refused(metric, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be .* or .*, got"):
        metric(IDEAL, FACTORS, **settings)
