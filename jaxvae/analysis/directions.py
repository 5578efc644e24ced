"""Whether latent axes are principal directions: the right singular vectors of the decoder's Jacobian.

To second order in a posterior's standard deviations, a Gaussian decoder's loss sees of its Jacobian J only the lengths
of the columns. Among the rotations of a latent space it is lowest where the columns are orthogonal to each other,
which is where the latent axes are the right singular vectors of J.

Reference: Rolinek, Zietlow & Martius (2019), by memory; a linear decoder has the axes of probabilistic PCA.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from jaxvae.analysis.checks import checked_table

NEAR_EQUAL = 1.05
"""Singular values with a smaller ratio count as equal: their singular vectors are hardly determined."""
ZERO = 1e-6
"""Share of the largest singular value up to which one counts as 0: what rounding to float32 leaves of it."""
NEIGHBOURS = 5
TRAIN_FRACTION = 0.8


class Orthogonality(NamedTuple):
    """How orthogonal the columns of Jacobians are; means over the examples, NaN where no latent is looked at."""

    distance: float
    """Distance to orthogonality: 0 where the latent axes are the right singular vectors of the Jacobian."""
    orthogonality: float
    """1 - |offdiag(J^T J)|_F / |J^T J|_F, in [0, 1]: does not depend on the scale of J, nor on singular vectors."""
    cosine: float
    """Mean |cos| between two columns, in [0, 1]; 0 for a column of zeros, and for a single one."""
    ambiguous: float
    """Share of the examples whose singular vectors are not determined: two singular values nearly equal, or one 0."""
    latents: int
    """Columns looked at."""


def decode_jacobians(
    decode: Callable[[jax.Array], jax.Array], codes: ArrayLike, *, batch_size: int = 100
) -> np.ndarray:
    """Derivative of every decoded image by its code, in forward mode: J[n, p, d] = d decode(z_n)_p / d z_nd.

    Args:
      decode: codes [B, D] -> images [B, ...], each image a function of its own code alone, such as
        `lambda z: method.decode(Nets(method.networks, params), z)`.
      codes: [N, D]: posterior means, not samples.
      batch_size: codes at a time; each takes the memory of D images decoded.

    Returns:
      float32 [N, P, D], P pixels and channels of an image.

    Raises:
      ValueError: codes are not [N, D], empty, or not finite.
    """
    points = checked_table("codes", codes).astype(np.float32)
    size = min(batch_size, len(points))

    @jax.jit
    def jacobians(points: jax.Array) -> jax.Array:
        return jax.vmap(jax.jacfwd(lambda code: decode(code[None])[0].reshape(-1)))(points)

    parts = []
    for first in range(0, len(points), size):
        # The last batch is filled up, so that one compilation serves all.
        rows = np.minimum(np.arange(first, first + size), len(points) - 1)
        parts.append(np.asarray(jacobians(points[rows]), np.float32))
    return np.concatenate(parts)[: len(points)]


def distance_to_orthogonality(jacobians: ArrayLike, *, active: ArrayLike | None = None) -> Orthogonality:
    """How far latent axes are from the right singular vectors of a decoder's Jacobian J = U S V^T.

        DtO = mean_x | V - P(V) |_F,   P(V) the signed permutation matrix nearest to V

    0 where J^T J is diagonal at every example. Columns that are rotated by d <= 45 degrees in a plane give
    2 sqrt(1 - cos d); random rotations 0.55 for 2 latents, 1.64 for 5, 2.86 for 10. V is all D x D singular vectors,
    also for P < D. Where singular values are equal or 0 it is arbitrary, and so is this distance: see `ambiguous`, look
    at the active latents only, or at `orthogonality`.

    Args:
      jacobians: [N, P, D], see `decode_jacobians`.
      active: the latents to look at, as numbers or as the mask that `active_latents` returns; all if not given. The
        singular vectors are those of J[:, active].

    Returns:
      Orthogonality. Of a single latent the distance is 0.

    Raises:
      ValueError: Jacobians that are not [N, P, D], empty, or not finite; latents that are not there, or there twice.

    Reference: Rolinek, Zietlow & Martius (2019), equation 29.
    """
    array = _checked_jacobians(jacobians)
    kept = _latent_numbers(active, array.shape[2])
    if not kept.size:
        return Orthogonality(np.nan, np.nan, np.nan, np.nan, 0)
    gram = _gram(array[:, :, kept])
    squares, vectors = np.linalg.eigh(gram)
    values = np.sqrt(np.maximum(squares, 0))
    near_equal = (values[:, 1:] < NEAR_EQUAL * values[:, :-1]).any(axis=1)
    zero = values[:, 0] <= ZERO * values[:, -1]
    return Orthogonality(
        distance=float(np.mean([np.linalg.norm(v - nearest_signed_permutation(v)) for v in vectors])),
        orthogonality=float(1 - _off_diagonal_share(gram).mean()),
        cosine=float(_absolute_cosines(gram).mean()),
        ambiguous=float((near_equal | zero).mean()),
        latents=len(kept),
    )


def nearest_signed_permutation(matrix: np.ndarray) -> np.ndarray:
    """The matrix with a single 1 or -1 in each row and column that is nearest to `matrix` [D, D] in Frobenius norm.

    It maximises the sum of |entries| chosen, one per row and column, and has their signs; that of 0 is 1.
    """
    rows, columns = linear_sum_assignment(np.abs(matrix), maximize=True)
    nearest = np.zeros(matrix.shape)
    nearest[rows, columns] = np.where(matrix[rows, columns] < 0, -1, 1)
    return nearest


def active_latents(mean: ArrayLike, *, threshold: float = 0.5) -> np.ndarray:
    """The latents whose posterior means vary over the data by a standard deviation above `threshold`: bool [D].

    Args:
      mean: posterior means [N, D].
      threshold: the paper's is 0.5. A latent of a converged linear VAE with posterior variance s has sqrt(1 - s): it
        is active at 0.5 only if s < 0.75.

    Raises:
      ValueError: means that are not [N, D], empty, or not finite.

    Reference: Rolinek, Zietlow & Martius (2019), equation 30.
    """
    return checked_table("mean", mean).std(axis=0) > threshold


def polarised_gap(mean: ArrayLike, logvar: ArrayLike, *, threshold: float = 0.5) -> float:
    """How far the KL is from its form in the polarised regime, where each latent is used precisely or not at all.

        Delta_KL = |KL - KL_pol| / KL,   KL_pol = 1/2 sum_{j active} ( mean_j^2 - logvar_j - 1 )

    Both are means over the data. It is what the active variances and the passive latents add to the KL, as a share of
    it: small in the polarised regime, 1 where a KL is all of passive latents, and 0 where the KL is 0.

    Args:
      mean, logvar: posteriors of all examples [N, D].
      threshold: of `active_latents`.

    Raises:
      ValueError: means or log variances that are not [N, D], empty, not finite, or not of one shape.

    Reference: Rolinek, Zietlow & Martius (2019), the active set of equation 30.
    """
    mu, log_s = checked_table("mean", mean), checked_table("logvar", logvar)
    if mu.shape != log_s.shape:
        raise ValueError(f"mean and logvar must have one shape, got {mu.shape} and {log_s.shape}")
    kl = 0.5 * (mu**2 + np.expm1(log_s) - log_s).mean(axis=0)
    polarised = 0.5 * (mu**2 - log_s - 1).mean(axis=0)
    gap = abs(kl.sum() - polarised[active_latents(mu, threshold=threshold)].sum())
    return float(gap / kl.sum()) if kl.sum() > 0 else 0.0


def local_optimum_variances(jacobians: ArrayLike, c: float) -> np.ndarray:
    """The posterior variances that are best for a Gaussian decoder, given its Jacobian: s_j = 1 / (1 + |J_j|^2 / c).

    They minimise 1/2 sum_j [ s_j |J_j|^2 / v + beta (s_j - log s_j - 1) ], the part of the loss that depends on them,
    with |J_j| the length of column j, v the decoder's variance, and c = beta v. What is left there is
    beta/2 sum_j log (1 + |J_j|^2 / c) >= beta/2 log det(I + J^T J / c), equal only for orthogonal columns. Plotted over
    log(|J_j|^2 / c), the log(1 / s_j - 1) of a converged VAE is a line of slope 1 through 0.

    Args:
      jacobians: [N, P, D], see `decode_jacobians`.
      c: beta times the variance of a pixel, beta scale^2 for `gaussian(scale)`; positive.

    Returns:
      Variances in (0, 1], float64 [N, D].

    Raises:
      ValueError: Jacobians that are not [N, P, D], empty, or not finite; c is not positive.
    """
    if not c > 0:
        raise ValueError(f"c is a variance and must be positive, got {c}")
    squares = np.square(_checked_jacobians(jacobians), dtype=np.float64).sum(axis=1)
    return 1 / (1 + squares / c)


def knn_gap(codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False) -> float:
    """How much better the best latent tells a factor than the second best: the paper's disentanglement score.

        gap_k = ( best_j s_kj - second_j s_kj ) / n_k;   the mean over the factors, clipped to [0, 1]

    s_kj is what a 5-nearest-neighbour probe makes of factor k from latent j alone: the factor's standard deviation less
    the root mean squared error, and n_k that deviation; or, for discrete factors, the accuracy, and n_k that of the
    most frequent value (a gap may exceed 1 before the mean). Probes learn from the first 80 percent of the rows and are
    scored on the rest; nothing is shuffled.

    Args:
      codes: [N, D], D >= 2, in random order.
      factors: [N, K]: all continuous, or all discrete.
      discrete: which of the two.

    Raises:
      ValueError: codes or factors that are not tables of finite numbers with as many rows; one latent; fewer rows to
        learn from than neighbours; a factor that does not vary in the rows that score.

    Reference: Rolinek, Zietlow & Martius (2019), equations 65 to 70.
    """
    points, targets = checked_table("codes", codes), checked_table("factors", factors)
    if len(points) != len(targets):
        raise ValueError(f"codes and factors must have as many rows; got {len(points)} and {len(targets)}")
    if points.shape[1] < 2:
        raise ValueError("codes must be [examples, at least 2 latents]: there is no second best of one")
    train = int(TRAIN_FRACTION * len(points))
    if train < NEIGHBOURS:
        raise ValueError(f"{len(points)} rows are too few: {NEIGHBOURS} are needed to learn from")
    constant = np.flatnonzero(np.ptp(targets[train:], axis=0) == 0).tolist()
    if constant:
        raise ValueError(f"factors {constant} do not vary in the last {len(points) - train} rows: nothing to tell")
    gaps = []
    for factor in targets.T:
        scale = _majority(factor[train:]) if discrete else factor[train:].std()
        second, best = np.sort([_probe(latent, factor, train, discrete) for latent in points.T])[-2:]
        gaps.append((best - second) / scale)
    return float(np.clip(np.mean(gaps), 0, 1))


def _probe(latent: np.ndarray, factor: np.ndarray, train: int, discrete: bool) -> float:
    """What nearest neighbours make of a factor [N] from a latent [N]: accuracy, or standard deviation less RMSE."""
    probe = KNeighborsClassifier(NEIGHBOURS) if discrete else KNeighborsRegressor(NEIGHBOURS)
    guess = probe.fit(latent[:train, None], factor[:train]).predict(latent[train:, None])
    truth = factor[train:]
    return float((guess == truth).mean() if discrete else truth.std() - np.sqrt(((guess - truth) ** 2).mean()))


def _majority(factor: np.ndarray) -> float:
    """Share of the most frequent value."""
    return float(np.unique(factor, return_counts=True)[1].max() / len(factor))


def _gram(jacobians: np.ndarray) -> np.ndarray:
    """J^T J of every example in float64: [N, P, D] -> [N, D, D]."""
    # One at a time: all of them in float64 would be twice the memory of what was given.
    return np.stack([j.T @ j for j in (jacobian.astype(np.float64) for jacobian in jacobians)])


def _off_diagonal_share(gram: np.ndarray) -> np.ndarray:
    """|offdiag(G)|_F / |G|_F, [N, D, D] -> [N]; 0 for a matrix of zeros."""
    squares = gram**2
    total = squares.sum(axis=(1, 2))
    off = (squares * (1 - np.eye(gram.shape[1]))).sum(axis=(1, 2))
    return np.sqrt(off / np.where(total > 0, total, 1))


def _absolute_cosines(gram: np.ndarray) -> np.ndarray:
    """|cos| of the angle between two columns, meaned over the pairs: [N, D, D] -> [N]."""
    latents = gram.shape[1]
    length = np.sqrt(np.einsum("njj->nj", gram))
    unit = 1 / np.where(length > 0, length, np.inf)
    cosines = np.abs(gram) * unit[:, :, None] * unit[:, None, :] * (1 - np.eye(latents))
    return cosines.sum(axis=(1, 2)) / max(latents * (latents - 1), 1)


def _latent_numbers(active: ArrayLike | None, latents: int) -> np.ndarray:
    """The latents that a mask or a list means, int [A]."""
    if active is None:
        return np.arange(latents)
    given = np.asarray(active)
    if given.dtype == bool and given.shape == (latents,):
        return np.flatnonzero(given)
    numbers = np.flatnonzero(np.isin(np.arange(latents), given))
    if given.dtype == bool or given.ndim != 1 or len(numbers) != len(given):
        raise ValueError(f"active must be a mask of {latents} latents, or some of 0 to {latents - 1}; got {active}")
    return numbers


def _checked_jacobians(jacobians: ArrayLike) -> np.ndarray:
    array = np.asarray(jacobians)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"jacobians must be [examples, pixels, latents] and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("jacobians must be finite")
    return array
