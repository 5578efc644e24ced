"""Metrics with a learner: what they are tested on they have not learned from, and redundant codes share importance."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from jaxvae.metrics import (
    METRICS,
    GridCodes,
    SampledCodes,
    beta_vae_score,
    dci,
    dci_es,
    downstream,
    explicitness,
    factor_vae_score,
    infomec,
    metric_named,
    modularity,
    mutual_information_score,
    sap,
)
from jaxvae.metrics.boosting import boost
from jaxvae.metrics.inputs import split_rows
from jaxvae.metrics.stacked import score_stacked

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, (300, 3))
NOISE = RNG.normal(size=(300, 10))
FEW = {"num_train": 1000, "num_eval": 1000}


def test_rows_are_split_at_random_and_never_shared():
    train, test = split_rows(300, 2 / 3)
    assert (len(train), len(test)) == (200, 100)
    assert sorted([*train, *test]) == list(range(300))
    assert abs(test.mean() - 149.5) < 20  # the last third would have 249.5
    first, last = split_rows(300, 2 / 3, shuffle=False)
    assert (first.tolist(), last.tolist()) == (list(range(200)), list(range(200, 300)))


def test_rows_in_grid_order():
    """The last third of a grid has values of the first factor that its first two thirds do not have."""
    factors = np.stack(np.unravel_index(np.arange(600), (6, 10, 10)), axis=1)
    codes = factors.astype(float)
    assert dci(codes, factors).informativeness == 1
    assert explicitness(codes, factors).score > 0.75
    assert downstream(codes, factors, sizes=(300,)).score > 0.6
    assert dci(codes, factors, shuffle=False).informativeness < 0.8


def test_a_result_says_on_how_many_rows_it_learned_and_was_tested():
    for metric in (dci, explicitness, infomec, lambda z, y: dci_es(z, y, depths=(1, 2), trees=5)):
        result = metric(NOISE, FACTORS)
        assert (result.num_train, result.num_test) == (200, 100)
        assert "200 training and 100 test rows" in result.definition
    assert "200 training and 100 test rows" in sap(NOISE, FACTORS, kind="discrete").definition
    assert "100 labels, 100 test rows" in downstream(NOISE, FACTORS, sizes=(100,)).definition
    for score in (beta_vae_score, factor_vae_score):
        result = score(NOISE, FACTORS, **FEW)
        assert (result.train_examples, result.test_examples) == (200, 100)
        assert "200 examples" in result.definition
        assert "100 others" in result.definition


def test_noise_on_few_rows_is_not_informative():
    """Each of these is above chance by far where rows that are tested on have been learned from."""
    assert dci(NOISE, FACTORS).informativeness < 0.35
    assert explicitness(NOISE, FACTORS).score < 0.58
    assert infomec(NOISE, FACTORS).infoe < 0.02
    assert infomec(NOISE, FACTORS, train_fraction=None).infoe > 0.02
    for score in (beta_vae_score, factor_vae_score):
        assert score(NOISE, FACTORS, **FEW).score < 0.55


@pytest.mark.parametrize("grid", [False, True])
def test_points_that_are_tested_are_of_other_examples(grid):
    combinations = np.stack(np.unravel_index(np.arange(60), (3, 4, 5)), axis=1)
    numbers = np.arange(60.0)[:, None]
    draws = GridCodes.of_array(numbers, (3, 4, 5)) if grid else SampledCodes(numbers, combinations)
    train, test = draws.split()
    seen = []
    for part in (train, test):
        rng = np.random.default_rng(1)
        factor = rng.integers(3, size=200)
        one, two = (side[..., 0].astype(int) for side in part.pairs(rng, factor, 8))
        alike = part.alike(rng, factor, 8)[..., 0].astype(int)
        for k in range(3):
            mine = factor == k
            np.testing.assert_array_equal(combinations[one[mine], k], combinations[two[mine], k])
            assert (np.ptp(combinations[alike[mine], k], axis=1) == 0).all()
        assert np.ptp(combinations[alike[factor == 0], 1], axis=1).max() > 0
        seen.append({*one.ravel(), *two.ravel(), *alike.ravel(), *part.any(rng, 500)[:, 0].astype(int)})
    assert seen[0] | seen[1] == set(range(60))
    assert not seen[0] & seen[1]
    assert (train.size, test.size) == (40, 20) == (len(seen[0]), len(seen[1]))


@pytest.mark.parametrize("name", ["beta_vae_score", "factor_vae_score", "dci", "modularity"])
def test_one_factor_gives_no_score(name):
    for factors in (FACTORS[:, :1], np.column_stack([FACTORS[:, 0], np.zeros(300, int)])):
        with pytest.warns(UserWarning, match="needs two factors that vary"):
            assert np.isnan(METRICS[name](NOISE, factors).score)
    if name in ("beta_vae_score", "factor_vae_score"):
        grid = GridCodes(lambda factors: factors * 1.0, (12, 1))
        with pytest.warns(UserWarning, match="needs two factors that vary"):
            assert np.isnan(METRICS[name](grid).score)


def test_metrics_that_may_be_given_a_grid_need_factors_of_codes():
    for name in METRICS:
        assert metric_named(name).needs_factors
    assert not metric_named("mutual_information_score").needs_factors


def test_many_codes_have_the_information_of_random_pairs():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(500, 100))
    codes[:, 1::2] = codes[:, ::2]
    found, few = mutual_information_score(codes), mutual_information_score(codes[:, :40])
    assert "4032 random pairs of 100 codes" in found.definition
    assert np.isfinite(found.matrix).sum() == 4032
    assert np.isnan(np.diag(found.matrix)).all()
    # One pair in 99 is of equal codes, and one in 39.
    same, other = few.matrix[0, 1], np.median(few.matrix)
    assert few.score == pytest.approx((same + 38 * other) / 39, rel=0.05)
    assert found.score == pytest.approx((same + 98 * other) / 99, rel=0.05)


def test_stacked_scores_of_one_factor():
    found = score_stacked(NOISE[None], FACTORS[:, :1], num_votes=100)
    assert np.isnan(found["factor_vae_score"]).all()
    assert np.isnan(found["modularity"]).all()
    with pytest.warns(UserWarning, match="two factors"):
        assert np.isnan(modularity(NOISE, FACTORS[:, :1]).score)


VALUES = np.random.default_rng(0).integers(10, size=(2000, 5))


@pytest.mark.parametrize(
    ("copy", "number"),
    [(lambda z: z, 1), (lambda z: -z, 1), (lambda z: z**3, 1), (lambda z: z, 2)],
    ids=["equal", "negated", "monotone", "three"],
)
def test_redundant_codes_share_importance(copy, number):
    """Completeness of n equal codes for each of 5 factors is 1 - log n / log 5n; scikit-learn gives 0.705 and 0.598."""
    codes = np.hstack([VALUES[:, :5].astype(float), *[copy(VALUES.astype(float))] * number])
    result = dci(codes, VALUES, train_fraction=0.5)
    assert result.completeness == pytest.approx(1 - np.log(number + 1) / np.log(5 * number + 5), abs=0.01)
    assert result.disentanglement == pytest.approx(1, abs=1e-6)
    assert result.informativeness == 1


def test_codes_with_a_little_noise_of_their_own_share_importance():
    rng = np.random.default_rng(1)
    codes = np.hstack([VALUES + 0.02 * rng.normal(size=VALUES.shape) for _ in range(2)])
    assert dci(codes, VALUES, train_fraction=0.5).completeness == pytest.approx(0.704, abs=0.02)


def test_the_fast_learner_is_scikit_learns():
    """Few rows, no redundancy: every split is the same one, of two values of a factor and of more."""
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(3)
    for values in (2, 4):
        labels = rng.integers(values, size=400)
        codes = rng.normal(size=(400, 3)) + np.array([1.0, 0.5, 0]) * labels[:, None]
        theirs = GradientBoostingClassifier(random_state=0).fit(codes[:300], labels[:300])
        found = boost(codes[:300], labels[:300], codes[300:])
        np.testing.assert_allclose(found.importance, theirs.feature_importances_, atol=0.01)
        assert (found.train == theirs.predict(codes[:300])).mean() > 0.99
        assert (found.test == theirs.predict(codes[300:])).mean() > 0.9


def test_forests_that_are_not_limited_are_grown_once(monkeypatch):
    grown, fit = [], RandomForestClassifier.fit

    def noted(self, *arguments):
        grown.append(self.max_depth)
        return fit(self, *arguments)

    monkeypatch.setattr(RandomForestClassifier, "fit", noted)
    few = dci_es(NOISE, FACTORS[:, :1], depths=(2, 30, 40, 50), trees=3)
    assert grown == [2, 30]
    assert len(set(few.losses[1:, 0])) == 1
    again = RandomForestClassifier(3, max_depth=50, random_state=0)
    train, test = split_rows(300, 2 / 3)
    fit(again, NOISE[train], FACTORS[train, 0])
    assert few.losses[3, 0] == pytest.approx(1 - again.score(NOISE[test], FACTORS[test, 0]), abs=1e-12)


def test_codes_that_say_nothing_predict_the_most_common_value():
    labels = np.array([1, 1, 1, 0, 2] * 10)
    found = boost(np.zeros((50, 2)), labels, np.ones((7, 2)))
    assert found.importance.tolist() == [0, 0]
    assert set(found.train) == set(found.test) == {1}


def test_the_regression_of_the_beta_vae_score_uses_one_thread(monkeypatch):
    """More threads of linear algebra make it several times slower where other work shares the cores."""
    used, fit = [], LogisticRegression.fit

    def noted(self, *arguments):
        used.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    beta_vae_score(NOISE, FACTORS, **FEW)
    assert set(used) == {1}


def test_shares_of_equal_codes_are_as_uneven_for_every_seed():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=300)
    code, noise = 0.3 * (labels - 2) + 0.3 * rng.normal(size=300), rng.normal(size=300)
    codes = np.stack([code, -code, -code, noise], axis=1)
    shares = np.stack([boost(codes, labels, codes[:1], seed).importance[:3] for seed in range(6)])
    shares /= shares.sum(axis=1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(axis=1)
    assert entropy.std() < 0.01
    assert len(np.unique(shares[:, 0].round(6))) > 1
