"""Methods, data, metrics and networks of one's own take part: by their place, or by entry points of a package."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.train import parse_train
from jaxvae.methods import METHODS, method_named
from jaxvae.metrics import METRICS, UNSUPERVISED, metric_named
from jaxvae.runs.build import build
from jaxvae.runs.compare import compare

MINE = '''
"""A method with two encoders and a data option of its own, its data, a metric and a network."""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data import Single, Sprites, from_arrays
from jaxvae.data.source import UNSHARDED, Wrapper
from jaxvae.losses import kl_standard_normal, reparameterize
from jaxvae.method import Method, Objective
from jaxvae.methods import Entry, bernoulli
from jaxvae.networks import autoencoder
from jaxvae.networks.mlp import MLPDecoder, MLPEncoder
from jaxvae.networks.options import Autoencoder


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Darker(Wrapper):
    source: object
    factor: float

    def batch(self, key, step, n, part=UNSHARDED):
        batch = self.source.batch(key, step, n, part)
        return {**batch, "darker": batch["x"] * self.factor}


@dataclass(frozen=True)
class WithDarker(Single):
    """Images, and darker copies of them."""

    darkness: float = 0.5
    """Factor that the values of the copies are multiplied by."""

    def wrap(self, source, method):
        return Darker(source, self.darkness)


@dataclass(frozen=True)
class TwoEncoders(Autoencoder):
    """Two encoders and a decoder."""

    units: int = 16
    """Number of units of the second encoder."""

    def make(self, source):
        second = autoencoder("my_things:network", source.event_shape, self.latents)["encoder"]
        return {**super().make(source), "second": second}


class TwoVAE(NamedTuple):
    """Hyperparameters of the method with two encoders."""

    learning_rate: float = 1e-3
    """Learning rate."""
    pull: float = 1.0
    """Weight of the distance between the two codes."""


def two_vae(networks, *, likelihood=bernoulli(), sampled: bool = True, hyperparameters=TwoVAE()):
    """Two encoders agree on an image and its darker copy.

    Args:
      sampled: whether the decoder sees a sample of the code.
    """

    def loss(net, batch, ctx):
        mean, logvar = net.encoder(batch["x"])
        other, _ = net.second(batch["darker"])
        z = reparameterize(ctx.key, mean, logvar, axis_name=ctx.axis_name) if sampled else mean
        pull = ((mean - other) ** 2).sum(-1).mean()
        nll = likelihood.nll(net.decoder(z), batch["x"]).mean()
        return nll + kl_standard_normal(mean, logvar).mean() + ctx.hyperparameters.pull * pull, {"pull": pull}

    return Method(
        "two-vae", networks, hyperparameters, (Objective(loss, ("encoder", "second", "decoder")),),
        encode=lambda net, batch: net.encoder(batch["x"]), decode=lambda net, z: likelihood.mean(net.decoder(z)),
        needs=("x", "darker"),
    )


ENTRY = Entry("two-vae", two_vae, TwoVAE, WithDarker, TwoEncoders, defaults={"latents": 3})


def data():
    """Bright and dark squares"""
    bright = np.arange(12) % 3
    images = (bright[:, None, None] * 100 + np.zeros((12, 16, 16))).astype(np.uint8)
    return from_arrays(images, bright[:, None], name="squares-of-mine", factor_names=("bright",))


def spread(codes, factors):
    """Standard deviation of the first code, an own metric"""
    return float(codes[:, 0].std())


def network(event_shape, latent_dim, dtype):
    """A tiny dense network"""
    return MLPEncoder(latent_dim, (16,), dtype=dtype), MLPDecoder(event_shape, (16,), nn.relu, dtype)
'''
PROJECT = """
[project]
name = "my-things"
version = "1"

