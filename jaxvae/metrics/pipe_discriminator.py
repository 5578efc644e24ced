"""The discriminator of PIPE, which needs JAX."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

Weights = list[tuple[jax.Array, jax.Array]]
WIDTHS, HIDDEN = (32, 64, 64, 64), 128
"""Channels of the convolutions of images, and units of the dense layers."""
SMALLEST = 4
"""Size of an image at which convolutions end."""
BLOCK = 500
"""Number of examples that are classified together."""


class Discriminator:
    """Learns to tell real from fake examples [n, *event_shape], in batches of `half` examples of each kind."""

    def __init__(self, real: np.ndarray, fake: np.ndarray, half: int, learning_rate: float, seed: int) -> None:
        self._data = (jnp.asarray(real), jnp.asarray(fake))
        self._key = jax.random.key(seed)
        self._weights = _initial(self._key, real.shape[1:])
        self._rate, self._half = learning_rate, half
        self._memory = optax.adam(learning_rate).init(self._weights)
        self._calls = 0

    def train(self, steps: int) -> None:
        """Takes steps of Adam on random batches."""
        self._calls += 1
        self._weights, self._memory = _train(
            self._weights,
            self._memory,
            self._data,
            jax.random.fold_in(self._key, self._calls),
            steps,
            self._half,
            self._rate,
        )

    def positive(self, examples: np.ndarray) -> float:
        """Computes the share of examples that are taken for real ones."""
        blocks = [examples[first : first + BLOCK] for first in range(0, len(examples), BLOCK)]
        return float(np.concatenate([np.asarray(_logits(self._weights, block)) > 0 for block in blocks]).mean())


def _initial(key: jax.Array, shape: tuple[int, ...]) -> Weights:
    """Draws the weights of the discriminator of examples of a shape, with He's variance."""
    sizes: list[tuple[int, ...]] = []
    if len(shape) == 3:
        height, width, channels = shape
        for out in WIDTHS:
            if min(height, width) <= SMALLEST:
                break
            sizes.append((4, 4, channels, out))
            height, width, channels = -(-height // 2), -(-width // 2), out
        sizes += [(height * width * channels, HIDDEN), (HIDDEN, 1)]
    else:
        sizes += [(int(np.prod(shape)), HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)]
    keys = jax.random.split(key, len(sizes))
    return [
        (jax.random.normal(k, size) * (2 / np.prod(size[:-1])) ** 0.5, jnp.zeros(size[-1]))
        for k, size in zip(keys, sizes, strict=True)
    ]


def _logit(weights: Weights, x: jax.Array) -> jax.Array:
    """Computes the logit of being a reconstruction, [B]."""
    for place, (kernel, bias) in enumerate(weights):
        if kernel.ndim == 4:
            x = lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        else:
            x = x.reshape(len(x), -1) @ kernel
        x = x + bias.reshape((1,) * (x.ndim - 1) + (-1,))
        x = jax.nn.leaky_relu(x, 0.2) if place < len(weights) - 1 else x
    return x[:, 0]


_logits = jax.jit(_logit)


@partial(jax.jit, static_argnames=("steps", "half"))
def _train(
    weights: Weights,
    memory: Any,
    data: tuple[jax.Array, jax.Array],
    key: jax.Array,
    steps: int,
    half: int,
    rate: float,
) -> tuple[Weights, Any]:
    """Takes steps of Adam on batches of `half` examples of each kind."""

    def loss(weights: Weights, real: jax.Array, fake: jax.Array) -> jax.Array:
        logits = _logit(weights, jnp.concatenate([real, fake]))
        return jax.nn.softplus(jnp.concatenate([-logits[:half], logits[half:]])).mean()

    def step(number: int, state: tuple[Weights, Any]) -> tuple[Weights, Any]:
        weights, memory = state
        keys = jax.random.split(jax.random.fold_in(key, number))
        batch = [each[jax.random.randint(k, (half,), 0, len(each))] for k, each in zip(keys, data, strict=True)]
        updates, memory = optax.adam(rate).update(jax.grad(loss)(weights, *batch), memory)
        return optax.apply_updates(weights, updates), memory

    return lax.fori_loop(0, steps, step, (weights, memory))
