"""Encoders and decoders: Flax Linen modules, handed to methods as pairs of pure functions.

`autoencoder` builds the networks of one architecture; `from_linen` does it for a module of your own.
"""

from jaxvae.networks.autoencoders import ARCHITECTURES, autoencoder
from jaxvae.networks.linen import from_linen

__all__ = ["ARCHITECTURES", "autoencoder", "from_linen"]
