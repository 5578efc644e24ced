"""Priors, bounds and discriminator losses in float64 NumPy: densities and probabilities first, logarithms last."""

import math

import numpy as np
from oracles import f64, log_normal


def student_t(z, df, scale):
    z, scale = f64(z, scale)
    constant = math.gamma((df + 1) / 2) / (math.gamma(df / 2) * math.sqrt(df * math.pi))
    return np.log(constant / scale * (1 + (z / scale) ** 2 / df) ** (-(df + 1) / 2)).sum(-1)


def spike_and_slab(z, share, scale):
    spike, slab = (np.exp(log_normal(z, 0, 2 * np.log(s))) for s in (scale, 1))
    return np.log(share * spike + (1 - share) * slab).sum(-1)


def mixture(z, means, variances, weights):
    z, means, variances, weights = f64(z, means, variances, weights)
    density = np.zeros(z.shape[:-1])
    for mean, variance, weight in zip(means, variances, weights, strict=True):
        density += weight / weights.sum() * np.exp(log_normal(z, mean, np.log(variance)).sum(-1))
    return np.log(density)


def kl_gaussian(mean, logvar, prior_mean, prior_logvar):
    mean, logvar, prior_mean, prior_logvar = f64(mean, logvar, prior_mean, prior_logvar)
    variance, prior_variance = np.exp(logvar), np.exp(prior_logvar)
    spread = (variance + (mean - prior_mean) ** 2) / (2 * prior_variance)
    return (np.log(np.sqrt(prior_variance / variance)) + spread - 0.5).sum(-1)


def continuous_bernoulli_nll(logits, x):
    """Cross-entropy less log C, with C as the paper has it: 2 atanh(1 - 2 p) / (1 - 2 p)."""
    logits, x = f64(logits, x)
    p = 1 / (1 + np.exp(-logits))
    log_c = np.log(2 * np.arctanh(1 - 2 * p) / (1 - 2 * p))
    per_element = -(x * np.log(p) + (1 - x) * np.log(1 - p)) - log_c
    return per_element.reshape(len(x), -1).sum(1)


def importance_weighted_bound(log_joint, log_posterior):
    log_joint, log_posterior = f64(log_joint, log_posterior)
    return np.log((np.exp(log_joint) / np.exp(log_posterior)).mean(0))


def density_ratio_loss(logits_z, logits_permuted):
    logits_z, logits_permuted = f64(logits_z, logits_permuted)
    p, q = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) for logits in (logits_z, logits_permuted))
    return -(np.log(p[:, 0]) + np.log(q[:, 1])) / 2


def density_ratio_tc(logits):
    (logits,) = f64(logits)
    d = np.exp(logits[:, 0]) / np.exp(logits).sum(1)
    return np.log(d / (1 - d))


def gaussian_tc(samples):
    """Total correlation of the Gaussian with the covariance of the samples."""
    cov = np.cov(np.asarray(samples, np.float64).T)
    return 0.5 * (np.log(np.diag(cov)).sum() - np.linalg.slogdet(cov)[1])
