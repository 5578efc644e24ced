"""Tables that are generated from a seed, with auxiliary variables, groups of channels or clusters; and scikit-learn's
digits.
"""

from pathlib import Path

import numpy as np

from jaxvae.data.files import all_resized
from jaxvae.data.table import Table, from_arrays


def digits(*, image_size: int | None = None) -> Table:
    """1,797 handwritten digits of 8 x 8 pixels from scikit-learn; the factor is the digit."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    resized = all_resized(pixels, image_size, Path("digits"))
    return from_arrays(resized, labels[:, None], name="digits", factor_names=("digit",))


def segments(
    *,
    segments: int = 40,
    points: int = 1000,
    sources: int = 5,
    layers: int = 3,
    centres: bool = False,
    seed: int = 0,
) -> Table:
    """Non-stationary sources that are mixed, to test identifiability by an auxiliary variable.

        s = m[u] + L[u] * n,   n standard normal,   L ~ U(0.5, 3),   m = 0, or ~ U(-5, 5) with centres
        x = f(f(s A) A) ... A,   f(h) = tanh(h) + h / 10

    All layers share one square matrix A with columns of unit length, the best conditioned of 100 draws. The last layer
    has no f. The data follow Khemakhem et al. (2020) and their code, which draws A until its condition number is in the
    best quarter.

    Args:
      segments: Number U of values of the auxiliary variable.
      points: Number of points per segment.
      sources: Number d of sources, which is also the dimension of x.
      layers: Number of layers of the mixing, which is linear for 1.
      centres: Whether the means also differ between segments.
      seed: Random seed of the sources and the mixing.

    Returns:
      Vectors x [N, d] with the factor "segment", and the further columns "aux", one-hot [N, U], and "sources" [N, d].

    Raises:
      ValueError: A number is less than 1.
    """
    _at_least_one(segments=segments, points=points, sources=sources, layers=layers)
    rng = np.random.default_rng(seed)
    segment = np.repeat(np.arange(segments), points)
    scale = rng.uniform(0.5, 3, (segments, sources))
    centre = rng.uniform(-5, 5, (segments, sources)) if centres else np.zeros((segments, sources))
    true = centre[segment] + scale[segment] * rng.standard_normal((len(segment), sources))
    draws = rng.uniform(-1, 1, (100, sources, sources))
    draws /= np.linalg.norm(draws, axis=1, keepdims=True)
    matrix = draws[np.argmin(np.linalg.cond(draws))]
    mixed = true
    for layer in range(layers):
        mixed = mixed @ matrix
        if layer < layers - 1:
            mixed = np.tanh(mixed) + 0.1 * mixed
    extras = {"aux": np.eye(segments, dtype=np.float32)[segment], "sources": true.astype(np.float32)}
    return _vectors(mixed, "segments", segment, "segment", extras)


def bars(*, images: int = 2048, side: int = 8, intensity: float = 0.5, noise: float = 0.05, seed: int = 0) -> Table:
    """Squares with one lit row in Gaussian noise. The rows are the groups that a sparse decoder should find.

    The data follow Ainsworth et al. (2018). Pixels are real numbers, for a Gaussian likelihood. The factor is the lit
    row.
    """
    _at_least_one(images=images, side=side)
    rng = np.random.default_rng(seed)
    row = rng.integers(0, side, images)
    pixels = noise * rng.standard_normal((images, side, side))
    pixels[np.arange(images), row] += intensity
    return from_arrays(
        pixels.astype(np.float32)[..., None], row[:, None], name="bars", factor_names=("row",), real=True
    )


def clusters(*, clusters: int = 10, points: int = 200, dimensions: int = 50, spread: float = 5, seed: int = 0) -> Table:
    """Gaussian clusters of unit variance, with centres ~ N(0, spread^2 / dimensions). The factor is the cluster."""
    _at_least_one(clusters=clusters, points=points, dimensions=dimensions)
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), points)
    centre = spread / np.sqrt(dimensions) * rng.standard_normal((clusters, dimensions))
    return _vectors(centre[cluster] + rng.standard_normal((len(cluster), dimensions)), "clusters", cluster, "cluster")


def time_series(
    *, length: int = 4000, latents: int = 4, groups: int = 6, channels: int = 5, noise: float = 0.1, seed: int = 0
) -> Table:
    """Groups of channels, each driven by some of a few slow oscillations. Rows are moments in time, in order.

        s_j(t) = sin(w_j t + p_j),   periods of 50 to 500 moments
        x_g(t) = B_g (mask_g * s(t)) + noise

    Every latent drives at least one group, and every group has at least one latent.

    Returns:
      Vectors of groups * channels numbers, group after group, without factors. Further columns are "sources"
      [N, latents] and "mask" [N, groups * latents], which is the same in all rows.

    Raises:
      ValueError: A number is less than 1.
    """
    _at_least_one(length=length, latents=latents, groups=groups, channels=channels)
    rng = np.random.default_rng(seed)
    frequency = 2 * np.pi / rng.uniform(50, 500, latents)
    true = np.sin(np.arange(length)[:, None] * frequency + rng.uniform(0, 2 * np.pi, latents))
    mask = rng.random((groups, latents)) < 0.3
    mask[np.arange(groups), rng.permutation(np.arange(groups) % latents)] = True
    mask[rng.permutation(np.arange(latents) % groups), np.arange(latents)] = True
    loadings = rng.standard_normal((groups, channels, latents)) * mask[:, None]
    observed = true @ loadings.reshape(-1, latents).T
    observed += noise * rng.standard_normal(observed.shape)
    extras = {
        "sources": true.astype(np.float32),
        "mask": np.broadcast_to(mask.reshape(-1), (length, mask.size)).astype(np.float32),
    }
    return _vectors(observed, "time-series", extras=extras)


def waves(*, times: int = 64, channels: int = 3, noise: float = 0.05, seed: int = 0) -> Table:
    """Sums of two sines in noise, for each of 8 frequencies f, 16 phases p and 8 amplitudes a: series [T, D].

    x_d(t) = a sum_k sin(k (2 pi f t / T + p) + d) / k,   k = 1, 2,   f = 1 .. 8,   a = 1/4 .. 2
    """
    _at_least_one(times=times, channels=channels)
    factors = np.stack(np.unravel_index(np.arange(8 * 16 * 8), (8, 16, 8)), axis=1)
    frequency, phase, amplitude = (factors.T[:, :, None, None] + np.array([1, 0, 1])[:, None, None, None]).astype(float)
    moment, shift = np.arange(times)[None, :, None] / times, np.arange(channels)[None, None]
    angle = 2 * np.pi * (frequency * moment + phase / 16)
    series = amplitude / 4 * sum(np.sin(k * angle + shift) / k for k in (1, 2))
    series += noise * np.random.default_rng(seed).standard_normal(series.shape)
    names = ("frequency", "phase", "amplitude")
    return from_arrays(series.astype(np.float32), factors, name="waves", factor_names=names, real=True)


def _vectors(
    vectors: np.ndarray,
    name: str,
    factor: np.ndarray | None = None,
    factor_name: str = "",
    extras: dict[str, np.ndarray] | None = None,
) -> Table:
    return from_arrays(
        vectors.astype(np.float32),
        None if factor is None else factor[:, None],
        name=name,
        factor_names=None if factor is None else (factor_name,),
        extras=extras,
        real=True,
    )


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
