"""Effects of each latent on the output, measured by giving it the value that it has for another example."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOST_OUTPUTS = 4096


class Effects(NamedTuple):
    """Effects of D latents on P output values."""

    change: np.ndarray
    """Mean absolute change of each output value by each latent [D, P]."""
    overlap: float
    """Overlap of the changes made by different latents: 0 if the changes that two latents make to an output are
    orthogonal, and 1 if they are equal up to a factor. It is the mean absolute cosine of all pairs, weighted by the
    product of their lengths. It is NaN if fewer than two latents have an effect."""
    parts: float
    """Hoyer sparsity of each latent's `change`, weighted by its sum: 0 if latents change all values alike, and 1 if
    each latent changes a single value."""
    exclusive: float
    """Share of the change of an output value that is due to the latent that changes it most, over all values: 1 if
    every value depends on one latent only, and 1 / D if all latents change it alike."""

    @property
    def size(self) -> np.ndarray:
        """Mean absolute change of an output value by each latent [D]."""
        return self.change.mean(axis=1)


def latent_effects(
    decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, *, examples: int = 64, seed: int = 0
) -> Effects:
    """Measures how the output changes when one latent of an example takes the value that it has for another example.

    Swapped values are values that the latent does take, so the effects are defined for integer codes (of codewords) and
    for codes of any scale.

    Args:
      decode: Function from codes [B, D] to outputs [B, ...].
      codes: Codes of random examples [N, D], N >= 2.
      examples: Number of examples that are changed, each with a partner; at most N, and fewer for more than 64 latents,
        so that at most 4096 outputs (or 2 per latent) are decoded.
      seed: Random seed for the choice of examples.

    Returns:
      The mean changes [D, P] for outputs of P values, and their summaries.

    Raises:
      ValueError: The codes are not [N, D] with N >= 2 and D >= 1.
    """
    if codes.ndim != 2 or len(codes) < 2 or not codes.shape[1]:
        raise ValueError(f"codes must be [at least 2 examples, at least 1 latent], got shape {codes.shape}")
    most = max(2, MOST_OUTPUTS // codes.shape[1])
    order = np.random.default_rng(seed).permutation(len(codes))[: min(examples, most)]
    start, partner = codes[order], codes[np.roll(order, 1)]
    swapped = np.where(np.eye(codes.shape[1], dtype=bool)[:, None], partner, start)
    outputs = [np.asarray(decode(rows), np.float64).reshape(len(order), -1) for rows in (start, *swapped)]
    moved = np.stack(outputs[1:]) - outputs[0]
    change = np.abs(moved).mean(axis=1)
    return Effects(change, _overlap(moved), _hoyer(change), _exclusive(change))


def _overlap(moved: np.ndarray) -> float:
    """Computes `Effects.overlap` of the changes [D, B, P] of P output values of B examples by D latents."""
    products = sum(np.abs(one @ one.T) for one in moved.swapaxes(0, 1))
    length = np.linalg.norm(moved, axis=2)
    lengths = np.einsum("db,eb->de", length, length)
    pairs = ~np.eye(len(moved), dtype=bool)
    return _ratio(products[pairs].sum(), lengths[pairs].sum())


def _hoyer(change: np.ndarray) -> float:
    values = change.shape[1]
    ones, twos = change.sum(axis=1), np.linalg.norm(change, axis=1)
    sparsity = (values**0.5 - ones / np.where(twos > 0, twos, 1)) / (values**0.5 - 1) if values > 1 else 0 * ones
    return _ratio((sparsity * ones).sum(), ones.sum())


def _exclusive(change: np.ndarray) -> float:
    return _ratio(change.max(axis=0).sum(), change.sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
