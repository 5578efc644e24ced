"""Jacobians with known singular vectors, random rotations, and a linear VAE, which is known to find principal axes."""

from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linear_sum_assignment, minimize_scalar
from scipy.stats import ortho_group

from jaxvae.analysis.directions import (
    active_latents,
    decode_jacobians,
    distance_to_orthogonality,
    knn_gap,
    local_optimum_variances,
    nearest_signed_permutation,
    polarised_gap,
)
from jaxvae.data import Epochs, from_arrays
from jaxvae.losses import kl_standard_normal
from jaxvae.method import Nets, Network, Posterior
from jaxvae.methods.beta_vae import BetaVAE, beta_vae
from jaxvae.methods.likelihoods import gaussian
from jaxvae.training import train

RNG = np.random.default_rng(0)
C = 0.8  # beta times the decoder's variance
VARIANCES = np.array([4.0, 2.0, 1.0, 0.5, 0.2])


def jacobian(values, v, pixels=20):
    """[1, P, D] with these singular values and right singular vectors, the columns of v."""
    u = ortho_group.rvs(pixels, random_state=0)[:, : len(values)]
    return (u * values @ v.T)[None]


def rotation(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("batch_size", [3, 7, 500])
def test_jacobians_of_images_in_batches_of_any_size(batch_size):
    weights = RNG.standard_normal((4, 6)).astype(np.float32)
    codes = RNG.standard_normal((7, 4)).astype(np.float32)
    found = decode_jacobians(lambda z: jnp.sin(z @ weights).reshape(-1, 2, 3, 1), codes, batch_size=batch_size)
    assert (found.shape, found.dtype) == ((7, 6, 4), np.float32)
    np.testing.assert_allclose(found, np.cos(codes @ weights)[:, :, None] * weights.T, atol=1e-5)


def test_the_nearest_signed_permutation_is_the_nearest_of_all():
    every = [np.eye(4)[list(p)] * signs for p in permutations(range(4)) for signs in product((-1, 1), repeat=4)]
    for v in ortho_group.rvs(4, 20, random_state=1):
        best = min(every, key=lambda p: np.linalg.norm(v - p))
        np.testing.assert_array_equal(nearest_signed_permutation(v), best)
    np.testing.assert_array_equal(nearest_signed_permutation(np.zeros((1, 1))), [[1]])


def test_signed_permutations_are_no_distance_away():
    values, v = np.array([4.0, 3.0, 2.0, 1.0]), ortho_group.rvs(4, random_state=2)
    turned = distance_to_orthogonality(jacobian(values, v))
    assert turned.distance > 0.5
    for _ in range(5):
        p = np.eye(4)[RNG.permutation(4)] * RNG.choice([-1, 1], 4)
        np.testing.assert_allclose(distance_to_orthogonality(jacobian(values, p))[:4], [0, 1, 0, 0], atol=1e-7)
        np.testing.assert_allclose(distance_to_orthogonality(jacobian(values, v) @ p), turned, rtol=1e-7)


@pytest.mark.parametrize("degrees", [0, 10, 30, 45, 60])
def test_two_columns_rotated(degrees):
    found = distance_to_orthogonality(jacobian([2.0, 1.0], rotation(degrees)))
    turn = np.radians(min(degrees, 90 - degrees))
    np.testing.assert_allclose(found.distance, 2 * np.sqrt(1 - np.cos(turn)), atol=1e-7)
    (a, off), (_, b) = rotation(degrees) @ np.diag([4, 1]) @ rotation(degrees).T
    np.testing.assert_allclose(found.orthogonality, 1 - np.sqrt(2 * off**2 / 17), atol=1e-7)
    np.testing.assert_allclose(found.cosine, abs(off) / np.sqrt(a * b), atol=1e-7)
    np.testing.assert_allclose(distance_to_orthogonality(jacobian([2e-3, 1e-3], rotation(degrees))), found, atol=1e-7)


@pytest.mark.parametrize(("latents", "expected"), [(2, 0.5483), (5, 1.64), (10, 2.86)])
def test_random_singular_vectors(latents, expected):
    found = distance_to_orthogonality(RNG.standard_normal((4000, latents, latents)))
    np.testing.assert_allclose(found.distance, expected, atol=0.02)


def test_ambiguous_are_equal_and_zero_singular_values():
    rows = [jacobian(np.array(values), np.eye(3)) for values in ([3, 2, 1], [3, 1.04, 1], [3, 2, 0], [3, 2, 1.89])]
    assert distance_to_orthogonality(np.concatenate(rows).astype(np.float32)).ambiguous == 0.5
    assert distance_to_orthogonality(np.zeros((2, 5, 3)))[1:] == (1, 0, 1, 3)
    fewer_pixels_than_latents = np.array([[[3.0, 0, 0], [0, 0, 1.0]]])
    assert distance_to_orthogonality(fewer_pixels_than_latents) == (0, 1, 0, 1, 3)


def test_active_latents_only():
    passive = np.insert(jacobian([2.0, 1.0], rotation(30)), 1, 1e-4 * RNG.standard_normal((1, 20)), axis=2)
    expected = distance_to_orthogonality(jacobian([2.0, 1.0], rotation(30)))
    for active in ([0, 2], np.array([True, False, True]), (2, 0)):
        np.testing.assert_allclose(distance_to_orthogonality(passive, active=active), expected, atol=1e-7)
    assert distance_to_orthogonality(passive, active=[2]) == (0, 1, 0, 0, 1)
    none = distance_to_orthogonality(passive, active=np.zeros(3, bool))
    np.testing.assert_array_equal(none, [np.nan] * 4 + [0])
    for bad in ([0, 3], [-1], [1, 1], [0.5], [True, False]):
        with pytest.raises(ValueError, match="active must be a mask of 3 latents, or some of 0 to 2"):
            distance_to_orthogonality(passive, active=bad)


def test_best_variances_minimise_their_part_of_the_loss():
    variance, beta = 0.3, 4.0
    columns = np.array([0.1, 1.0, 7.0])
    found = local_optimum_variances(columns[None, None], beta * variance)
    for length, s in zip(columns, found[0], strict=True):
        loss = lambda t, a=length**2: 0.5 * np.exp(t) * a / variance + 0.5 * beta * (np.exp(t) - t - 1)  # noqa: E731
        np.testing.assert_allclose(s, np.exp(minimize_scalar(loss, tol=1e-12).x), rtol=1e-6)


def test_no_rotation_costs_less_than_the_singular_vectors():
    """Hadamard: what is left of the loss at the best variances, -sum log s_j, is at least the log determinant."""
    j = RNG.standard_normal((20, 4))
    v = np.linalg.svd(j)[2].T
    least = np.linalg.slogdet(np.eye(4) + j.T @ j / C)[1]
    costs = -np.log(local_optimum_variances(j @ ortho_group.rvs(4, 1000, random_state=3), C)).sum(axis=1)
    assert costs.min() > least
    np.testing.assert_allclose(-np.log(local_optimum_variances((j @ v)[None], C)).sum(), least, rtol=1e-10)
    np.testing.assert_allclose(distance_to_orthogonality((j @ v)[None]).distance, 0, atol=1e-7)


def test_active_is_a_standard_deviation_of_the_means():
    mean = np.array([-1.0, 1.0])[:, None] * [0.49, 0.51, 0.6, 0.0] + [9, 0, 0, 5]
    np.testing.assert_array_equal(active_latents(mean), [False, True, True, False])
    np.testing.assert_array_equal(active_latents(mean, threshold=0.55), [False, False, True, False])


def test_polarised_latents_differ_from_their_kl_by_the_active_variances():
    mean, variance = 0.9 * RNG.standard_normal((500, 4)), np.array([0.01, 0.1, 1.0, 1.0])
    mean[:, 2:] = 0
    logvar = np.broadcast_to(np.log(variance), mean.shape)
    kl = float(kl_standard_normal(jnp.float32(mean), jnp.float32(logvar)).mean())
    np.testing.assert_allclose(polarised_gap(mean, logvar), 0.5 * 0.11 / kl, rtol=1e-5)
    # A passive latent is left out of the polarised form with all its KL.
    assert polarised_gap(np.zeros((9, 2)), np.full((9, 2), -0.7)) == 1
    assert polarised_gap(np.zeros((9, 2)), np.zeros((9, 2))) == 0
    assert polarised_gap(mean, logvar, threshold=2) == pytest.approx(1)


@pytest.mark.parametrize("discrete", [False, True])
def test_knn_gap_of_a_code_per_factor_of_noise_and_of_two_codes_for_one(discrete):
    factors = RNG.integers(0, 2, (2000, 2)) if discrete else RNG.random((2000, 2))
    noise = RNG.standard_normal((2000, 2))
    assert knn_gap(np.c_[noise, -3.0 * factors], factors, discrete=discrete) > 0.8
    assert knn_gap(np.c_[factors, 2.0 * factors], factors, discrete=discrete) < 0.02
    assert knn_gap(noise, factors, discrete=discrete) < 0.15


def test_knn_gap_by_hand():
    """Of the ten rows that score, the better latent tells one wrongly or none, the other one more; two of ten are 1."""
    factor = np.arange(50) % 5 == 0
    wrong = [np.where((np.arange(50) > 40) & (np.arange(50) <= 40 + n), ~factor, factor) for n in range(3)]
    found = knn_gap(np.stack([wrong[1], wrong[2]], axis=1), factor[:, None], discrete=True)
    np.testing.assert_allclose(found, (0.9 - 0.8) / 0.8)
    found = knn_gap(np.stack([wrong[1], wrong[0]], axis=1), 5.0 * factor[:, None])
    np.testing.assert_allclose(found, np.sqrt(0.1) / 0.4)


def test_what_is_refused():
    table, images = np.zeros((10, 2)), np.zeros((3, 5, 2))
    refused = [
        (lambda: distance_to_orthogonality(table), "jacobians must be .examples, pixels, latents."),
        (lambda: distance_to_orthogonality(images * np.nan), "jacobians must be finite"),
        (lambda: local_optimum_variances(images, 0.0), "c is a variance and must be positive"),
        (lambda: decode_jacobians(jnp.sin, table[0]), "codes must have two axes"),
        (lambda: active_latents(np.full((3, 2), np.nan)), r"mean must be finite; columns \[0, 1\] are not"),
        (lambda: polarised_gap(table, table[:5]), "mean and logvar must have one shape"),
        (lambda: knn_gap(table, table[:5]), "as many rows; got 10 and 5"),
        (lambda: knn_gap(table[:, :1], table), "at least 2 latents"),
        (lambda: knn_gap(table[:4], table[:4]), "4 rows are too few"),
        (lambda: knn_gap(table, table + np.arange(2)), r"factors \[0, 1\] do not vary in the last 2 rows"),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()


def trained_linear(variances, latents, *, beta, logvar=None, steps=2000, seed=0):
    """A linear autoencoder at its optimum: Jacobians [1, P, D], posterior means and variances, principal axes.

    The data's covariance is exactly these variances along random axes; every update sees all of it.
    """
    size, pixels = 256, len(variances)
    white = np.linalg.svd(np.random.default_rng(0).standard_normal((size, pixels)), full_matrices=False)[0]
    axes = ortho_group.rvs(pixels, random_state=1)
    data = np.float32(np.sqrt(size) * white * np.sqrt(variances) @ axes.T)[:, None, None]
    start = lambda key, *shape: 0.3 * jax.random.normal(key, shape)  # noqa: E731

    def encode(params, x):
        mean = x.reshape(len(x), -1) @ params["w"]
        spread = params["logvar"] if logvar is None else jnp.full(latents, logvar)
        return Posterior(mean, jnp.broadcast_to(spread, mean.shape))

    networks = {
        "encoder": Network(lambda key: {"w": start(key, pixels, latents), "logvar": jnp.zeros(latents)}, encode),
        "decoder": Network(lambda key: start(key, latents, pixels), lambda w, z: (z @ w).reshape(-1, 1, 1, pixels)),
    }
    method = beta_vae(networks, likelihood=gaussian(0.5**0.5), hyperparameters=BetaVAE(learning_rate=0.01, beta=beta))
    objective = method.objectives[0]._replace(schedule=optax.cosine_decay_schedule(1.0, steps))
    source = Epochs(from_arrays(data, real=True))
    state = train(method._replace(objectives=(objective,)), source, steps=steps, batch_size=size, seed=seed)
    net = Nets(networks, state.params)
    mean, log_s = net.encoder(data)
    return decode_jacobians(lambda z: method.decode(net, z), mean[:1]), np.asarray(mean), np.exp(log_s), axes


@pytest.mark.process
def test_a_linear_vae_finds_principal_axes():
    """Those of a variance above beta times the decoder's: the others are not worth their KL."""
    jacobians, mean, s, axes = trained_linear(VARIANCES, 5, beta=2 * C)
    # The third latent's means have a standard deviation of sqrt(1 - 0.8) = 0.45 only.
    active = active_latents(mean, threshold=0.3)
    columns = jacobians[0][:, active]
    lengths = np.linalg.norm(columns, axis=0)
    cosines = np.abs(axes.T @ columns / lengths)
    axis, latent = linear_sum_assignment(cosines, maximize=True)
    np.testing.assert_array_equal(axis, [0, 1, 2])
    assert cosines[axis, latent].min() > 0.99
    np.testing.assert_allclose(lengths[latent] ** 2, VARIANCES[:3] - C, rtol=0.05)
    np.testing.assert_allclose(s[0, active][latent], C / VARIANCES[:3], rtol=0.05)
    np.testing.assert_allclose(s[0], local_optimum_variances(jacobians, C)[0], rtol=0.02)
    found = distance_to_orthogonality(jacobians, active=active)
    assert found.distance < 0.05
    assert found.orthogonality > 0.98


@pytest.mark.process
def test_a_linear_autoencoder_finds_their_plane_only():
    jacobians, _, _, axes = trained_linear(VARIANCES, 3, beta=0.0, logvar=-30.0, steps=1500)
    angles = np.linalg.svd(axes[:, :3].T @ np.linalg.qr(jacobians[0])[0])[1]
    assert angles.min() > np.cos(np.radians(1))
    assert distance_to_orthogonality(jacobians).distance > 0.3


@pytest.mark.process
def test_equal_variances_leave_the_axes_free():
    """The columns are orthogonal, but any orthogonal ones would do: nothing may demand that V be near a permutation."""
    runs = [trained_linear(np.full(3, 2.0), 3, beta=2 * C, steps=600, seed=seed) for seed in (0, 1)]
    results = [distance_to_orthogonality(jacobians) for jacobians, *_ in runs]
    assert min(found.orthogonality for found in results) > 0.95
    assert max(found.distance for found in results) > 0.2
    assert {found.ambiguous for found in results} == {1.0}
    first, second = (jacobians[0] / np.linalg.norm(jacobians[0], axis=0) for jacobians, *_ in runs)
    assert np.abs(first.T @ second).max(axis=0).min() < 0.95
