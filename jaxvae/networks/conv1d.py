"""Convolutional encoders and decoders over time, for series [B, T, D] of any length T."""

from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxvae.method import Posterior
from jaxvae.networks.heads import GLOROT, gaussian_head

CHANNELS = (32, 32, 64, 64)
"""Channels after each halving of the number of times; short series have fewer halvings."""
SHORTEST = 4
"""Number of times that a halving must leave."""
KERNEL = 4
WIDTH = 256
"""Units of the dense layer between the convolutions and the code."""


def lengths(times: int) -> tuple[int, ...]:
    """Returns the number of times before the first convolution and after each of them.

    A convolution halves it and rounds up, as an odd series is padded with zeros. There are at most four, and none that
    would leave fewer than 4 times.
    """
    found = [times]
    while len(found) <= len(CHANNELS) and (following := -(-found[-1] // 2)) >= SHORTEST:
        found.append(following)
    return tuple(found)


class SeriesEncoder(nn.Module):
    """Convolutions over time with kernels of 4 and stride 2, and a dense layer of 256, with ReLU after each."""

    latent_dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, series: jax.Array) -> Posterior:
        """Maps series [B, T, D] to means and log variances [B, latent_dim]."""
        x = series
        for _, channels in zip(pairwise(lengths(series.shape[1])), CHANNELS, strict=False):
            x = nn.Conv(channels, (KERNEL,), strides=2, padding="SAME", kernel_init=GLOROT, dtype=self.dtype)(x)
            x = nn.relu(x)
        x = nn.Dense(WIDTH, kernel_init=GLOROT, dtype=self.dtype)(x.reshape(x.shape[0], -1))
        return gaussian_head(nn.relu(x), self.latent_dim, self.dtype)


class SeriesDecoder(nn.Module):
    """Two dense layers and transposed convolutions over time, in the reverse order of the encoder's lengths.

    Each doubles the number of times; where the encoder rounded up, the last time is cut off.
    """

    event_shape: tuple[int, int]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps codes [B, latent_dim] to raw outputs [B, T, D], float32."""
        times, values = self.event_shape
        steps = lengths(times)
        channels = (values, *CHANNELS[: len(steps) - 1])
        x = nn.relu(nn.Dense(WIDTH, kernel_init=GLOROT, dtype=self.dtype)(z))
        x = nn.Dense(steps[-1] * channels[-1], kernel_init=GLOROT, dtype=self.dtype)(x)
        x = x.reshape(x.shape[0], steps[-1], channels[-1])
        for length, features in zip(steps[-2::-1], channels[-2::-1], strict=True):
            x = nn.relu(x)
            x = nn.ConvTranspose(features, (KERNEL,), strides=(2,), kernel_init=GLOROT, dtype=self.dtype)(x)
            x = x[:, :length]
        return x.astype(jnp.float32)
