"""PIPE: whether a discriminator can tell reconstructions from examples decoded from recombined codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxvae.metrics.inputs import checked_codes, choose
from jaxvae.metrics.results import Result

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
    from jaxvae.metrics.pipe_discriminator import Discriminator

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
    discriminator = Discriminator(real / scale, fake / scale, batch_size // 2, learning_rate, seed)
    steps = max(1, interval // batch_size)
    accuracies = []
    for _ in range(evaluations):
        discriminator.train(steps)
        right = [discriminator.positive(real_test / scale), 1 - discriminator.positive(fake_test / scale)]
        accuracies.append(float(np.mean(right)))
    seen = evaluations * steps * 2 * (batch_size // 2)
    return PIPE(
        score=float(np.clip(2 * (1 - accuracies[-1]), 0, 1)),
        definition=f"PIPE, {resampling} latents, {half} reconstructions to learn from, {len(order) - half} to test on, "
        f"{seen} examples seen",
        accuracy=tuple(accuracies),
        num_train=half,
        num_test=len(order) - half,
        examples_seen=seen,
        num_samples=len(continuous),
    )


def _decoded(decode: Callable[[np.ndarray], ArrayLike], codes: np.ndarray) -> np.ndarray:
    blocks = [np.asarray(decode(codes[first : first + BLOCK]), np.float32) for first in range(0, len(codes), BLOCK)]
    examples = np.concatenate(blocks)
    if not np.isfinite(examples).all():
        raise ValueError("pipe needs a decoder that gives finite examples, and some of its values are not finite")
    return examples
