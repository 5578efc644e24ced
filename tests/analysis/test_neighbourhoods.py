"""Neighbourhoods against a slow oracle, and codes that keep everything, nothing, or one scale of distances only."""

import numpy as np
import pytest
from scipy.stats import ortho_group, rankdata

from jaxvae.analysis.neighbourhoods import neighbourhood_scores, temporal_correlation

RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((300, 6))


def oracle(data, codes, k, fraction):
    """Every score but those over several k, one row at a time."""
    n = len(data)
    tables = [[[np.linalg.norm(a - b) for b in rows] for a in rows] for rows in (data, codes)]
    pairs = [(i, j) for i in range(n) for j in range(i)]
    flat = [np.array([table[i][j] for i, j in pairs]) for table in tables]
    radii = [sorted(distances)[int(np.ceil(fraction * len(pairs))) - 1] for distances in flat]
    common, jaccard = [], []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        nearest = [set(sorted(others, key=lambda j, t=table: t[i][j])[:k]) for table in tables]
        common.append(len(nearest[0] & nearest[1]) / k)
        a, b = ({j for j in others if table[i][j] <= radius} for table, radius in zip(tables, radii, strict=True))
        jaccard += [len(a & b) / len(a | b)] if a | b else []
    ranks = [rankdata(distances) for distances in flat]
    return np.corrcoef(flat)[0, 1], np.corrcoef(ranks)[0, 1], np.mean(common), np.mean(jaccard)


@pytest.mark.parametrize(("rows", "fraction", "k"), [(40, 0.01, 1), (40, 0.1, 4), (10, 0.9, 8), (3, 0.9, 1)])
def test_against_the_oracle(rows, fraction, k):
    data = DATA[:rows]
    codes = data[:, :2] + 0.3 * RNG.standard_normal((rows, 2))
    found = neighbourhood_scores(data, codes, fraction=fraction)
    assert found[-2:] == (k, rows)
    np.testing.assert_allclose(found[:4], oracle(data, codes, k, fraction), rtol=1e-10)


def test_fine_is_the_mean_over_one_to_ten_neighbours():
    codes = DATA[:, :2]
    one_to_ten = [neighbourhood_scores(DATA, codes, fraction=k / 300).local_topological for k in range(1, 11)]
    np.testing.assert_allclose(neighbourhood_scores(DATA, codes).fine, np.mean(one_to_ten))
    few = [neighbourhood_scores(DATA[:6], codes[:6], fraction=k / 6).local_topological for k in range(1, 5)]
    np.testing.assert_allclose(neighbourhood_scores(DATA[:6], codes[:6]).fine, np.mean(few))


@pytest.mark.parametrize(
    "change", [lambda x: x, lambda x: 3 * x + 7, lambda x: -x @ ortho_group.rvs(6, random_state=0)]
)
def test_nothing_is_lost_by_a_rotation_a_shift_or_a_scale(change):
    np.testing.assert_allclose(neighbourhood_scores(DATA, change(DATA))[:5], 1)
    codes = DATA[:, :3] ** 3
    expected = neighbourhood_scores(DATA, codes)
    np.testing.assert_allclose(neighbourhood_scores(change(DATA), codes), expected)
    np.testing.assert_allclose(neighbourhood_scores(codes, change(DATA)), neighbourhood_scores(codes, DATA))


def test_codes_that_know_nothing_are_at_chance():
    found = neighbourhood_scores(DATA, RNG.standard_normal((300, 2)), fraction=0.1)
    assert abs(found.global_pearson) < 0.05
    assert abs(found.global_spearman) < 0.05
    np.testing.assert_allclose(found.local_topological, found.neighbours / (found.rows - 1), atol=0.02)
    np.testing.assert_allclose(found.fine, 5.5 / 299, atol=0.01)
    assert found.local_metric < 0.1


def test_what_is_far_and_what_is_near():
    """Clusters that keep their places but are shuffled inside, and clusters kept inside but moved about."""
    centres = 100 * RNG.standard_normal((20, 2))
    inside = RNG.standard_normal((20, 15, 2))
    data = (centres[:, None] + inside).reshape(-1, 2)
    shuffled = (centres[:, None] + RNG.permuted(inside, axis=1)).reshape(-1, 2)
    moved = (RNG.permutation(centres)[:, None] + inside).reshape(-1, 2)
    far, near = neighbourhood_scores(data, shuffled), neighbourhood_scores(data, moved)
    assert far.global_pearson > 0.99 > 0.3 > near.global_pearson
    assert near.fine > 0.95 > 0.6 > far.fine
    assert near.local_metric > 0.9 > 0.5 > far.local_metric
    # A monotone change of all distances is not one of their ranks.
    line = np.sort(RNG.random(50))[:, None]
    bent = np.hstack([line, line**2])
    assert neighbourhood_scores(line, bent).global_spearman > neighbourhood_scores(line, bent**3).global_spearman


