"""Factorised support (FoS): whether every combination of values of two codes occurs nearly, without factors."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.inputs import checked_codes
from jaxvae.metrics.results import Result

MOST_PAIRS = 300
"""Number of pairs of codes up to which all are looked at, those of 25 codes."""
DISTANCES = 500
"""Number of distances, over pairs and batches, that suffice by default."""


@dataclass(frozen=True, eq=False)
class Support(Result):
    """Distance of the support of codes from a product, over that of shuffled codes, and both distances."""

    distance: float
    """Distance of standardised codes, in squared standard deviations, summed over pairs (FoS)."""
    shuffled_distance: float
    """The same of standardised codes that are shuffled independently, whose support is a product."""
    raw_distance: float
    """Distance of the codes as they are, in squared units of the codes. Scores of different models differ in it even if
    the codes differ in scale alone."""
    raw_shuffled_distance: float
    per_pair: np.ndarray
    """Distance of each pair of standardised codes [D, D]; NaN on the diagonal, for constant codes and for pairs that
    are not looked at."""
    live_codes: int
    """Number of codes that are not constant."""
    num_batches: int
    batch_size: int
    num_samples: int


def support(codes: ArrayLike, *, batch_size: int = 128, num_batches: int | None = None, seed: int = 0) -> Support:
    """Distance of the codes' support from a product, divided by the distance of independently shuffled codes.

    For a batch of codes and a pair (a, b) of them, the points {(z_ia, z_ib)} are compared with all combinations
    {(z_ia, z_jb)}: the distance is the largest squared distance of a combination to its nearest point. It is summed
    over pairs and averaged over batches. A full grid has the distance 0. The score is near 1 if the codes are
    independent, or if they are dependent but take all combinations of their values; it is higher for codes that leave
    combinations out, such as copies or a rotated grid.

    The public code reports the distance in units of the codes ("FoS", here `raw_distance`) and that of the shuffled
    codes ("randFoS"). The distance falls as batches grow, and as codes shrink: compare the ratio, of equal batches.

    Args:
      codes: Codes [N, D], real.
      batch_size: Number of codes per batch; all codes, if there are fewer.
      num_batches: Number of batches of different examples; all, if there are fewer. By default, 10, or more for fewer
        than 11 codes, until 500 distances are averaged.
      seed: Random seed for the batches and for shuffling. Of more than 25 codes, it also draws 300 pairs.

    Raises:
      ValueError: The codes are not finite, or a batch has fewer than two of them.

    Reference: Roth et al. (2023).
    """
    continuous = checked_codes(codes)
    batch_size = min(batch_size, len(continuous))
    if batch_size < 2 or (num_batches is not None and num_batches < 1):
        raise ValueError(f"support needs batches of at least 2 codes and at least 1 batch, got {batch_size}")
    rng = np.random.default_rng(seed)
    live = np.flatnonzero(np.ptp(continuous, axis=0) > 0)
    pairs = list(combinations(live.tolist(), 2))
    if len(pairs) > MOST_PAIRS:
        pairs = [pairs[place] for place in np.sort(rng.choice(len(pairs), MOST_PAIRS, replace=False))]
    rows = rng.permutation(len(continuous))
    batches = [rows[first : first + batch_size] for first in range(0, len(rows) - batch_size + 1, batch_size)]
    batches = batches[: num_batches or max(10, DISTANCES // max(1, len(pairs)))]
    unit = np.where(np.ptp(continuous, axis=0) > 0, continuous.std(axis=0), 1)
    distances = np.zeros((4, len(pairs)))
    for batch in batches:
        own = continuous[batch]
        other = rng.permuted(own, axis=0)
        for kind, points in enumerate((own / unit, other / unit, own, other)):
            distances[kind] += [support_distance(points[:, a], points[:, b]) for a, b in pairs]
    distances /= len(batches)
    totals = distances.sum(axis=1)
    per_pair = np.full((continuous.shape[1],) * 2, np.nan)
    for (a, b), distance in zip(pairs, distances[0], strict=True):
        per_pair[a, b] = per_pair[b, a] = distance
    return Support(
        score=float(totals[0] / totals[1]) if totals[1] > 0 else float("nan"),
        definition=f"factorised support over that of shuffled codes, {len(batches)} batches of {batch_size}, "
        f"{len(pairs)} pairs of codes",
        distance=float(totals[0]),
        shuffled_distance=float(totals[1]),
        raw_distance=float(totals[2]),
        raw_shuffled_distance=float(totals[3]),
        per_pair=per_pair,
        live_codes=len(live),
        num_batches=len(batches),
        batch_size=batch_size,
        num_samples=len(continuous),
    )


def support_distance(one: Array[np.float64], other: Array[np.float64]) -> float:
    """Computes the largest squared distance of a combination (one_i, other_j) to its nearest point (one_s, other_s).

    Args:
      one: Values of a code [B].
      other: Values of another code [B].
    """
    across, along = (one[:, None] - one) ** 2, (other[:, None] - other) ** 2
    nearest = np.full(across.shape, np.inf)
    buffer = np.empty_like(nearest)
    for s in range(len(one)):
        np.add(across[:, s, None], along[s], out=buffer)
        np.minimum(nearest, buffer, out=nearest)
    return float(nearest.max())
