"""bfloat16 arithmetic in the networks: parameters, optimiser and losses stay float32, and the run stays close."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.data import Sprites
from jaxvae.methods import BetaTCVAE, beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train

SOURCE = Sprites(16)
STEPS, EVERY = 30, 10


def trained(architecture, dtype):
    networks = autoencoder(architecture, SOURCE.event_shape, 4, dtype)
    rows = []
    state = train(
        beta_tc_vae(networks, hyperparameters=BetaTCVAE(learning_rate=2e-3)),
        SOURCE,
        steps=STEPS,
        batch_size=16,
        log_every=EVERY,
        writers=[lambda step, row: rows.append(row)],
    )
    return state, rows


@pytest.mark.process
@pytest.mark.parametrize("architecture", [pytest.param("conv", marks=pytest.mark.slow), "mlp-small"])
def test_bfloat16_trains_like_float32(architecture):
    exact, exact_rows = trained(architecture, jnp.float32)
    rough, rough_rows = trained(architecture, jnp.bfloat16)
    assert jax.tree.map(lambda leaf: leaf.dtype, rough) == jax.tree.map(lambda leaf: leaf.dtype, exact)
    losses = [np.array([row["loss"] for row in rows]) for rows in (exact_rows, rough_rows)]
    assert losses[0][-1] < 0.7 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert (losses[1] != losses[0]).all()
