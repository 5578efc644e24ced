"""Statistics of a table: closed forms, what does not matter, and what is missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae.study.statistics import (
    Shares,
    bootstrap,
    column,
    explained,
    rank_correlation,
    transfer,
    variance_shares,
)

RNG = np.random.default_rng(0)


def rows_of(score, methods=("a", "b"), strengths=(1.0, 2.0, 4.0), seeds=4, data="d"):
    return [
        {"data": data, "method": method, "strength": strength, "seed": seed, "score": score(method, strength, seed)}
        for method in methods
        for strength in strengths
        for seed in range(seeds)
    ]


def test_missing_numbers_are_nan():
    np.testing.assert_array_equal(column([{"x": 1}, {"x": None}, {}], "x"), [1, np.nan, np.nan])


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = RNG.normal(size=400)
    found = bootstrap(np.append(values, np.nan))
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([found.low, found.high], [values.mean() - half, values.mean() + half], atol=0.015)
    assert bootstrap(values) == bootstrap(values)
    assert np.isnan(bootstrap(np.array([np.nan]))).all()
    assert np.isnan(bootstrap(np.zeros(0))).all()
    assert np.isnan(bootstrap(np.array([1.0]))[1:]).all()
    assert str(bootstrap(np.array([1.0, 1.0]))) == "1.00 (1.00 to 1.00)"
    assert str(bootstrap(np.array([1.0]))) == "1.00"
    assert str(bootstrap(np.array([np.nan]))) == "unknown"


def test_rows_of_several_numbers_are_resampled_together():
    x = RNG.normal(size=100)
    pairs = np.stack([x, 2 * x], axis=1)
    found = bootstrap(pairs, lambda rows: np.corrcoef(rows.T)[0, 1])
    np.testing.assert_allclose(found, 1)


def test_rank_correlation():
    x = np.arange(6.0)
    assert rank_correlation(x, x**3) == pytest.approx(1)
    assert rank_correlation(np.append(x, np.nan), np.append(-x, 3)) == pytest.approx(-1)
    assert np.isnan(rank_correlation(x, np.ones(6)))
    assert np.isnan(rank_correlation(x[:2], x[:2]))


def test_variance_is_shared_out():
    method = {"a": 0.0, "b": 1.0}
    assert variance_shares(rows_of(lambda m, s, seed: method[m]), "score") == pytest.approx(Shares(1, 0, 0))
    assert variance_shares(rows_of(lambda m, s, seed: s), "score") == pytest.approx(Shares(0, 1, 0))
    assert variance_shares(rows_of(lambda m, s, seed: seed), "score") == pytest.approx(Shares(0, 0, 1))
    mixed = variance_shares(rows_of(lambda m, s, seed: method[m] + 0.5 * (seed % 2)), "score")
    assert mixed == pytest.approx(Shares(0.8, 0, 0.2))
    assert np.isnan(variance_shares(rows_of(lambda m, s, seed: 1.0), "score")).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_shares_add_up_and_seeds_have_no_names(seed):
    rng = np.random.default_rng(seed)
    rows = rows_of(lambda *_: rng.normal())
    shares = variance_shares(rows, "score")
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= -1e-12
    cells = {}
    for row in rows:
        cells.setdefault((row["method"], row["strength"]), []).append(row["score"])
    shuffled = [
        {**row, "score": score}
        for row, score in zip(rows, [v for cell in cells.values() for v in rng.permutation(cell)], strict=True)
    ]
    assert variance_shares(shuffled, "score") == pytest.approx(shares)


def test_groups_with_missing_values():
    values = np.array([0.0, 0.0, 1.0, 1.0, np.nan])
    assert explained(values, ["a", "a", "b", "b", "a"]) == pytest.approx(1)
    assert explained(values, ["a", "b", "a", "b", "a"]) == pytest.approx(0)


def test_the_best_setting_wins_elsewhere_if_settings_decide():
    rows = rows_of(lambda m, s, seed: s + (m == "b")) + rows_of(lambda m, s, seed: s + (m == "b"), data="e")
    assert transfer(rows, by="score", of="d", target="score", to="e") == 1
    against = [{**row, "other": -row["score"]} for row in rows]
    assert transfer(against, by="score", of="d", target="other", to="d") == 0
    equal = rows_of(lambda m, s, seed: 1.0)
    assert transfer(equal, by="score", of="d", target="score", to="d") == 0.5


def test_where_seeds_decide_choosing_is_chance():
    rng = np.random.default_rng(1)
    rows = rows_of(lambda *_: rng.normal(), seeds=40)
    assert transfer(rows, by="score", of="d", target="score", to="d") == pytest.approx(0.5, abs=0.06)
    assert np.isnan(transfer(rows_of(lambda *_: 1.0, seeds=1), by="score", of="d", target="score", to="d"))
    missing = [{**row, "score": None if row["seed"] else row["score"]} for row in rows]
    assert np.isnan(transfer(missing, by="score", of="d", target="score", to="d"))
