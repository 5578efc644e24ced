"""The formulas in float64 NumPy, as the papers write them: loops, no log-space tricks but the last."""

import numpy as np


def f64(*arrays):
    return [np.asarray(array, np.float64) for array in arrays]


def bernoulli_nll(logits, x):
    logits, x = f64(logits, x)
    p = 1 / (1 + np.exp(-logits))
    return np.array([-(t * np.log(q) + (1 - t) * np.log(1 - q)).sum() for t, q in zip(x, p, strict=True)])


def gaussian_nll(mean, x, scale):
    mean, x = f64(mean, x)
    density = np.exp(-((x - mean) ** 2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2)
    return np.array([-np.log(d).sum() for d in density])


def laplace_nll(loc, x, scale):
    loc, x = f64(loc, x)
    return np.array([-np.log(np.exp(-np.abs(a - b) / scale) / (2 * scale)).sum() for a, b in zip(loc, x, strict=True)])


def categorical_nll(logits, x):
    logits, x = f64(logits, x)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return np.array([-(t * np.log(q)).sum() for t, q in zip(x, p, strict=True)])


def log_normal(z, mean, logvar):
    z, mean, logvar = f64(z, mean, logvar)
    return -np.log(2 * np.pi) / 2 - logvar / 2 - (z - mean) ** 2 / (2 * np.exp(logvar))


def kl_standard_normal(mean, logvar):
    mean, logvar = f64(mean, logvar)
    return (0.5 * (mean**2 + np.exp(logvar) - 1 - logvar)).sum(-1)


def weights(batch, dataset_size, weighting):
    """W[i, k], entry by entry from the paper's formulas."""
    n, m = dataset_size, batch - 1
    w = np.empty((batch, batch))
    for i in range(batch):
        for k in range(batch):
            if weighting == "mws":
                w[i, k] = 1 / (n * batch)
            elif weighting == "batch":
                w[i, k] = 1 / batch
            elif i == k:
                w[i, k] = 1 / n
            elif weighting == "uniform":
                w[i, k] = (n - 1) / (n * m)
            else:
                w[i, k] = (n - m) / (n * m) if k == (i + 1) % batch else 1 / m
    return w


def log_sum_exp(values):
    top = values.max()
    return top + np.log(np.exp(values - top).sum())


def log_qz(z, mean, logvar, dataset_size, weighting):
    """(joint [B], marginals [B, D])"""
    z, mean, logvar = f64(z, mean, logvar)
    batch, latents = z.shape
    log_w = np.log(weights(batch, dataset_size, weighting))
    joint, marginals = np.empty(batch), np.empty((batch, latents))
    for i in range(batch):
        density = np.array([log_normal(z[i], mean[k], logvar[k]) for k in range(batch)])
        joint[i] = log_sum_exp(density.sum(1) + log_w[i])
        for j in range(latents):
            marginals[i, j] = log_sum_exp(density[:, j] + log_w[i])
    return joint, marginals


def kl_terms(z, mean, logvar, joint, marginals):
    posterior = log_normal(z, mean, logvar).sum(1)
    prior = log_normal(z, np.zeros_like(z), np.zeros_like(z))
    return posterior - joint, joint - marginals.sum(1), (marginals - prior).sum(1)


def gradient(function, *arrays, step=1e-6):
    """Central differences of a scalar function in every entry of every array."""
    arrays = f64(*arrays)
    gradients = [np.empty_like(array) for array in arrays]
    for array, grad in zip(arrays, gradients, strict=True):
        for index in np.ndindex(array.shape):
            value, h = array[index], step * max(1.0, abs(array[index]))
            array[index] = value + h
            above = function(*arrays)
            array[index] = value - h
            grad[index] = (above - function(*arrays)) / (2 * h)
            array[index] = value
    return gradients
