"""Constraints on codes: oracles in float64, closed forms, invariances, coincident and extreme codes, unknown values."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import (
    additive_analogy,
    analogy_manifold,
    embedding_cross_entropy,
    grad,
    group_variance,
    match_pairing,
    mds_stress,
    multiplicative_analogy,
    normal,
    one_program,
    rank_pairing,
    swap_latents,
    triplet,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st

from jaxvae import losses

A, B, C = (2 * normal(jax.random.key(seed), (6, 4)) for seed in range(3))
MARKS = np.asarray(jax.random.bernoulli(jax.random.key(3), 0.5, (6, 4)))
ORDER = np.array([[1, -1, 0], [0, 0, 0], [-1, 5, 1], [1, 1, 1], [-1, 0, -7], [0, -1, 1]], np.int32)
GROUPS = normal(jax.random.key(4), (6, 3, 4))
WEIGHT = normal(jax.random.key(5), (4, 4, 4))
DISTANCES = abs(normal(jax.random.key(6), (6, 6)))
DISTANCES[0, 1], DISTANCES[2, 4] = 0, np.nan
LABELS = np.array([0, 4, -1, 2, 3, 1], np.int32)
PLACES = np.array([-2.0, 1.5, 0.0, -0.5, 3.0], np.float32)
STRESSES = [(weighting, free) for weighting in ("raw", "stress-1", "sammon") for free in (False, True)]
every_stress = pytest.mark.parametrize(("weighting", "free"), STRESSES)
seeds = st.integers(0, 2**31 - 1)
softplus = partial(np.logaddexp, 0)


def match_oracle(mean, mean2, same):
    return sum((x - y) ** 2 for x, y, s in zip(mean, mean2, same, strict=True) if s)


def rank_oracle(mean, mean2, order):
    return sum(softplus(-np.sign(r) * 0.7 * (x - y)) for x, y, r in zip(mean, mean2, order, strict=False) if r)


def group_oracle(mean, shared):
    members = range(len(mean))
    pairs = [sum((mean[n][d] - mean[m][d]) ** 2 for n in members for m in members) for d in range(len(shared))]
    return sum(total / (2 * len(mean) ** 2) for total, s in zip(pairs, shared, strict=True) if s)


def triplet_oracle(anchor, near, far):
    return softplus(((anchor - near) ** 2).sum() - ((anchor - far) ** 2).sum() + 0.3)


def multiplicative_oracle(a, b, c):
    w, size = np.asarray(WEIGHT, np.float64), range(4)
    return [c[k] + sum(w[i, j, k] * (b[i] - a[i]) * c[j] for i in size for j in size) for k in size]


def embedding_oracle(mean, label):
    scores = [np.exp(-((1.3 * (mean - place)) ** 2)) for place in np.asarray(PLACES, np.float64)]
    return -np.log(scores[int(label)] / sum(scores)) if label >= 0 else 0


def stress_oracle(z, distances, weighting, scale_free):
    """Over a list of pairs, and over scales by golden section where any scale will do."""
    pairs = [(np.sqrt(((z[a] - z[b]) ** 2).sum()), distances[a, b]) for b in range(len(z)) for a in range(b)]
    pairs = [(d, t) for d, t in pairs if not np.isnan(t) and (t > 0 or weighting != "sammon")]

    def at_scale(c):
        if weighting == "sammon":
            return sum((c * d - t) ** 2 / t for d, t in pairs) / sum(t for _, t in pairs)
        raw = sum((c * d - t) ** 2 for d, t in pairs)
        return raw if weighting == "raw" else np.sqrt(raw / sum((c * d) ** 2 for d, _ in pairs))

    low, high, golden = np.log(1e-3), np.log(1e3), (np.sqrt(5) - 1) / 2
    while scale_free and high - low > 1e-9:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if at_scale(np.exp(left)) < at_scale(np.exp(right)) else (left, high)
    return at_scale(np.exp(low) if scale_free else 1)


def embed(places, mean, labels, **options):
    return embedding_cross_entropy(mean, labels, places, **options)


def eager_embed(places, mean, labels, **options):
    return losses.embedding_cross_entropy(mean, labels, places, **options)


# Kernel, its arrays, how many of them are codes (the first), and the oracle of one example (of the batch, for stress).
CASES = {
    "match": (losses.match_pairing, (A, B, MARKS), 2, match_oracle),
    "rank": (partial(losses.rank_pairing, scale=0.7), (A, B, ORDER), 2, rank_oracle),
    "group": (losses.group_variance, (GROUPS, MARKS), 1, group_oracle),
    "triplet": (partial(losses.triplet, margin=0.3), (A, B, C), 3, triplet_oracle),
    "additive": (losses.additive_analogy, (A, B, C), 3, lambda a, b, c: b - a + c),
    "multiplicative": (
        lambda a, b, c: losses.multiplicative_analogy(a, b, c, jax.device_put(WEIGHT)),
        (A, B, C),
        3,
        multiplicative_oracle,
    ),
    "swap": (losses.swap_latents, (B, C, MARKS), 2, lambda b, c, mask: mask * b + (1 - mask) * c),
    "manifold": (losses.analogy_manifold, (A, B, C), 3, lambda c, d, increment: ((d - (c + increment)) ** 2).sum()),
    "embedding": (partial(eager_embed, jax.device_put(PLACES), sharpness=1.3), (A[:, 0], LABELS), 1, embedding_oracle),
}
for weighting, free in STRESSES:
    options = {"weighting": weighting, "scale_free": free}
    stress, wanted = partial(losses.mds_stress, **options), partial(stress_oracle, **options)
    CASES[f"{weighting} {free}"] = (stress, (A, DISTANCES), 1, wanted)
every_case = pytest.mark.parametrize(("kernel", "arrays", "count", "oracle"), CASES.values(), ids=CASES)


@every_case
def test_against_the_oracle(kernel, arrays, count, oracle):
    exact = [np.asarray(array, np.float64) for array in arrays]
    want = oracle(*exact) if arrays[-1] is DISTANCES else [oracle(*rows) for rows in zip(*exact, strict=True)]
    np.testing.assert_allclose(one_program(kernel)(*arrays), want, rtol=1e-4, atol=1e-5)


@functools.cache
def value_and_slopes(kernel):
    """In the codes, which are a list."""
    return value_and_grad(lambda codes, rest: kernel(*codes, *rest).sum())


@every_case
@pytest.mark.parametrize("place", ["far", "the same", "the same but one", "almost the same"])
def test_extremes_are_finite(kernel, arrays, count, oracle, place):
    moved = {
        "far": lambda codes: 1e4 * np.sign(codes),
        "the same": lambda codes: np.full_like(codes, 1e4),
        "the same but one": lambda codes: np.concatenate([np.full_like(codes[:1], 1e4), np.full_like(codes[1:], -3)]),
        "almost the same": lambda codes: 1e-8 * codes,
    }
    codes = [moved[place](array) for array in arrays[:count]]
    value, gradients = value_and_slopes(kernel)(codes, list(arrays[count:]))
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@every_case
def test_compiled_mapped_and_in_half_precision(kernel, arrays, count, oracle):
    compiled, plain = one_program(kernel), np.asarray(kernel(*(jax.device_put(array) for array in arrays)))
    np.testing.assert_allclose(compiled(*arrays), plain, rtol=1e-5, atol=1e-5)
    turned = compiled(*(array[::-1] for array in arrays))
    mapped = vmap(kernel)(*(np.stack([array, array[::-1]]) for array in arrays))
    np.testing.assert_allclose(mapped, np.stack([plain, turned]), rtol=1e-5, atol=1e-5)
    for dtype in (jnp.bfloat16, jnp.float16):
        half = [array.astype(dtype) for array in arrays[:count]]
        value = compiled(*half, *arrays[count:])
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, compiled(*(a.astype(np.float32) for a in half), *arrays[count:]))


def test_unknown_orders_and_labels_cost_nothing():
    gradients = grad(lambda a, b: rank_pairing(a, b, ORDER).sum(), (0, 1))(A, B)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[:, :3] == 0, ORDER == 0)
        np.testing.assert_array_equal(gradient[:, 3:], 0)
    gradient = grad(lambda mean: embed(PLACES, mean, LABELS).sum())(A[:, 0])
    np.testing.assert_array_equal(gradient == 0, LABELS == -1)
    known = np.where(LABELS == -1, np.int32(3), LABELS)
    np.testing.assert_array_equal(embed(PLACES, A[:, 0], known.astype(np.uint8)), embed(PLACES, A[:, 0], known))
    refused = embed(PLACES, A[:, 0], np.array([-2, 5, 4, -1, 0, 1], np.int32))
    np.testing.assert_array_equal(np.isnan(refused), [True, True, False, False, False, False])


def test_rank_loss_of_equal_codes():
    order = np.array([[1, -1, 0]], np.int32)
    value, gradient = value_and_grad(lambda mean: rank_pairing(mean, A[:1], order).sum())(A[:1])
    np.testing.assert_allclose(value, 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-0.5, 0.5, 0, 0]], rtol=1e-6)


def test_scales_and_margins_may_be_arrays():
    def total(value):
        placed = embed(PLACES, A[:, 0], LABELS, sharpness=value)
        return (placed + rank_pairing(A, B, ORDER, scale=value) + triplet(A, B, C, margin=value)).sum()

    value, gradient = value_and_grad(total)(np.float32(0.7))
    below, at, above = jax.jit(lambda: [total(number) for number in (0.69, 0.7, 0.71)])()
    np.testing.assert_allclose(value, at, rtol=1e-6)
    np.testing.assert_allclose(gradient, (above - below) / 0.02, rtol=1e-2)


def test_a_pair_is_a_group_of_two_anywhere():
    for shift, rtol in ((0, 1e-5), (1e3, 1e-2)):
        variance = group_variance(np.stack([A, B], axis=1) + shift, MARKS)
        np.testing.assert_allclose(variance, match_pairing(A, B, MARKS) / 4, rtol=rtol, atol=1e-6)


def test_triplets_far_from_the_anchor():
    """The squared distances are 1e8 + 1 and 1e8, which float32 cannot tell apart."""
    anchor, near, far = np.array([[[0, 0]], [[1e4, 1]], [[1e4, 0]]], np.float32)
    np.testing.assert_allclose(triplet(anchor, near, far), softplus(1), rtol=1e-6)
    np.testing.assert_allclose(triplet(anchor, near, near), np.log(2), rtol=1e-6)


@every_stress
def test_stress_of_an_exact_embedding(weighting, free):
    target = np.sqrt(((A[:, None] - A[None]) ** 2).sum(axis=-1))
    kernel = value_and_grad(partial(mds_stress, weighting=weighting, scale_free=free))
    for z in (A, 3 * A if free else A):
        value, gradient = kernel(z, target)
        np.testing.assert_allclose(value, 0, atol=1e-5)
        assert np.isfinite(gradient).all()
    # Exactly 0 is where a root has no slope.
    for distances in (np.full((6, 6), np.nan, np.float32), np.full((6, 6), 1e-6, np.float32)):
        value, gradient = kernel(np.ones((6, 4), np.float32), distances)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_array_equal(gradient, 0)


@every_stress
def test_unknown_distances_are_left_out(weighting, free):
    """Those to one example: as if it were not there. Nothing on or below the diagonal is read."""
    kernel = partial(mds_stress, weighting=weighting, scale_free=free)
    without = kernel(A[:5], DISTANCES[:5, :5])
    unknown = np.where(np.tril(np.ones((6, 6), bool)) | (np.arange(6) == 5), np.float32(np.nan), DISTANCES)
    value, gradients = value_and_grad(kernel, (0, 1))(A, unknown)
    np.testing.assert_allclose(value, without, rtol=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(gradients[0][5], 0)


@every_stress
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_what_stress_does_not_see(weighting, free, seed, scale):
    """Rotations and translations; the unit of everything, where the stress has none; any scale, where that is free."""
    kernel, rng = partial(mds_stress, weighting=weighting, scale_free=free), np.random.default_rng(seed)
    z, shift = rng.standard_normal((5, 3), np.float32), rng.standard_normal(3, np.float32)
    target = rng.uniform(0.1, 1, (5, 5)).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3), np.float32))
    value = kernel(z, target)
    np.testing.assert_allclose(kernel(z @ rotation + shift[None], target), value, rtol=1e-3, atol=1e-5)
    unit = {"raw": scale**2, "stress-1": 1, "sammon": 1}[weighting]
    np.testing.assert_allclose(kernel(scale * z, scale * target), unit * value, rtol=1e-3, atol=1e-5)
    if free:
        np.testing.assert_allclose(kernel(scale * z, target), value, rtol=1e-3, atol=1e-5)
        assert value <= mds_stress(scale * z, target, weighting=weighting) + 1e-4


@given(seeds)
def test_additive_analogies_of_a_linear_generator(seed):
    """x = U s, encoded by the pseudo-inverse of U: the decoded prediction is the fourth example."""
    rng = np.random.default_rng(seed)
    generator = np.linalg.qr(rng.standard_normal((8, 4), np.float32))[0] * np.arange(1, 5, dtype=np.float32)
    a, b, c = rng.standard_normal((3, 5, 4), np.float32)
    encode = np.linalg.pinv(generator).T
    predicted = additive_analogy(*(factors @ generator.T @ encode for factors in (a, b, c)))
    np.testing.assert_allclose(predicted @ generator.T, (c + (b - a)) @ generator.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(analogy_manifold(c, predicted, b - a), 0, atol=1e-6)


def test_analogies_of_nothing_and_of_known_factors():
    for predicted in (additive_analogy(A, A, C), multiplicative_analogy(A, A, C, WEIGHT)):
        np.testing.assert_array_equal(predicted, C)
    first = np.arange(4) < 1
    np.testing.assert_array_equal(swap_latents(B, C, first), np.concatenate([B[:, :1], C[:, 1:]], axis=1))
    np.testing.assert_array_equal(swap_latents(B[0], C[0], first), swap_latents(B, C, first)[0])


@given(seeds, st.floats(-5, 5))
def test_symmetries(seed, shift):
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, 6, 4), np.float32)
    order = rng.integers(-1, 2, (6, 4), np.int32)
    shift = np.float32(shift)
    near = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(rank_pairing(a, b, order), rank_pairing(b, a, -order), **near)
    behind = (order.astype(a.dtype) * (b - a)).sum(axis=1)
    np.testing.assert_allclose(rank_pairing(a, b, order) - rank_pairing(a, b, -order), behind, **near)
    np.testing.assert_allclose(match_pairing(a, b, order > 0), match_pairing(b + shift, a + shift, order > 0), **near)
    groups = np.stack([a, b, c], axis=1)
    turned = rng.permutation(groups, axis=1)
    np.testing.assert_allclose(group_variance(groups, order > 0), group_variance(turned + shift, order > 0), **near)
    assert (triplet(a, b, c) + triplet(a, c, b) >= 2 * np.log(2) - 1e-5).all()
    np.testing.assert_array_equal(swap_latents(b, c, order > 0), swap_latents(c, b, order <= 0))
    probabilities = [np.exp(-embed(PLACES, a[:, 0], np.full(6, label, np.int32))) for label in range(5)]
    np.testing.assert_allclose(sum(probabilities), 1, **near)


BAD = [
    (lambda: losses.match_pairing(A, B[:5], MARKS), r"mean \(6, 4\), mean2 \(5, 4\), same \(6, 4\)"),
    (lambda: losses.match_pairing(A, B, A), "same must be boolean, got float32"),
    (lambda: losses.analogy_manifold(ORDER, ORDER, ORDER), "c must be floating"),
    (lambda: losses.rank_pairing(A, B, ORDER[:5]), r"of one batch, got \(6, 4\) and \(5, 3\)"),
    (lambda: losses.rank_pairing(A, B, np.ones((6, 5), np.int32)), "5 factors, 4 latents"),
    (lambda: losses.rank_pairing(A, B, ORDER.astype(np.uint8)), "order must be a signed integer, got uint8"),
    (lambda: losses.rank_pairing(A, B, ORDER, scale=0), "scale must be positive, got 0"),
    (lambda: losses.group_variance(GROUPS, MARKS[:, :3]), r"\[G, D\], got \(6, 3, 4\) and \(6, 3\)"),
    (lambda: losses.group_variance(GROUPS[:, :1], MARKS), "at least 2 members, got 1"),
    (lambda: losses.group_variance(GROUPS, ORDER[:, [0, 1, 2, 2]]), "shared must be boolean, got int32"),
    (lambda: losses.mds_stress(A, DISTANCES[:5]), r"distances \[B, B\], got \(6, 4\) and \(5, 6\)"),
    (lambda: losses.mds_stress(A[0], DISTANCES), r"codes must be \[B, D\]"),
    (lambda: losses.mds_stress(A, DISTANCES, weighting="kruskal"), "one of raw, stress-1, sammon, got 'kruskal'"),
    (lambda: losses.triplet(A, B, C[:, :3]), r"far \(6, 3\)"),
    (lambda: losses.additive_analogy(A, B[:1], C), r"b \(1, 4\)"),
    (lambda: losses.multiplicative_analogy(A, B, C, WEIGHT[0]), r"weight must be \(4, 4, 4\), got \(4, 4\)"),
    (lambda: losses.swap_latents(B, C, MARKS[:, 0]), r"mask must be \(6, 4\) or \(4,\), got \(6,\)"),
    (lambda: losses.analogy_manifold(A, B, C[0]), r"increment \(4,\)"),
    (lambda: eager_embed(PLACES, A, LABELS), r"got \(6, 4\), \(6,\), \(5,\)"),
    (lambda: eager_embed(PLACES[:0], A[:, 0], LABELS), r"\[K >= 1\], got \(6,\), \(6,\), \(0,\)"),
    (lambda: eager_embed(PLACES, A[:, 0], A[:, 1]), "labels must be integers, got float32"),
    (lambda: eager_embed(PLACES, A[:, 0], LABELS, sharpness=-1.0), "sharpness must be positive, got -1.0"),
]


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
