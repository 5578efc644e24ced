"""A small table of all kinds of columns, and quick settings, for tests of the estimators."""

import flax.linen as nn
import numpy as np
import pandas as pd

from jaxvae.networks.mlp import MLPDecoder, MLPEncoder

QUICK = {"network": "linear", "max_iter": 5, "batch_size": 16, "random_state": 0}
USED = ["size", "width", "spikes", "colour", "level", "ill"]
"""Columns of the table that are learned from."""


def linear(shape, latents, dtype):
    """Networks of one layer, which are quick to compile."""
    return MLPEncoder(latents, (), dtype=dtype), MLPDecoder(shape, (), nn.relu, dtype)


def mixed_table():
    """120 rows of all kinds of columns, which depend on two numbers; a ninth of the sizes are missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(120, 2))
    return pd.DataFrame(
        {
            "size": np.where(np.arange(120) % 9 == 0, np.nan, 70 + 30 * z[:, 0]),
            "width": z.sum(axis=1),
            "spikes": rng.poisson(np.exp(1 + z[:, 1])).astype(float),
            "colour": np.array(["red", "green", "blue"])[np.digitize(z[:, 0], [-0.5, 0.5])],
            "level": pd.Categorical(np.digitize(z[:, 1], [-0.5, 0.5])),
            "ill": z[:, 0] > 0,
            "name": [f"row {i}" for i in range(120)],
            "same": 3.0,
        },
        index=np.arange(120) + 1000,
    )


def some_vectors():
    """40 rows of 3 features of different units."""
    return 5 + np.random.default_rng(1).normal(size=(40, 3)) * [1.0, 10.0, 100.0]
