"""Measures of how close the latent axes are to principal directions, the right singular vectors of the decoder's
Jacobian.

To second order in the posterior's standard deviations, the loss of a Gaussian decoder depends on its Jacobian J only
through the lengths of the columns. Among all rotations of the latent space, the loss is lowest where the columns are
orthogonal. The latent axes are then the right singular vectors of J.

Reference: Rolinek, Zietlow & Martius (2019), from memory. The axes of a linear decoder are those of probabilistic PCA.
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
"""Ratio of two singular values below which they count as equal. Their singular vectors are then poorly determined."""
ZERO = 1e-6
"""Share of the largest singular value up to which a singular value counts as 0. It allows for float32 rounding."""
NEIGHBOURS = 5
TRAIN_FRACTION = 0.8


class Orthogonality(NamedTuple):
    """Orthogonality of the columns of Jacobians, averaged over examples. The averages are NaN if no latent is
    included.
    """

    distance: float
    """Distance to orthogonality. It is 0 if the latent axes are the right singular vectors of the Jacobian."""
    orthogonality: float
    """Orthogonality 1 - |offdiag(J^T J)|_F / |J^T J|_F, in [0, 1]. It depends neither on the scale of J nor on its
    singular vectors."""
    cosine: float
    """Mean |cos| of the angle between two columns, in [0, 1]. It is 0 for a column of zeros, and for a single
    column."""
    ambiguous: float
    """Share of the examples whose singular vectors are not determined: two singular values are nearly equal, or one is
    0."""
    latents: int
    """Number of columns included."""


def decode_jacobians(
    decode: Callable[[jax.Array], jax.Array], codes: ArrayLike, *, batch_size: int = 100
) -> np.ndarray:
    """Computes the Jacobian of every decoded image with respect to its code: J[n, p, d] = d decode(z_n)_p / d z_nd.

    Derivatives are computed in forward mode.

    Args:
      decode: Function from codes [B, D] to images [B, ...], such as
        `lambda z: method.decode(Nets(method.networks, params), z)`. Each image must depend on its own code only.
      codes: Posterior means [N, D], not samples.
      batch_size: Number of codes per batch. Each code takes the memory of D decoded images.

    Returns:
      Jacobians, float32 [N, P, D], with one row for each of the P pixels and channels of an image.

    Raises:
      ValueError: The codes are not [N, D], are empty, or are not finite.
    """
    points = checked_table("codes", codes).astype(np.float32)
    size = min(batch_size, len(points))

    @jax.jit
    def jacobians(points: jax.Array) -> jax.Array:
        return jax.vmap(jax.jacfwd(lambda code: decode(code[None])[0].reshape(-1)))(points)

    parts = []
    for first in range(0, len(points), size):
        # The last batch is filled up, so that the program is compiled only once.
        rows = np.minimum(np.arange(first, first + size), len(points) - 1)
        parts.append(np.asarray(jacobians(points[rows]), np.float32))
    return np.concatenate(parts)[: len(points)]


def distance_to_orthogonality(jacobians: ArrayLike, *, active: ArrayLike | None = None) -> Orthogonality:
    """Measures how far the latent axes are from the right singular vectors of a decoder's Jacobian J = U S V^T.

        DtO = mean_x | V - P(V) |_F,   P(V) the signed permutation matrix nearest to V

    The distance is 0 if J^T J is diagonal at every example. It is 2 sqrt(1 - cos d) for orthogonal columns that are
    rotated by d <= 45 degrees in a plane. Random rotations give 0.55 for 2 latents, 1.64 for 5 and 2.86 for 10. V holds
    all D singular vectors [D, D], also if P < D. If singular values are equal or 0, V is arbitrary, and so is this
    distance. In that case (see `ambiguous`), include the active latents only, or use `orthogonality`.

    Args:
      jacobians: Jacobians [N, P, D], as returned by `decode_jacobians`.
      active: Latents to include, as indices or as the mask that `active_latents` returns; by default, all. The singular
        vectors are those of J[:, active].

    Returns:
      Averages over the examples. The distance of a single latent is 0.

    Raises:
      ValueError: The Jacobians are not [N, P, D], are empty, or are not finite; or a latent does not exist or occurs
        twice.

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
    """Returns the signed permutation matrix nearest to `matrix` [D, D] in Frobenius norm.

    It has a single 1 or -1 in each row and column. It maximizes the sum of the absolute values of the chosen entries
    and has their signs; the sign of 0 is 1.
    """
    rows, columns = linear_sum_assignment(np.abs(matrix), maximize=True)
    nearest = np.zeros(matrix.shape)
    nearest[rows, columns] = np.where(matrix[rows, columns] < 0, -1, 1)
    return nearest


