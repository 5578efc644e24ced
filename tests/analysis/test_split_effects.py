"""Effects of splits: closed forms, the formulas one output at a time, and what is left out."""

import numpy as np
import pytest

from jaxvae.analysis import split_effects

RNG = np.random.default_rng(0)
K, P = 4, 6
WEIGHTS = RNG.normal(size=(K, P))
MEANS = RNG.normal(size=(150, K)) * [2, 1, 0.5, 0.05]


def parts(codes):
    return np.asarray(codes, float)[:, :, None] * WEIGHTS + 0.3 * np.abs(codes)[:, :, None]


def test_effects_in_the_data_against_one_row_at_a_time():
    found = split_effects(parts, MEANS)
    total = np.zeros((K, P))
    for row in MEANS:
        rates = np.exp(parts(row[None])[0])
        extra = 1e-6 * rates.sum()
        total += -np.log(1 - rates / (rates.sum(axis=0) + extra))
    np.testing.assert_allclose(found.in_data, total / len(MEANS), rtol=1e-8)
    np.testing.assert_array_equal(found.order, np.argsort(-total.sum(axis=1)))
    np.testing.assert_allclose(found.size, found.in_data.sum(axis=1))


def test_effects_of_directions_against_plain_exponentials():
    found = split_effects(parts, MEANS)
    along = np.zeros((2, 10, K, P))
    for sign, ends in enumerate((np.maximum(MEANS.max(0), 0), np.minimum(MEANS.min(0), 0))):
        for step, share in enumerate(np.linspace(1, 0, 10, endpoint=False)):
            along[sign, step] = parts(share * ends[None])[0]
    low, high = np.exp(along.min(axis=(0, 1))), np.exp(along.max(axis=(0, 1)))
    ends = np.exp(along.max(axis=1))
    sums = [rates.sum(axis=0) + 1e-6 * high.sum() for rates in (low, high)]
    most = np.log((sums[0] - low + ends) / sums[0])
    least = np.log((sums[1] - high + ends) / (sums[1] - high + low))
    np.testing.assert_allclose(found.most, most, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.least, least, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.combined, most * least, rtol=1e-5, atol=1e-9)
    assert (found.combined >= 0).all()


def test_a_latent_that_raises_one_output_alone_is_named():
    def own(codes):
        outputs = np.full((len(codes), 3, 3), -8.0)
        outputs[:, 0, 0] = 3 * np.maximum(codes[:, 0], 0)
        outputs[:, 1, 1] = 3 * np.maximum(-codes[:, 1], 0)
        return outputs

    means = np.clip(RNG.normal(size=(100, 3)), -2, 2) * [1, 1, 0.1]
    found = split_effects(own, means)
    named = found.top(["a", "b", "c"], 1)
    assert named["z0+"] == ["a"]
    assert named["z1-"] == ["b"]
    assert named["z0-"] == named["z1+"] == []
    assert not {"z2+", "z2-"} & set(named)
    np.testing.assert_array_equal(found.vanished, [[False, False, True]] * 2)
    assert found.order[-1] == 2


def test_a_sign_can_vanish():
    means = np.abs(RNG.normal(size=(50, K))) + 1
    found = split_effects(parts, means)
    np.testing.assert_array_equal(found.vanished, [[False] * K, [True] * K])
    assert all(name.endswith("+") for name in found.top([str(p) for p in range(P)]))


def test_mean_pooling():
    found = split_effects(parts, MEANS, pooling="mean")
    np.testing.assert_allclose(found.in_data, np.abs(parts(MEANS)).mean(axis=0), rtol=1e-9)
    want = np.abs(parts(MEANS.max(axis=0)[None])[0]) / K
    np.testing.assert_allclose(found.combined[0], want, rtol=1e-5)


def test_log_rates_of_any_size():
    found = split_effects(lambda codes: 400 * parts(codes) - 900, MEANS)
    for values in (found.in_data, found.most, found.least):
        assert np.isfinite(values).all()


def test_bad_input():
    with pytest.raises(ValueError, match="one split each, got 2 splits of 4"):
        split_effects(lambda codes: parts(codes)[:, :2], MEANS)
    with pytest.raises(ValueError, match="must be .examples, latents., got shape"):
        split_effects(parts, MEANS[0])
