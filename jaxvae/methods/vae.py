"""The variational autoencoder (Kingma & Welling, 2014; Rezende, Mohamed & Wierstra, 2014).

Equation.

    loss = E_q(z|x)[ -log p(x|z) ] + KL( q(z|x) || N(0, I) )

One sample of z per image; sums over pixels and latents, means over the batch; minus the evidence lower bound, in nats.

When to use. As what the others are compared with, and where likelihood and samples matter. Not for one factor in each
latent: nothing here asks for it.

Presets. study: its beta-VAE with beta = 1; the default rate is the study's. (The papers' own nets were trained by
Adagrad and are not offered.)

Measured here. experiments/compare_everything.py, defaults on upright sprites, 3 seeds: MIG 0.07 ± 0.07, squared error
0.009 ± 0.001. At a rate of 1e-3 the code has 6.72 ± 0.13 nats of mutual information and 1.64 ± 0.43 of total
correlation (experiments/exact_terms.py, 5 seeds).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import Entry, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli


class VAE(NamedTuple):
    """Hyperparameters of the VAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""


PRESETS = {"study": study(VAE())}


def vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    hyperparameters: VAE = VAE(),
) -> Method:
    """The VAE: minus the evidence lower bound (Kingma & Welling, 2014)."""

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        return reconstruction + kl, {"reconstruction": reconstruction, "kl": kl}

    return autoencoder_method("vae", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER))


ENTRY = Entry("vae", vae, VAE, presets=PRESETS)
