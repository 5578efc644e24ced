"""The variational autoencoder (Kingma & Welling, 2014; Rezende, Mohamed & Wierstra, 2014).

    loss = E_q(z|x)[ -log p(x|z) ] + KL( q(z|x) || N(0, I) )

One sample of z per image; sums over pixels and latents, means over the batch; minus the evidence lower bound, in nats.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from jaxvae.losses import kl_standard_normal, reparameterize
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Terms
from jaxvae.methods.likelihoods import Likelihood, bernoulli


class VAE(NamedTuple):
    """Hyperparameters of the VAE."""

    learning_rate: float = 1e-4


def vae(
    networks: Mapping[str, Network],
    *,
    likelihood: Likelihood = bernoulli(),
    hyperparameters: VAE = VAE(),
) -> Method:
    """The VAE: minus the evidence lower bound (Kingma & Welling, 2014)."""

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        mean, logvar = net.encoder(batch["image"])
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
        reconstruction = likelihood.nll(net.decoder(z), batch["image"]).mean()
        kl = kl_standard_normal(mean, logvar).mean()
        return reconstruction + kl, {"reconstruction": reconstruction, "kl": kl}

    return Method(
        name="vae",
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=(Objective(loss, trains=("encoder", "decoder")),),
        encode=lambda net, image: net.encoder(image),
        decode=lambda net, z: likelihood.mean(net.decoder(z)),
    )
