"""Settings by name: defaults, presets and the options of a method."""

import json
from dataclasses import asdict

import jax
import numpy as np
import pytest

from jaxvae.cli.train import parse_train
from jaxvae.data import Epochs, Streamed
from jaxvae.methods import METHODS, VAE, Entry, bernoulli
from jaxvae.runs.baseline import BaselineConfig, fit_baseline
from jaxvae.runs.build import build
from jaxvae.runs.config import Config, check_config, default_config
from jaxvae.runs.options import options_of
from jaxvae.training import check, evaluation_params, train

PRESETS = [(method, preset) for method, entry in METHODS.items() for preset in entry.presets]
BERNOULLI = {"likelihood": "auto", "scale": 1.0, "library": "none"}
LARGE = (("icam", "paper"), ("va-gan", "paper"))
"""Networks of hundreds of layers, which take seconds to build."""


@pytest.mark.parametrize(
    ("method", "preset"),
    [
        pytest.param(*case, marks=pytest.mark.slow) if case in LARGE else case
        for case in PRESETS + [(method, None) for method in METHODS]
    ],
)
def test_every_preset_can_be_built_and_written_down(method, preset):
    config = default_config(method, preset)
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    source, built = build(config)
    assert built.name == method
    if config.data == "segments":
        assert source.event_shape == (5,)
        return
    if config.data == "cells":
        assert source.event_shape == (300,)
        return
    side = {"scene": 32, "sprites": 64, "squares": 32, "digits": 8, "bars": 8, "moving-sprites": 32}
    side = config.source.image_size or side[config.data]
    channels = {"scene": 3, "moving-sprites": 3, "rooms": 3}.get(config.data, 1)
    assert source.event_shape == (side, side, channels)


def test_every_method_of_the_study_has_its_preset():
    studied = {"beta-vae", "annealed-vae", "factor-vae", "dip-vae-i", "dip-vae-ii", "beta-tc-vae"}
    assert studied <= {method for method, preset in PRESETS if preset == "study"}
    for method in studied:
        config = default_config(method, "study")
        assert (config.networks.network, config.networks.latents) == ("conv", 10)
        assert (config.training.batch_size, config.training.steps) == (64, 300_000)
        assert (config.hyperparameters.learning_rate, config.options.likelihood) == (1e-4, "auto")
    dip = {kind: default_config(f"dip-vae-{kind}", "study").hyperparameters for kind in ("i", "ii")}
    assert {kind: hp.lambda_d / hp.lambda_od for kind, hp in dip.items()} == {"i": 10, "ii": 1}


@pytest.mark.process
def test_a_preset_trains(tmp_path):
    """All that it says fits together; the flags beside it change it."""
    args = parse_train(["factor-vae", "--preset", "study", "--batch-size", "2", "--gamma", "50"])
    assert (args.config.training.batch_size, args.config.hyperparameters.gamma) == (2, 50)
    assert args.config.networks.discriminator == (1000,) * 6
    assert asdict(args.config.options) == {"batches": "one", **BERNOULLI}
    source, method = build(args.config)
    assert method.needs == ("x",)
    check(method, source, batch_size=2)


def test_optimization_is_written_down_and_may_be_missing():
    """Runs of version 0.1 have none in their config.json."""
    flags = (
        "--optimizer adamw --weight-decay 0.1 --schedule cosine --warmup-steps 5 --clip-norm 1 --clip-value 2 --ema 0.9"
    )
    config = parse_train(["alae", *flags.split()]).config
    assert asdict(config.optimization) == {
        "optimizer": "adamw",
        "schedule": "cosine",
        "warmup_steps": 5,
        "clip_norm": 1.0,
        "clip_value": 2.0,
        "weight_decay": 0.1,
        "ema": 0.9,
    }
    written = json.loads(json.dumps(config.to_json()))
    assert Config.from_json(written) == config
    with pytest.raises(ValueError, match="config.json cannot be read: clip_norm: Expected `float"):
        Config.from_json({**written, "optimization": {"clip_norm": "a"}})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--weight-decay 0.1", "add --optimizer adamw or lion or muon or schedule-free"),
        ("--optimizer adam --weight-decay 0.1", "adam has no weight decay"),
        ("--warmup-steps 5000", "fewer than 5000 steps, got 5000"),
        ("--clip-norm nan", "must be a positive number, got nan"),
        ("--ema 1", r"must be in \[0, 1\), got 1.0"),
    ],
)
def test_optimization_that_can_not_be(flags, message):
    with pytest.raises(ValueError, match=message):
        build(parse_train(["beta-vae", *flags.split()]).config)


@pytest.mark.process
def test_optimization_reaches_the_training():
    def trained(*flags):
        source, method = build(parse_train(["beta-vae", "--data", "sprites", "--image-size", "16", *flags]).config)
        return train(method, source, steps=3, batch_size=4)

    def moved(a, b):
        return max(float(np.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))

    plain = trained()
    for flags in ("--optimizer lion", "--schedule linear --steps 4"):
        assert moved(trained(*flags.split()).params, plain.params) > 1e-6, flags
    averaged = trained("--ema", "0.999")
    assert moved(averaged.params, plain.params) < 1e-6
    assert moved(evaluation_params(averaged), plain.params) > 1e-6


