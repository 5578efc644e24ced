"""Combinations that a run holds out, from the flag to its scores, and over a resumption."""

import json

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.train import parse_train
from jaxvae.data import all_factors
from jaxvae.runs.config import Config
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
