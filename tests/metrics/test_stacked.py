"""Scores of stacked models are those of each model."""

import numpy as np
import pytest

from jaxvae.metrics import (
    METRICS,
    UNSUPERVISED,
    factor_vae_score,
    gaussian_total_correlation,
)
from jaxvae.metrics.stacked import score_stacked

SIZES = (3, 6, 8)
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(size, size=1500) for size in SIZES], axis=1)
CENTRED = 2 * FACTORS / (np.array(SIZES) - 1) - 1
NOISE = RNG.normal(size=(1500, 4))


def with_noise(codes):
    return np.concatenate([codes, np.zeros((1500, 1))], axis=1) + 0.1 * NOISE


MODELS = np.stack(
    [
        with_noise(CENTRED),
        with_noise(np.tanh(CENTRED @ RNG.normal(size=(3, 3)))),
        NOISE,
        100 + with_noise(CENTRED) * [1, 1, 1, 0],  # the last one is dead
        0 * NOISE,  # all are
    ]
).astype(np.float32)


def test_each_model_scores_as_alone():
    stacked = score_stacked(MODELS, FACTORS, num_votes=700)
    assert set(stacked) == {
        *("mig", "sap", "modularity", "factor_vae_score"),
        *UNSUPERVISED,
    } - {"support"}
    for name, scores in stacked.items():
        for codes, score in zip(MODELS, scores, strict=True):
            if name == "factor_vae_score":
                alone = factor_vae_score(codes, FACTORS, num_train=700, num_eval=350)
            else:
                alone = UNSUPERVISED[name](codes) if name in UNSUPERVISED else METRICS[name](codes, FACTORS)
            assert score == pytest.approx(alone.score, abs=2e-3), name


def test_codes_that_determine_one_another_have_no_finite_total_correlation():
    twice = np.stack([CENTRED[:, [0, 0]]]).astype(np.float32)
    assert gaussian_total_correlation(twice[0]).score > 10
    assert score_stacked(twice, FACTORS, num_votes=10)["gaussian_total_correlation"] > 5


@pytest.mark.filterwarnings("ignore:factors .* are constant")
def test_constant_factors_are_left_out():
    more = np.concatenate([np.zeros((1500, 1), int), FACTORS], axis=1)
    with_constant, without = (score_stacked(MODELS, factors, num_votes=50) for factors in (more, FACTORS))
    for name in without:
        np.testing.assert_array_equal(with_constant[name], without[name])


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (MODELS[0], FACTORS, "must be .models, examples, latents"),
        (np.where(np.arange(4) == 1, np.nan, MODELS), FACTORS, "codes must be finite"),
        (MODELS, FACTORS[:7], "as many rows; got 1500 and 7"),
        (MODELS, FACTORS + 0.5, "whole numbers"),
    ],
)
def test_bad_input(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        score_stacked(codes, factors)


@pytest.mark.parametrize("settings", [{"num_votes": 1}, {"num_bins": 1}, {"batch_size": 1}])
def test_too_few(settings):
    with pytest.raises(ValueError, match="must be at least 2"):
        score_stacked(MODELS, FACTORS, **settings)
