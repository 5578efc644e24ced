import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae.analysis import normalised_cross_correlation

RNG = np.random.default_rng(0)
MAPS, EFFECTS = RNG.normal(size=(2, 5, 6, 4, 1))


def test_it_is_the_mean_product_of_standardised_pixels():
    standard = lambda x: (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)  # noqa: E731
    wanted = (standard(MAPS) * standard(EFFECTS)).mean((1, 2, 3))
    np.testing.assert_allclose(normalised_cross_correlation(MAPS, EFFECTS), wanted, rtol=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_size_and_level_of_a_map_do_not_matter(scale, level):
    np.testing.assert_allclose(normalised_cross_correlation(scale * MAPS + level, MAPS), 1, rtol=1e-6)
    np.testing.assert_allclose(normalised_cross_correlation(-scale * MAPS + level, MAPS), -1, rtol=1e-6)


def test_a_mask_will_do_and_what_is_constant_correlates_with_nothing():
    mask = np.zeros((2, 4, 4, 1), bool)
    mask[0, 1:3, 1:3] = True
    np.testing.assert_allclose(normalised_cross_correlation(mask.astype(np.float32), mask), [1, 0])
    np.testing.assert_array_equal(normalised_cross_correlation(np.full((2, 4, 4, 1), 0.1), mask), 0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        normalised_cross_correlation(MAPS, EFFECTS[:3])
    with pytest.raises(ValueError, match="effects hold values that are not finite"):
        normalised_cross_correlation(MAPS, np.where(MAPS > 1, np.nan, EFFECTS))
