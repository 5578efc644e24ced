"""What all metrics have in common: what they refuse, what ideal codes score, and what does not matter to them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxvae.metrics import (
    METRICS,
    UNSUPERVISED,
    GridCodes,
    beta_vae_score,
    dci,
    explicitness,
    factor_vae_score,
    infomec,
    irs,
    mcc,
    mig,
    modularity,
    sap,
    udr,
    z_max_variance,
)
from jaxvae.metrics.infomec import neighbour_information

SIZES = (3, 4, 5)
FACTORS = np.tile(np.stack(np.unravel_index(np.random.default_rng(0).permutation(60), SIZES), axis=1), (20, 1))
IDEAL = 2.0 * FACTORS / (np.array(SIZES) - 1) - 1
FEW = {"num_train": 300, "num_eval": 200}
QUICK = {
    **{name: METRICS[name] for name in ("mig", "sap", "modularity", "irs", "mcc", "explicitness", "infomec", "dci")},
    **{name: METRICS[name] for name in ("mig_sup", "jemmig", "dcimig", "med")},
    "beta_vae_score": lambda z, y: beta_vae_score(z, y, **FEW),
    "factor_vae_score": lambda z, y: factor_vae_score(z, y, **FEW),
    "z_max_variance": lambda z, y: z_max_variance(z, y, **FEW),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.where(np.arange(1200)[:, None] == 7, np.nan, IDEAL), FACTORS, r"columns \[0, 1, 2\] are not, in 1 rows: 7"),
        (
            np.where(np.arange(3) == 1, np.inf, IDEAL),
            FACTORS,
            r"columns \[1\] are not, in 1200 rows: 0, 1, 2, 3, 4 ...",
        ),
        (IDEAL[:100], FACTORS, "as many rows; got 100 and 1200"),
        (IDEAL[:, 0], FACTORS, "codes must have two axes"),
    ],
)
def test_bad_codes(name, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        METRICS[name](codes, factors)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "mcc"])
def test_bad_factors(name):
    with pytest.raises(ValueError, match="whole numbers.*bin continuous factors first"):
        METRICS[name](IDEAL, IDEAL + 0.1)
    with pytest.raises(ValueError, match="every factor is constant"):
        METRICS[name](IDEAL, np.zeros((1200, 3), int))


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_bad_codes_alone(name):
    with pytest.raises(ValueError, match="codes must be finite"):
        UNSUPERVISED[name](np.full((10, 2), np.nan))


@pytest.mark.parametrize("name", QUICK)
def test_ideal_codes_score_one_in_any_order_and_direction(name):
    for codes in (IDEAL, -3 * IDEAL[:, ::-1] + 5):
        assert QUICK[name](codes, FACTORS).score == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_scores_little(name):
    noise = np.random.default_rng(0).normal(size=(1200, 3))
    most = {"irs": 0.4, "modularity": 0.8, "explicitness": 0.56, "infomec": 0.9, "beta_vae_score": 0.45}
    assert QUICK[name](noise, FACTORS).score < most.get(name, 0.45)
    assert infomec(noise, FACTORS).infoe < 0.02


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dead_and_constant_codes_have_the_documented_value(name):
    dead = QUICK[name](np.concatenate([IDEAL, np.zeros((1200, 2))], axis=1), FACTORS).score
    assert dead == pytest.approx(0.6 if name in ("modularity", "mig_sup") else 1, abs=0.01)
    constant = QUICK[name](np.zeros((1200, 2)), FACTORS).score
    joint = np.mean([1 - np.log(size) / np.log(20 * size) for size in SIZES])
    expected = {"explicitness": 0.5, "infomec": np.nan, "beta_vae_score": 1 / 3, "jemmig": joint}.get(name, 0)
    assert constant == pytest.approx(expected, abs=0.08, nan_ok=True)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_code_and_one_factor(name):
    one_code = QUICK[name](IDEAL[:, :1], FACTORS)
    one_factor = QUICK[name](IDEAL, FACTORS[:, :1])
    for result in (one_code, one_factor):
        json.dumps(result.to_json(), allow_nan=False)
    of_codes = ("modularity", "infomec", "dci", "med", "mig_sup", "dcimig")
    undefined = (*of_codes, "beta_vae_score", "factor_vae_score", "z_max_variance")
    assert np.isnan(one_factor.score) == (name in undefined)
    assert np.isfinite(one_code.score)


@pytest.mark.parametrize("name", QUICK)
def test_a_constant_factor_is_left_out(name):
    factors = np.concatenate([FACTORS, np.full((1200, 1), 4)], axis=1)
    with pytest.warns(UserWarning, match=r"factors \[3\] are constant"):
        result = QUICK[name](IDEAL, factors)
    assert result.score == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", QUICK)
def test_the_same_numbers_every_time(name):
    codes = IDEAL + 0.3 * np.random.default_rng(1).normal(size=IDEAL.shape)
    assert QUICK[name](codes, FACTORS).to_json() == QUICK[name](codes, FACTORS).to_json()


def test_two_factors_rotated_by_45_degrees():
    factors = np.tile(np.stack(np.unravel_index(np.arange(400), (20, 20)), axis=1), (3, 1))
    turn = np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    codes = (factors - 9.5) @ turn
    assert mig(codes, factors).score < 0.05
    assert sap(codes, factors).score < 1e-9
    assert dci(codes, factors).score < 0.05
    assert modularity(codes, factors).score < 0.05
    assert mcc(codes, factors).score == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert irs(codes, factors, convention="paper").score == pytest.approx(0.5, abs=0.03)
    assert factor_vae_score(codes, factors, **FEW).score < 0.65


def test_scale_matters_to_the_beta_vae_score_of_the_reference_alone():
    assert beta_vae_score(IDEAL, FACTORS, **FEW).score == 1
    assert beta_vae_score(0.003 * IDEAL, FACTORS, **FEW).score < 0.5
    assert beta_vae_score(0.003 * IDEAL, FACTORS, convention="paper", **FEW).score == 1
    assert factor_vae_score(0.003 * IDEAL, FACTORS, **FEW).score == 0
    assert factor_vae_score(0.003 * IDEAL, FACTORS, convention="paper", **FEW).score == 1


def test_a_value_that_training_never_saw():
    factors = FACTORS.copy()
    codes = IDEAL.copy()
    early = np.arange(1200) < 800
    factors[early & (factors[:, 2] == 4), 2] = 3
    result = explicitness(codes, factors, shuffle=False)
    assert 0.7 < result.per_factor[2] < 0.95
    assert 0.5 < dci(codes, factors, shuffle=False).informativeness <= 1


def test_no_image_is_encoded_twice():
    asked = []

    def encode(factors):
        asked.extend(map(tuple, factors.tolist()))
        return factors * 1.0

    codes = GridCodes(encode, SIZES)
    beta_vae_score(codes, **FEW)
    factor_vae_score(codes, **FEW)
    assert len(asked) == len(set(asked)) == codes.encoded == 60
    with pytest.raises(ValueError, match=r"a grid of \(3, 4, 5\) has 60 codes, got 59"):
        GridCodes.of_array(np.zeros((59, 2)), SIZES)


@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, 40, elements=st.integers(0, 3)), st.integers(0, 1000), st.integers(1, 6))
def test_information_by_neighbours_against_loops(factor, seed, neighbours):
    code = np.random.default_rng(seed).normal(size=(40, 1))
    rng = np.random.default_rng(1)
    scaled = code / code.std(axis=0)
    noisy = (scaled + 1e-10 * np.maximum(1, np.abs(scaled).mean()) * rng.standard_normal((40, 1)))[:, 0]
    labels = np.unique(factor, return_inverse=True)[1]
    kept = np.bincount(labels)[labels] > 1
    terms = []
    for i in np.flatnonzero(kept):
        same = np.sort(np.abs(noisy[(labels == labels[i]) & (np.arange(40) != i)] - noisy[i]))
        k = min(neighbours, len(same))
        within = (np.abs(noisy[kept] - noisy[i]) < same[k - 1]).sum()
        terms.append(_psi(k) - _psi(len(same) + 1) - _psi(max(within, 1)))
    expected = max(0.0, _psi(kept.sum()) + np.mean(terms)) if terms else 0.0
    found = neighbour_information(code, labels[:, None], neighbours, np.random.default_rng(1))
    assert found[0, 0] == pytest.approx(expected, abs=1e-9)


def _psi(n):
    """Digamma of a whole number."""
    return -0.5772156649015329 + sum(1 / i for i in range(1, int(n)))


@pytest.mark.parametrize("name", ["modularity", "irs", "infomec", "beta_vae_score", "factor_vae_score"])
def test_a_misspelt_convention_is_no_other_one(name):
    with pytest.raises(ValueError, match="convention must be reference or paper, got 'papr'"):
        METRICS[name](IDEAL, FACTORS, convention="papr")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sap", {"kind": "rank"}),
        ("dci", {"learner": "trees"}),
        ("downstream", {"learner": "trees"}),
        ("mcc", {"correlation": "kendall"}),
    ],
)
def test_other_words_are_refused(name, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be .* or .*, got"):
        METRICS[name](IDEAL, FACTORS, **settings)


def test_models_that_can_not_be_compared():
    with pytest.raises(ValueError, match="at least two models, got 1"):
        udr([IDEAL], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"kl \[M, D\]; got codes .* and kl \(2, 2\)"):
        udr([IDEAL, IDEAL], np.ones((2, 2)))
    scores = udr([IDEAL, IDEAL[:, ::-1]], np.zeros((2, 3)))
    assert scores.score == 0
    matched = udr([IDEAL, -IDEAL[:, ::-1]], np.ones((2, 3)), similarity="spearman")
    assert matched.score == pytest.approx(1, abs=0.01)
