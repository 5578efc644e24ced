"""PIPE: whether a discriminator can tell reconstructions from examples decoded from recombined codes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from jaxvae.metrics.inputs import checked_codes, choose
from jaxvae.metrics.results import Result

Weights = list[tuple[jax.Array, jax.Array]]
WIDTHS, HIDDEN = (32, 64, 64, 64), 128
"""Channels of the discriminator's convolutions of images, and units of its dense layer."""
SMALLEST = 4
"""Size of an image at which convolutions end."""
BLOCK = 500
"""Number of codes that are decoded together."""


@dataclass(frozen=True, eq=False)
class PIPE(Result):
    """Score, with the accuracies of the discriminator that it is computed from."""

    accuracy: tuple[float, ...]
    """Test accuracy of the discriminator after each evaluation interval. The score is computed from the last one."""
    num_train: int
    """Number of examples of each kind that the discriminator learns from."""
    num_test: int
    """Number of other examples of each kind that it is tested on."""
    examples_seen: int
    """Number of examples that the discriminator has seen in training."""
    num_samples: int


def pipe(
    codes: ArrayLike,
    decode: Callable[[np.ndarray], ArrayLike],
    *,
    resampling: Literal["uniform", "permuted"] = "uniform",
    evaluations: int = 10,
    interval: int = 5000,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> PIPE:
    """PIPE: how well decoded recombinations of latents pass for reconstructions; 1 if nobody can tell them apart.

    A new discriminator learns to tell decoded codes from decoded codes whose latents are drawn independently of each
    other. The score is 2 (1 - accuracy) on examples that it has not learned from, between 0 and 1, after 50,000 seen
    examples. It needs no factors. As HFS, it falls if the support of the codes has holes. A constant decoder scores 1:
    read it together with the reconstruction error.

    The public code keeps accuracies in percent, so that the scores that it stores are 2 (1 - 97.0), and not 0.06.
    Its discriminator is not the one here, which has four convolutions (stride 2) and a dense layer of 128 units for
    images, and two dense layers for other examples.

    Args:
      codes: Codes [N, D], such as posterior means; half of them are for testing.
      decode: Function from codes [B, D] to expected examples [B, *event_shape].
      resampling: Independent values of each latent: "uniform" between its extremes, or "permuted" codes.
      evaluations: Number of evaluations; the last one counts.
      interval: Number of seen examples between two evaluations.
      batch_size: Number of examples per step, half of each kind.
      learning_rate: Learning rate of Adam.
      seed: Random seed for the split, the recombinations, the initialization and the batches.

    Raises:
      ValueError: The codes are not finite or fewer than 4; or a number is below 1.

    Reference: Estermann & Wattenhofer (2023, "DAVA").
    """
    choose("resampling", resampling, ("uniform", "permuted"))
    continuous = checked_codes(codes)
    if len(continuous) < 4 or min(evaluations, interval) < 1 or batch_size < 2:
        raise ValueError(
            "pipe needs at least 4 codes, 2 examples per batch, and evaluations and an interval of at least 1; got "
            f"{len(continuous)}, {batch_size}, {evaluations} and {interval}"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(continuous))
    half = len(order) // 2
    parts = []
    for rows in (order[:half], order[half:]):
        own = continuous[rows]
        if resampling == "permuted":
            other = rng.permuted(own, axis=0)
        else:
            other = rng.uniform(continuous.min(axis=0), continuous.max(axis=0), own.shape)
        parts.append(tuple(_decoded(decode, each) for each in (own, other)))
    (real, fake), (real_test, fake_test) = parts
    scale = float(max(np.abs(real).max(), 1e-12))
    key = jax.random.key(seed)
    weights = _initial(key, real.shape[1:])
    state = (weights, *(jax.tree.map(jnp.zeros_like, weights) for _ in range(2)))
    data = tuple(jnp.asarray(each / scale) for each in (real, fake))
    steps, accuracies, done = max(1, interval // batch_size), [], 0
    for number in range(evaluations):
        state = _train(state, data, jax.random.fold_in(key, number + 1), done, steps, batch_size // 2, learning_rate)
        done += steps
        right = [_positive(state[0], real_test / scale), 1 - _positive(state[0], fake_test / scale)]
        accuracies.append(float(np.mean(right)))
    return PIPE(
        score=float(np.clip(2 * (1 - accuracies[-1]), 0, 1)),
        definition=f"PIPE, {resampling} latents, {half} reconstructions to learn from, {len(order) - half} to test on, "
        f"{done * 2 * (batch_size // 2)} examples seen",
        accuracy=tuple(accuracies),
        num_train=half,
        num_test=len(order) - half,
        examples_seen=done * 2 * (batch_size // 2),
        num_samples=len(continuous),
    )


def _decoded(decode: Callable[[np.ndarray], ArrayLike], codes: np.ndarray) -> np.ndarray:
    blocks = [np.asarray(decode(codes[first : first + BLOCK]), np.float32) for first in range(0, len(codes), BLOCK)]
    return np.concatenate(blocks)


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


def _positive(weights: Weights, examples: np.ndarray) -> float:
    """Computes the share of examples that are taken for reconstructions."""
    blocks = [examples[first : first + BLOCK] for first in range(0, len(examples), BLOCK)]
    return float(np.concatenate([np.asarray(_logits(weights, block)) > 0 for block in blocks]).mean())
