"""Neighbourhoods of data and codes: float64 loops, the t-SNE gradient, duplicates, invariances, sharded."""

import jax
import numpy as np
import pytest
from compiled import (
    float32,
    grad,
    neighbour_affinities,
    neighbour_divergence,
    normal,
    one_program,
    value_and_grad,
    vmap,
)
from hypothesis import given
from hypothesis import strategies as st
from sharding import BACKENDS, run_sharded

from jaxvae import losses
from jaxvae.losses import gaussian_similarity, student_t_similarity, von_mises_similarity

X = normal(jax.random.key(0), (24, 6))
Z = normal(jax.random.key(1), (24, 3))
P = neighbour_affinities(X, 5.0)
SIMILARITIES = {
    "t": (student_t_similarity(), lambda a, b: 1 / (1 + ((a - b) ** 2).sum())),
    "t3": (student_t_similarity(3.0, 2.0), lambda a, b: (1 + ((a - b) ** 2).sum() / 12) ** -2),
    "gaussian": (gaussian_similarity(1.5), lambda a, b: np.exp(-((a - b) ** 2).sum() / 4.5)),
    "von-mises": (von_mises_similarity(4.0), lambda a, b: np.exp(4 * a @ b / np.linalg.norm(a) / np.linalg.norm(b))),
}
every_similarity = pytest.mark.parametrize("name", SIMILARITIES)
either_form = pytest.mark.parametrize("symmetric", [False, True])


def affinities_oracle(x, perplexity):
    """Row by row, in float64, the width found by a scan that gets finer."""
    x = np.asarray(x, np.float64)
    rows = []
    for i, point in enumerate(x):
        distance = np.delete(((x - point) ** 2).sum(1), i)
        low, high = 1e-9, 1e9
        for _ in range(200):
            middle = np.sqrt(low * high)
            w = np.exp(-middle * (distance - distance.min()))
            p = w / w.sum()
            entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
            low, high = (middle, high) if entropy > np.log(perplexity) else (low, middle)
        rows.append(np.insert(p, i, 0))
    return np.array(rows)


def divergence_oracle(z, p, similarity, symmetric):
    z, p = np.asarray(z, np.float64), np.asarray(p, np.float64)
    n = len(z)
    w = np.array([[0 if i == j else similarity(z[i], z[j]) for j in range(n)] for i in range(n)])
    if symmetric:
        p, q, times = (p + p.T) / (2 * n), w / w.sum(), n
    else:
        q, times = w / w.sum(1, keepdims=True), 1
    return np.array(
        [times * sum(p[i, j] * np.log(p[i, j] / q[i, j]) for j in range(n) if j != i and p[i, j] > 0) for i in range(n)]
    )


@pytest.mark.parametrize("perplexity", [1.5, 5.0, 15.0])
def test_affinities_against_the_oracle(perplexity):
    got = neighbour_affinities(X, np.float32(perplexity))
    np.testing.assert_allclose(got, affinities_oracle(X, perplexity), atol=2e-4)


@given(st.integers(0, 1000), st.floats(1.5, 20), st.sampled_from([1e-3, 1.0, 1e3]), st.sampled_from([0.0, 100.0]))
def test_perplexity_is_met(seed, perplexity, scale, shift):
    x = scale * (normal(jax.random.key(seed), (24, 6)) + shift)
    p = np.asarray(neighbour_affinities(x, np.float32(perplexity)), np.float64)
    np.testing.assert_array_equal(np.diag(p), 0)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1)
    # Far from the origin, float32 keeps fewer digits of the distances.
    np.testing.assert_allclose(np.exp(entropy), perplexity, rtol=1e-3 if shift == 0 else 1e-2)


def test_perplexities_out_of_reach():
    far = neighbour_affinities(X, np.float32(1000.0))
    entropy = -(far * np.log(np.where(far > 0, far, 1))).sum(1)
    np.testing.assert_allclose(np.exp(entropy), 0.99 * 23, rtol=1e-3)
    doubled = neighbour_affinities(np.concatenate([X[:1] + 1000] * 6 + [X]), 2.0)
    np.testing.assert_allclose(doubled[0], [0.0] + [0.2] * 5 + [0.0] * 24, atol=1e-6)
    equal = neighbour_affinities(np.ones((4, 2), np.float32), 2.0)
    np.testing.assert_allclose(equal, (1 - np.eye(4)) / 3, rtol=1e-6)


def test_an_outlier_leaves_the_others_their_neighbours():
    p = np.asarray(neighbour_affinities(np.concatenate([np.full((1, 6), 1e3, np.float32), X[1:]]), 5.0), np.float64)[1:]
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1)
    np.testing.assert_allclose(np.exp(entropy), 5, rtol=0.02)


def test_affinities_are_constant():
    gradient = grad(lambda p: neighbour_divergence(Z, p, similarity=student_t_similarity()).sum())(P)
    np.testing.assert_array_equal(gradient, 0)


