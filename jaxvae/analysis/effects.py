"""What each latent does to the output, by giving it the value that it has for another example."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOST_OUTPUTS = 4096


class Effects(NamedTuple):
    """Of D latents on P output values."""

    change: np.ndarray
    """Mean absolute change of each value, by each latent: [D, P]."""
    overlap: float
    """0 where the changes that two latents make to an output are orthogonal, 1 where they are the same up to a factor:
    absolute cosines of all pairs, weighted by the product of the lengths. NaN for fewer than two latents that act."""
    parts: float
    """Hoyer sparsity of `change` of each latent, weighted by its sum: 0 where latents change all values alike, 1 where
    each changes a single one."""
    exclusive: float
    """Share of all change of a value that is by the latent which changes it most, over all values: 1 where every value
    belongs to one latent, 1 / D where all latents change it alike."""

    @property
    def size(self) -> np.ndarray:
        """Mean absolute change of an output value by each latent: [D]."""
        return self.change.mean(axis=1)


def latent_effects(
    decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, *, examples: int = 64, seed: int = 0
) -> Effects:
    """How the output changes when one latent of an example takes the value that it has for another.

    Swapped values are ones that the latent does take, so that this is defined for whole numbers (of codewords) and for
    any scale of the codes alike.

    Args:
      decode: codes [B, D] -> outputs [B, ...].
      codes: of random examples [N, D], N >= 2.
      examples: that are changed, each with a partner; at most N, and fewer where there are more than 64 latents, so
        that no more than 4096 outputs (or 2 per latent) are decoded.
      seed: of which examples.

    Raises:
      ValueError: codes are not [N, D] with N >= 2 and D >= 1.
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
    """Of changes [D, B, P]."""
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
