"""A population is its members, trained together."""

import jax
import numpy as np
import pytest

from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import NonFiniteLoss, train, train_population

SOURCE = Sprites(16)


def method(**hp):
    return beta_vae(autoencoder("mlp-small", SOURCE.image_shape, 3), hyperparameters=BetaVAE(**hp))


def test_each_member_is_trained_as_if_alone():
    results = list(
        train_population(
            method(learning_rate=1e-3),
            SOURCE,
            seeds=[3, 4, 3],
            steps=5,
            batch_size=8,
            log_every=2,
            sweep={"beta": [1.0, 2.0, 4.0]},
        )
    )
    assert [step for step, _, _ in results] == [2, 4, 5]
    for member, (seed, beta) in enumerate([(3, 1.0), (4, 2.0), (3, 4.0)]):
        rows = []
        alone = train(
            method(learning_rate=1e-3, beta=beta),
            SOURCE,
            steps=5,
            batch_size=8,
            seed=seed,
            log_every=2,
            writers=[lambda step, row, rows=rows: rows.append(row)],
        )
        for row, (_, _, terms) in zip(rows, results, strict=True):
            for name, mean in terms.items():
                np.testing.assert_allclose(mean[member], row[name], rtol=1e-4)
        together = jax.tree.map(lambda leaf, member=member: leaf[member], results[-1][1].opt_state)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone.opt_state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3 * max(1e-3, float(abs(b).max())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "needs seeds and steps"),
        ({"steps": 0}, "needs seeds and steps"),
        ({"sweep": {"gamma": [1.0]}}, "no hyperparameter 'gamma'; there are learning_rate, beta, warmup"),
        ({"sweep": {"beta": [1.0, 2.0]}}, "one value per seed: 1, got 2"),
    ],
)
def test_what_can_not_be(settings, message):
    with pytest.raises(ValueError, match=message):
        next(train_population(method(), SOURCE, **{"seeds": [0], "steps": 1, "batch_size": 4, **settings}))


def test_a_member_that_diverges_is_an_error():
    with pytest.raises(NonFiniteLoss, match="steps 0 to 4: .*loss"):
        next(train_population(method(learning_rate=1e30), SOURCE, seeds=[0, 1], steps=5, batch_size=4))
