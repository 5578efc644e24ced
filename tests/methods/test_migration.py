"""Statements of experiments/migration.md that are arithmetic: losses of other libraries from their formulas, in NumPy,
beside ours with the settings that the table gives.
"""

import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import LATENTS, SOURCE, loss_of, make
from scipy.special import logsumexp, softmax

from jaxvae import losses
from jaxvae.method import Network, Posterior
from jaxvae.methods import FactorVAE, bernoulli, factor_vae, gaussian
from jaxvae.methods.wae import WAE_COST, WAEMMD
from jaxvae.streams import Stream
from jaxvae.training.steps import images_per_update

KEY = jax.random.key(1)
SIZE = 32
"""Number of examples of the batch."""
PIXELS = int(np.prod(SOURCE.event_shape))
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Codes(NamedTuple):
    """A batch on its way through the networks of all these methods, float64."""

    mean: np.ndarray
    logvar: np.ndarray
    z: np.ndarray
    of_mean: np.ndarray
    """Squared error of the image that is decoded from the mean, summed over pixels [B]."""
    cross_entropy: np.ndarray
    """Summed over pixels [B]."""
    prior: np.ndarray
    """Draws of the prior, as the decomposition VAE takes them."""

    @property
    def kl(self):
        return 0.5 * (np.exp(self.logvar) + self.mean**2 - 1 - self.logvar).sum(axis=1)

    @property
    def covariance(self):
        return self.mean.T @ self.mean / SIZE - np.outer(self.mean.mean(axis=0), self.mean.mean(axis=0))

    @property
    def log_densities(self):
        """log q(z_i | x_k) of each latent [B, B, D]."""
        distance = self.z[:, None] - self.mean
        return -0.5 * (np.log(2 * np.pi) + self.logvar + distance**2 * np.exp(-self.logvar))

    def terms(self, log_weights):
        """Mutual information, total correlation and dimension-wise KL with weights [B, B], in nats."""
        of_code = logsumexp(self.log_densities.sum(axis=2) + log_weights, axis=1)
        of_latents = logsumexp(self.log_densities + log_weights[..., None], axis=1).sum(axis=1)
        own = np.trace(self.log_densities.sum(axis=2)) / SIZE
        prior = -0.5 * (np.log(2 * np.pi) + self.z**2).sum(axis=1)
        return own - of_code.mean(), (of_code - of_latents).mean(), (of_latents - prior).mean()


@pytest.fixture(scope="module")
def codes(params, batch):
    nets = make("vae").networks

    @jax.jit
    def through():
        mean, logvar = nets["encoder"].apply(params["encoder"], batch["x"])
        z = losses.reparameterize(KEY, mean, logvar)
        of_mean = ((nets["decoder"].apply(params["decoder"], mean) - batch["x"]) ** 2).sum(axis=(1, 2, 3))
        cross_entropy = bernoulli().nll(nets["decoder"].apply(params["decoder"], z), batch["x"])
        prior = losses.standard_normal(LATENTS).sample(jax.random.fold_in(KEY, Stream.PRIOR), SIZE)
        return Codes(mean, logvar, z, of_mean, cross_entropy, prior)

    return Codes(*(np.asarray(each, np.float64) for each in through()))


@pytest.fixture
def ours(params, batch):
    """Loss and terms of one of our methods."""

    def of(name, likelihood=None, **options):
        method = make(name, **options, **({} if likelihood is None else {"likelihood": likelihood}))
        value, terms = jax.jit(lambda params, batch: loss_of(method, params, batch, KEY))(params, batch)
        return float(value), {term: float(each) for term, each in terms.items()}

    return of


def row(name):
    """The row of the table that begins with a name."""
    text = (Path(__file__).parents[2] / "experiments" / "migration.md").read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if re.match(rf"\| `{name}`", line))


