"""An additive decoder: each part of the code is decoded on its own, and the outputs of the parts are pooled.

Reference: Moinfar & Theis (2024), "Unsupervised deep disentangled representation of single-cell omics" (DRVI). With
`pooling="mean"` on pictures, it is the additive decoder of Lachapelle et al. (2023).
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from jaxvae.choose import choose
from jaxvae.method import Network, Params, Posterior

Pooling: TypeAlias = Literal["logsumexp", "mean"]
Splitting: TypeAlias = Literal["map", "mask"]


@dataclass(frozen=True)
class SplitDecoder:
    """A decoder of S splits of a code, whose raw outputs are pooled.

        z [K] -> S splits z_s [K / S],   h_s = W_s z_s [K],   l_s = decoder(h_s, covariates)
        logsumexp: l = log sum_s exp(l_s) - log S        mean: l = sum_s l_s / S

    If l_s is the logarithm of a rate, the rates of the splits add up with `logsumexp`: each split adds an amount that
    is not negative to each output. With `mean`, the outputs themselves add up.

    Raises:
      ValueError: The splits do not divide the latents, or a word is unknown.
    """

    decoder: Network
    """Decoder (params, [B, K + U]) -> [B, ...] of a split, such as one of `jaxvae.networks.autoencoder`."""
    latents: int
    """Number of latents K."""
    splits: int
    """Number of splits S, which divides K. A split has consecutive latents."""
    pooling: Pooling = "logsumexp"
    """How the outputs of the splits are combined."""
    shared: bool = True
    """Whether all splits have the same decoder, so that only W_s tells them apart."""
    splitting: Splitting = "map"
    """What the decoder sees of a split: W_s z_s with a learned W_s [K / S, K] ("map"), or the code with zeros for the
    latents of other splits ("mask")."""
    covariates: int = 0
    """Number U of covariates, which the decoder of each split sees beside h_s."""

    def __post_init__(self) -> None:
        choose("pooling", self.pooling, dict.fromkeys(("logsumexp", "mean")))
        choose("splitting", self.splitting, dict.fromkeys(("map", "mask")))
        if self.splits < 1 or self.latents % self.splits:
            raise ValueError(f"the number of splits must divide {self.latents} latents, got {self.splits}")

    def init(self, key: jax.Array) -> Params:
        """Initializes the parameters: "network", and "maps" [S, K / S, K] from a uniform distribution."""
        of_maps, of_network = jax.random.split(key)
        init = self.decoder.init if self.shared else jax.vmap(self.decoder.init)
        params = {"network": init(of_network if self.shared else jax.random.split(of_network, self.splits))}
        if self.splitting == "map":
            size = self.latents // self.splits
            bound, shape = 1 / math.sqrt(size), (self.splits, size, self.latents)
            params["maps"] = jax.random.uniform(of_maps, shape, minval=-bound, maxval=bound)
        return params

    def apply(self, params: Params, z: jax.Array, covariates: jax.Array | None = None) -> jax.Array:
        """Decodes codes [B, K] and covariates [B, U] to raw outputs [B, ...]; see `parts`."""
        return self.pool(self.parts(params, z, covariates))

    def parts(self, params: Params, z: jax.Array, covariates: jax.Array | None = None) -> jax.Array:
        """Decodes each split.

        Args:
          params: Parameters from `init`.
          z: Codes [B, K].
          covariates: Covariates [B, U]. By default, each is 1 / U, which is the centre of one-hot vectors.

        Returns:
          Raw outputs of the splits [B, S, ...].
        """
        if self.splitting == "map":
            seen = jnp.einsum("bsk,skp->bsp", z.reshape(z.shape[0], self.splits, -1), params["maps"])
        else:
            mine = jnp.arange(self.latents)[None] * self.splits // self.latents == jnp.arange(self.splits)[:, None]
            seen = jnp.where(mine[None], z[:, None], 0)
        if self.covariates:
            if covariates is None:
                covariates = jnp.full((z.shape[0], self.covariates), 1 / self.covariates)
            beside = jnp.broadcast_to(covariates[:, None], (z.shape[0], self.splits, self.covariates))
            seen = jnp.concatenate([seen, beside.astype(seen.dtype)], axis=2)
        if not self.shared:
            return jax.vmap(self.decoder.apply, (0, 1), out_axes=1)(params["network"], seen)
        # One product of all rows of all splits: mapped over the splits, XLA copies the outputs to reorder them.
        outputs = self.decoder.apply(params["network"], seen.reshape(z.shape[0] * self.splits, seen.shape[2]))
        return outputs.reshape(z.shape[0], self.splits, *outputs.shape[1:])

    def pool(self, parts: jax.Array) -> jax.Array:
        """Pools the raw outputs of the splits: [B, S, ...] -> [B, ...]."""
        if self.pooling == "mean":
            return parts.mean(axis=1)
        return jax.nn.logsumexp(parts, axis=1) - math.log(self.splits)

    @property
    def network(self) -> Network:
        """The decoder as a network: (params, codes, covariates or nothing) -> raw outputs."""
        return Network(self.init, self.apply)


def with_least_variance(encoder: Network, least: float) -> Network:
    """Returns the encoder with `least` added to the variances of its posteriors."""

    def apply(params: Params, *inputs: jax.Array) -> Posterior:
        mean, logvar = encoder.apply(params, *inputs)
        return Posterior(mean, jnp.logaddexp(logvar, math.log(least)))

    return Network(encoder.init, apply)
