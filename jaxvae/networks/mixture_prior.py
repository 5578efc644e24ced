"""A mixture of Gaussians whose components are learned: a prior over codes."""

import jax
import jax.numpy as jnp

from jaxvae.method import Network


def mixture_prior(latent_dim: int, components: int = 100, *, spread: float = 5.0) -> Network:
    """Nothing -> (means [K, latent_dim], log weights [K]): the "prior" of the VAE-SNE.

    Args:
      latent_dim: size of the code.
      components: K, many more than there may be clusters.
      spread: standard deviation of the means at the start: wide, as codes spread further than Adam moves a mean.

    ValueError for a size below 1, or a spread that is negative.
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
