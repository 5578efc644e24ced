"""PCA, FastICA and NMF do what is claimed of them: they are scikit-learn's, and stand in our tables."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.baselines import NMF, PCA, FastICA
from jaxvae.metrics import amari_index, mcc

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 8)) @ RNG.normal(size=(8, 8)) + 2


def test_what_pca_leaves_out_is_the_sum_of_the_eigenvalues_it_leaves_out():
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    for kept in range(1, 9):
        model = PCA(kept, svd_solver="full").fit(X)
        codes = model.transform(X)
        error = ((model.inverse_transform(codes) - X) ** 2).sum(axis=1).mean()
        assert error == pytest.approx(eigenvalues[kept:].sum(), abs=1e-9)
        np.testing.assert_allclose(np.cov(codes.T, bias=True), np.diag(eigenvalues[:kept]), atol=1e-9)
        np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(kept), atol=1e-12)


def test_a_linear_autoencoder_learns_the_same_error():
    centred = jnp.asarray(X - X.mean(axis=0), jnp.float32)
    keys = jax.random.split(jax.random.key(0))
    weights = {"in": 0.1 * jax.random.normal(keys[0], (8, 3)), "out": 0.1 * jax.random.normal(keys[1], (3, 8))}
    optimizer = optax.adam(0.02)

    def loss(weights):
        return ((centred @ weights["in"] @ weights["out"] - centred) ** 2).sum(axis=1).mean()

    @jax.jit
    def train(weights):
        def step(_, state):
            weights, memory = state
            updates, memory = optimizer.update(jax.grad(loss)(weights), memory)
            return optax.apply_updates(weights, updates), memory

        return jax.lax.fori_loop(0, 3000, step, (weights, optimizer.init(weights)))[0]

    least = np.linalg.eigvalsh(np.cov(X.T, bias=True))[:5].sum()
    assert least * (1 - 1e-4) <= float(loss(train(weights))) <= 1.001 * least


@pytest.mark.parametrize("contrast", ["logcosh", "exp", "cube"])
def test_ica_separates_sources_by_negentropy_and_by_kurtosis(contrast):
    mixing = RNG.normal(size=(3, 3))
    sources = np.stack([RNG.laplace(size=6000), RNG.uniform(-1, 1, 6000), RNG.exponential(size=6000)], axis=1)
    model = FastICA(3, fun=contrast, whiten="unit-variance", random_state=0).fit(sources @ mixing.T)
    assert amari_index(model.components_ @ mixing) < 0.05
    assert amari_index(PCA(3).fit(sources @ mixing.T).components_ @ mixing) > 0.1


@pytest.mark.parametrize("solver", ["cd", "mu"])
def test_the_loss_of_nmf_never_rises(solver):
    positive = np.abs(X)
    errors = []
    for rounds in range(1, 25):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = NMF(3, init="random", solver=solver, max_iter=rounds, tol=0, random_state=0).fit(positive)
        errors.append(model.reconstruction_err_)
    assert (np.diff(errors) <= 1e-9).all()
    assert errors[-1] < 0.9 * errors[0]


def test_nmf_finds_parts_that_some_examples_show_alone():
    parts = np.kron(np.eye(3), np.ones(4)) * RNG.uniform(0.5, 1, 12)
    amounts = np.concatenate([np.eye(3), RNG.uniform(size=(60, 3))])
    model = NMF(3, init="nndsvda", max_iter=5000, tol=1e-8).fit(amounts @ parts)
    assert mcc(model.transform(amounts @ parts), amounts).score > 0.999
    shares = model.components_ / model.components_.sum(axis=0)
    assert (shares.max(axis=0) > 0.99).all()
