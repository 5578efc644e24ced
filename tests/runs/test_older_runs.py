"""Runs of version 0.1 are resumed and loaded."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvae.cli.train import parse_train
from jaxvae.methods.translation import clipped_adam, decayed_adam
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.build import build
from jaxvae.runs.compare import compare
from jaxvae.runs.config import Config, default_config
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import config_of, load_run
from jaxvae.runs.score import read_scores, represent, score
from jaxvae.training import train
from jaxvae.training.checkpoints import Checkpoints, _unscaled, restore
from jaxvae.training.run_folder import RunFolderError
from tests.faults.tiny import SOURCE, same_bits, tiny

HERE = Path(__file__).parent / "version_0_1"
"""Folders of runs that version 0.1 made, and the configurations of all of its methods and presets."""
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


def older(name):
    """A configuration that version 0.1 wrote."""
    return json.loads((HERE / "configs.json").read_text())[name]


CORRECTED = {
    "factor-vae-paper",
    "decomposition-vae-paper",
    "wae-mmd-paper",
    "wae-gan-paper",
    "ivae-paper",
    "ivae-weighted",
    "oi-vae-bars",
    "icam-paper",
    "vae-sne-successor",
    "vae-sne-sphere",
}
"""Presets that have other settings today. Runs of theirs keep those they were started with."""


def on_images(config):
    """The likelihood of images was written down, and is found by the data today."""
    auto = getattr(config.options, "likelihood", "") == "auto"
    return config.with_flags(likelihood="bernoulli") if auto else config


@pytest.mark.parametrize("name", json.loads((HERE / "configs.json").read_text()))
def test_their_configurations_are_those_of_today(name):
    """The defaults and presets of all methods, but for presets that were corrected; and stored values are kept."""
    values = older(name)
    preset = name.removeprefix(f"{values['method']}-")
    config = Config.from_json(values)
    today = default_config(values["method"], None if preset == "default" else preset)
    assert (config == on_images(today.settled())) == (name not in CORRECTED)
    flags = json.loads(json.dumps(config.flags()))
    stored = {**values, **values["hp"], **values["options"], **values["optimization"]}
    # Some methods called their own network by another name.
    kept = [each for each in flags if stored.get(each) is not None and each not in (*config.idle(), "network")]
    assert {each: flags[each] for each in kept} == {each: stored[each] for each in kept}
    assert len(kept) > 12
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_their_flags_without_effect_are_left_out():
    dead = {"labels": 7, "net_size": "paper", "skip_bad": True, "texture": "x.png", "shared": 2, "components": 9}
    acting = {"classify": "digit", "corruption": 0.5, "latents": 3, "network": "mlp-small"}
    config = Config.from_json({**older("beta-vae-default"), **dead, "scale": 0.3})
    assert config == on_images(default_config("beta-vae"))
    config = Config.from_json({**older("mcr2-default"), **dead, **acting})
    assert config == default_config("mcr2").with_flags(class_factor="digit", label_noise=0.5, latents=3, network="mlp")
    config = Config.from_json({**older("va-gan-default"), "net_size": "paper", "network": "own", "effect": "second"})
    assert config == default_config("va-gan").with_flags(net_size="paper", case_factor="second")
    with pytest.raises(ValueError, match="config.json cannot be read: unknown setting 'colour'"):
        Config.from_json({**older("vae-default"), "colour": "red"})


@pytest.fixture
def their_run(tmp_path):
    return shutil.copytree(HERE / "beta-vae", tmp_path / "beta-vae")


def test_their_run_is_loaded_and_scored(their_run):
    run = load_run(their_run)
    assert (run.config.hyperparameters.beta, run.config.networks.network, int(run.state.step)) == (2.0, "xtanh", 6)
    theirs = read_scores(their_run)["metrics"]["mig"]
    ours = score(run, represent(run, 10_000), ["mig"])["metrics"]["mig"]
    assert set(ours) - set(theirs) >= {"code_entropy"}
    before, after = theirs["score"], ours["score"]
    np.testing.assert_allclose(after, before, atol=0.01)  # theirs were of 10,000 draws of 1,797 images
    _, (line,) = compare([their_run], metrics=["mig"])
    np.testing.assert_allclose(line.values["mig"], [after])


@pytest.mark.process
def test_their_run_is_resumed(their_run):
    args = parse_train(["--run", str(their_run), "--resume", "--steps", "8"])
    with pytest.raises(RunFolderError, match=r"optimization.optimizer was None and is now 'lion'"):
        open_run(their_run, args.config.with_flags(optimizer="lion"), resume=True)
    open_run(their_run, args.config, resume=True)
    assert json.loads((their_run / "config.json").read_text())["version"] == 2
    source, method = build(args.config)
    resumed = train(method, source, steps=8, batch_size=8, folder=their_run, log_every=2)
    whole = train(method, source, steps=8, batch_size=8)
    for a, b in zip(jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_their_baseline_is_compared(tmp_path):
    folder = shutil.copytree(HERE / "pca", tmp_path / "pca")
    assert config_of(folder) == BaselineConfig("pca", data="sprites", image_size=16, latents=3, examples=100)
    assert read_scores(folder)["asked"]
