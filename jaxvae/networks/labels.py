"""Networks that are trained beside an autoencoder whose latents are compared with labels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxvae.method import Network

HIDDEN = 20
"""Number of hidden units of a critic."""


def label_networks(factor_sizes: Sequence[int], latent_dim: int) -> dict[str, Network]:
    """Builds the networks that some forms of supervision need; see `jaxvae.methods.semi_supervised_vae`.

    Args:
      factor_sizes: Number of values of each of the K factors.
      latent_dim: Number of latents D.

    Returns:
      The networks "embedding", without inputs -> the position of every value on its latent's axis, K arrays [size], and
      the log sharpness, a scalar; and "critics", targets [B, K], codes [B, D] -> scores [B, K, D], one for each pair of
      a factor and a latent, computed by one layer of 20 ELU units (Locatello et al., 2020).

    Raises:
      ValueError: There are no factors, or a size is below 1.
    """
    if not factor_sizes or min(latent_dim, *factor_sizes) < 1:
        raise ValueError(
            f"labels need factors, and sizes of at least 1, got {tuple(factor_sizes)} and latent_dim={latent_dim}"
        )

    def start(key: jax.Array) -> dict:
        places = {f"factor{k}": jnp.linspace(-1.0, 1.0, size) for k, size in enumerate(factor_sizes)}
        return {"places": places, "log_sharpness": jnp.float32(0)}

    def places(params: dict) -> tuple[list[jax.Array], jax.Array]:
        return [params["places"][f"factor{k}"] for k in range(len(factor_sizes))], params["log_sharpness"]

    pairs = (len(factor_sizes), latent_dim, HIDDEN)

    def critics(key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, 3)
        of_label, of_code, out = (jax.random.normal(k, pairs) for k in keys)
        return {"label": of_label, "code": of_code, "bias": jnp.zeros(pairs), "out": out / HIDDEN**0.5}

    def score(params: dict[str, jax.Array], target: jax.Array, code: jax.Array) -> jax.Array:
        label, code = target[:, :, None, None], code[:, None, :, None]
        hidden = label * params["label"][None] + code * params["code"][None] + params["bias"][None]
        return (jax.nn.elu(hidden) * params["out"][None]).sum(axis=-1)

    return {"embedding": Network(start, places), "critics": Network(critics, score)}
