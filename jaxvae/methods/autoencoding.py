"""What every method of the VAE family starts from: encode, sample, decode, compare."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.losses import reparameterize
from jaxvae.method import Context, Hyperparameters, Method, Nets, Network, Objective, Posterior
from jaxvae.methods.likelihoods import Likelihood


class Autoencoded(NamedTuple):
    """A batch on its way through encoder and decoder."""

    mean: jax.Array
    """of the posteriors [B, D]"""
    logvar: jax.Array
    """of the posteriors [B, D]"""
    z: jax.Array
    """one sample of each posterior [B, D]"""
    reconstruction: jax.Array
    """-log p(x|z), nats per image, mean over the (local) batch: a scalar"""


def autoencode(net: Nets, image: jax.Array, ctx: Context, likelihood: Likelihood) -> Autoencoded:
    """One sample of the code per image, with the noise that `ctx.key` names."""
    mean, logvar = net.encoder(image)
    z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name)
    return Autoencoded(mean, logvar, z, likelihood.nll(net.decoder(z), image).mean())


def autoencoder_method(
    name: str,
    networks: Mapping[str, Network],
    likelihood: Likelihood,
    hyperparameters: Hyperparameters,
    *objectives: Objective,
    needs: tuple[str, ...] = ("x",),
) -> Method:
    """A `Method` that is used by encoding to a Gaussian and decoding to the likelihood's mean.

    ValueError for an objective that trains a network which is not there: most often the discriminator.
    """
    missing = {network for objective in objectives for network in objective.trains} - set(networks)
    if missing:
        raise ValueError(
            f"{name} needs the networks {sorted(missing)} beside {sorted(networks)}; "
            "see autoencoder and discriminator in jaxvae.networks"
        )
    return Method(
        name=name,
        networks=networks,
        hyperparameters=hyperparameters,
        objectives=objectives,
        encode=lambda net, batch: net.encoder(batch["x"]),
        decode=lambda net, z: likelihood.mean(net.decoder(z)),
        needs=needs,
    )


def point(code: jax.Array) -> Posterior:
    """A posterior that is a code [B, D] and nothing else, with the least spread that is reported."""
    return Posterior(code, jnp.full_like(code, POINT_LOGVAR))


AUTOENCODER = ("encoder", "decoder")
"""What most objectives train."""
POINT_LOGVAR = -20.0
"""What a deterministic encoder reports as the log-variance of its code: a standard deviation of 5e-5."""
