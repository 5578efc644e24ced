"""What a model makes of a data set: codes, reconstructions, traversals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source, on_device
from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.method import Batch, Method, Nets, Params


class Representation(NamedTuple):
    """Codes of n random examples, as numpy arrays."""

    mean: np.ndarray
    """float32 [n, D]"""
    logvar: np.ndarray
    """float32 [n, D]"""
    factors: np.ndarray | None
    """int32 [n, K]; None where they are not known"""

    def kl_per_latent(self) -> np.ndarray:
        """Mean KL of each latent's posterior to N(0, 1) over the examples, nats [D]."""
        return np.asarray(kl_standard_normal_per_latent(jnp.asarray(self.mean), jnp.asarray(self.logvar)).mean(axis=0))

    def sample(self, seed: int = 0) -> np.ndarray:
        """One draw of each posterior: float32 [n, D]."""
        noise = np.random.default_rng(seed).standard_normal(self.mean.shape, np.float32)
        return self.mean + np.exp(0.5 * self.logvar) * noise


def encode_samples(
    method: Method,
    params: dict[str, Params],
    source: Source,
    key: jax.Array,
    n: int,
    *,
    batch_size: int = 500,
) -> Representation:
    """The posteriors and factors of the first `n` random examples that `key` names."""
    sample = jax.jit(lambda source, first: source.sample(key, batch_size, first))

    def encode(params: dict[str, Params], source: Source, first: jax.Array) -> dict[str, jax.Array]:
        batch = sample(source, first)
        mean, logvar = method.encode(Nets(method.networks, params), batch)
        factors = {"factors": batch["factors"]} if "factors" in batch else {}
        return {"mean": mean, "logvar": logvar, **factors}

    encode = jax.jit(encode) if method.networks else encode
    source = on_device(source)
    parts = [jax.device_get(encode(params, source, jnp.int32(first))) for first in range(0, n, batch_size)]
    columns = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
    return Representation(columns["mean"], columns["logvar"], columns.get("factors"))


def reconstruct(method: Method, params: dict[str, Params], batch: Batch) -> jax.Array:
    """Expected images at the posterior means of a batch: [B, H, W, C]."""
    net = Nets(method.networks, params)
    return method.decode(net, method.encode(net, batch).mean)


def traverse(method: Method, params: dict[str, Params], code: jax.Array, values: jax.Array) -> jax.Array:
    """Decodes `code` [D] with one latent at a time set to each of `values` [T], or of its own of [D, T].

    Images [D, T, H, W, C].
    """
    latents, steps = code.shape[0], values.shape[-1]
    replace = jnp.eye(latents, dtype=bool)[:, None, :]
    codes = jnp.where(replace, jnp.atleast_2d(values)[:, :, None], code[None, None, :])
    images = method.decode(Nets(method.networks, params), codes.reshape(latents * steps, latents))
    return images.reshape(latents, steps, *images.shape[1:])