def rows_of_factor_vae():
    text = (Path(__file__).parents[2] / "experiments" / "migration.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if "`factor-vae` `--gamma`" in line]


def dip_penalty(covariance, lambda_od, lambda_d):
    variances = np.diag(covariance)
    off_diagonal = covariance - np.diag(variances)
    return lambda_od * (off_diagonal**2).sum() + lambda_d * ((variances - 1) ** 2).sum()


def multiquadric(x, y):
    squares = ((x[:, None] - y) ** 2).sum(axis=2)
    return sum(2 * LATENTS * scale / (2 * LATENTS * scale + squares) for scale in SCALES)


def discrepancy(x, y):
    """Unbiased, of as many x as y."""
    within = [multiquadric(each, each) for each in (x, y)]
    return sum((each.sum() - np.trace(each)) / (SIZE * (SIZE - 1)) for each in within) - 2 * multiquadric(x, y).mean()


def test_beta_tc_vae_of_disentanglement_lib(ours, codes):
    """Its total correlation lacks a constant: each of the densities of D latents and of the code has log(N B)."""
    beta = 4.0
    _, correlation, _ = codes.terms(np.zeros((SIZE, SIZE)))
    theirs = codes.cross_entropy.mean() + codes.kl.mean() + (beta - 1) * correlation
    value, _ = ours("beta-tc-vae", weighting="mws", hp={"alpha": 1.0, "beta": beta, "gamma": 1.0})
    constant = (beta - 1) * (LATENTS - 1) * np.log(SOURCE.size * SIZE)
    assert constant > 50
    assert value == pytest.approx(theirs + constant, rel=1e-5)
    assert "the value differs and the gradient does not" in row("beta_tc_vae.beta")


@pytest.mark.parametrize(("kind", "factor"), [("i", 10.0), ("ii", 1.0)])
def test_dip_vae_of_disentanglement_lib(kind, factor, ours, codes):
    covariance = codes.covariance + (np.diag(np.exp(codes.logvar).mean(axis=0)) if kind == "ii" else 0)
    theirs = codes.cross_entropy.mean() + codes.kl.mean() + dip_penalty(covariance, 5.0, factor * 5.0)
    value, _ = ours(f"dip-vae-{kind}", hp={"lambda_od": 5.0, "lambda_d": factor * 5.0})
    assert value == pytest.approx(theirs, rel=1e-5)


def test_batches_of_factor_vae():
    """disentangling-vae loads twice its batch size and halves that; pythae halves its batch size."""
    method = make("factor-vae")
    loaded = 2 * 64
    assert images_per_update(method, loaded // 2) == loaded
    assert images_per_update(method, 64 // 2) == 64
    of_lib, of_disvae, of_pythae = rows_of_factor_vae()
    assert "its batch size 64 is 64 here" in of_disvae
    assert "its batch size 64 corresponds to 32 here" in of_pythae
    assert images_per_update(make("factor-vae", batches="one"), 64) == 64
    assert "`--batches one`" in of_lib


def test_the_encoder_of_factor_vae_does_not_follow_the_discriminators_loss():
    """Codes x + shift, a linear discriminator: theirs add half the mean of p(permuted) times its slope."""
    rng = np.random.default_rng(0)
    gamma, slope, x = 6.0, rng.normal(size=3), rng.normal(size=(50, 3))
    weights = jnp.float32(np.stack([slope / 2, -slope / 2], axis=1))
    networks = {
        "encoder": Network(
            lambda key: jnp.zeros(3), lambda shift, x: Posterior(x[:, 0, 0] + shift[None], jnp.full((len(x), 3), -40.0))
        ),
        "decoder": Network(lambda key: {}, lambda params, z: jnp.zeros((len(z), 1, 1, 3))),
        "discriminator": Network(lambda key: weights, lambda weights, z: z @ weights),
    }
    method = factor_vae(networks, likelihood=gaussian(), hyperparameters=FactorVAE(gamma=gamma))
    images = jnp.float32(x)[:, None, None]

    def both(shift):
        params = {"encoder": shift, "decoder": {}, "discriminator": weights}
        batch = {"x": images, "fresh_x": images[::-1]}
        return sum(loss_of(method, params, batch, KEY, objective=objective)[0] for objective in (0, 1))

    def of_discriminator(shift):
        z = images[:, 0, 0] + shift[None]
        permuted = losses.permute_dims(KEY, images[:, 0, 0])
        return losses.density_ratio_loss(z @ weights, permuted @ weights).mean()

    vae = x.mean(axis=0) + gamma * slope
    np.testing.assert_allclose(jax.grad(both)(jnp.zeros(3)), vae, rtol=1e-4, atol=1e-5)
    share = -0.5 * np.mean(1 / (1 + np.exp(x @ slope))) * slope
    np.testing.assert_allclose(jax.grad(of_discriminator)(jnp.zeros(3)), share, rtol=1e-4, atol=1e-5)
    assert np.abs(share).max() > 0.1
    # A step down this gradient makes codes easier to tell apart.
    assert of_discriminator(jnp.float32(-0.1 * share)) < of_discriminator(jnp.zeros(3))
    for text in rows_of_factor_vae()[1:]:
        assert "Its encoder also follows the gradient of the discriminator's loss" in text


def stratified(size, shifted):
    """Weights of minibatch stratified sampling; those of disentangling-vae and pythae are a column too early."""
    others, n = size - 1, SOURCE.size
    weights = np.full((size, size), 1 / others)
    if shifted:
        weights.reshape(-1)[::size] = 1 / n
        weights.reshape(-1)[1::size] = (n - others) / (n * others)
        weights[others - 1, 0] = (n - others) / (n * others)
        return weights
    weights[np.arange(size), np.arange(size)] = 1 / n
    weights[np.arange(size), (np.arange(size) + 1) % size] = (n - others) / (n * others)
    return weights


def test_stratified_sampling_is_on_the_diagonal(ours, codes):
    hp = {"alpha": 2.0, "beta": 5.0, "gamma": 3.0}
    value, _ = ours("beta-tc-vae", weighting="mss", form="sampled", hp=hp)

    def of(shifted):
        return codes.cross_entropy.mean() + np.dot([2, 5, 3], codes.terms(np.log(stratified(SIZE, shifted))))

    assert value == pytest.approx(of(shifted=False), rel=1e-5)
    assert abs(value - of(shifted=True)) > 0.02
    assert (np.diag(stratified(SIZE, shifted=True))[2:] == 1 / (SIZE - 1)).all()  # the own example counts as any other
    assert "off the diagonal" in row("btcvae_A")
    assert "off the diagonal" in row("BetaTCVAE")


@pytest.mark.parametrize(
    ("kernel", "scale", "theirs"),
    [
        (losses.gaussian_nll, 0.0443, lambda error: 255 * error**2),
        (losses.laplace_nll, 0.3333, lambda error: 3 * np.abs(error)),
        (losses.gaussian_nll, 1.0, lambda error: 0.5 * error**2),
        (losses.gaussian_nll, 0.7071, lambda error: error**2),
        (losses.gaussian_nll, WAE_COST["scale"], lambda error: 0.05 * error**2),
    ],
    ids=["disentangling-vae gaussian", "disentangling-vae laplace", "pythae", "older pythae", "wae"],
)
def test_scales_of_likelihoods_are_weights_of_errors(kernel, scale, theirs):
    x, y = np.random.default_rng(0).random((2, 6, 4, 4, 1))
    found = kernel(jnp.float32(y), jnp.float32(x), scale) - kernel(jnp.float32(x), jnp.float32(x), scale)
    np.testing.assert_allclose(found, theirs(x - y).sum(axis=(1, 2, 3)), rtol=2e-3)


def test_disentangled_beta_vae_of_pythae(ours, codes):
    capacity = float(np.median(codes.kl))
    value, _ = ours("annealed-vae", form="per-image", hp={"gamma": 7.0, "c_end": capacity, "warmup": 0.0})
    theirs = (codes.cross_entropy + 7 * np.abs(codes.kl - capacity)).mean()
    assert value == pytest.approx(theirs, rel=1e-5)
    assert theirs - codes.cross_entropy.mean() > 7 * abs(codes.kl.mean() - capacity) + 1


def test_info_vae_of_pythae(ours, codes):
    alpha, lbd = -0.5, 4.0
    distance = discrepancy(codes.z, codes.prior)
    theirs = codes.cross_entropy.mean() + (1 - alpha) * codes.kl.mean() + (alpha + lbd - 1) * distance
    value, _ = ours("decomposition-vae", hp={"beta": 1 - alpha, "alpha": alpha + lbd - 1})
    assert abs(distance) > 0.03
    assert value == pytest.approx(theirs, rel=1e-5)
    with pytest.raises(ValueError, match="alpha and beta must be >= 0"):  # its defaults
        make("decomposition-vae", hp={"beta": 1 - 0.5, "alpha": 0.5 + 1e-3 - 1})


def test_wae_of_pythae(ours, codes):
    """Squares that are not halved; the constant of the density is in ours."""
    _, key = jax.random.split(KEY)
    prior = np.asarray(losses.standard_normal(LATENTS).sample(key, SIZE), np.float64)
    value, _ = ours("wae-mmd", gaussian(0.7071), hp={"prior_weight": 2.0})
    constant = PIXELS * np.log(0.7071 * np.sqrt(2 * np.pi))
    theirs = codes.of_mean.mean() + 2 * discrepancy(codes.mean, prior)
    assert value - constant == pytest.approx(theirs, rel=1e-4)
    assert WAEMMD().prior_weight == 10


def test_iwae_of_pythae():
    """It weighs each sample by its share: another value, of which the weights are no part of the gradient."""
    rng = np.random.default_rng(0)
    joint, posterior = rng.normal(size=(2, 5, 8), scale=3)
    weights = softmax(joint - posterior, axis=0)
    bound = losses.importance_weighted_bound(jnp.float32(joint), jnp.float32(posterior))
    of = jax.grad(lambda joint: losses.importance_weighted_bound(joint, jnp.float32(posterior)).sum())
    np.testing.assert_allclose(of(jnp.float32(joint)), weights, rtol=1e-4, atol=1e-6)
    assert np.abs(bound - (weights * (joint - posterior)).sum(axis=0)).min() > 0.05


def test_beta_vae_of_disent(ours, codes):
    """Means over pixels and latents, times the number of pixels."""
    theirs = codes.cross_entropy.mean() / PIXELS + 0.05 * codes.kl.mean() / LATENTS
    value, _ = ours("beta-vae", hp={"beta": 0.05 * PIXELS / LATENTS})
    assert value == pytest.approx(PIXELS * theirs, rel=1e-5)
    assert "Its 0.003 is 4 here for 64 x 64 x 3 images and 9 latents" in row("BetaVae.cfg.beta")
    assert round(0.003 * 64 * 64 * 3 / 9) == 4


def test_beta_tc_vae_of_disent(ours, codes):
    beta = 3.0
    parts = codes.terms(np.full((SIZE, SIZE), -np.log(SOURCE.size * SIZE)))
    theirs = codes.cross_entropy.mean() + beta * sum(parts) + (beta - 1) * parts[1]
    hp = {"alpha": beta, "gamma": beta, "beta": 2 * beta - 1}
    value, _ = ours("beta-tc-vae", weighting="mws", form="sampled", hp=hp)
    assert value == pytest.approx(theirs, rel=1e-5)


def test_dip_vae_of_disent(ours, codes):
    """Its penalty is a sum beside means; with a beta that gives the KL a weight of 1."""
    beta, dip_beta, lambda_od, lambda_d = LATENTS / PIXELS, 0.02, 3.0, 5.0
    means = codes.cross_entropy.mean() / PIXELS + beta * codes.kl.mean() / LATENTS
    theirs = means + dip_beta * dip_penalty(codes.covariance, lambda_od, lambda_d)
    weight = PIXELS * dip_beta
    value, _ = ours("dip-vae-i", hp={"lambda_od": weight * lambda_od, "lambda_d": weight * lambda_d})
    assert value == pytest.approx(PIXELS * theirs, rel=1e-5)
    assert "Multiply by `dip_beta` and by the number of values in an image" in row("DipVae.cfg")


def test_mode_ii_of_disent_adds_a_number_to_every_entry(codes):
    """The diagonal of the variances [B, D] is taken for a matrix of each example: latent i in example i."""
    variances = np.exp(codes.logvar)
    number = np.mean([variances[i, i] for i in range(LATENTS)])
    assert number == np.diag(variances).mean()
    theirs = dip_penalty(codes.covariance + number, 1.0, 2.0)
    ours = dip_penalty(codes.covariance + np.diag(variances.mean(axis=0)), 1.0, 2.0)
    found = losses.dip_vae_penalty(
        jnp.float32(codes.mean), jnp.float32(codes.logvar), kind="ii", lambda_od=1.0, lambda_d=2.0
    )
    assert found == pytest.approx(ours, rel=1e-5)
    assert found != pytest.approx(theirs, rel=1e-2)
    # With one variance everywhere, the two differ by what the number adds beside the diagonal.
    beside = codes.covariance[~np.eye(LATENTS, dtype=bool)]
    same = losses.dip_vae_penalty(
        jnp.float32(codes.mean), jnp.full(codes.mean.shape, -1.0), kind="ii", lambda_od=1.0, lambda_d=2.0
    )
    excess = ((beside + np.exp(-1)) ** 2 - beside**2).sum()
    assert same + excess == pytest.approx(dip_penalty(codes.covariance + np.exp(-1), 1.0, 2.0), rel=1e-5)
    assert "adds a single number, the mean variance of latent i in example i, to every entry" in row("DipVae.cfg")


def test_info_vae_of_disent(ours, codes):
    """Both of its weights are times the number of latents over that of pixels, beside means."""
    alpha, info_lambda = -0.5, 5.0
    value, terms = ours("decomposition-vae", hp={"beta": 1 - alpha, "alpha": LATENTS * (alpha + info_lambda - 1)})
    weight = LATENTS / PIXELS
    means = codes.cross_entropy.mean() / PIXELS + weight * (1 - alpha) * codes.kl.mean() / LATENTS
    theirs = means + weight * (alpha + info_lambda - 1) * terms["prior_distance"]
    assert value == pytest.approx(PIXELS * theirs, rel=1e-5)
