"""What a model makes of a data set: codes, reconstructions, traversals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source
from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.method import Method, Nets, Params


class Representation(NamedTuple):
    """Codes of n random examples, as numpy arrays."""

    mean: np.ndarray
    """float32 [n, D]"""
    logvar: np.ndarray
    """float32 [n, D]"""
    factors: np.ndarray
    """int32 [n, K]"""

    def kl_per_latent(self) -> np.ndarray:
        """Mean KL of each latent's posterior to N(0, 1) over the examples, nats [D]."""
        return np.asarray(kl_standard_normal_per_latent(jnp.asarray(self.mean), jnp.asarray(self.logvar)).mean(axis=0))


def encode_samples(
    method: Method,
    params: dict[str, Params],
    source: Source,
    key: jax.Array,
    n: int,
    *,
    batch_size: int = 500,
) -> Representation:
    """The posteriors and factors of the first `n` examples that `key` names."""

    @jax.jit
    def encode(params: dict[str, Params], first: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        batch = source.sample(key, batch_size, first)
        mean, logvar = method.encode(Nets(method.networks, params), batch["image"])
        return mean, logvar, batch["factors"]

    parts = [jax.device_get(encode(params, jnp.int32(first))) for first in range(0, n, batch_size)]
    mean, logvar, factors = (np.concatenate(arrays)[:n] for arrays in zip(*parts, strict=True))
    return Representation(mean, logvar, factors)


def reconstruct(method: Method, params: dict[str, Params], images: jax.Array) -> jax.Array:
    """Expected images at the posterior means: [B, H, W, C] -> [B, H, W, C]."""
    net = Nets(method.networks, params)
    return method.decode(net, method.encode(net, images).mean)


def traverse(method: Method, params: dict[str, Params], code: jax.Array, values: jax.Array) -> jax.Array:
    """Decodes `code` [D] with one latent at a time set to each of `values` [T]: images [D, T, H, W, C]."""
    latents, steps = code.shape[0], values.shape[0]
    replace = jnp.eye(latents, dtype=bool)[:, None, :]
    codes = jnp.where(replace, values[None, :, None], code[None, None, :])
    images = method.decode(Nets(method.networks, params), codes.reshape(latents * steps, latents))
    return images.reshape(latents, steps, *images.shape[1:])
