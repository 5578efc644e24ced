"""Disentangled representation learning in JAX.

Importing this package imports nothing heavy: `jaxvae.losses` needs JAX alone, everything else is one import away.
"""

__version__ = "0.1.0"
