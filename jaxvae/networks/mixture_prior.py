"""A prior over codes that is a mixture of Gaussians with learned components."""

import jax
import jax.numpy as jnp

from jaxvae.method import Network


def mixture_prior(latent_dim: int, components: int = 100, *, spread: float = 5.0) -> Network:
    """Builds the "prior" of the VAE-SNE, without inputs -> (means [K, latent_dim], log weights [K]).

    Args:
      latent_dim: Number of latents.
      components: Number of components K, which should be much larger than the expected number of clusters.
      spread: Standard deviation of the means at initialization. It should be large, because codes spread further than
        Adam moves a mean.

    Raises:
      ValueError: A size is below 1, or the spread is negative.
    """
    if min(latent_dim, components) < 1 or spread < 0:
        raise ValueError(
            f"a mixture needs at least 1 component and 1 latent, got components={components}, latent_dim={latent_dim}, "
            f"spread={spread}"
        )

    def init(key: jax.Array) -> dict[str, jax.Array]:
        return {
            "means": spread * jax.random.normal(key, (components, latent_dim)),
            "logits": jnp.zeros(components),
        }

    return Network(init, lambda params: (params["means"], jax.nn.log_softmax(params["logits"])))
