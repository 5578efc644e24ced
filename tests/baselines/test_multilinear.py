"""Tensors taken apart: orthogonal, within the known bound, and exact at the true ranks."""

import sys

import numpy as np
import pytest

from jaxvae.baselines import CanonicalPolyadic, Multilinear, hosvd
from jaxvae.metrics import mcc


def bilinear(styles=6, contents=5, features=12, ranks=(3, 2), seed=0):
    """Examples of all combinations, [styles * contents, features], and their factors."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(n, r)) for n, r in zip((styles, contents), ranks, strict=True))
    tensor = np.einsum("sr,ct,rtd->scd", a, b, rng.normal(size=(*ranks, features)))
    factors = np.stack(np.meshgrid(np.arange(styles), np.arange(contents), indexing="ij"), axis=-1).reshape(-1, 2)
    return tensor.reshape(-1, features), factors


def rebuilt(core, bases):
    return np.einsum("abc,ia,jb,kc->ijk", core, *bases)


def test_the_core_is_orthogonal_along_every_axis_and_as_large_as_the_tensor():
    tensor = np.random.default_rng(0).normal(size=(4, 5, 6))
    core, bases = hosvd(tensor, (None, None, None))
    np.testing.assert_allclose(rebuilt(core, bases), tensor, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(core), np.linalg.norm(tensor))
    for axis in range(3):
        rows = np.moveaxis(core, axis, 0).reshape(core.shape[axis], -1)
        gram = rows @ rows.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10)
        assert (np.diff(np.diag(gram)) <= 1e-10).all()
        np.testing.assert_allclose(bases[axis].T @ bases[axis], np.eye(core.shape[axis]), atol=1e-12)


def test_the_error_is_within_the_sum_of_what_was_left_out():
    tensor = np.random.default_rng(1).normal(size=(4, 5, 6))
    ranks = (2, 3, 4)
    error = ((rebuilt(*hosvd(tensor, ranks)) - tensor) ** 2).sum()
    unfoldings = [np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1) for axis in range(3)]
    left_out = [
        (np.linalg.svd(u, compute_uv=False)[rank:] ** 2).sum() for u, rank in zip(unfoldings, ranks, strict=True)
    ]
    assert max(left_out) <= error <= sum(left_out)


def test_rank_one_is_a_product_of_vectors():
    parts = [np.random.default_rng(i).normal(size=n) for i, n in enumerate((4, 5, 6))]
    tensor = np.einsum("i,j,k->ijk", *parts)
    core, bases = hosvd(tensor, (None, None, None))
    assert core.shape == (1, 1, 1)
    for part, basis in zip(parts, bases, strict=True):
        assert abs(part @ basis[:, 0]) == pytest.approx(np.linalg.norm(part))


def test_bilinear_data_are_fitted_at_their_ranks_and_new_styles_too():
    x, factors = bilinear()
    model = Multilinear((3, 2)).fit(x, factors)
    codes = model.transform(x)
    assert codes.shape == (30, 5)
    np.testing.assert_allclose(model.inverse_transform(codes), x, atol=1e-8)
    assert (
        (Multilinear((2, 2)).fit(x, factors).inverse_transform(model.transform(x)[:, [0, 1, 3, 4]]) - x) ** 2
    ).max() > 0.1
    # The vectors of the cells themselves.
    cells = np.concatenate([model.bases_[0][factors[:, 0]], model.bases_[1][factors[:, 1]]], axis=1)
    np.testing.assert_allclose(model.inverse_transform(cells), x, atol=1e-10)
    style = np.array([0.3, -1.0, 0.7])
    unseen = model.inverse_transform(np.concatenate([np.tile(style, (5, 1)), model.bases_[1]], axis=1))
    np.testing.assert_allclose(model.inverse_transform(model.transform(unseen)), unseen, atol=1e-3)


def test_ranks_are_those_of_the_data_where_none_is_said():
    x, factors = bilinear()
    assert Multilinear().fit(x, factors).weights_.shape == (3, 2, 12)


def test_cells_are_means_and_values_may_be_any():
    x, factors = bilinear()
    twice, values = np.concatenate([x + 1, x - 1]), np.concatenate([factors, factors]) * 10 + 3
    one, two = Multilinear((3, 2)).fit(x, factors), Multilinear((3, 2)).fit(twice, values)
    np.testing.assert_allclose(np.abs(two.weights_), np.abs(one.weights_), atol=1e-8)
    np.testing.assert_array_equal(two.values_[0], np.arange(6) * 10 + 3)


def test_three_factors():
    rng = np.random.default_rng(2)
    parts = [rng.normal(size=(n, 2)) for n in (3, 4, 3)]
    tensor = np.einsum("ia,jb,kc,abcd->ijkd", *parts, rng.normal(size=(2, 2, 2, 9)))
    factors = np.stack(np.meshgrid(*map(np.arange, (3, 4, 3)), indexing="ij"), axis=-1).reshape(-1, 3)
    model = Multilinear((2, 2, 2)).fit(tensor.reshape(-1, 9), factors)
    codes = model.transform(tensor.reshape(-1, 9))
    np.testing.assert_allclose(model.inverse_transform(codes), tensor.reshape(-1, 9), atol=1e-6)


def test_what_can_not_be():
    x, factors = bilinear()
    with pytest.raises(ValueError, match=r"1 of 30 combinations of the factors have no example, \(0, 0\) is one"):
        Multilinear().fit(x[1:], factors[1:])
    with pytest.raises(ValueError, match="1099511627776 combinations of the factors and 30 examples"):
        Multilinear().fit(x, np.random.default_rng(0).integers(0, 2, (30, 40)))
    with pytest.raises(ValueError, match="one for each of the 2 factors"):
        Multilinear((2,)).fit(x, factors)
    with pytest.raises(ValueError, match="the rank of axis 0 must be 1 to 6, got 7"):
        Multilinear((7, 2)).fit(x, factors)
    with pytest.raises(ValueError, match="for each of the 30 examples, got 29"):
        Multilinear().fit(x, factors[1:])
    with pytest.raises(ValueError, match="must have 5 columns, got 4"):
        Multilinear((3, 2)).fit(x, factors).inverse_transform(np.ones((2, 4)))


def sum_of_products(rank=3, sizes=(6, 5), features=12, seed=0):
    """Examples of all combinations, their factors, and a vector per factor and term."""
    rng = np.random.default_rng(seed)
    *vectors, last = (rng.normal(size=(n, rank)) for n in (*sizes, features))
    tensor = np.einsum("ir,jr,dr->ijd", *vectors, last)
    factors = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    return tensor.reshape(-1, features), factors, vectors


def test_terms_are_found_and_new_examples_rebuilt():
    x, factors, vectors = sum_of_products()
    model = CanonicalPolyadic(3, random_state=0).fit(x, factors)
    for found, true in zip(model.bases_, vectors, strict=True):
        assert mcc(found, true - true.mean(axis=0)).score == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1)
    codes = model.transform(x)
    assert codes.shape == (30, 6)
    np.testing.assert_allclose(model.inverse_transform(codes), x, atol=1e-3)
    unseen = np.concatenate([[1.0, -0.5, 0.2], model.bases_[1][2]])[None]
    rebuilt = model.inverse_transform(unseen)
    np.testing.assert_allclose(rebuilt, (unseen[:, :3] * unseen[:, 3:]) @ model.weights_)
    np.testing.assert_allclose(model.inverse_transform(model.transform(rebuilt)), rebuilt, atol=1e-3)


def test_one_term_is_the_rank_one_product():
    x, factors = bilinear(ranks=(2, 2))
    one, other = CanonicalPolyadic(1, random_state=0).fit(x, factors), Multilinear((1, 1)).fit(x, factors)
    cells = [np.concatenate([m.bases_[0][factors[:, 0]], m.bases_[1][factors[:, 1]]], axis=1) for m in (one, other)]
    errors = [((m.inverse_transform(c) - x) ** 2).sum() for m, c in zip((one, other), cells, strict=True)]
    # The best product of vectors: HOSVD's is near it, and no better.
    assert errors[0] <= errors[1] * (1 + 1e-9)
    x, factors = bilinear(ranks=(1, 1))
    one, other = CanonicalPolyadic(1, random_state=0).fit(x, factors), Multilinear((1, 1)).fit(x, factors)
    for a, b in zip(one.bases_, other.bases_, strict=True):
        assert abs(a[:, 0] @ b[:, 0]) == pytest.approx(1)


def test_terms_that_can_not_be(monkeypatch):
    x, factors, _ = sum_of_products()
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        CanonicalPolyadic(0).fit(x, factors)
    monkeypatch.setitem(sys.modules, "tensorly.decomposition", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxvae\[tensor\]'"):
        CanonicalPolyadic().fit(x, factors)
