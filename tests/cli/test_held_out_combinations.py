"""Combinations that a run holds out, from the flag to its scores, and over a resumption."""

import json

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.train import parse_train
from jaxvae.data import all_factors
from jaxvae.data.videos import MovingSprites
from jaxvae.runs.build import build_parts
from jaxvae.runs.config import Config, default_config
from jaxvae.runs.load import load_run
from jaxvae.training import steps


def test_the_flag_is_written_down():
    config = parse_train(["vae", "--data", "sprites", "--hold-out", "dsprites-range"]).config
    assert config.source.hold_out == "dsprites-range"
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.process
def test_a_set_of_other_factors_is_a_line(capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["train", "vae", "--data", "rooms", "--hold-out", "dsprites-range", "--run", str(tmp_path / "run")])
    assert caught.value.code == 2
    assert "rooms has no factor 'x'; there are floor_hue" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", ["x>0.5", "shape=1,y=3:9"])
def test_places_of_clips_are_not_held_out_from_what_sees_all_frames(asked, capsys, tmp_path):
    """Later frames move to where the first ones never are."""
    flags = ["--hold-out", asked, "--data", "moving-sprites", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as caught:
        main(["train", "equivariant-rendering", *flags, "--dry-run"])
    assert caught.value.code == 2
    told = capsys.readouterr().err.strip()
    moved = "x" if asked.startswith("x") else "y"
    assert f"all frames of a clip, in which {moved!r} changes" in told
    assert told.endswith("choose among shape, scale, orientation")
    assert "\n" not in told


def test_what_does_not_change_in_a_clip_is_held_out_and_so_is_the_first_frame_of_images():
    for method, asked, share in (("equivariant-rendering", "shape=1", 3), ("vae", "x>0.5", 2)):
        config = default_config(method).with_flags(data="moving-sprites", hold_out=asked)
        assert build_parts(config).parts.test.size == 3 * 6 * 40 * 32 * 32 / share
    assert MovingSprites(16, 4, 0, np.zeros((20, 20, 3))).moving_factors == ()


@pytest.mark.process
def test_training_never_sees_the_combinations_that_scores_are_of(monkeypatch, tmp_path, capsys):
    seen, draw = [], steps.draw_batch

    def observed(*arguments):
        batch = draw(*arguments)
        jax.debug.callback(lambda factors: seen.append(np.asarray(factors)), batch["factors"], ordered=True)
        return batch

    monkeypatch.setattr(steps, "draw_batch", observed)
    folder = tmp_path / "run"
    tiny = ["--batch-size", "64", "--latents", "2", "--network", "mlp-small"]
    main(["train", "vae", "--hold-out", "sun>0.5,sky=2:6", *tiny, "--steps", "2", "--no-score", "--run", str(folder)])
    main(["train", "--run", str(folder), "--resume", "--steps", "4"])
    jax.effects_barrier()
    factors = np.concatenate(seen)
    assert len(factors) == 4 * 64
    sky, _, sun, _ = factors.T
    assert not ((sun >= 4) & (sky >= 2) & (sky < 6)).any()
    assert (sun >= 4).any()
    run = load_run(folder)
    assert run.config.source.hold_out == "sun>0.5,sky=2:6"
    held = all_factors(run.held_out.source)
    assert (len(held), run.held_out.name) == (4 * 4 * 64, "test")
    words = "test (sun>0.5,sky=2:6), 1,024 examples"
    assert words in capsys.readouterr().out
    assert json.loads((folder / "scores.json").read_text())["rows"] == words
    assert "test (sun&gt;0.5,sky=2:6), 1,024 examples" in (folder / "report" / "index.html").read_text()
