import json
import math
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from golden_values import ARRAYS
from golden_values import REFERENCE as EXPECTED
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae.metrics import METRICS, mig

SIZES = (3, 4, 5)


@pytest.fixture(scope="module")
def arrays():
    return ARRAYS


def grid_factors(sizes=SIZES, repeats=20) -> np.ndarray:
    """Every combination of values `repeats` times, [N, K]: factors are then exactly independent."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1)
    return np.tile(grid.reshape(-1, len(sizes)), (repeats, 1))


def to_unit_range(factors: np.ndarray) -> np.ndarray:
    return 2 * factors / factors.max(axis=0) - 1


def noisy_codes(seed: int, factors: np.ndarray, latents: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = to_unit_range(factors) @ rng.normal(size=(factors.shape[1], latents))
    return mixed + 0.2 * rng.normal(size=mixed.shape)


@pytest.mark.parametrize("case", EXPECTED["cases"])
def test_matches_the_reference(case, arrays):
    expected = EXPECTED["cases"][case]
    result = mig(arrays[f"codes_{case}"], arrays["factors"])
    assert result.score == pytest.approx(expected["mig"], abs=1e-6)
    np.testing.assert_allclose(result.per_factor, expected["mig_per_factor"], atol=1e-6)
    np.testing.assert_allclose(result.mutual_information, expected["mi_matrix_nats"], atol=1e-6)
    np.testing.assert_allclose(result.factor_entropy, expected["factor_entropy_nats"], atol=1e-6)


def test_counts_live_codes(arrays):
    assert mig(arrays["codes_const_dead"], arrays["factors"]).live_codes == 5
    assert mig(arrays["codes_near_dead"], arrays["factors"]).live_codes == 10


def test_identity_scores_one_on_exactly_independent_factors():
    result = mig(to_unit_range(grid_factors()), grid_factors())
    assert result.score == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(result.mutual_information, np.diag(np.log(SIZES)), atol=1e-12)


def test_a_factor_in_two_codes_has_no_gap():
    factors = grid_factors()
    codes = np.concatenate([to_unit_range(factors), to_unit_range(factors)[:, :1]], axis=1)
    np.testing.assert_allclose(mig(codes, factors).per_factor, [0, 1, 1], atol=1e-12)


def test_rotation_of_two_equal_factors_scores_zero():
    factors = grid_factors((8, 8))
    rotation = np.array([[1, -1], [1, 1]]) / math.sqrt(2)
    assert mig(to_unit_range(factors) @ rotation, factors).score == pytest.approx(0, abs=1e-9)


def test_noise_scores_about_zero():
    codes = np.random.default_rng(0).normal(size=(4000, 6))
    factors = np.random.default_rng(1).integers(0, 5, size=(4000, 3))
    assert mig(codes, factors).score < 0.01


def test_fewer_codes_than_factors_counts_the_missed_ones():
    result = mig(to_unit_range(grid_factors())[:, :2], grid_factors())
    np.testing.assert_allclose(result.per_factor, [1, 1, 0], atol=1e-12)


def edge_case_codes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Drawn as the reference's edge cases were: 1200 rows, identity plus noise of deviation 0.05."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, size, 1200) for size in SIZES], axis=1)
    return to_unit_range(factors) + 0.05 * rng.normal(size=factors.shape), factors


def test_reference_edge_cases():
    codes, factors = edge_case_codes()
    ideal = to_unit_range(factors)
    edge = {name: case["mig"].get("discrete_mig") for name, case in EXPECTED["edge_cases"].items()}
    assert mig(np.zeros((1200, 3)), factors).score == edge["all_constant"] == 0
    assert mig(np.tile(ideal, 2), factors).score == edge["identity_twice"] == 0
    permuted = -3 * ideal[:, [2, 0, 1]] + 5
    assert mig(permuted, factors).score == pytest.approx(edge["permuted_identity"], abs=0.005)
    assert mig(codes, factors[:, :1]).score == pytest.approx(edge["one_factor"], abs=0.02)
    assert mig(codes[:, :2], factors).score == pytest.approx(edge["fewer_codes_than_factors"], abs=0.02)


def test_the_second_best_of_one_code_is_zero():
    codes, factors = edge_case_codes()
    result = mig(codes[:, :1], factors)
    np.testing.assert_allclose(result.per_factor, result.mutual_information[0] / result.factor_entropy)


def test_a_constant_factor_is_left_out_with_a_warning():
    codes, factors = edge_case_codes()
    factors[:, 1] = 2
    with pytest.warns(UserWarning, match=r"\[1\] are constant") as caught:
        result = mig(codes, factors)
    assert caught[0].filename == __file__
    assert result.ignored_factors == (1,)
    assert math.isnan(result.per_factor[1])
    assert result.score == pytest.approx(mig(codes, factors[:, [0, 2]]).score)


def test_all_factors_constant_is_an_error():
    with pytest.raises(ValueError, match="every factor is constant"):
        mig(np.random.default_rng(0).normal(size=(50, 2)), np.ones((50, 2), int))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_codes_that_are_not_finite_are_an_error(bad):
    codes, factors = edge_case_codes()
    codes[7, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        mig(codes, factors)


def test_factors_that_are_not_whole_are_an_error():
    codes, factors = edge_case_codes()
    with pytest.raises(ValueError, match="whole numbers"):
        mig(codes, factors + 0.5)


def test_rows_must_match():
    codes, factors = edge_case_codes()
    with pytest.raises(ValueError, match="1200 and 1199"):
        mig(codes, factors[1:])


def test_one_bin_is_an_error():
    with pytest.raises(ValueError, match="num_bins"):
        mig(*edge_case_codes(), num_bins=1)


def test_more_values_than_bins_warns_and_more_bins_mend_it():
    factors = grid_factors((40, 5))
    with pytest.warns(UserWarning, match=r"\[0\] take more values"):
        coarse = mig(to_unit_range(factors), factors)
    assert coarse.per_factor[0] == pytest.approx(0.812, abs=5e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mig(to_unit_range(factors), factors, num_bins=40).score == pytest.approx(1, abs=1e-12)


def test_as_many_values_as_bins_does_not_warn():
    factors = grid_factors((20, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mig(to_unit_range(factors), factors).score == pytest.approx(1, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.permutations(range(4)), st.permutations(range(3)))
def test_order_of_codes_and_factors_does_not_matter(seed, codes_order, factors_order):
    factors = grid_factors(repeats=5)
    codes = noisy_codes(seed, factors)
    plain = mig(codes, factors)
    permuted = mig(codes[:, codes_order], factors[:, factors_order])
    assert permuted.score == pytest.approx(plain.score, abs=1e-12)
    np.testing.assert_allclose(permuted.per_factor, plain.per_factor[factors_order], atol=1e-12)
    expected = plain.mutual_information[codes_order][:, factors_order]
    np.testing.assert_allclose(permuted.mutual_information, expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.floats(0.01, 100) | st.floats(-100, -0.01), min_size=4, max_size=4),
    st.lists(st.floats(-100, 100), min_size=4, max_size=4),
)
def test_sign_scale_and_shift_of_a_code_do_not_matter(seed, scale, shift):
    factors = grid_factors(repeats=5)
    codes = noisy_codes(seed, factors)
    moved = codes * np.array(scale) + np.array(shift)
    assert mig(moved, factors).score == pytest.approx(mig(codes, factors).score, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_order_of_examples_and_names_of_values_do_not_matter(seed):
    factors = grid_factors(repeats=5)
    codes = noisy_codes(seed, factors)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    renamed = rng.permutation(1000)[factors] - 500
    assert mig(codes[order], renamed[order]).score == pytest.approx(mig(codes, factors).score, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_score_lies_between_zero_and_one(seed, latents):
    factors = grid_factors(repeats=3)
    assert 0 <= mig(noisy_codes(seed, factors, latents), factors).score <= 1


def test_takes_lists_and_jax_arrays():
    codes, factors = edge_case_codes()
    codes = codes.astype(np.float32)
    expected = mig(codes, factors).score
    assert mig(jnp.asarray(codes), jnp.asarray(factors)).score == expected
    assert mig(codes.tolist(), factors.astype(float).tolist()).score == expected
    assert mig(jnp.asarray(codes, jnp.bfloat16), factors).score == pytest.approx(expected, abs=0.05)


def test_leaves_its_input_alone():
    codes, factors = edge_case_codes()
    kept = codes.copy(), factors.copy()
    mig(codes, factors)
    np.testing.assert_array_equal(codes, kept[0])
    np.testing.assert_array_equal(factors, kept[1])


def test_result_names_its_definition_and_survives_json():
    codes, factors = edge_case_codes()
    factors[:, 0] = 0
    with pytest.warns(UserWarning, match="constant"):
        result = mig(codes, factors, num_bins=10)
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["definition"] == "discretised MIG, 10 equal-width bins per code"
    assert values["score"] == result.score
    assert values["per_factor"][0] is None
    assert values["num_samples"] == 1200
    assert np.shape(values["mutual_information"]) == (3, 3)


def test_every_metric_has_a_one_line_description():
    assert METRICS["mig"] is mig
    for metric in METRICS.values():
        assert len((metric.__doc__ or "").splitlines()[0]) > 20