def test_options_become_flags():
    args = parse_train(["beta-tc-vae", "--weighting", "mss", "--form", "sampled"])
    given = {"weighting": "mss", "form": "sampled", "support_weight": 0.0}
    assert asdict(args.config.options) == {**given, **BERNOULLI}
    assert asdict(parse_train(["iwae", "--samples", "7"]).config.options) == {"samples": 7, **BERNOULLI}
    assert asdict(parse_train(["decomposition-vae"]).config.options) == {
        "prior": "normal",
        "divergence": "mmd",
        **BERNOULLI,
    }
    assert parse_train(["factor-vae", "--discriminator", "8", "9"]).config.networks.discriminator == (8, 9)


def test_an_option_reaches_the_method():
    args = parse_train(["wae-mmd", "--encoder", "gaussian"])
    assert (args.config.options.likelihood, round(args.config.options.scale, 3)) == ("gaussian", 3.162)
    source, method = build(args.config)
    _, plain = build(default_config("wae-mmd"))
    assert method.encode.__qualname__ != plain.encode.__qualname__
    assert source.name == "scene"


def test_what_is_no_choice_or_number_is_for_python_only():
    def mine(networks, *, likelihood=bernoulli(), size: int = 3, hyperparameters=None):
        """Mine.

        size: of something
        """

    mine.__annotations__ |= {"networks": dict, "likelihood": object, "hyperparameters": object}
    options = options_of(Entry("mine", mine, VAE))
    assert asdict(options()) == {"size": 3, **BERNOULLI}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beta-vae", "--preset", "papre"], "unknown preset of beta-vae 'papre': did you mean 'paper'"),
        (["iwae", "--preset", "study"], "There are: paper"),
    ],
)
def test_an_unknown_preset(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_train(arguments)


def test_a_run_of_a_preset_is_resumed_with_its_own_settings(tmp_path):
    config = default_config("beta-vae", "study")
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    assert parse_train(["--run", str(tmp_path), "--resume"]).config == config
    flags = ["beta-vae", "--run", str(tmp_path), "--resume", "--preset", "paper"]
    assert parse_train(flags).config == default_config("beta-vae", "paper")


@pytest.mark.process
def test_data_of_a_run(tmp_path):
    """By name, with a look, from a file, in epochs; and an unknown name says what there is."""
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 8, 8)), factors=np.arange(4)[:, None])
    for name, shape, sampling in (
        ("rooms", (64, 64, 3), "replacement"),
        ("noisy-sprites", (64, 64, 3), "epochs"),
        (f"arrays:{tmp_path / 'mine.npz'}", (8, 8, 1), "epochs"),
    ):
        source, _ = build(default_config("vae").with_flags(data=name, sampling=sampling))
        assert source.event_shape == shape
        assert isinstance(source, Epochs) == (sampling == "epochs")
    np.save(tmp_path / "mine.npy", np.zeros((4, 8, 8), np.float32))
    config = default_config("vae").with_flags(data=f"arrays:{tmp_path / 'mine.npy'}", stream=True)
    source, method = build(config)
    assert isinstance(source, Streamed)
    assert isinstance(source.table.pixels, np.memmap)
    train(method, source, steps=2, batch_size=3)
    with pytest.raises(
        ValueError, match="--stream is for images in files, such as arrays:PATH and tfds:NAME: leave it out"
    ):
        build(config.with_flags(data="scene", stream=True))
    assert not config.with_flags(data="scene").source.stream  # what has no effect any more is left out
    with pytest.raises(ValueError, match="unknown data 'spritse': did you mean 'sprites'"):
        build(default_config("vae").with_flags(data="spritse"))


@pytest.mark.parametrize("name", ["latents", "batch_size", "image_size", "steps", "log_every"])
def test_numbers_that_overflow_are_named(name):
    flag = name.replace("_", "-")
    with pytest.raises(ValueError, match=rf"--{flag} must be below 2\*\*31, got {'9' * 30}"):
        check_config(default_config("vae").with_flags(**{name: int("9" * 30)}))


@pytest.mark.parametrize("name", ["latents", "examples", "image_size", "seed"])
def test_numbers_of_a_baseline_that_overflow_are_named(name):
    with pytest.raises(ValueError, match=rf"--{name.replace('_', '-')} must be below 2"):
        fit_baseline(BaselineConfig("pca", **{name: int("9" * 30)}))


@pytest.mark.parametrize("flag", [{"patience": 3}, {"validate_every": 7}, {"split_seed": 1}])
def test_what_goes_with_random_splits_is_refused_beside_combinations(flag):
    """Without the advice to add --validation, which they refuse."""
    (name,) = flag
    config = default_config("vae").with_flags(hold_out="sun=1", **flag)
    with pytest.raises(ValueError, match=f"^--{name.replace('_', '-')} goes with .*, and --hold-out takes their place"):
        check_config(config)
