"""Representations of a data set: codes, reconstructions and latent traversals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source, on_device
from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.method import Batch, Method, Nets, Params


class Representation(NamedTuple):
    """Codes of n random examples, as NumPy arrays."""

    mean: np.ndarray
    """Posterior means, float32 [n, D]."""
    logvar: np.ndarray
    """Posterior log variances, float32 [n, D]."""
    factors: np.ndarray | None
    """Factors, int32 [n, K], or None if they are unknown."""

    def kl_per_latent(self) -> np.ndarray:
        """Computes the KL of each latent's posterior to N(0, 1), averaged over the examples, in nats [D]."""
        return np.asarray(kl_standard_normal_per_latent(jnp.asarray(self.mean), jnp.asarray(self.logvar)).mean(axis=0))

    def sample(self, seed: int = 0) -> np.ndarray:
        """Draws one code from each posterior: float32 [n, D]."""
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
    """Encodes the first `n` random examples that the sampling key yields.

    Args:
      method: Method whose encoder is used.
      params: Parameters of the networks, by name.
      source: Data to draw the examples from.
      key: Random key that determines the examples.
      n: Number of examples.
      batch_size: Number of examples per batch.

    Returns:
      Posteriors and factors of the examples.
    """
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
    """Decodes the posterior means of a batch into expected images [B, H, W, C]."""
    net = Nets(method.networks, params)
    return method.decode(net, method.encode(net, batch).mean)


def traverse(method: Method, params: dict[str, Params], code: jax.Array, values: jax.Array) -> jax.Array:
    """Decodes `code` with one latent at a time set to each of a list of values.

    Args:
      method: Method whose decoder is used.
      params: Parameters of the networks, by name.
      code: Code to start from [D].
      values: Values of every latent [T], or values for each latent [D, T].

    Returns:
      Images [D, T, H, W, C].
    """
    latents, steps = code.shape[0], values.shape[-1]
    replace = jnp.eye(latents, dtype=bool)[:, None, :]
    codes = jnp.where(replace, jnp.atleast_2d(values)[:, :, None], code[None, None, :])
    images = method.decode(Nets(method.networks, params), codes.reshape(latents * steps, latents))
    return images.reshape(latents, steps, *images.shape[1:])
