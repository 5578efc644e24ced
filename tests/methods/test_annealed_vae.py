"""The annealed VAE holds the KL of the global batch at its capacity, not that of each device's part."""

import jax
import jax.numpy as jnp
import numpy as np
from method_table import SOURCE, make

from jaxvae.losses import kl_standard_normal
from jaxvae.method import Context, Nets


def test_the_capacity_is_that_of_the_global_batch(params, batch):
    """It lies between the KLs of two parts, where the distance is not linear."""
    networks = make("annealed-vae").networks
    image = batch["x"]
    kl = jax.jit(lambda: kl_standard_normal(*Nets(networks, params).encoder(image)))()
    order = np.argsort(np.asarray(kl))
    parts = np.asarray(kl)[order].reshape(2, -1).mean(axis=1)
    capacity = float(parts.mean())
    assert parts[1] - parts[0] > 0.1
    method = make("annealed-vae", hp={"c_start": capacity, "c_end": capacity})
    hp = jax.tree.map(jnp.float32, method.hyperparameters)

    def distance(image, axis_name=None):
        ctx = Context(jax.random.key(0), hp, jnp.int32(0), SOURCE.size, axis_name)
        return method.objectives[0].loss(Nets(networks, params), {"x": image}, ctx)[1]["distance_to_capacity"]

    image = np.asarray(image)[order]
    halves = jax.jit(jax.vmap(lambda half: distance(half, "data"), axis_name="data"))(image.reshape(2, -1, 16, 16, 1))
    np.testing.assert_allclose(halves, jax.jit(distance)(image), atol=1e-3)
