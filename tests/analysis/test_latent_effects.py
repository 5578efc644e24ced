"""What latents change: closed forms of linear decoders, and what does not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from jaxvae.analysis import latent_effects

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(200, 3))


def linear(weights):
    return lambda codes: codes @ np.asarray(weights, float)


def oracle(decode, codes, examples, seed=0):
    """One latent of one example at a time."""
    order = np.random.default_rng(seed).permutation(len(codes))[:examples]
    latents = codes.shape[1]
    moved = [[] for _ in range(latents)]
    for place, row in enumerate(order):
        for d in range(latents):
            changed = codes[row].copy()
            changed[d] = codes[order[place - 1], d]
            moved[d].append((decode(changed[None]) - decode(codes[row][None]))[0])
    moved = np.array(moved)
    change = np.abs(moved).mean(axis=1)
    top = bottom = 0.0
    for d in range(latents):
        for e in range(latents):
            for n in range(len(order)) if d != e else ():
                top += abs(moved[d, n] @ moved[e, n])
                bottom += np.linalg.norm(moved[d, n]) * np.linalg.norm(moved[e, n])
    root = change.shape[1] ** 0.5
    hoyer = [(root - row.sum() / np.linalg.norm(row)) / (root - 1) for row in change]
    parts = sum(h * row.sum() for h, row in zip(hoyer, change, strict=True)) / change.sum()
    return change, top / bottom, parts, change.max(axis=0).sum() / change.sum()


def test_against_one_change_at_a_time():
    weights = RNG.normal(size=(3, 7))
    found = latent_effects(lambda z: np.tanh(z @ weights), CODES, examples=20)
    for one, other in zip(found, oracle(lambda z: np.tanh(z @ weights), CODES, 20), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_allclose(found.size, found.change.mean(axis=1))


def test_a_pixel_for_each_latent():
    found = latent_effects(linear(np.eye(3, 5)), CODES)
    assert found.overlap == 0
    assert found.parts == pytest.approx(1)
    assert found.exclusive == 1


def test_latents_that_do_the_same():
    found = latent_effects(linear(np.ones((3, 5))), CODES[:, [0, 0, 0]])
    assert found.overlap == pytest.approx(1)
    assert found.parts == pytest.approx(0)
    assert found.exclusive == pytest.approx(1 / 3)


def test_a_single_latent_overlaps_with_none():
    found = latent_effects(linear(np.ones((1, 5))), CODES[:, :1])
    assert np.isnan(found.overlap)
    assert found.exclusive == 1
    nothing = latent_effects(linear(np.zeros((2, 5))), CODES[:, :2])
    assert np.isnan([nothing.overlap, nothing.parts, nothing.exclusive]).all()


def test_principal_components_are_orthogonal():
    x = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 12))
    model = PCA(4).fit(x)
    assert latent_effects(model.inverse_transform, model.transform(x)).overlap == pytest.approx(0, abs=1e-12)


def test_whole_numbers_are_given_values_that_they_have():
    seen = []

    def decode(codes):
        seen.append(codes)
        return np.eye(4)[codes[:, 0]]

    codes = RNG.choice([0, 3], size=(50, 1))
    latent_effects(decode, codes)
    assert set(np.unique(seen[1])) == {0, 3}
    assert seen[1].dtype == codes.dtype


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(2, 9), st.integers(0, 1000))
def test_bounds_and_what_does_not_matter(latents, values, seed):
    rng = np.random.default_rng(seed)
    codes, weights, scale = rng.normal(size=(30, latents)), rng.normal(size=(latents, values)), rng.uniform(0.1, 9)
    found = latent_effects(linear(weights), codes, seed=seed)
    assert 0 <= found.overlap <= 1
    assert -1e-12 <= found.parts <= 1 + 1e-12
    assert 1 / latents - 1e-12 <= found.exclusive <= 1
    stretched = latent_effects(linear(weights / scale), codes * scale, seed=seed)
    np.testing.assert_allclose(stretched.change, found.change, rtol=1e-9)
    turned = latent_effects(linear(weights[::-1]), codes[:, ::-1], seed=seed)
    np.testing.assert_allclose(turned.change, found.change[::-1], rtol=1e-9)
    np.testing.assert_allclose(turned[1:], found[1:], rtol=1e-9)


@pytest.mark.parametrize("codes", [np.zeros((1, 3)), np.zeros((5, 0)), np.zeros(5)])
def test_codes_that_can_not_be(codes):
    with pytest.raises(ValueError, match="at least 2 examples, at least 1 latent"):
        latent_effects(linear(np.ones((3, 3))), codes)
