"""Representations of a data set: codes, reconstructions and latent traversals."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.shuffle import shuffled_index
from jaxvae.data.source import Source, on_device
from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.method import Batch, Method, Nets, Params

LARGEST = 2**31 - 1
"""Largest number of examples that have an index. Random draws from more examples hardly ever repeat one."""


class Representation(NamedTuple):
    """Codes of n different random examples, as numpy arrays."""

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


def random_examples(source: Source, key: jax.Array, n: int, first: int | jax.Array = 0) -> Batch:
    """Returns examples first .. first+n-1 of the random order of all examples that `key` determines.

    No example occurs twice within `source.size` places. After the last example, the order starts again.
    """
    if source.size > LARGEST:
        return source.sample(key, n, first)
    places = (jnp.asarray(first).astype(jnp.uint32) + jnp.arange(n, dtype=jnp.uint32)) % jnp.uint32(source.size)
    return source.at(shuffled_index(key, places, source.size))


def make_encoder(
    method: Method, source: Source, key: jax.Array, *, batch_size: int = 500
) -> Callable[[dict[str, Params], int], Representation]:
    """Returns a function (params, n) -> codes of the first n of the examples of `encode_samples`.

    All calls share one compiled program, so that many checkpoints are encoded without compiling again.
    """
    sample = jax.jit(lambda source, first: random_examples(source, key, batch_size, first))

    def encode(params: dict[str, Params], source: Source, first: jax.Array) -> dict[str, jax.Array]:
        batch = sample(source, first)
        mean, logvar = method.encode(Nets(method.networks, params), batch)
        factors = {"factors": batch["factors"]} if "factors" in batch else {}
        return {"mean": mean, "logvar": logvar, **factors}

    encode = jax.jit(encode) if method.networks else encode
    source = on_device(source)

    def codes(params: dict[str, Params], n: int) -> Representation:
        n = min(n, source.size)
        parts = [jax.device_get(encode(params, source, jnp.int32(first))) for first in range(0, n, batch_size)]
        columns = {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
        return Representation(columns["mean"], columns["logvar"], columns.get("factors"))

    return codes


def encode_samples(
    method: Method,
    params: dict[str, Params],
    source: Source,
    key: jax.Array,
    n: int,
    *,
    batch_size: int = 500,
) -> Representation:
    """Computes the posteriors and factors of different random examples.

    Args:
      method: Method whose encoder is used.
      params: Parameters of the networks by name, such as `TrainState.params`.
      source: Data to draw the examples from.
      key: Random key that determines the order of the examples, see `random_examples`.
      n: Number of examples; all examples, if there are fewer.
      batch_size: Number of examples that are encoded at a time.

    Returns:
      Means and log variances [n, D], and factors [n, K] if they are known.
    """
    return make_encoder(method, source, key, batch_size=batch_size)(params, n)


def reconstruct(method: Method, params: dict[str, Params], batch: Batch) -> jax.Array:
    """Decodes the posterior means of a batch into expected images [B, H, W, C]."""
    net = Nets(method.networks, params)
    return method.expected(net, method.encode(net, batch).mean, batch)


def traverse(
    method: Method,
    params: dict[str, Params],
    code: jax.Array,
    values: jax.Array,
    latents: Sequence[int] | jax.Array | None = None,
) -> jax.Array:
    """Decodes latent traversals: `code` with one latent at a time set to each of several values.

    Args:
      method: Method whose decoder is used.
      params: Parameters of the networks by name, such as `TrainState.params`.
      code: Code that is changed [D].
      values: Values for every latent [T], or separate values for each latent [D, T].
      latents: Indices of the latents to traverse; by default, all.

    Returns:
      Decoded images [D, T, H, W, C], or [len(latents), T, H, W, C] for the given latents.
    """
    chosen: Any = np.arange(code.shape[0]) if latents is None else latents
    chosen = chosen if isinstance(chosen, jax.Array) else np.asarray(chosen, int)
    steps = values.shape[-1]
    replace = (np.arange(code.shape[0])[None, :] == chosen[:, None])[:, None, :]
    own = jnp.broadcast_to(jnp.atleast_2d(values), (code.shape[0], steps))[chosen]
    codes = jnp.where(replace, own[:, :, None], code[None, None, :])
    images = method.decode(Nets(method.networks, params), codes.reshape(len(chosen) * steps, code.shape[0]))
    return images.reshape(len(chosen), steps, *images.shape[1:])