def active_latents(mean: ArrayLike, *, threshold: float = 0.5) -> np.ndarray:
    """Finds the latents whose posterior means have a standard deviation above `threshold` over the data.

    Args:
      mean: Posterior means [N, D].
      threshold: Smallest standard deviation of an active latent; 0.5 in the paper. In a converged linear VAE, a latent
        with posterior variance s has a standard deviation of sqrt(1 - s), so it is active at 0.5 only if s < 0.75.

    Returns:
      Mask of the active latents, bool [D].

    Raises:
      ValueError: The means are not [N, D], are empty, or are not finite.

    Reference: Rolinek, Zietlow & Martius (2019), equation 30.
    """
    return checked_table("mean", mean).std(axis=0) > threshold


def polarised_gap(mean: ArrayLike, logvar: ArrayLike, *, threshold: float = 0.5) -> float:
    """Measures how far the KL is from its form in the polarised regime, where each latent is either precise or unused.

        Delta_KL = |KL - KL_pol| / KL,   KL_pol = 1/2 sum_{j active} ( mean_j^2 - logvar_j - 1 )

    Both KLs are means over the data. The gap is the share of the KL that is due to the variances of the active latents
    and to the passive latents. It is small in the polarised regime, 1 if the KL comes from passive latents only, and 0
    if the KL is 0.

    Args:
      mean: Posterior means of all examples [N, D].
      logvar: Posterior log variances of all examples [N, D].
      threshold: Threshold of `active_latents`.

    Raises:
      ValueError: The means or log variances are not [N, D], are empty, are not finite, or differ in shape.

    Reference: Rolinek, Zietlow & Martius (2019), with the active set of equation 30.
    """
    mu, log_s = checked_table("mean", mean), checked_table("logvar", logvar)
    if mu.shape != log_s.shape:
        raise ValueError(f"mean and logvar must have one shape, got {mu.shape} and {log_s.shape}")
    kl = 0.5 * (mu**2 + np.expm1(log_s) - log_s).mean(axis=0)
    polarised = 0.5 * (mu**2 - log_s - 1).mean(axis=0)
    gap = abs(kl.sum() - polarised[active_latents(mu, threshold=threshold)].sum())
    return float(gap / kl.sum()) if kl.sum() > 0 else 0.0


def local_optimum_variances(jacobians: ArrayLike, c: float) -> np.ndarray:
    """Computes the optimal posterior variances for a Gaussian decoder with given Jacobians: s_j = 1 / (1 + |J_j|^2 /
    c).

    They minimize 1/2 sum_j [ s_j |J_j|^2 / v + beta (s_j - log s_j - 1) ], the part of the loss that depends on them,
    where |J_j| is the length of column j, v the decoder's variance, and c = beta v. The minimum is beta/2 sum_j log (1
    + |J_j|^2 / c) >= beta/2 log det(I + J^T J / c), with equality only for orthogonal columns. For a converged VAE,
    log(1 / s_j - 1) plotted over log(|J_j|^2 / c) is a line of slope 1 through 0.

    Args:
      jacobians: Jacobians [N, P, D], as returned by `decode_jacobians`.
      c: Product of beta and the variance of a pixel, which is beta scale^2 for `gaussian(scale)`; positive.

    Returns:
      Variances in (0, 1], float64 [N, D].

    Raises:
      ValueError: The Jacobians are not [N, P, D], are empty, or are not finite; or c is not positive.
    """
    if not c > 0:
        raise ValueError(f"c is a variance and must be positive, got {c}")
    squares = np.square(_checked_jacobians(jacobians), dtype=np.float64).sum(axis=1)
    return 1 / (1 + squares / c)


