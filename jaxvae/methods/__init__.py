"""One paper, one file: each builds a `Method` from networks, a likelihood and hyperparameters."""

from collections.abc import Callable
from typing import NamedTuple

from jaxvae.method import Hyperparameters, Method
from jaxvae.methods.beta_tc_vae import BetaTCVAE, beta_tc_vae
from jaxvae.methods.beta_vae import BetaVAE, beta_vae
from jaxvae.methods.likelihoods import Likelihood, bernoulli, gaussian, laplace
from jaxvae.methods.vae import VAE, vae

__all__ = [
    "METHODS",
    "VAE",
    "BetaTCVAE",
    "BetaVAE",
    "Likelihood",
    "bernoulli",
    "beta_tc_vae",
    "beta_vae",
    "gaussian",
    "laplace",
    "vae",
]


class Entry(NamedTuple):
    """A method as the command line offers it."""

    build: Callable[..., Method]
    """(networks, *, likelihood, hyperparameters) -> Method; its docstring's first line is the description."""
    hyperparameters: Callable[..., Hyperparameters]


METHODS = {
    "vae": Entry(vae, VAE),
    "beta-vae": Entry(beta_vae, BetaVAE),
    "beta-tc-vae": Entry(beta_tc_vae, BetaTCVAE),
}
"""Name on the command line -> how to build it."""
