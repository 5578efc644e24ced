"""Likelihoods of counts in float64: SciPy's, and products over the counts where SciPy's lose digits."""

import functools

import numpy as np
from oracles import f64
from scipy import stats


def poisson_nll(log_rate, x):
    log_rate, x = f64(log_rate, x)
    return -over_events(stats.poisson.logpmf(x, np.exp(log_rate)))


def negative_binomial_nll(log_mean, x, log_theta):
    log_mean, x, log_theta = f64(log_mean, x, log_theta)
    return -over_events(stats.nbinom.logpmf(x, *size_and_share(log_mean, log_theta)))


def zero_inflated_poisson_nll(log_rate, x, logits):
    log_rate, x, logits = f64(log_rate, x, logits)
    return -over_events(np.log(inflated(stats.poisson.pmf(x, np.exp(log_rate)), x, logits)))


def zero_inflated_negative_binomial_nll(log_mean, x, log_theta, logits):
    log_mean, x, log_theta, logits = f64(log_mean, x, log_theta, logits)
    return -over_events(np.log(inflated(stats.nbinom.pmf(x, *size_and_share(log_mean, log_theta)), x, logits)))


def size_and_share(log_mean, log_theta):
    """SciPy's n and p, of which n (1 - p) / p is the mean and n (1 - p) / p^2 = mu + mu^2 / theta the variance."""
    theta = np.exp(log_theta)
    return theta, theta / (theta + np.exp(log_mean))


def inflated(pmf, x, logits):
    pi = 1 / (1 + np.exp(-logits))
    return pi * (x == 0) + (1 - pi) * pmf


def over_events(terms):
    return terms.reshape(len(terms), -1).sum(1)


def negative_binomial_by_product(log_mean, x, log_theta):
    """One term and its two derivatives, exact for any theta."""
    mean, theta = np.exp(np.float64(log_mean)), np.exp(np.float64(log_theta))
    log_product, excess = rising_product(int(x), theta)
    value = theta * np.log1p(mean / theta) - x * (np.float64(log_mean) - np.log(theta + mean)) - log_product
    by_theta = theta * (np.log1p(mean / theta) - mean / (theta + mean)) - x * mean / (theta + mean) + excess
    return value, (mean - x) * theta / (theta + mean), by_theta


@functools.cache
def rising_product(x, theta):
    """log of Gamma(x + theta) / (Gamma(theta) x!), a product over k < x, and x less its slope by log theta."""
    k = np.arange(x, dtype=np.float64)
    return (np.log(theta + k) - np.log(k + 1)).sum(), (k / (theta + k)).sum()
