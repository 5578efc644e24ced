"""The least that is a run."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data import Sprites
from jaxvae.method import Method, Network, Objective
from jaxvae.training.run_folder import read_history
from jaxvae.training.writers import MACHINE_COLUMNS

SOURCE = Sprites(16)


class HP(NamedTuple):
    learning_rate: float = 1e-3


def tiny(*, infinite_at: int = 10**9, infinite_slope_from: int = 10**9) -> Method:
    """Fits the mean image, with noise of the step's key. Its term is infinite at one step, or its slope from one on."""

    def loss(net, batch, ctx):
        noise = jax.random.normal(ctx.key, batch["x"].shape[1:])
        error = ((net.a() - batch["x"].mean(axis=0) - noise) ** 2).mean()
        bad = jnp.where(ctx.step == infinite_at, jnp.inf, 1.0)
        flat = jnp.where(ctx.step >= infinite_slope_from, 0.0, 1.0)
        total = net.a().sum()
        kink = jnp.sqrt(total - jax.lax.stop_gradient(total) + flat) - flat  # 0, with a slope of 1/2, or infinite
        return error * bad + kink, {"error": error, "strange": bad}

    network = Network(lambda key: {"w": jax.random.normal(key, (16, 16, 1))}, lambda params: params["w"])
    return Method("tiny", {"a": network}, HP(), (Objective(loss, ("a",)),), None, None, needs=())


def rows(folder, *, machine=False):
    """Of metrics.jsonl, without what depends on the machine."""
    return [{k: v for k, v in row.items() if machine or k not in MACHINE_COLUMNS} for row in read_history(folder)]


def same_bits(a, b):
    """Two states are equal."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)
