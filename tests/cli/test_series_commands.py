"""Series of a user from the command line: trained, reported, resumed, and other series encoded on the same scale."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.data.registry import open_data
from jaxvae.data.series import channels_of
from jaxvae.runs import load_run

pytestmark = pytest.mark.process

N = 90
TINY = ["--network", "conv1d", "--latents", "2", "--batch-size", "16", "--learning-rate", "3e-3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on sines of three frequencies on scales far apart."""
    rng = np.random.default_rng(0)
    kind, time = np.arange(N) % 3, np.arange(20)[None, :, None]
    angle = 2 * np.pi * ((kind[:, None, None] + 1) * time / 20 + rng.random((N, 1, 1)))
    x = np.concatenate([50 + 200 * np.sin(angle), -3 + 0.02 * np.cos(angle)], axis=2)
    x += 0.01 * rng.normal(size=x.shape) * [200, 0.02]
    place = tmp_path_factory.mktemp("series")
    names = np.array([f"s{n}" for n in range(N)])
    np.savez(place / "x.npz", x=x, kind=np.array(["low", "middle", "high"])[kind], name=names)
    np.save(place / "new.npy", x[40:50])
    roles = ["--label-columns", "kind", "--id-column", "name", "--validation", "0.2"]
    words = ["train", "vae", "--data", f"series:{place / 'x.npz'}", *roles, *TINY, "--run", str(place / "run")]
    main([*words, "--steps", "150"])
    return place


def test_the_run_is_scored_and_reported(place):
    page = (place / "run" / "report" / "index.html").read_text()
    for text in (
        "Series and reconstructions",
        "72 series of standardized channels: channel0 (mean ",
        "What each latent changes",
    ):
        assert text in page
    config = json.loads((place / "run" / "config.json").read_text())
    assert config["options"]["likelihood"] == "gaussian"
    history = load_run(place / "run").history
    assert history[-1]["loss"] < history[0]["loss"] - 3  # nats; 37 of them are of the normal density alone


def test_other_series_are_scaled_as_in_training(place, tmp_path):
    main(["encode", str(place / "run"), "--out", str(tmp_path / "all.csv")])
    main(["encode", str(place / "run"), f"series:{place / 'new.npy'}", "--out", str(tmp_path / "new.csv")])
    whole, new = (pd.read_csv(tmp_path / name) for name in ("all.csv", "new.csv"))
    assert whole["id"].tolist() == [f"s{n}" for n in range(N)]
    assert whole["kind"].tolist() == np.load(place / "x.npz")["kind"].tolist()
    assert (whole["part"] == "validation").sum() == 18
    latents = ["z0", "z1", "sd0", "sd1"]
    np.testing.assert_allclose(new[latents], whole[latents].iloc[40:50], atol=1e-6)
    own = open_data(f"series:{place / 'new.npy'}")  # on its own scale, it would be other numbers
    alone = load_run(place / "run").encode(np.asarray(own.pixels)).mean
    assert np.abs(np.asarray(alone) - new[["z0", "z1"]]).to_numpy().max() > 1e-3


def test_codes_are_decoded_on_the_scale_of_the_file(place, tmp_path):
    main(["encode", str(place / "run"), f"series:{place / 'new.npy'}", "--out", str(tmp_path / "new.csv")])
    for ending in ("npy", "npz"):
        main(["decode", str(place / "run"), str(tmp_path / "new.csv"), "--out", str(tmp_path / f"x.{ending}")])
    decoded, wanted = np.load(tmp_path / "x.npy"), np.load(place / "new.npy")
    assert decoded.shape == wanted.shape
    np.testing.assert_allclose(decoded.mean((0, 1)), wanted.mean((0, 1)), atol=100)
    assert abs(decoded[..., 1].mean() + 3) < 0.02
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["examples"], decoded)


def test_the_run_knows_its_channels_without_the_data(place):
    whole, known = load_run(place / "run"), load_run(place / "run", needs_data=False)
    assert channels_of(known.source).to_json() == channels_of(whole.source).to_json()
    training = np.load(place / "x.npz")["x"][np.asarray(whole.source.index)]
    for column, channel in zip(channels_of(known.source).columns, training.reshape(-1, 2).T, strict=True):
        assert column.mean == pytest.approx(channel.mean(), rel=1e-5)
        assert column.scale == pytest.approx(channel.std(), rel=1e-5)
    x = np.asarray(open_data(f"series:{place / 'new.npy'}", schema=channels_of(known.source)).pixels)
    np.testing.assert_allclose(known.encode(x).mean, whole.encode(x).mean, atol=1e-6)


