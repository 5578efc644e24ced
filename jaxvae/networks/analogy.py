"""Learned weights of a multiplicative analogy."""

import jax

from jaxvae.method import Network


def analogy_weights(latent_dim: int, *, scale: float = 0.1) -> Network:
    """Builds the "analogy" of the constrained autoencoder, without inputs -> weights [latent_dim] * 3.

    Args:
      latent_dim: Number of latents.
      scale: Standard deviation of the weights at initialization.

    Raises:
      ValueError: There are no latents.
    """
    if latent_dim < 1:
        raise ValueError(f"an analogy needs at least 1 latent, got latent_dim={latent_dim}")
    return Network(lambda key: scale * jax.random.normal(key, (latent_dim,) * 3), lambda weights: weights)