@every_similarity
@either_form
def test_divergence_against_the_oracle(name, symmetric):
    similarity, formula = SIMILARITIES[name]
    settings = {"similarity": similarity, "symmetric": symmetric}
    got = losses.neighbour_divergence(*float32(Z, P), **settings)
    np.testing.assert_allclose(got, divergence_oracle(Z, P, formula, symmetric), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(neighbour_divergence(Z, P, **settings), got, rtol=1e-4, atol=1e-5)
    both = vmap(lambda z, p: neighbour_divergence(z, p, **settings))(np.stack([Z, 2 * Z]), np.stack([P, P]))
    np.testing.assert_allclose(both[0], got, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_t_snes():
    """4 sum_j (P_ij - Q_ij) (z_i - z_j) / (1 + |z_i - z_j|^2)."""

    def divergence(z):
        return neighbour_divergence(z, P, similarity=student_t_similarity(), symmetric=True).mean()

    z, p = np.asarray(Z, np.float64), np.asarray(P, np.float64)
    difference = z[:, None] - z[None]
    w = 1 / (1 + (difference**2).sum(-1))
    q = np.where(np.eye(24), 0, w)
    q /= q.sum()
    joint = (p + p.T) / 48
    want = 4 * (((joint - q) * w)[..., None] * difference).sum(1)
    np.testing.assert_allclose(grad(divergence)(Z), want, rtol=1e-3, atol=1e-6)


def test_codes_that_are_the_data_cost_nothing():
    """With one and the same Gaussian width on both sides."""
    distance = ((X[:, None] - X[None]) ** 2).sum(-1)
    p = np.where(np.eye(24, dtype=bool), np.float32(0), np.exp(-distance / 2))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(neighbour_divergence(X, p, similarity=gaussian_similarity()), 0, atol=1e-5)


@every_similarity
@either_form
@given(st.integers(0, 1000))
def test_invariances(name, symmetric, seed):
    similarity, _ = SIMILARITIES[name]
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((3, 3), np.float32))[0]
    moved = Z @ rotation + (0 if name == "von-mises" else rng.standard_normal((1, 3), np.float32))
    value = neighbour_divergence(Z, P, similarity=similarity, symmetric=symmetric)
    assert value.mean() > 0
    again = neighbour_divergence(moved, P, similarity=similarity, symmetric=symmetric)
    np.testing.assert_allclose(again, value, rtol=1e-3, atol=1e-4)
    order = rng.permutation(24)
    shuffled = neighbour_divergence(Z[order], P[order][:, order], similarity=similarity, symmetric=symmetric)
    np.testing.assert_allclose(shuffled, value[order], rtol=1e-3, atol=1e-4)


def test_many_degrees_of_freedom_are_gaussian():
    heavy, light = one_program(lambda z: (student_t_similarity(1e6)(z, z), gaussian_similarity()(z, z)))(Z)
    np.testing.assert_allclose(heavy, light, rtol=1e-3, atol=1e-3)


@every_similarity
def test_extremes_are_finite(name):
    similarity, _ = SIMILARITIES[name]
    value_and_slope = value_and_grad(lambda z: neighbour_divergence(z, P, similarity=similarity).sum())
    for scale in (0.0, 1e-4, 1e4):
        value, gradient = value_and_slope(scale * Z)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_affinities_at_extremes_and_their_slope():
    assert np.isfinite(neighbour_affinities(1e4 * np.sign(X), 5.0)).all()
    np.testing.assert_array_equal(grad(lambda x: (neighbour_affinities(x, 5.0) ** 2).sum())(X), 0)


@pytest.mark.parametrize("backend", BACKENDS)
@either_form
def test_neighbours_are_those_of_the_global_batch(backend, symmetric):
    def divergence(x, z, axis_name=None):
        p = neighbour_affinities(x, 5.0, axis_name=axis_name)
        similarity = student_t_similarity()
        mean = neighbour_divergence(z, p, similarity=similarity, symmetric=symmetric, axis_name=axis_name).mean()
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name)

    value, gradients = run_sharded(divergence, backend, X, Z)
    want, want_gradients = value_and_grad(divergence, (0, 1))(X, Z)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for got, expected in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input():
    with pytest.raises(ValueError, match="must be >= 1, got 0.5"):
        losses.neighbour_affinities(X, 0.5)
    with pytest.raises(ValueError, match="at least 3 examples, got 2"):
        losses.neighbour_affinities(X[:2], 1.0)
    with pytest.raises(ValueError, match=r"\[examples, features\], got shape \(24,\)"):
        losses.neighbour_affinities(X[:, 0], 1.0)
    with pytest.raises(ValueError, match=r"must be \(24, 24\) for this batch, got \(24, 12\)"):
        losses.neighbour_divergence(Z, P[:, :12], similarity=student_t_similarity())
    with pytest.raises(ValueError, match="df must be positive"):
        student_t_similarity(0.0)
