"""Mutual information gap of Gaussian posteriors, estimated by sampling and without bins, as in the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array
from scipy.special import logsumexp

from jaxvae.metrics.inputs import checked_codes, second_best
from jaxvae.metrics.results import Result

BLOCK = 4_000_000
"""Number of log-densities that are held at once."""


@dataclass(frozen=True, eq=False)
class SampledMIG(Result):
    """Sampled mutual information gap, with the quantities that it is computed from."""

    per_factor: np.ndarray
    """Gap of each factor [K]; NaN for factors with one value."""
    mutual_information: np.ndarray
    """Mutual information in nats [D, K]."""
    marginal_entropy: np.ndarray
    """Entropy of each code's marginal in nats [D]."""
    num_samples: int


def sampled_mig(
    mean: ArrayLike, logvar: ArrayLike, factor_sizes: Sequence[int], *, max_samples: int = 10_000, seed: int = 0
) -> SampledMIG:
    """Mutual information gap from the posteriors of the whole grid, as defined by Chen et al. (2018).

        I(z_d; y_k) = H(q(z_d)) - mean over values v of H(q(z_d | y_k = v)),    H = -E log q

    q is the mixture of the posteriors of all grid points, or of all grid points with value v. Expectations are over one
    sample of each of at most `max_samples` random points. The score is the gap of the two largest, clipped at 0,
    divided by log S_k. It takes N * D * max_samples * (1 + K) densities, so subsample large grids.

    Args:
      mean: Posterior means of the grid [N, D], with the last factor varying fastest.
      logvar: Posterior log variances [N, D].
      factor_sizes: Numbers of values of the K factors, whose product is N.
      max_samples: Largest number of samples of a mixture.
      seed: Random seed for the samples.

    Raises:
      ValueError: The shapes do not match, values are not finite, or the grid has one point.

    Reference: Chen et al. (2018), section 4 and appendix.
    """
    centres, logvars = checked_codes(mean), checked_codes(logvar)
    if centres.shape != logvars.shape or len(centres) != math.prod(factor_sizes):
        raise ValueError(
            f"mean and logvar must be [{math.prod(factor_sizes)}, D], got {centres.shape} and {logvars.shape}"
        )
    if max(factor_sizes) < 2:
        raise ValueError("every factor is constant in these examples: there is nothing to be informed about")
    rng = np.random.default_rng(seed)
    samples = centres + np.exp(logvars / 2) * rng.standard_normal(centres.shape)

    def entropies(rows: Array[np.int64]) -> Array[np.float64]:
        """Estimates the entropy of the mixture of the posteriors in `rows`, for each code [D]."""
        chosen = rows if len(rows) <= max_samples else rng.choice(rows, max_samples, replace=False)
        return np.array(
            [_entropy(samples[chosen, d], centres[rows, d], logvars[rows, d]) for d in range(centres.shape[1])]
        )

    grid = np.arange(len(centres)).reshape(tuple(factor_sizes))
    marginal = entropies(grid.reshape(-1))
    information = np.zeros((centres.shape[1], len(factor_sizes)))
    for k, size in enumerate(factor_sizes):
        conditional = [entropies(np.take(grid, value, axis=k).reshape(-1)) for value in range(size)]
        information[:, k] = np.maximum(marginal - np.mean(conditional, axis=0), 0)
    first, second = second_best(information)
    varies = np.asarray(factor_sizes) > 1
    gaps = np.full(len(factor_sizes), np.nan)
    gaps[varies] = (first - second)[varies] / np.log(np.asarray(factor_sizes)[varies])
    return SampledMIG(
        score=float(gaps[varies].mean()),
        definition=f"sampled MIG (Chen et al.), at most {max_samples} samples per mixture",
        per_factor=gaps,
        mutual_information=information,
        marginal_entropy=marginal,
        num_samples=len(centres),
    )


def _entropy(samples: Array[np.float64], means: Array[np.float64], logvars: Array[np.float64]) -> float:
    """Computes -mean over samples [M] of the log-density of the equal mixture of Gaussians [N]."""
    total = 0.0
    for block in np.array_split(samples, max(1, math.ceil(len(samples) * len(means) / BLOCK))):
        scaled = (block[:, None] - means) ** 2 * np.exp(-logvars) + logvars + math.log(2 * math.pi)
        total += float(logsumexp(-scaled / 2, axis=1).sum())
    return math.log(len(means)) - total / len(samples)