def test_a_resumed_run_is_the_run(place, tmp_path):
    words = ["train", "vae", "--data", f"series:{place / 'x.npz'}", "--validation", "0.2", *TINY, "--no-score"]
    main([*words, "--steps", "6", "--run", str(tmp_path / "whole")])
    main([*words, "--steps", "3", "--run", str(tmp_path / "parts")])
    main(["train", "--run", str(tmp_path / "parts"), "--resume", "--steps", "6", "--no-score"])
    one, other = (load_run(tmp_path / name) for name in ("whole", "parts"))
    x = np.asarray(one.source.source.pixels)
    np.testing.assert_array_equal(one.encode(x).mean, other.encode(x).mean)


def test_series_of_other_data_are_not_mixed_up(place, tmp_path, capsys):
    words = ["train", "vae", "--data", "waves", *TINY, "--steps", "1", "--no-score", "--run", str(tmp_path / "waves")]
    main(words)
    x = np.asarray(open_data("waves").pixels)
    np.save(tmp_path / "x.npy", x)
    for name, out in (("waves", "a.csv"), (f"series:{tmp_path / 'x.npy'}", "b.csv")):
        main(["encode", str(tmp_path / "waves"), name, "--out", str(tmp_path / out)])
    one, other = (pd.read_csv(tmp_path / name)[["z0", "z1"]] for name in ("a.csv", "b.csv"))
    np.testing.assert_array_equal(one, other)  # the run does not scale, and neither are these series scaled
    np.save(tmp_path / "long.npy", x[:, :, :2])
    capsys.readouterr()
    for name, message in (
        ("waves", "the run standardizes the channels of its series, and waves is not scaled so"),
        (
            f"series:{tmp_path / 'long.npy'}",
            "series of 64 times 2 numbers, and the run was trained on series of 20",
        ),
        (f"series:{tmp_path / 'x.npy'}", "the series have the channel 'channel2', which the model was not trained on"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["encode", str(place / "run"), name, "--out", str(tmp_path / "c.csv")])
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("method", ["beta-tc-vae", "vae-sne", "wae-mmd", "ivae"])
def test_other_methods_learn_from_series(method, place, tmp_path):
    network = ["--network", "mlp-small"] if method == "ivae" else ["--network", "conv1d"]
    words = ["--data", f"series:{place / 'x.npz'}", "--label-columns", "kind", "--steps", "2", "--batch-size", "8"]
    main(["train", method, *words, *network, "--no-score", "--run", str(tmp_path / "run")])
    assert np.isfinite(load_run(tmp_path / "run").history[-1]["loss"])


def test_a_baseline_of_series(place, tmp_path):
    main(["fit", "pca", "--data", f"series:{place / 'x.npz'}", "--latents", "2", "--run", str(tmp_path / "pca")])
    main(["encode", str(tmp_path / "pca"), f"series:{place / 'new.npy'}", "--out", str(tmp_path / "new.csv")])
    main(["encode", str(tmp_path / "pca"), "--out", str(tmp_path / "all.csv")])
    whole, new = (pd.read_csv(tmp_path / name)[["z0", "z1"]] for name in ("all.csv", "new.csv"))
    np.testing.assert_allclose(new, whole.iloc[40:50], atol=1e-5)


def test_the_weights_and_programs_know_the_channels(place, tmp_path):
    pytest.importorskip("safetensors")
    from jaxvae import load

    main(["export", str(place / "run"), "--format", "safetensors", "--out", str(tmp_path / "weights")])
    (file,) = (tmp_path / "weights").glob("*.safetensors")
    run = load(str(file))
    assert channels_of(run.source).to_json() == channels_of(load_run(place / "run").source).to_json()
    main(["export", str(place / "run"), "--format", "stablehlo", "--out", str(tmp_path / "programs")])
    (about,) = (tmp_path / "programs").glob("*.json")
    assert json.loads(about.read_text())["columns"][0]["mean"] == channels_of(run.source).columns[0].mean


def test_series_are_listed(capsys):
    main(["list"])
    assert "series:PATH    Series [N, T, D] of real numbers in an npy file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("vae", ["--kind", "channel0=count"], "--kind is for tables"),
        ("vae", ["--likelihood", "bernoulli"], "the bernoulli likelihood is for values in [0, 1], and the channels"),
        (
            "vae",
            ["--likelihood", "continuous-bernoulli"],
            "the continuous-bernoulli likelihood is for values in [0, 1]",
        ),
        ("vae", ["--likelihood", "poisson"], "the poisson likelihood is for the counts of a table"),
        ("wae-mmd", ["--output", "sigmoid"], "--output sigmoid is for values in [0, 1], and series are standardized"),
        ("vae", ["--network", "conv"], "needs pictures, and the examples are series of 20 times 2 numbers"),
        ("vae", ["--stream"], "--stream is for images and tables in files"),
        ("vae", ["--label-columns", "kinds"], "unknown column 'kinds'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(method, words, message, place, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", method, "--data", f"series:{place / 'x.npz'}", *words, "--run", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
