"""Short lists of values of quantised codes: one for each latent, or one for all of them."""

import jax
import jax.numpy as jnp

from jaxvae.method import Network

BOUND = 0.5
"""Largest value at initialization; the smallest is its negative."""


def value_lists(latent_dim: int, num_values: int = 10) -> Network:
    """Builds the "values" of the QLAE, without inputs -> values [latent_dim, num_values], equidistant at the start.

    They are stored as one axis, so that weight decay, which is for arrays of two and more axes, leaves them alone.

    Args:
      latent_dim: Number of latents.
      num_values: Number of values of each latent.

    Raises:
      ValueError: There are no latents, or fewer than 2 values.
    """
    if latent_dim < 1 or num_values < 2:
        raise ValueError(
            f"lists need at least 1 latent and 2 values, got latent_dim={latent_dim}, num_values={num_values}"
        )

    def init(key: jax.Array) -> jax.Array:
        return jnp.tile(jnp.linspace(-BOUND, BOUND, num_values), latent_dim)

    return Network(init, lambda values: values.reshape(latent_dim, num_values))


def shared_values(num_values: int = 64) -> Network:
    """Builds the "values" of the FactorQVAE, without inputs -> values [num_values] for all latents, N(0, 1) at the
    start.

    Args:
      num_values: Number of values.

    Raises:
      ValueError: There are fewer than 2 values.
    """
    if num_values < 2:
        raise ValueError(f"a list needs at least 2 values, got num_values={num_values}")
    return Network(lambda key: jax.random.normal(key, (num_values,)), lambda values: values)
