"""Scores of many models at once: one compiled call for the codes of a whole population."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray as Array

from jaxvae.metrics.draws import BLOCK, SampledCodes
from jaxvae.metrics.inputs import checked_codes, examples
from jaxvae.metrics.sap import SMALLEST_VARIANCE


def score_stacked(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    num_bins: int = 20,
    num_votes: int = 10_000,
    batch_size: int = 64,
    prune_below: float = 0.05,
    seed: int = 0,
) -> dict[str, Array]:
    """Computes scores of stacked models on the same examples, on JAX's device in one compiled call.

    Each score is that of the function of its name for each model's codes, in float32: `mig`, `modularity`, `sap`
    (continuous), `gaussian_total_correlation`, `gaussian_wasserstein_correlation`, `mutual_information_score` and
    `factor_vae_score`. They agree to about 1e-3, because a code on the edge of two bins may fall into the other bin.
    With one factor, modularity and the FactorVAE score are NaN.

    Args:
      codes: Codes of M models [M, N, D], all for the same N examples.
      factors: Factors of the examples [N, K], integers. Constant factors are left out.
      num_bins: Number of bins per code, of equal width.
      num_votes: Number of training votes of the FactorVAE score; half as many votes are for testing.
      batch_size: Number of examples per vote.
      prune_below: Standard deviation below which a code has no vote.
      seed: Random seed for the votes, which are the same for all models.

    Returns:
      Scores by name, [M] each.

    Raises:
      ValueError: The codes are not [M, N, D]; a number of bins, votes or examples is below 2; or the errors of `mig`.
    """
    stacked = np.asarray(codes, np.float32)
    if stacked.ndim != 3 or stacked.size == 0:
        raise ValueError(f"codes must be [models, examples, latents] and not be empty, got shape {stacked.shape}")
    if min(num_bins, num_votes, batch_size) < 2:
        raise ValueError(f"{num_bins=}, {num_votes=} and {batch_size=} must be at least 2")
    checked_codes(stacked.reshape(-1, stacked.shape[2]))
    data = examples(stacked[0], factors)
    if not data.complete:
        raise ValueError("scores of stacked models take no missing factors: leave out these rows")
    overall, rows, voted = _votes(data.factors, num_votes, batch_size, seed)
    sizes = tuple(data.sizes.tolist())
    drawn = (data.factors.astype(np.int32), overall, rows, voted)
    scores = _scores(stacked, *drawn, prune_below, sizes=sizes, num_bins=num_bins, num_votes=num_votes)
    return {name: np.asarray(value) for name, value in scores.items()}


def _votes(factors: Array, num_votes: int, batch_size: int, seed: int) -> tuple[Array, Array, Array]:
    """Draws rows for the variances [n], and rows of each vote [blocks, BLOCK, L] with its factor [blocks, BLOCK].

    They are drawn as in `factor_vae_score`. Votes that fill up the last blocks have the factor -1, which is none.
    """
    rng = np.random.default_rng(seed)
    train, test = SampledCodes(np.arange(len(factors))[:, None], factors).split()
    overall = train.any(rng, 10_000)[:, 0].astype(np.int32)
    rows, voted = [], []
    for part, number in ((train, num_votes), (test, num_votes // 2)):
        for first in range(0, number, BLOCK):
            n = min(BLOCK, number - first)
            factor = rng.integers(factors.shape[1], size=n)
            alike = part.alike(rng, factor, batch_size)[:, :, 0].astype(np.int32)
            rows.append(np.pad(alike, ((0, BLOCK - n), (0, 0))))
            voted.append(np.pad(factor.astype(np.int32), (0, BLOCK - n), constant_values=-1))
    return overall, np.stack(rows), np.stack(voted)


@partial(jax.jit, static_argnames=("sizes", "num_bins", "num_votes"))
def _scores(codes: jax.Array, *drawn: Any, **settings: Any) -> dict[str, jax.Array]:
    """Computes the scores of all models from their codes [M, N, D]."""
    return jax.vmap(lambda one: _score(one, *drawn, **settings))(codes)


def _score(
    codes: jax.Array,
    factors: jax.Array,
    overall: jax.Array,
    rows: jax.Array,
    voted: jax.Array,
    prune_below: jax.Array,
    *,
    sizes: tuple[int, ...],
    num_bins: int,
    num_votes: int,
) -> dict[str, jax.Array]:
    """Computes the scores of one model from its codes [N, D] and factors [N, K]."""
    latents = codes.shape[1]
    live = codes.max(axis=0) > codes.min(axis=0)
    bins = _one_hot_bins(codes, num_bins)
    values = jax.nn.one_hot(factors, max(sizes), dtype=jnp.float32)
    information = _information(bins, values)
    top = jnp.sort(jnp.pad(information, ((1, 0), (0, 0))), axis=0)[-2:]
    entropy = jnp.diagonal(_information(values, values))
    between = _information(bins, bins)
    pairs = max(1, latents * (latents - 1))
    covariance = jnp.atleast_2d(jnp.cov(codes, rowvar=False))
    return {
        "mig": ((top[1] - top[0]) / entropy).mean(),
        "modularity": _modularity(information),
        "sap": _sap(codes, factors),
        "gaussian_total_correlation": _total_correlation(covariance, live),
        "gaussian_wasserstein_correlation": _wasserstein(covariance),
        "mutual_information_score": (between.sum() - jnp.trace(between)) / pairs,
        "factor_vae_score": _factor_vae(codes, overall, rows, voted, len(sizes), num_votes, prune_below),
    }


def _one_hot_bins(codes: jax.Array, num_bins: int) -> jax.Array:
    """Bins codes into one-hot vectors: [N, D] -> [N, D, num_bins]."""
    edges = jnp.linspace(codes.min(axis=0), codes.max(axis=0), num_bins + 1)[:-1]
    number = (codes[None] >= edges[:, None]).sum(axis=0) - 1
    return jax.nn.one_hot(number, num_bins, dtype=jnp.float32)


def _information(left: jax.Array, right: jax.Array) -> jax.Array:
    """Computes the plug-in mutual information of one-hot columns [N, D, R] and [N, K, C], nats [D, K]."""
    joint = jnp.einsum("ndr,nkc->dkrc", left, right, precision="highest") / left.shape[0]
    independent = joint.sum(axis=3, keepdims=True) * joint.sum(axis=2, keepdims=True)
    seen = joint > 0
    terms = joint * jnp.log(jnp.where(seen, joint, 1.0) / jnp.where(seen, independent, 1.0))
    return jnp.maximum(terms.sum(axis=(2, 3)), 0.0)


def _modularity(information: jax.Array) -> jax.Array:
    if information.shape[1] < 2:
        return jnp.float32(jnp.nan)
    squared = information**2
    top = squared.max(axis=1)
    rest = (squared.sum(axis=1) - top) / (jnp.where(top > 0, top, 1.0) * (information.shape[1] - 1))
    return jnp.where(top > 0, 1 - rest, 0.0).mean()


def _sap(codes: jax.Array, factors: jax.Array) -> jax.Array:
    centred = codes - codes.mean(axis=0, keepdims=True)
    values = factors - factors.mean(axis=0, keepdims=True)
    variance = (centred**2).mean(axis=0)
    covariance = jnp.matmul(centred.T, values, precision="highest") / codes.shape[0]
    squared = covariance**2 / (
        jnp.where(variance > SMALLEST_VARIANCE, variance, 1.0)[:, None] * (values**2).mean(axis=0)[None]
    )
    top = jnp.sort(jnp.pad(jnp.where(variance[:, None] > SMALLEST_VARIANCE, squared, 0.0), ((1, 0), (0, 0))), axis=0)[
        -2:
    ]
    return (top[1] - top[0]).mean()


def _total_correlation(covariance: jax.Array, live: jax.Array) -> jax.Array:
    deviation = jnp.sqrt(jnp.where(live, jnp.diagonal(covariance), 1.0))
    both = live[:, None] & live[None]
    sign, logdet = jnp.linalg.slogdet(jnp.where(both, covariance / jnp.outer(deviation, deviation), jnp.eye(len(live))))
    return jnp.where(sign > 0, jnp.maximum(0.0, -logdet / 2), jnp.inf)


def _wasserstein(covariance: jax.Array) -> jax.Array:
    deviation = jnp.sqrt(jnp.diagonal(covariance))
    eigenvalues = jnp.linalg.eigvalsh(covariance * jnp.outer(deviation, deviation))
    return jnp.maximum(0.0, 2 * jnp.trace(covariance) - 2 * jnp.sqrt(jnp.maximum(eigenvalues, 0.0)).sum())


def _factor_vae(
    codes: jax.Array,
    overall: jax.Array,
    rows: jax.Array,
    voted: jax.Array,
    num_factors: int,
    num_votes: int,
    prune_below: jax.Array,
) -> jax.Array:
    variance = codes[overall].var(axis=0, ddof=1)
    active = (jnp.sqrt(variance) >= prune_below) & (variance > 0)

    def count(block: tuple[jax.Array, jax.Array]) -> jax.Array:
        alike, factor = block
        relative = codes[alike].var(axis=1, ddof=1) / jnp.where(active, variance, 1.0)[None]
        winner = jnp.where(active[None], relative, jnp.inf).argmin(axis=1)
        one_hot = jax.nn.one_hot(winner, codes.shape[1]), jax.nn.one_hot(factor, num_factors)
        return jnp.matmul(one_hot[0].T, one_hot[1], precision="highest")

    counts = jax.lax.map(count, (rows, voted))  # [blocks, D, K]
    learned = -(-num_votes // BLOCK)
    train, test = counts[:learned].sum(axis=0), counts[learned:].sum(axis=0)
    right = jnp.take_along_axis(test, train.argmax(axis=1)[:, None], axis=1).sum()
    score = jnp.where(active.any(), right / (num_votes // 2), 0.0)
    return score if num_factors > 1 else jnp.float32(jnp.nan)
