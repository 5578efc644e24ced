import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxvae.metrics.inputs import checked_codes, checked_factors
from jaxvae.metrics.mutual_information import (
    contingency,
    discretise,
    entropy,
    mutual_information_matrix,
    plug_in_mutual_information,
)

small_columns = st.integers(1, 60).flatmap(lambda n: arrays(np.int64, (n, 2), elements=st.integers(0, 5)))


def oracle_bins(code: np.ndarray, num_bins: int) -> list[int]:
    """The number of lower edges at or below each value, minus one."""
    edges = np.linspace(min(code), max(code), num_bins + 1)
    return [sum(edge <= value for edge in edges[:num_bins]) - 1 for value in code]


def oracle_mutual_information(left: np.ndarray, right: np.ndarray) -> float:
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    total = 0.0
    for a, b in set(pairs):
        p_both = sum(pair == (a, b) for pair in pairs) / len(pairs)
        p_left = sum(x == a for x, _ in pairs) / len(pairs)
        p_right = sum(y == b for _, y in pairs) / len(pairs)
        total += p_both * math.log(p_both / (p_left * p_right))
    return total


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e6, 1e6)), st.integers(2, 24))
def test_bins_match_counting_edges(code, num_bins):
    np.testing.assert_array_equal(discretise(code[:, None], num_bins)[:, 0], oracle_bins(code, num_bins))


def test_bins_are_closed_on_the_left_and_the_maximum_is_in_the_last():
    np.testing.assert_array_equal(discretise(np.array([[0.0], [1.0], [1.5], [2.0], [4.0]]), 4)[:, 0], [0, 1, 1, 2, 3])


def test_values_on_an_edge_follow_linspace():
    code = np.linspace(-1, 1, 21)[:, None]
    np.testing.assert_array_equal(discretise(code, 20)[:, 0], [*range(20), 19])


def test_each_code_has_its_own_range():
    code = np.arange(8.0)
    bins = discretise(np.stack([code, 1e-6 * code, 1e6 * code - 3], axis=1), 8)
    np.testing.assert_array_equal(bins, np.tile(np.arange(8)[:, None], 3))


def test_a_constant_code_fills_one_bin():
    assert len(np.unique(discretise(np.full((9, 1), np.float32(0.7)), 20))) == 1


@given(small_columns)
def test_mutual_information_matches_loops(columns):
    left, right = columns.T
    actual = plug_in_mutual_information(contingency(left, right))
    assert actual == pytest.approx(oracle_mutual_information(left, right), abs=1e-12)


@given(small_columns)
def test_mutual_information_is_symmetric_and_at_most_the_smaller_entropy(columns):
    counts = contingency(*columns.T)
    information = plug_in_mutual_information(counts)
    assert information == pytest.approx(plug_in_mutual_information(counts.T), abs=1e-12)
    assert 0 <= information <= entropy(columns).min() + 1e-12


@given(st.lists(st.integers(0, 7), min_size=1, max_size=200), st.integers(0, 3))
def test_one_valued_variables_carry_exactly_nothing(values, constant):
    column, same = np.array(values), np.full(len(values), constant)
    assert plug_in_mutual_information(contingency(column, same)) == 0.0
    assert plug_in_mutual_information(contingency(same, column)) == 0.0


def test_contingency_counts_pairs():
    left, right = np.array([0, 0, 2, 2, 2]), np.array([1, 1, 0, 1, 0])
    np.testing.assert_array_equal(contingency(left, right), [[0, 2], [0, 0], [2, 1]])


def test_matrix_has_codes_as_rows():
    bins, factors = np.array([[0, 1], [1, 1], [0, 0], [1, 0]]), np.array([[0], [1], [0], [1]])
    np.testing.assert_allclose(mutual_information_matrix(bins, factors), [[math.log(2)], [0]], atol=1e-15)


def test_entropy_of_a_fair_and_of_a_loaded_coin():
    factors = np.array([[0, 0], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_allclose(entropy(factors), [math.log(2), math.log(4) - 0.75 * math.log(3)])


def test_factor_values_are_renumbered_in_order():
    found = checked_factors([[-4.0, 7], [90.0, 7], [3.0, 8]])
    np.testing.assert_array_equal(found.numbers, [[0, 0], [2, 0], [1, 1]])
    np.testing.assert_array_equal(found.values, found.numbers)


@pytest.mark.parametrize("factors", [[[0.5], [1.0]], [[math.inf], [1]], [["a"], ["b"]], [[None], ["b"]]])
def test_factors_must_be_whole(factors):
    with pytest.raises(ValueError, match="whole numbers"):
        checked_factors(factors)


@pytest.mark.parametrize("check", [checked_codes, checked_factors])
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (0, 3), (3, 0)])
def test_tables_need_two_axes_and_entries(check, shape):
    with pytest.raises(ValueError, match="two axes"):
        check(np.zeros(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_codes_must_be_finite(bad):
    codes = np.zeros((5, 3))
    codes[2, 1] = bad
    with pytest.raises(ValueError, match=r"columns \[1\]"):
        checked_codes(codes)


def test_a_range_beyond_float64_is_refused():
    with pytest.raises(ValueError, match="finite"):
        checked_codes([[-1.7e308], [1.7e308]])