def test_many_rows_are_sampled_by_seed():
    codes = DATA[:, :2]
    found = neighbourhood_scores(DATA, codes, max_rows=100, fraction=0.05)
    assert found[-2:] == (5, 100)
    assert found == neighbourhood_scores(DATA, codes, max_rows=100, fraction=0.05, seed=0)
    assert found != neighbourhood_scores(DATA, codes, max_rows=100, fraction=0.05, seed=1)
    np.testing.assert_allclose(found[:2], neighbourhood_scores(DATA, codes)[:2], atol=0.1)
    np.testing.assert_allclose(neighbourhood_scores(DATA, DATA, max_rows=100)[:5], 1)
    assert neighbourhood_scores(DATA, codes, max_rows=301).rows == 300


def test_duplicates_are_each_others_neighbours_and_a_row_is_not_its_own():
    twice = np.repeat(DATA[:50], 2, axis=0)
    np.testing.assert_allclose(neighbourhood_scores(twice, twice)[:5], 1)
    pairs = np.repeat(RNG.standard_normal((50, 2)), 2, axis=0)
    assert neighbourhood_scores(twice, pairs).local_topological == 1
    assert neighbourhood_scores(twice, np.roll(pairs, 1, axis=0)).local_topological < 0.2


def test_steps_in_time():
    walk = np.cumsum(RNG.standard_normal((200, 3)) * RNG.gamma(1, size=(200, 1)), axis=0)
    np.testing.assert_allclose(temporal_correlation(walk, -2 * walk @ ortho_group.rvs(3, random_state=0) + 5), 1)
    codes = walk[:, :1]
    steps = [np.linalg.norm(walk[1:] - walk[:-1], axis=1), np.abs(walk[1:, 0] - walk[:-1, 0])]
    np.testing.assert_allclose(temporal_correlation(walk, codes), np.corrcoef(steps)[0, 1])
    assert abs(temporal_correlation(walk, RNG.standard_normal((200, 2)))) < 0.25
    lengths, signs = RNG.gamma(1, size=200), RNG.choice([-1, 1], 200)
    there, back_and_forth = np.cumsum(lengths)[:, None], np.cumsum(signs * lengths)[:, None]
    np.testing.assert_allclose(temporal_correlation(there, back_and_forth), 1)
    order = RNG.permutation(200)
    assert temporal_correlation(there[order], back_and_forth[order]) < 0.8


@pytest.mark.parametrize("score", [neighbourhood_scores, temporal_correlation])
@pytest.mark.parametrize(
    ("data", "codes", "message"),
    [
        (DATA[:, 0], DATA, "data must have two axes"),
        (DATA, np.zeros((300, 0)), "codes must have two axes"),
        (DATA, DATA[:100], "data and codes must have as many rows; got 300 and 100"),
        (DATA[:2], DATA[:2], "data must have at least 3 rows, got 2"),
        (DATA, np.where(np.arange(6) == 4, np.inf, DATA), r"codes must be finite; columns \[4\] are not"),
        (np.ones((9, 2)), DATA[:9], "data must not be constant"),
        (DATA[:9], np.full((9, 2), 0.1), "codes must not be constant"),
        (DATA, 1e200 * DATA, "codes must be finite: the values are too far apart"),
    ],
)
def test_what_is_refused(score, data, codes, message):
    with pytest.raises(ValueError, match=message):
        score(data, codes)


def test_what_has_no_correlation_is_refused():
    with pytest.raises(ValueError, match="distances in data must not all be equal"):
        neighbourhood_scores(np.eye(5), DATA[:5])
    with pytest.raises(ValueError, match="steps of codes must not all be equal"):
        temporal_correlation(DATA, 0.1 * np.arange(300)[:, None])
    for fraction in (0, 1, -0.1, 2):
        with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
            neighbourhood_scores(DATA, DATA, fraction=fraction)
    with pytest.raises(ValueError, match="max_rows must be at least 3"):
        neighbourhood_scores(DATA, DATA, max_rows=2)
