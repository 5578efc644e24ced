"""DIP-VAE I and II (Kumar, Sattigeri & Balakrishnan, 2018): second moments of the code pulled to those of the prior.

Equation.

    S    = Cov_x[ mean(x) ]                              type I: of the posterior means
    S    = Cov_x[ mean(x) ] + E_x[ diag var(x) ]         type II: of the sampled code, by the law of total covariance
    loss = E_q(z|x)[ -log p(x|z) ] + KL( q(z|x) || N(0, I) )
           + lambda_od * sum_{i != j} S_ij^2 + lambda_d * sum_i (S_ii - 1)^2

Both triangles of S count. Type I wants variance 1 of every latent's means, so no latent can switch off; type II lets
it. The penalty decorrelates and cannot choose an axis: S = I looks the same after a rotation. S is that of the
(global) batch: B independent latents of variance 1 still cost about lambda_od D (D - 1) / B, so take B much larger
than D^2.

When to use. Type I for uncorrelated posterior means with all latents in use, type II for uncorrelated samples with
latents that may switch off. Neither for more than second moments.

Presets. The defaults are one of the study's strengths, at its rate and ratios. study: lambda_od among 1, 2, 5, 10, 20,
50; lambda_d is 10 times that for type I and the same for type II. paper: the study's settings with batches of 400
(from memory).

Measured here. Gaussian total correlation of means / samples at lambda_od 20: I 0.006 / 0.005, II 0.018 / 0.003, VAE
0.37 / 0.03; active latents of 6: I 6.0 ± 0.0, II 5.4 ± 0.7 to 3.8 ± 1.0 (experiments/dip_moments.py, batches of 256).
Defaults on upright sprites: MIG 0.04 ± 0.10 (I), 0.06 ± 0.13 (II) (experiments/compare_everything.py, 3 seeds).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax

from jaxvae.losses import dip_vae_penalty, kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import Entry, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli


class DIPVAEI(NamedTuple):
    """Hyperparameters of DIP-VAE-I."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    lambda_od: float = 10.0
    """Weight of the squared covariances."""
    lambda_d: float = 100.0
    """Weight of the squared distances of the variances from 1."""


class DIPVAEII(NamedTuple):
    """Hyperparameters of DIP-VAE-II."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    lambda_od: float = 10.0
    """Weight of the squared covariances."""
    lambda_d: float = 10.0
    """Weight of the squared distances of the variances from 1."""


PRESETS_I = {"paper": study(DIPVAEI(), batch_size=400), "study": study(DIPVAEI())}
PRESETS_II = {"paper": study(DIPVAEII(), batch_size=400), "study": study(DIPVAEII())}


def dip_vae_i(
    networks: Mapping[str, Network], *, likelihood: Likelihood = bernoulli(), hyperparameters: DIPVAEI = DIPVAEI()
) -> Method:
    """DIP-VAE-I: uncorrelated posterior means of variance 1 (Kumar et al., 2018)."""
    return _dip_vae("i", networks, likelihood, hyperparameters)


def dip_vae_ii(
    networks: Mapping[str, Network], *, likelihood: Likelihood = bernoulli(), hyperparameters: DIPVAEII = DIPVAEII()
) -> Method:
    """DIP-VAE-II: uncorrelated sampled codes of variance 1 (Kumar et al., 2018)."""
    return _dip_vae("ii", networks, likelihood, hyperparameters)


def _dip_vae(
    kind: Literal["i", "ii"],
    networks: Mapping[str, Network],
    likelihood: Likelihood,
    hyperparameters: DIPVAEI | DIPVAEII,
) -> Method:
    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        penalty = dip_vae_penalty(
            mean, logvar, kind=kind, lambda_od=hp.lambda_od, lambda_d=hp.lambda_d, axis_name=ctx.axis_name
        )
        return reconstruction + kl + penalty, {"reconstruction": reconstruction, "kl": kl, "moment_penalty": penalty}

    return autoencoder_method(f"dip-vae-{kind}", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER))


ENTRY_I = Entry("dip-vae-i", dip_vae_i, DIPVAEI, presets=PRESETS_I)
ENTRY_II = Entry("dip-vae-ii", dip_vae_ii, DIPVAEII, presets=PRESETS_II)
