"""beta-VAE (Higgins et al., 2017): a heavier KL for a code closer to independent Gaussians.

    loss = E_q(z|x)[ -log p(x|z) ] + beta * KL( q(z|x) || N(0, I) )

beta = 1 is the VAE, beta = 0 a noisy autoencoder. Sums over pixels and latents, means over the batch: with another
reduction, or another likelihood scale, the same beta means something else.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxvae.losses import kl_standard_normal, reparameterize
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.likelihoods import Likelihood, bernoulli
from jaxvae.methods.schedules import linear_warmup


class BetaVAE(NamedTuple):
    """Hyperparameters of the beta-VAE."""

    learning_rate: float = 1e-4
    beta: float = 4.0
    """Weight of the KL, >= 0."""
    warmup: float = 0.0
    """Updates over which beta grows linearly from 0."""


def beta_vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    hyperparameters: BetaVAE = BetaVAE(),
) -> Method:
    """beta-VAE: the KL weighted by beta (Higgins et al., 2017).

    ValueError for beta < 0.
    """
    if hyperparameters.beta < 0:
        raise ValueError(f"beta weighs the KL and must be >= 0, got {hyperparameters.beta}")

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        beta = linear_warmup(ctx.hyperparameters.beta, ctx.step, ctx.hyperparameters.warmup)
        mean, logvar = net.encoder(batch["image"])
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
        reconstruction = likelihood.nll(net.decoder(z), batch["image"]).mean()
        kl = kl_standard_normal(mean, logvar).mean()
        return reconstruction + beta * kl, {"reconstruction": reconstruction, "kl": kl}

    return Method(
        name="beta-vae",
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=(Objective(loss, trains=("encoder", "decoder")),),
        encode=lambda net, image: net.encoder(image),
        decode=lambda net, z: likelihood.mean(net.decoder(z)),
    )
