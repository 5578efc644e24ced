"""beta-VAE (Higgins et al., 2017): a heavier KL for a code closer to independent Gaussians.

Equation.

    loss = E_q(z|x)[ -log p(x|z) ] + beta * KL( q(z|x) || N(0, I) )

beta = 1 is the VAE, beta = 0 a noisy autoencoder. Sums over pixels and latents, means over the batch: with another
reduction, or another likelihood scale, the same beta means something else. The paper's normalised beta is beta D / P
with D latents and P pixels. beta grows from 0 over `warmup` steps, and with `--cycle` again every so many steps
(cyclical annealing, Fu et al., 2019). `--support-weight` is an option and not a hyperparameter, since
it would take time in all runs (`jaxvae.methods.support`); `hfs-vae` has it as one, to be swept.

When to use. For independent latents, from images alone, with one number to choose. Not where reconstructions must stay
sharp: beta weighs the information about the image as well, which the beta-TCVAE leaves alone.

Presets. The defaults are the paper's beta for dSprites (from memory) at the study's rate. paper: the dense nets and
beta of its dSprites rows; they were trained by Adagrad, here by Adam at the rate of its conv nets, for a number of
updates of our choice (both from memory). study: beta among 1, 2, 4, 6, 8, 16.

Measured here. From beta 1 to 8, total correlation falls from 1.64 ± 0.43 to 0.00 nats, mutual information from 6.72 ±
0.13 to 1.77 ± 0.04, and reconstruction gets worse from 6.7 ± 1.1 to 28.3 ± 0.0 nats (experiments/exact_terms.py, 5
seeds). Defaults on upright sprites: MIG 0.087 ± 0.085 (experiments/compare_everything.py, 3 seeds).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.autoencoding import AUTOENCODER, autoencode, autoencoder_method
from jaxvae.methods.entry import DSPRITES, Entry, Preset, study
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import cyclical_ramp
from jaxvae.methods.support import support_penalty


class BetaVAE(NamedTuple):
    """Hyperparameters of the beta-VAE."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    beta: float = 4.0
    """Weight of the KL, >= 0."""
    warmup: float = 0.0
    """Number of steps over which beta grows linearly from 0."""


PRESETS = {
    "paper": Preset(BetaVAE(), {**DSPRITES, "network": "mlp", "latents": 10, "batch_size": 64, "steps": 300_000}),
    "study": study(BetaVAE()),
}


def beta_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    support_weight: float = 0.0,
    cycle: int = 0,
    hyperparameters: BetaVAE = BetaVAE(),
) -> Method:
    """beta-VAE: the KL weighted by beta (Higgins et al., 2017).

    Args:
      networks: Encoder and decoder.
      likelihood: Likelihood of an image given its code.
      support_weight: Weight of the factorised support of hfs-vae, >= 0, for correlated factors; 0 leaves it out.
      cycle: Number of steps after which the warmup of beta begins again, as in cyclical annealing (Fu et al., 2019); 0
        for a single warmup.
      hyperparameters: Default values; a sweep replaces some of them.

    ValueError for a negative weight or cycle, or a warmup that is not within the cycle.
    """
    if cycle < 0:
        raise ValueError(f"a cycle is a number of steps and must be >= 0, got {cycle}")
    if cycle and not 0 < hyperparameters.warmup <= cycle:
        raise ValueError(
            f"beta grows over the first steps of each cycle of {cycle}: the warmup must be above 0 and at most the "
            f"cycle, got {hyperparameters.warmup:g}"
        )
    if support_weight < 0:
        raise ValueError(f"the support weight must be >= 0, got {support_weight}")
    if hyperparameters.beta < 0:
        raise ValueError(f"beta weighs the KL and must be >= 0, got {hyperparameters.beta}")

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        mean, logvar, _, reconstruction = autoencode(net, batch["x"], ctx, likelihood)
        kl = kl_standard_normal(mean, logvar).mean()
        beta = cyclical_ramp(0.0, hp.beta, ctx.step, hp.warmup, cycle)
        total, terms = reconstruction + beta * kl, {"reconstruction": reconstruction, "kl": kl}
        if support_weight:
            support, of_support = support_penalty(mean, ctx)
            total, terms = total + support_weight * support, {**terms, **of_support}
        return total, terms

    return autoencoder_method("beta-vae", networks, likelihood, hyperparameters, Objective(loss, AUTOENCODER))


ENTRY = Entry("beta-vae", beta_vae, BetaVAE, presets=PRESETS)
