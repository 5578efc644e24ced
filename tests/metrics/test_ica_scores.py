"""Scores of recovered sources: MCC under permutations, signs and rotations, and the Amari index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.metrics import amari_index, mcc, mig

SOURCES = np.random.default_rng(0).laplace(size=(500, 4))


@given(st.integers(0, 1000))
def test_order_sign_and_scale_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    order, factor = rng.permutation(4), rng.choice([-1, 1], 4) * rng.uniform(0.1, 10, 4)
    assert mcc(SOURCES[:, order] * factor, SOURCES).score == pytest.approx(1)
    assert amari_index(np.eye(4)[order] * factor) == pytest.approx(0, abs=1e-12)
    matrix = rng.standard_normal((4, 4))
    assert 0 < amari_index(matrix) < 1
    assert amari_index(matrix[order] * 3) == pytest.approx(amari_index(matrix))
    assert amari_index(matrix.T) == pytest.approx(amari_index(matrix))


def test_a_quarter_turn_of_whitened_sources():
    white = SOURCES[:, :2] - SOURCES[:, :2].mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T, bias=True))).T
    turn = np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    assert mcc(white @ turn, white).score == pytest.approx(np.sqrt(0.5))
    assert amari_index(turn) == pytest.approx(1)


def test_only_ranks_matter_to_spearman():
    bent = np.exp(SOURCES)
    assert mcc(bent, SOURCES, correlation="spearman").score == pytest.approx(1)
    assert mcc(bent, SOURCES).score < 0.9


def test_amari_index_by_its_formula():
    matrix = np.array([[2.0, 1.0, 0.0], [0.5, -4.0, 1.0], [1.0, 1.0, 1.0]])
    rows = sum(np.abs(row).sum() / np.abs(row).max() - 1 for row in matrix)
    columns = sum(np.abs(column).sum() / np.abs(column).max() - 1 for column in matrix.T)
    assert amari_index(matrix) == pytest.approx((rows + columns) / 12)
    assert amari_index(np.ones((3, 3))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), r"square, at least 2 x 2, got shape \(2, 3\)"),
        (np.ones((1, 1)), "at least 2 x 2"),
        (np.diag([1.0, 0.0]), "row or column of zeros"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "must be finite"),
    ],
)
def test_bad_matrices(matrix, message):
    with pytest.raises(ValueError, match=message):
        amari_index(matrix)


def test_constant_factors_are_told():
    codes = np.random.default_rng(0).normal(size=(20, 2))
    for factors in (np.zeros((20, 2)), np.where(np.arange(20)[:, None] < 5, np.nan, [[1.0, 2.0]])):
        with pytest.raises(ValueError, match="every factor is constant"):
            mcc(codes, factors)
    with pytest.warns(UserWarning, match=r"factors \[1\] are constant in these examples and left out"):
        one = mcc(codes, np.stack([codes[:, 0], np.zeros(20)], axis=1))
    assert (one.score, one.over_factors, one.match.tolist()) == (pytest.approx(1), pytest.approx(1), [0, -1])


@pytest.mark.parametrize("metric", [mcc, mig])
def test_masks_are_not_dropped(metric):
    codes, factors = np.random.default_rng(0).normal(size=(20, 2)), np.arange(40).reshape(20, 2) % 3
    for masked in (
        (np.ma.masked_greater(codes, 1), factors),
        (codes, np.ma.masked_equal(factors, 1)),
    ):
        with pytest.raises(ValueError, match="are a masked array, whose mask is not read: call its method filled"):
            metric(*masked)
    assert metric(np.ma.array(codes), factors).score == metric(codes, factors).score  # nothing is masked
