"""Runs of version 0.1 are resumed and loaded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.config import default_config, replace
from jaxvae.methods.translation import clipped_adam, decayed_adam
from jaxvae.training import train
from jaxvae.training.checkpoints import Checkpoints, _unscaled, restore
from jaxvae.training.optimizers import Optimization
from jaxvae.training.run_folder import RunFolderError, open_run
from tests.faults.tiny import SOURCE, same_bits, tiny

PARAMS = {"w": jnp.ones((2, 2))}


def test_their_states_lack_the_step_that_scales_by_the_rate(tmp_path):
    state = train(tiny(), SOURCE, steps=3, batch_size=2)
    (memory,) = state.opt_state
    assert type(memory["a"]) is tuple
    older = state._replace(opt_state=({"a": memory["a"][0]},))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(older, 1.0)
    restored = restore(tmp_path, 3, jax.eval_shape(lambda: state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    same_bits(restored, state)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (optax.adam, optax.scale_by_adam()),
        (optax.sgd, optax.identity()),
        (decayed_adam, optax.chain(optax.add_decayed_weights(1e-4), optax.scale_by_adam(b1=0.5))),
        (
            clipped_adam,
            optax.chain(
                optax.clip_by_global_norm(5.0), optax.chain(optax.add_decayed_weights(1e-4), optax.scale_by_adam())
            ),
        ),
    ],
)
def test_every_optimizer_of_theirs(now, then):
    (found,) = _unscaled(({"a": now(0.1).init(PARAMS)},))
    assert jax.tree.structure(found) == jax.tree.structure({"a": then.init(PARAMS)})


def test_their_config_has_no_optimization(tmp_path):
    config = replace(default_config("beta-vae"), seed=3)
    older = config.to_json()
    del older["optimization"]
    (tmp_path / "config.json").write_text(json.dumps(older))
    changed = replace(config, optimization=Optimization(optimizer="lion"))
    with pytest.raises(RunFolderError, match=r"optimization.optimizer was None and is now 'lion'"):
        open_run(tmp_path, changed.to_json(), resume=True)
    open_run(tmp_path, config.to_json(), resume=True)
    assert json.loads((tmp_path / "config.json").read_text())["optimization"]["schedule"] == "constant"
    np.testing.assert_equal(type(config).from_json(older), config)
