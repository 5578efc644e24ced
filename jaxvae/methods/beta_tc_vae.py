"""beta-TCVAE (Chen, Li, Grosse & Duvenaud, 2018): a heavier total correlation, and nothing else heavier.

The KL of the evidence lower bound, averaged over the data, is

    KL = MI + TC + DWKL
    MI   = KL( q(z, x) || q(z) q(x) )            mutual information of code and image
    TC   = KL( q(z) || prod_j q(z_j) )           total correlation of the latents
    DWKL = sum_j KL( q(z_j) || p(z_j) )          dimension-wise KL

    loss = E_q(z|x)[ -log p(x|z) ] + alpha * MI + beta * TC + gamma * DWKL

written here as the VAE's loss, with its closed-form KL, plus (alpha - 1) MI + (beta - 1) TC + (gamma - 1) DWKL: the
same expectation with less noise, and the VAE exactly for alpha = beta = gamma = 1. q(z) is estimated from the batch
(the global one, when it is split over devices), so MI and TC depend on the batch size: a code that carries more than
log(batch size) nats looks like little else than its own posterior. Prefer large batches. (The estimate supposes a batch
without repeated examples; sources that draw with replacement come close where the data set is much larger.)
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxvae.losses import Weighting, kl_decomposition, kl_standard_normal, minibatch_log_qz, reparameterize
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import linear_warmup


class BetaTCVAE(NamedTuple):
    """Hyperparameters of the beta-TCVAE."""

    learning_rate: float = 1e-3
    alpha: float = 1.0
    """Weight of the mutual information."""
    beta: float = 6.0
    """Weight of the total correlation."""
    gamma: float = 1.0
    """Weight of the dimension-wise KL."""
    warmup: float = 0.0
    """Updates over which beta grows linearly from 0."""


def beta_tc_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    weighting: Weighting = "uniform",
    hyperparameters: BetaTCVAE = BetaTCVAE(),
) -> Method:
    """beta-TCVAE: the total correlation weighted by beta (Chen et al., 2018).

    `weighting`: see `minibatch_log_qz`.
    """

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        hp = ctx.hyperparameters
        beta = linear_warmup(hp.beta, ctx.step, hp.warmup)
        mean, logvar = net.encoder(batch["image"])
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
        reconstruction = likelihood.nll(net.decoder(z), batch["image"]).mean()
        kl = kl_standard_normal(mean, logvar).mean()
        log_qz = minibatch_log_qz(
            z, mean, logvar, dataset_size=ctx.dataset_size, weighting=weighting, axis_name=ctx.axis_name
        )
        mi, tc, dwkl = (term.mean() for term in kl_decomposition(z, mean, logvar, log_qz))
        total = reconstruction + kl + (hp.alpha - 1.0) * mi + (beta - 1.0) * tc + (hp.gamma - 1.0) * dwkl
        return total, {
            "reconstruction": reconstruction,
            "kl": kl,
            "mutual_information": mi,
            "total_correlation": tc,
            "dimensionwise_kl": dwkl,
        }

    return Method(
        name="beta-tc-vae",
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=(Objective(loss, trains=("encoder", "decoder")),),
        encode=lambda net, image: net.encoder(image),
        decode=lambda net, z: likelihood.mean(net.decoder(z)),
    )