[project.entry-points."jaxvae.methods"]
two-vae = "my_things:ENTRY"
[project.entry-points."jaxvae.metrics"]
spread = "my_things:spread"
[project.entry-points."jaxvae.data"]
my-squares = "my_things:data"
[project.entry-points."jaxvae.networks"]
my-mlp = "my_things:network"
"""
OWN = ["--steps", "4", "--batch-size", "4"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with the file, which the command is called in."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_things.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield folder
        sys.modules.pop("my_things", None)


def test_a_method_of_ones_own_is_one_file(here):
    """Its flags, data option and networks are there; nothing else has to know of it."""
    words = ["my_things:ENTRY", "--pull", "2", "--darkness", "0.25", "--no-sampled", "--units", "8"]
    config = parse_train(words).config
    assert (config.hyperparameters.pull, config.batches.darkness, config.networks.units) == (2.0, 0.25, 8)
    assert (config.networks.latents, config.options.sampled) == (3, False)
    source, method = build(config)
    batch = source.batch(jax.random.key(0), 0, 3)
    np.testing.assert_allclose(batch["darker"], 0.25 * batch["x"])
    assert set(method.networks) == {"encoder", "second", "decoder"}
    with pytest.raises(ValueError, match="my_things:ENTRY has no flag --shared; it is for ada-gvae"):
        parse_train(["my_things:ENTRY", "--shared", "1"])
    with pytest.raises(ValueError, match=r"the method my_things:NONE cannot be imported: .*no attribute 'NONE'"):
        parse_train(["my_things:NONE"])
    with pytest.raises(ValueError, match=r"my_things:data is not a jaxvae.methods.Entry but function"):
        method_named("my_things:data")


@pytest.mark.process
def test_all_of_ones_own_is_trained_scored_and_compared(here, capsys):
    words = ["my_things:ENTRY", "--data", "my_things:data", "--network", "my_things:network", *OWN]
    main(["train", *words, "--run", "runs/mine"])
    assert "two-vae on squares-of-mine (12 images): 4 steps" in capsys.readouterr().out
    main(["train", "vae", "--data", "my_things:data", "--network", "my_things:network", *OWN, "--run", "runs/vae"])
    main(["train", "--run", "runs/mine", "--resume", "--steps", "6", "--no-score"])
    main(["evaluate", "runs/mine", "--metrics", "my_things:spread", "mig", "--num-samples", "12"])
    scores = json.loads(Path("runs/mine/scores.json").read_text())
    assert scores["step"] == 6
    assert scores["metrics"]["my_things:spread"]["score"] > 0
    _, lines = compare([Path("runs/mine"), Path("runs/vae")], num_samples=12, metrics=["my_things:spread"])
    assert [line.name for line in lines] == ["my_things:ENTRY", "vae"]
    assert all(line.values["my_things:spread"][0] > 0 for line in lines)


def test_a_metric_of_codes_alone_or_a_bad_name():
    assert {name: metric_named(name).needs_factors for name in METRICS} == dict.fromkeys(METRICS, True)
    assert {name: metric_named(name).needs_factors for name in UNSUPERVISED} == dict.fromkeys(UNSUPERVISED, False)
    with pytest.raises(ValueError, match="unknown metric 'mgi': did you mean 'mig'"):
        metric_named("mgi")
    with pytest.raises(ValueError, match="the metric nowhere:x cannot be imported: No module named 'nowhere'"):
        metric_named("nowhere:x")


@pytest.mark.process
def test_another_package_adds_its_own_by_entry_points(tmp_path):
    """Installed into a folder, as pip would leave it."""
    info = tmp_path / "site" / "my_things-1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "my_things.py").write_text(MINE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-things\nVersion: 1\n")
    sections = PROJECT[PROJECT.index("[project.entry") :].replace('[project.entry-points."', "[").replace('"]', "]")
    (info / "entry_points.txt").write_text(sections.replace('"', ""))

    def call(*words):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
        return subprocess.run(
            [sys.executable, "-m", "jaxvae", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    listed = call("list").stdout
    for name in ("two-vae", "spread", "my-squares", "my-mlp"):
        assert f"\n  {name} " in listed
    run = call("train", "two-vae", "--data", "my-squares", "--network", "my-mlp", *OWN, "--run", "mine", "--no-score")
    assert run.stderr == ""
    assert "two-vae on squares-of-mine" in run.stdout
    scored = call("evaluate", "mine", "--metrics", "spread", "--num-samples", "12")
    assert scored.stdout.splitlines()[1].startswith("spread")
    assert "two-vae" not in METHODS


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("training", "compile_method", "make_train_step"),
        ("training", "keep_freed_memory", "tune_allocator"),
        ("data", "decorated", "variant"),
    ],
)
def test_names_of_version_0_1_are_there_with_a_warning(module, old, new):
    there = importlib.import_module(f"jaxvae.{module}")
    with pytest.warns(DeprecationWarning, match=f"jaxvae.{module}.{old} is deprecated: use {new}"):
        assert getattr(there, old) is getattr(there, new)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        there.nothing  # noqa: B018
