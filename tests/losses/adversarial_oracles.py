"""The losses of critics, in float64, from their formulas."""

import numpy as np


def softplus(t):
    t = np.asarray(t, np.float64)
    return np.log1p(np.exp(-np.abs(t))) + np.maximum(t, 0)


def logistic_generator_loss(fake):
    return softplus(-np.asarray(fake, np.float64))


def logistic_discriminator_loss(real, fake):
    return softplus(-np.asarray(real, np.float64)) + softplus(fake)


def hinge_generator_loss(fake):
    return -np.asarray(fake, np.float64)


def hinge_discriminator_loss(real, fake):
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    return np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)


def wasserstein_critic_loss(real, fake):
    return np.asarray(fake, np.float64) - np.asarray(real, np.float64)


def quadratic_slopes(images, a, b):
    """Of the critic a.x + (b.x)^2 / 2 at images [B, ...]."""
    images, a, b = (np.asarray(values, np.float64) for values in (images, a, b))
    inner = (images * b).reshape(len(images), -1).sum(1)
    return a + b * inner.reshape(-1, *[1] * a.ndim)


def penalty(slopes, axes):
    """Mean over what is left of (norm over `axes` - 1)^2, for each image."""
    deviation = (np.sqrt((slopes**2).sum(axis=axes)) - 1) ** 2
    return deviation.reshape(len(slopes), -1).mean(1)
