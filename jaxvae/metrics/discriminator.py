"""A small discriminator of two kinds of examples, for PIPE. It uses JAX, which the other metrics do without."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Weights = list[tuple[jax.Array, jax.Array]]
WIDTHS, HIDDEN = (32, 64, 64, 64), 128
"""Channels of the discriminator's convolutions of images, and units of its dense layer."""
SMALLEST = 4
"""Size of an image at which convolutions end."""
BLOCK = 500
"""Number of examples that are classified together."""


class Discriminator:
    """Weights that learn to tell real from fake examples, with Adam."""

    def __init__(self, real: np.ndarray, fake: np.ndarray, half: int, rate: float, seed: int) -> None:
        """Takes examples of both kinds [N, ...], the number of each per step, a learning rate and a random seed."""
        self._key = jax.random.key(seed)
        weights = _initial(self._key, real.shape[1:])
        self._state = (weights, *(jax.tree.map(jnp.zeros_like, weights) for _ in range(2)))
        self._data = jnp.asarray(real), jnp.asarray(fake)
        self._half, self._rate = half, rate
        self.steps = 0
        """Number of steps so far."""

    def train(self, steps: int) -> None:
        """Takes further steps."""
        key = jax.random.fold_in(self._key, self.steps)
        self._state = _train(self._state, self._data, key, self.steps, steps, self._half, self._rate)
        self.steps += steps

    def positive(self, examples: np.ndarray) -> float:
        """Computes the share of examples [N, ...] that are taken for real."""
        blocks = [examples[first : first + BLOCK] for first in range(0, len(examples), BLOCK)]
        return float(np.concatenate([np.asarray(_logits(self._state[0], block)) > 0 for block in blocks]).mean())


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
    """Computes the logit of being real, [B]."""
    for place, (kernel, bias) in enumerate(weights):
        if kernel.ndim == 4:
            x = lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        else:
            x = x.reshape(len(x), -1) @ kernel
        x = x + bias.reshape((1,) * (x.ndim - 1) + (-1,))
        x = jax.nn.leaky_relu(x, 0.2) if place < len(weights) - 1 else x
    return x[:, 0]


@partial(jax.jit, static_argnames=("steps", "half"))
def _train(
    state: Any, data: tuple[jax.Array, jax.Array], key: jax.Array, done: int, steps: int, half: int, rate: float
) -> Any:
    """Takes steps of Adam on batches of `half` examples of each kind."""

    def loss(weights: Weights, real: jax.Array, fake: jax.Array) -> jax.Array:
        logits = _logit(weights, jnp.concatenate([real, fake]))
        return jax.nn.softplus(jnp.concatenate([-logits[:half], logits[half:]])).mean()

    def step(number: int, state: Any) -> Any:
        weights, first, second = state
        keys = jax.random.split(jax.random.fold_in(key, number))
        batch = [each[jax.random.randint(k, (half,), 0, len(each))] for k, each in zip(keys, data, strict=True)]
        slope = jax.grad(loss)(weights, *batch)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
        t = done + number + 1
        scales = 1 - 0.9**t, 1 - 0.999**t
        weights = jax.tree.map(
            lambda w, m, v: w - rate * (m / scales[0]) / (jnp.sqrt(v / scales[1]) + 1e-8), weights, first, second
        )
        return weights, first, second

    return lax.fori_loop(0, steps, step, state)


_logits = jax.jit(_logit)
