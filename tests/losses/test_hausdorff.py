"""Factorised support: the values of the definition, an oracle in float64, what it sees and does not, global batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled import factorised_support, float32, latent_pairs, normal, scale_hinge, value_and_grad, vmap
from sharding import BACKENDS, run_sharded

from jaxvae import losses

MATCHINGS = ("hard", "mean", "soft")
every_matching = pytest.mark.parametrize("matching", MATCHINGS)
PAIRS = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]], np.int32)
CODES = 2 * normal(jax.random.key(0), (12, 4))


def support_oracle(codes, pairs, matching="hard", temperature=1.0):
    """Of each pair, from the definition, in float64."""
    found = []
    for a, b in pairs:
        points = np.asarray(codes, np.float64)[:, [a, b]]
        product = np.array([[first[0], second[1]] for first in points for second in points])
        distance = ((product[:, None] - points[None]) ** 2).sum(-1)
        if matching == "soft":
            weight = np.exp(-(distance - distance.min(1, keepdims=True)) / temperature)
            expected = (weight * distance).sum(1) / weight.sum(1)
            weight = np.exp((expected - expected.max()) / temperature)
            found.append((weight * expected).sum() / weight.sum())
            continue
        shortest = distance.min(1)
        found.append(shortest.max() if matching == "hard" else shortest.sum() / max(1, (shortest > 0).sum()))
    return np.array(found)


def published():
    return np.random.RandomState(0).randn(64, 4)


def copied():
    codes = published()
    codes[:, 1] = codes[:, 0]
    return codes


@pytest.mark.parametrize(
    ("codes", "matching", "want", "total"),
    [
        ([(0, 0), (1, 1)], "hard", [1], 1),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "hard", [0], 0),
        ([(0, 0), (0, 1), (1, 0)], "hard", [1], 1),
        (np.linspace((0, 0), (1, 1), 5), "hard", [0.5], 0.5),
        (published(), "hard", [2.685787, 2.556056, 2.665441, 1.713617, 1.827859, 3.689356], 15.138116),
        (copied(), "hard", [12.183382, 2.556056, 2.665441, 2.556056, 2.665441, 3.689356], 26.315731),
        (published(), "mean", [0.088233, 0.093055, 0.093740, 0.073002, 0.076678, 0.067948], 0.492655),
    ],
)
def test_values_of_the_definition(codes, matching, want, total):
    codes = np.asarray(codes, np.float64)
    pairs = PAIRS if codes.shape[1] == 4 else PAIRS[:1]
    np.testing.assert_allclose(support_oracle(codes, pairs, matching), want, atol=6e-7)
    np.testing.assert_allclose(support_oracle(codes, pairs, matching).sum(), total, atol=6e-7)
    got = factorised_support(np.float32(codes), pairs, matching=matching)
    np.testing.assert_allclose(got, total, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("matching", "temperature"), [("hard", 1.0), ("mean", 1.0), ("soft", 1.0), ("soft", 0.1), ("soft", 30.0)]
)
def test_support_and_gradient_against_the_oracle(matching, temperature):
    options = {"matching": matching, "temperature": temperature}
    value, gradient = value_and_grad(partial(losses.factorised_support, **options))(CODES, PAIRS)
    np.testing.assert_allclose(value, support_oracle(CODES, PAIRS, **options).sum(), rtol=1e-5)
    (want,) = oracles.gradient(lambda codes: support_oracle(codes, PAIRS, **options).sum(), CODES)
    np.testing.assert_allclose(gradient, want, rtol=1e-3, atol=1e-3 * abs(want).max())


def test_colder_is_harder():
    hard = factorised_support(CODES, PAIRS)
    np.testing.assert_allclose(factorised_support(CODES, PAIRS, matching="soft", temperature=1e-3), hard, rtol=1e-4)


@every_matching
def test_what_support_sees(matching):
    kernel = partial(factorised_support, matching=matching)
    value = kernel(CODES, PAIRS)
    np.testing.assert_allclose(kernel(CODES[::-1] + np.float32(3), PAIRS), value, rtol=2e-5)
    assert kernel(CODES[:, [0, 0, 2, 3]], PAIRS) > value
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    turned = grid @ np.array([[0.8, -0.6], [0.6, 0.8]])
    straight, mixed = (kernel(np.float32(codes), PAIRS[:1]) for codes in (grid, turned))
    assert mixed > straight + 0.05
    if matching != "soft":
        assert straight == 0
        np.testing.assert_allclose(kernel(3 * CODES, PAIRS), 9 * value, rtol=2e-5)


@every_matching
def test_blocks_do_not_matter(matching, monkeypatch):
    whole = losses.factorised_support(float32(CODES), float32(PAIRS).astype(np.int32), matching=matching)
    monkeypatch.setattr("jaxvae.losses.hausdorff.ELEMENTS", 5 * 144)  # five rows at a time, and a rest of two
    parts = losses.factorised_support(float32(CODES), float32(PAIRS).astype(np.int32), matching=matching)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


@every_matching
@pytest.mark.parametrize("backend", BACKENDS)
def test_support_of_the_global_batch(backend, matching):
    def support(codes, axis_name=None):
        value = losses.factorised_support(codes, jnp.asarray(PAIRS), matching=matching, axis_name=axis_name)
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, gradient = value_and_grad(support)(CODES)
    got, (slope,) = run_sharded(support, backend, CODES)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-5)


@every_matching
def test_support_at_extremes(matching):
    """Equal codes, codes far away, one example, and no pairs at all."""
    kernel = value_and_grad(partial(losses.factorised_support, matching=matching))
    for codes in (np.full_like(CODES, 7), 1e4 * np.sign(CODES), 1e-20 * CODES, CODES[:1]):
        value, gradient = kernel(codes, PAIRS)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    assert factorised_support(CODES[:1], PAIRS, matching=matching) == 0
    assert factorised_support(CODES, PAIRS[:0], matching=matching) == 0


@every_matching
def test_support_mapped_and_in_half_precision(matching):
    kernel = partial(losses.factorised_support, matching=matching)
    both = np.stack([CODES, CODES[:, ::-1]])
    mapped = vmap(kernel, (0, None))(both, PAIRS)
    np.testing.assert_allclose(
        mapped, [factorised_support(codes, PAIRS, matching=matching) for codes in both], rtol=1e-5
    )
    half = factorised_support(CODES.astype(jnp.bfloat16), PAIRS, matching=matching)
    assert half.dtype == np.float32


HINGES = ("variance", "minimal-support")


@pytest.mark.parametrize("form", HINGES)
def test_hinge_against_the_definition(form):
    """Of every latent over the batch: latents as narrow as wanted have none, and others what they lack."""
    codes = CODES * np.float32([0.1, 0.3, 1, 0.0]) + np.float32([0, 0.5, 0, 2])
    wide = np.float64(codes)
    lacks = {
        "variance": lambda: np.maximum(0, 1 - np.sqrt(((wide - wide.mean(0)) ** 2).mean(0) + 1e-6)),
        "minimal-support": lambda: np.maximum(0, 1 - wide.max(0)) + np.maximum(0, wide.min(0)),
    }[form]
    value, gradient = value_and_grad(partial(losses.scale_hinge, form=form))(codes)
    np.testing.assert_allclose(value, lacks().sum(), rtol=1e-5)
    assert (lacks() == 0).any()
    assert (lacks() > 0).sum() >= 2
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:, lacks() == 0], 0)
    alone = [scale_hinge(codes[:, [latent]], form=form) for latent in range(4)]
    np.testing.assert_allclose(alone, lacks(), rtol=1e-5, atol=1e-6)


def test_hinges_by_hand():
    """Two points at 0 and 1 have a standard deviation of 1/2, and reach as far as they need to."""
    codes = np.float32([[0, 0.25], [1, 0.75]])
    np.testing.assert_allclose(scale_hinge(codes, form="variance"), 0.5 + 0.75, atol=1e-5)
    assert scale_hinge(codes, form="minimal-support") == 0.25 + 0.25
    assert scale_hinge(codes[:, :1], form="minimal-support") == 0


@pytest.mark.parametrize("form", HINGES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_hinge_of_the_global_batch(backend, form):
    codes = np.float32(0.2) * CODES

    def hinge(codes, axis_name=None):
        value = losses.scale_hinge(codes, form=form, axis_name=axis_name)
        return value if axis_name is None else jax.lax.pmean(value, axis_name)

    value, gradient = value_and_grad(hinge)(codes)
    got, (slope,) = run_sharded(hinge, backend, codes)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-5)


def test_pairs_are_different_and_new_with_every_key():
    for latents, count in ((1, 0), (2, 1), (5, 10), (10, 25)):
        pairs = latent_pairs(jax.random.key(0), latents)
        assert pairs.shape == (count, 2)
        assert len({tuple(pair) for pair in pairs.tolist()}) == count
        assert (pairs[:, 0] < pairs[:, 1]).all()
    drawn = vmap(lambda key: losses.latent_pairs(key, 5, 3))(jax.random.split(jax.random.key(1), 200))
    counts = np.bincount((5 * drawn[..., 0] + drawn[..., 1]).ravel(), minlength=25)
    assert (counts > 0).sum() == 10
    assert counts[counts > 0].min() > 30


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.factorised_support(float32(CODES[0]), PAIRS), r"got \(4,\) and \(6, 2\)"),
        (lambda: losses.factorised_support(float32(CODES), PAIRS[0]), r"got \(12, 4\) and \(2,\)"),
        (lambda: losses.factorised_support(PAIRS, PAIRS), "codes must be floating"),
        (lambda: losses.factorised_support(float32(CODES), PAIRS, matching="other"), "one of hard, mean, soft, got"),
        (lambda: losses.factorised_support(float32(CODES), PAIRS, temperature=0.0), "temperature must be positive"),
        (lambda: losses.latent_pairs(jax.random.key(0), 0), "at least 1 latent"),
        (lambda: losses.scale_hinge(float32(CODES[0])), r"must be \[B, D\], got \(4,\)"),
        (lambda: losses.scale_hinge(float32(CODES), form="other"), "one of variance, minimal-support, got 'other'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
