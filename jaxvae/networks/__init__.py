"""Networks in Flax Linen, as users see them: small modules, handed to methods as pairs of pure functions.

`autoencoder` builds the networks of one architecture, `discriminator` one that tells codes apart, `feature_network` one
that gives points on a sphere; `from_linen`, `from_nnx` and `from_equinox` take a module of your own.
"""

from jaxvae.networks.attribution import attribution_networks
from jaxvae.networks.autoencoders import ARCHITECTURES, autoencoder
from jaxvae.networks.bridges import from_equinox, from_nnx
from jaxvae.networks.discriminator import discriminator
from jaxvae.networks.equalized import latent_adversarial_networks
from jaxvae.networks.features import feature_network
from jaxvae.networks.grouped import grouped_decoder
from jaxvae.networks.labels import label_networks
from jaxvae.networks.layered import layered_networks
from jaxvae.networks.linen import from_linen
from jaxvae.networks.mixture_prior import mixture_prior
from jaxvae.networks.translation import translation_networks
from jaxvae.networks.xtanh import conditional_prior

__all__ = [
    "ARCHITECTURES",
    "attribution_networks",
    "autoencoder",
    "conditional_prior",
    "discriminator",
    "feature_network",
    "from_equinox",
    "from_linen",
    "from_nnx",
    "grouped_decoder",
    "label_networks",
    "latent_adversarial_networks",
    "layered_networks",
    "mixture_prior",
    "translation_networks",
]
