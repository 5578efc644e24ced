"""Covariances and kernel statistics in float64 NumPy: one entry, one pair at a time."""

import numpy as np
from oracles import f64


def covariance(mean):
    (mean,) = f64(mean)
    batch, latents = mean.shape
    center = [sum(mean[:, i]) / batch for i in range(latents)]
    return np.array(
        [
            [sum((row[i] - center[i]) * (row[j] - center[j]) for row in mean) / batch for j in range(latents)]
            for i in range(latents)
        ]
    )


def dip_penalty(mean, logvar, kind, lambda_od, lambda_d):
    mean, logvar = f64(mean, logvar)
    s, total = covariance(mean), 0.0
    for i in range(len(s)):
        if kind == "ii":
            s[i, i] += np.exp(logvar[:, i]).mean()
        for j in range(len(s)):
            total += lambda_d * (s[i, i] - 1) ** 2 if i == j else lambda_od * s[i, j] ** 2
    return total


def total_correlation(cov):
    (cov,) = f64(cov)
    return 0.5 * (np.log(np.diag(cov)).sum() - np.log(np.linalg.det(cov)))


def wasserstein_correlation(cov, normalized):
    """diag(S) S has the eigenvalues of diag(S)^1/2 S diag(S)^1/2. For central differences, of the symmetric part."""
    (cov,) = f64(cov)
    cov = (cov + cov.T) / 2
    roots = np.sqrt(np.maximum(np.linalg.eigvals(np.diag(np.diag(cov)) @ cov).real, 0))
    return (2 * np.trace(cov) - 2 * roots.sum()) / (np.trace(cov) if normalized else 1)


def inverse_multiquadric(squared_distance, latent_dim, prior_variance, scales):
    constants = [scale * 2 * latent_dim * prior_variance for scale in scales]
    return sum(c / (c + squared_distance) for c in constants)


def radial_basis(squared_distance, bandwidth_squared):
    return np.exp(-squared_distance / (2 * bandwidth_squared))


def mmd(x, y, kernel, *, unbiased=True):
    x, y = f64(x, y)

    def mean_kernel(a, b, skip_same):
        values = [
            kernel(((a[i] - b[j]) ** 2).sum()) for i in range(len(a)) for j in range(len(b)) if not skip_same or i != j
        ]
        return sum(values) / len(values)

    return mean_kernel(x, x, unbiased) + mean_kernel(y, y, unbiased) - 2 * mean_kernel(x, y, False)


def mmd_dimensionwise(x, y, kernel):
    x, y = f64(x, y)
    return sum(mmd(x[:, [d]], y[:, [d]], kernel) for d in range(x.shape[1]))
