"""Factors that are missing in some examples, and factors that are no whole numbers."""

import numpy as np
import pytest

from jaxvae.metrics import (
    METRICS,
    Binning,
    SampledCodes,
    beta_vae_score,
    dci,
    dci_es,
    downstream,
    explicitness,
    factor_vae_score,
    infomec,
    irs,
    mcc,
    mig,
    sap,
    z_max_variance,
)
from jaxvae.metrics.inputs import checked_factors, split_rows
from jaxvae.metrics.stacked import score_stacked

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, (900, 3))
CODES = FACTORS + 0.2 * RNG.normal(size=(900, 3))
HOLES = FACTORS.astype(float)
HOLES[:300, 1] = np.nan
"""The second factor is missing in a third of the examples."""
FEW = {"num_train": 300, "num_eval": 200}
QUICK = {
    **METRICS,
    "beta_vae_score": lambda z, y, **settings: beta_vae_score(z, y, **FEW, **settings),
    "factor_vae_score": lambda z, y, **settings: factor_vae_score(z, y, **FEW, **settings),
    "z_max_variance": lambda z, y, **settings: z_max_variance(z, y, **FEW, **settings),
    "infomec": lambda z, y, **settings: infomec(z, y, convention="paper", **settings),
    "dci_es": lambda z, y, **settings: dci_es(z, y, depths=(1, 2), trees=3, **settings),
    "downstream": lambda z, y, **settings: downstream(z, y, sizes=(100,), **settings),
    "dci": lambda z, y, **settings: dci(z[:300], y[:300], **settings),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_missing_value_is_no_value(name):
    """Codes that tell whether a factor is missing are not informative about that factor."""
    noise = 0.1 * np.random.default_rng(1).normal(size=(900, 1))
    rows = slice(150, None) if name == "dci" else slice(None)
    scores = []
    for further in (np.isnan(HOLES[:, 1:2]) + noise, noise):
        with pytest.warns(UserWarning, match=r"rows without factor 1, which are left out for that factor"):
            result = QUICK[name](np.concatenate([CODES, further], axis=1)[rows], HOLES[rows])
        assert "rows without factor 1 left out" in result.definition
        scores.append(result.score)
    assert np.isfinite(scores).all()
    if name not in ("infomec", "z_max_variance", "dci_es"):  # their scales and capacities follow the further code
        assert scores[0] == pytest.approx(scores[1], abs=0.06)


@pytest.mark.parametrize("name", ["mig", "sap", "irs", "mcc", "med", "jemmig", "wasserstein_dependency_gap"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_factors_do_not_change(name):
    """Values of the other factors, and those of the same factor on the rows where it is known, are as without holes."""
    whole, holes, part = (
        METRICS[name](CODES, FACTORS), METRICS[name](CODES, HOLES), METRICS[name](CODES[300:], FACTORS[300:])
    )  # fmt: skip
    key = {
        "irs": "parent", "mcc": "correlation", "med": "importance", "wasserstein_dependency_gap": "dependency"
    }.get(name, "per_factor")  # fmt: skip
    found, expected, known = (np.asarray(getattr(each, key)) for each in (holes, whole, part))
    axis = 0 if name == "mcc" else -1
    for k, reference in ((0, expected), (2, expected), (1, known)):
        tolerance = 0.03 if (k == 1 and name not in ("sap", "mcc")) else 1e-12  # bins are of all rows
        np.testing.assert_allclose(found.take(k, axis=axis), reference.take(k, axis=axis), atol=tolerance)


def test_a_factor_that_is_missing_is_not_drawn():
    numbers = np.arange(900.0)[:, None]
    with pytest.warns(UserWarning, match="300 of 900 rows without factor 1"):
        draws = SampledCodes(numbers, HOLES)
    rng = np.random.default_rng(0)
    factor = rng.integers(3, size=500)
    rows = [draws.alike(rng, factor, 4), *draws.pairs(rng, factor, 4)]
    for each in rows:
        assert (each[factor == 1] >= 300).all()
        assert (each[factor == 0] < 300).any()
    alone = draws.alike_in_others(rng, factor, 4)[..., 0].astype(int)
    assert (alone >= 300).all()
    for k in range(3):
        others = np.delete(FACTORS[alone[factor == k]], k, axis=2)
        assert (np.ptp(others, axis=1) == 0).all()


def test_none_and_nan_are_missing():
    numbers = checked_factors([[1, None], [5, 2.0], [None, 7]]).numbers
    np.testing.assert_array_equal(numbers, [[0, -1], [1, 0], [-1, 1]])
    np.testing.assert_array_equal(checked_factors([[np.nan, 3], [4.0, 3]]).numbers, [[-1, 0], [0, 0]])


def test_a_factor_that_is_always_missing_is_refused_or_left_out():
    never = HOLES.copy()
    never[:, 1] = np.nan
    with pytest.warns(UserWarning, match=r"factors \[1\] are constant"):
        assert mig(CODES, never).score == pytest.approx(mig(CODES, FACTORS[:, [0, 2]]).score)
    with pytest.raises(ValueError, match="a factor is missing in all of 900 rows"):
        mcc(CODES, never)
    hardly = HOLES.copy()
    hardly[:, 1] = np.nan
    hardly[split_rows(900, 2 / 3)[0][:2], 1] = 0, 1  # none of the test rows
    with pytest.raises(ValueError, match="a factor is missing in all of"), pytest.warns(UserWarning, match="898 of"):
        explicitness(CODES, hardly)


def test_scores_of_many_models_need_all_factors():
    with pytest.raises(ValueError, match="missing factors"), pytest.warns(UserWarning, match="300 of 900"):
        score_stacked(CODES[None], HOLES)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "mcc"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_continuous_factors_are_binned_and_the_definition_says_so(name):
    values = RNG.random((900, 3))
    codes = values + 0.02 * RNG.normal(size=(900, 3))
    with pytest.raises(ValueError, match=r"whole numbers.*binning=Binning"):
        METRICS[name](codes, values)
    result = QUICK[name](codes, values, binning=Binning(3, "quantiles"))
    assert result.score > (0.25 if name == "class_matching" else 0.4)  # 3 latents can match 3 of 9 classes
    assert ("factors 0, 1, 2 cut into 3 bins of about equal counts" in result.definition) == (name != "sap")


def test_bins_of_a_factor():
    values = np.array([[0.0, 1], [0.1, 2], [0.2, 1], [1.0, 2]])
    width, quantiles = (checked_factors(values, Binning(2, kind)) for kind in ("width", "quantiles"))
    np.testing.assert_array_equal(width.numbers, [[0, 0], [0, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(quantiles.numbers[:, 0], [0, 0, 1, 1])
    assert width.note == ", factor 0 cut into 2 bins of equal width"
    np.testing.assert_array_equal(
        checked_factors(values, continuous=True).values, np.stack([values[:, 0], [0, 1, 0, 1]], 1)
    )
    for binning, message in ((Binning(1), "at least 2 bins"), (Binning(3, "log"), "width or quantiles")):
        with pytest.raises(ValueError, match=message):
            mig(CODES, FACTORS + 0.5, binning=binning)


@pytest.mark.parametrize("learner", ["lasso", "random-forest"])
def test_regressions_take_continuous_factors_as_they_are(learner):
    values = RNG.random((400, 2))
    result = dci(values, values, learner=learner, binning=Binning())
    assert result.score == pytest.approx(1, abs=0.1)
    assert result.informativeness > 0.9
    assert "cut into" not in result.definition


@pytest.mark.parametrize("active", ["range/20", "range/8", "iqr/10"])
def test_binning_and_numbers_of_neighbours(active):
    assert infomec(CODES, FACTORS, active=active, neighbours=3).infom > 0.9


def test_irs_and_sap_with_a_continuous_factor_of_many_values():
    values = np.linspace(0, 1, 900)[:, None] * np.ones((1, 2))
    assert sap(values[:, :1], values, binning=Binning()).per_factor == pytest.approx([1, 1])
    assert "cut into 10 bins of equal width" in irs(CODES, RNG.random((900, 2)), binning=Binning()).definition