def knn_gap(codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False) -> float:
    """Computes the paper's disentanglement score: the gap between the best and the second-best latent for each factor.

        gap_k = ( best_j s_kj - second_j s_kj ) / n_k;   the mean over the factors, clipped to [0, 1]

    s_kj is the score of a 5-nearest-neighbour probe that predicts factor k from latent j alone. For continuous factors,
    s_kj is the factor's standard deviation minus the root mean squared error, and n_k is that standard deviation. For
    discrete factors, s_kj is the accuracy, and n_k is the accuracy of predicting the most frequent value; a single gap
    may then exceed 1 before averaging. Probes are fitted on the first 80 percent of the rows and scored on the rest.
    Rows are not shuffled.

    Args:
      codes: Codes [N, D] in random order, D >= 2.
      factors: Factors [N, K], all continuous or all discrete.
      discrete: Whether the factors are discrete.

    Raises:
      ValueError: The codes or factors are not finite tables with the same number of rows; there is only one latent;
        there are fewer training rows than neighbours; or a factor does not vary in the held-out rows.

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
    """Returns the held-out score of predicting a factor [N] from a latent [N]: accuracy, or standard deviation minus
    RMSE.
    """
    probe = KNeighborsClassifier(NEIGHBOURS) if discrete else KNeighborsRegressor(NEIGHBOURS)
    guess = probe.fit(latent[:train, None], factor[:train]).predict(latent[train:, None])
    truth = factor[train:]
    return float((guess == truth).mean() if discrete else truth.std() - np.sqrt(((guess - truth) ** 2).mean()))


def _majority(factor: np.ndarray) -> float:
    """Returns the share of the most frequent value."""
    return float(np.unique(factor, return_counts=True)[1].max() / len(factor))


def _gram(jacobians: np.ndarray) -> np.ndarray:
    """Computes J^T J of every example in float64: [N, P, D] -> [N, D, D]."""
    # One example at a time: all of them in float64 would take twice the memory of the input.
    return np.stack([j.T @ j for j in (jacobian.astype(np.float64) for jacobian in jacobians)])


def _off_diagonal_share(gram: np.ndarray) -> np.ndarray:
    """Computes |offdiag(G)|_F / |G|_F of matrices [N, D, D] -> [N]. The share is 0 for a matrix of zeros."""
    squares = gram**2
    total = squares.sum(axis=(1, 2))
    off = (squares * (1 - np.eye(gram.shape[1]))).sum(axis=(1, 2))
    return np.sqrt(off / np.where(total > 0, total, 1))


def _absolute_cosines(gram: np.ndarray) -> np.ndarray:
    """Computes |cos| of the angle between two columns, averaged over pairs of columns: [N, D, D] -> [N]."""
    latents = gram.shape[1]
    length = np.sqrt(np.einsum("njj->nj", gram))
    unit = 1 / np.where(length > 0, length, np.inf)
    cosines = np.abs(gram) * unit[:, :, None] * unit[:, None, :] * (1 - np.eye(latents))
    return cosines.sum(axis=(1, 2)) / max(latents * (latents - 1), 1)


def _latent_numbers(active: ArrayLike | None, latents: int) -> np.ndarray:
    """Returns the indices of the latents given as a mask or as a list, int [A]."""
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
