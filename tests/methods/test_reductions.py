"""What methods become when a weight is 0 or 1, and what their weights weigh."""

from functools import cache

import jax
import numpy as np
import pytest
from method_table import loss_of, make, own

KEY = jax.random.key(1)
TO_THE_VAE = [
    make("beta-vae", hp={"beta": 1.0}),
    make("beta-tc-vae", hp={"alpha": 1.0, "beta": 1.0, "gamma": 1.0}),
    make("factor-vae", hp={"gamma": 0.0}),
    make("dip-vae-i", hp={"lambda_od": 0.0, "lambda_d": 0.0}),
    make("dip-vae-ii", hp={"lambda_od": 0.0, "lambda_d": 0.0}),
    make("decomposition-vae", hp={"alpha": 0.0, "beta": 1.0}),
    make("annealed-vae", hp={"gamma": 1.0, "c_end": 0.0}),
    make("hfs-vae", hp={"beta": 1.0, "support_weight": 0.0}),
    make("hfs-vae", hinge="variance", hp={"beta": 1.0, "support_weight": 0.0, "hinge_weight": 0.0}),
]


@cache
def loss_at(name, **options):
    """Of a method, in one program for all its hyperparameters and steps."""
    method = make(name, **options)

    def at(hp, params, batch, step=0):
        return loss_of(method._replace(hyperparameters=hp), own(method, params), batch, KEY, step)

    return jax.jit(at)


def assert_same(one, other, params, batch):
    @jax.jit
    def values_and_gradients(params, batch):
        return [jax.value_and_grad(lambda p, m=m: loss_of(m, p, batch, KEY)[0])(params) for m in (one, other)]

    (value, gradient), (expected, expected_gradient) = values_and_gradients(params, batch)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * max(1e-6, float(np.abs(b).max())))


@pytest.mark.parametrize("method", TO_THE_VAE, ids=lambda method: method.name)
def test_to_the_vae(method, params, batch):
    assert_same(method, make("vae"), params, batch)


def test_decomposition_without_the_distance_is_the_beta_vae(params, batch):
    decomposition = make("decomposition-vae", hp={"alpha": 0.0, "beta": 3.0})
    assert_same(decomposition, make("beta-vae", hp={"beta": 3.0}), params, batch)


def test_factor_vae_is_the_same_autoencoder_with_one_batch_or_two(params, batch):
    assert_same(make("factor-vae", batches="one"), make("factor-vae", batches="two"), params, batch)


def test_sampled_form_of_the_beta_tc_vae_is_the_elbo_with_a_sampled_kl(params, batch):
    """And IWAE with one sample is that too: over many keys, all have one mean."""
    ones = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}
    methods = {
        "sampled": make("beta-tc-vae", form="sampled", hp=ones),
        "iwae": make("iwae", samples=1),
        "vae": make("vae"),
    }

    @jax.jit
    def values_of(params, batch):
        of = {name: lambda key, m=method: loss_of(m, params, batch, key)[0] for name, method in methods.items()}
        return {name: jax.vmap(of[name])(jax.random.split(KEY, 400)) for name in of}

    values = {name: np.array(value) for name, value in values_of(params, batch).items()}
    error = np.std(values["sampled"] - values["vae"]) / 20
    assert 0 < error < 0.5
    for name in ("sampled", "iwae"):
        assert abs(values[name].mean() - values["vae"].mean()) < 4 * np.hypot(error, np.std(values["iwae"]) / 20)


@pytest.mark.parametrize(
    ("name", "weight", "term", "options"),
    [
        ("beta-vae", "beta", "kl", {}),
        ("beta-tc-vae", "alpha", "mutual_information", {}),
        ("beta-tc-vae", "beta", "total_correlation", {}),
        ("beta-tc-vae", "gamma", "dimensionwise_kl", {}),
        ("beta-tc-vae", "alpha", "mutual_information", {"form": "sampled"}),
        ("beta-tc-vae", "beta", "total_correlation", {"form": "sampled"}),
        ("beta-tc-vae", "gamma", "dimensionwise_kl", {"form": "sampled"}),
        ("factor-vae", "gamma", "total_correlation", {}),
        ("annealed-vae", "gamma", "distance_to_capacity", {}),
        ("annealed-vae", "gamma", "distance_to_capacity", {"form": "per-image"}),
        ("decomposition-vae", "alpha", "prior_distance", {}),
        ("decomposition-vae", "beta", "kl", {"prior": "student-t"}),
        ("wae-mmd", "prior_weight", "mmd", {}),
        ("wae-gan", "prior_weight", "adversarial", {}),
        ("hfs-vae", "beta", "kl", {}),
        ("hfs-vae", "support_weight", "support", {"matching": "mean"}),
        ("hfs-vae", "hinge_weight", "scale_hinge", {"hinge": "variance"}),
        ("hfs-vae", "hinge_weight", "scale_hinge", {"hinge": "minimal-support"}),
        ("factor-qvae", "kl_weight", "kl_per_latent", {}),
        ("factor-qvae", "gamma", "total_correlation", {}),
        ("qlae", "commitment_weight", "commitment", {}),
        ("qlae", "quantisation_weight", "commitment", {}),
        ("tripod", "information_weight", "multi_information", {}),
        ("tripod", "mixing_weight", "mixing", {}),
    ],
)
def test_a_weight_weighs_its_term(name, weight, term, options, params, batch):
    low, high = (make(name, hp={weight: value}, **options).hyperparameters for value in (1.0, 3.0))
    lower, _ = loss_at(name, **options)(low, params, batch)
    higher, terms = loss_at(name, **options)(high, params, batch)
    assert abs(float(terms[term])) > 1e-3
    np.testing.assert_allclose(float(higher) - float(lower), 2 * float(terms[term]), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "weight"), [("beta-vae", "beta"), ("beta-tc-vae", "beta"), ("factor-vae", "gamma")])
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (20, 1.0)])
def test_warmup_is_linear(name, weight, step, share, params, batch):
    warm, flat = make(name, hp={weight: 4.0, "warmup": 10.0}), make(name, hp={weight: 4.0 * share})
    loss = loss_at(name)
    expected, _ = loss(flat.hyperparameters, params, batch)
    np.testing.assert_allclose(loss(warm.hyperparameters, params, batch, step)[0], expected, rtol=1e-6)


def test_a_cycle_begins_the_warmup_again(params, batch):
    """The warmup of 10 steps in cycles of 20."""
    cyclic, loss = make("beta-vae", cycle=20, hp={"beta": 4.0, "warmup": 10.0}), loss_at("beta-vae")
    at = jax.jit(jax.vmap(lambda step, params, batch: loss_of(cyclic, params, batch, KEY, step)[0], (0, None, None)))
    shares = {0: 0.0, 5: 0.5, 19: 1.0, 20: 0.0, 25: 0.5, 30: 1.0, 41: 0.1}
    found = at(np.array(list(shares), np.int32), own(cyclic, params), batch)
    for value, share in zip(found, shares.values(), strict=True):
        flat = make("beta-vae", hp={"beta": 4.0 * share}).hyperparameters
        np.testing.assert_allclose(value, loss(flat, params, batch)[0], rtol=1e-5)
