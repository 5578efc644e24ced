"""A method made in Python: what was trained is kept apart from others, and is scored and reported."""

import json
import shutil
import warnings
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.data import Sprites
from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.report import write_report
from jaxvae.runs.compare import compare, find_runs
from jaxvae.runs.load import load_own_run, load_run
from jaxvae.runs.score import evaluate, read_scores, represent
from jaxvae.training import NonFiniteLoss, NothingToTrain, train, train_members
from jaxvae.training.run_folder import OtherData, RunFolderError, check_data
from jaxvae.training.steps import described_data
from tests.faults.tiny import SOURCE, same_bits, tiny

pytestmark = pytest.mark.process

SETTINGS = {"steps": 4, "batch_size": 4, "log_every": 2}


def method(beta=4.0, name="mine"):
    networks = autoencoder("mlp-small", SOURCE.event_shape, latent_dim=3)
    return beta_vae(networks, hyperparameters=BetaVAE(beta=beta))._replace(name=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "run"
    return folder, train(method(), SOURCE, folder=folder, **SETTINGS)


def test_a_folder_is_for_one_method_data_and_seed(trained):
    folder, _ = trained
    for changed, told in (
        ((method(beta=1.0), SOURCE, {}), "hp.beta was 4.0 and is now 1.0"),
        ((method(name="yours"), SOURCE, {}), "method was 'mine' and is now 'yours'"),
        ((method(), Sprites(32), {}), r"data.shape was \[16, 16, 1\] and is now \[32, 32, 1\]"),
        ((method(), SOURCE, {"seed": 1}), "seed was 0 and is now 1"),
        ((method(), SOURCE, {"batch_size": 2}), "batch_size was 4 and is now 2"),
    ):
        with pytest.raises(RunFolderError, match=f"{told}. For a new run, choose another folder"):
            train(changed[0], changed[1], folder=folder, **SETTINGS | changed[2])
    members = {"seeds": [0], **SETTINGS}
    (folder.parent / "member").mkdir()
    train_members(tiny(), SOURCE, [folder.parent / "member"], **members)
    with pytest.raises(RunFolderError, match=r"hp.learning_rate was 0.001 and is now 0.01"):
        train_members(tiny(), SOURCE, [folder.parent / "member"], sweep={"learning_rate": [0.01]}, **members)


def test_what_left_no_checkpoint_may_be_changed(tmp_path):
    with pytest.raises(NonFiniteLoss):
        train(tiny(infinite_at=1), SOURCE, folder=tmp_path, seed=0, **SETTINGS)
    train(tiny(), SOURCE, folder=tmp_path, seed=1, **SETTINGS)
    assert json.loads((tmp_path / "trained.json").read_text())["seed"] == 1


@pytest.mark.parametrize(
    ("sweep", "told"), [({"alpha": [1.0]}, "no hyperparameter 'alpha'"), ({"learning_rate": []}, "one value per seed")]
)
def test_a_wrong_sweep_is_told_and_noted_nowhere(tmp_path, sweep, told):
    with pytest.raises(ValueError, match=told):
        train_members(tiny(), SOURCE, [tmp_path], seeds=[0], sweep=sweep, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_sees_more_says_so(trained):
    run = load_own_run(trained[0], method(), SOURCE)
    more = run.method._replace(encode=lambda net, batch: net.encoder(batch["x"] * batch["label"]))
    with pytest.raises(ValueError, match="the encoder of mine sees 'label' besides the example"):
        run._replace(method=more).encode(np.zeros((1, 16, 16, 1), np.float32))


@pytest.mark.process
def test_a_baseline_encodes(tmp_path):
    main(
        [
            "fit",
            "pca",
            "--data",
            "sprites",
            "--image-size",
            "16",
            "--examples",
            "50",
            "--latents",
            "2",
            "--run",
            str(tmp_path / "pca"),
        ]
    )
    run = load_run(tmp_path / "pca")
    images = np.asarray(SOURCE.sample(jax.random.key(0), 3)["x"])
    assert np.asarray(run.encode(images).mean).std(axis=0).min() > 0


def test_nothing_to_train_is_told(trained):
    folder, state = trained
    with pytest.warns(NothingToTrain, match="has 4 updates already, and 4 were asked for: nothing was trained"):
        again = train(method(), SOURCE, folder=folder, **SETTINGS)
    same_bits(again, state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert int(train(method(), SOURCE, folder=folder, **SETTINGS | {"steps": 6}).step) == 6


@pytest.mark.process
def test_it_is_scored_reported_and_encodes(trained, capsys):
    folder, _ = trained
    run = load_own_run(str(folder), method(), SOURCE, checkpoint=4)
    codes = represent(run, 200)
    scores = evaluate(run, codes)
    assert json.loads((folder / "scores.json").read_text())["metrics"]["mig"] == scores["metrics"]["mig"]
    page = write_report(run, codes, scores).read_text()
    assert "mine on sprites" in page
    assert "jaxvae train" not in page
    batch = SOURCE.sample(jax.random.key(0), 5)
    posterior = run.encode(batch["x"])
    network = method().networks["encoder"].apply(run.state.params["encoder"], batch["x"])
    np.testing.assert_allclose(posterior.mean, network[0], atol=1e-5)
    assert run.decoder(posterior.mean).shape == (5, 16, 16, 1)
    with pytest.raises(ValueError, match=r"must have the shape \[N, 16, 16, 1\], got \[5, 16, 16\]"):
        run.encode(batch["x"][..., 0])
    with pytest.raises(ValueError, match="in \\[0, 1\\], got 0 to 255: divide bytes by 255"):
        run.encode(255 * batch["x"])
    with pytest.raises(RunFolderError, match="hp.beta was 4.0 and is now 1.0"):
        load_own_run(folder, method(beta=1.0), SOURCE)
    with pytest.raises(SystemExit):
        main(["report", str(folder)])
    assert "trained in Python, and its method is known there alone" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"method": 3}'])
def test_a_damaged_note_is_told(tmp_path, text):
    (tmp_path / "trained.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"can't read .*trained\.json"):
        load_own_run(tmp_path, method(), SOURCE)


@pytest.mark.parametrize("data", [[], None, 3, {"images": [1]}, {"images": {"a": 1}}])
def test_odd_data_in_the_note_are_other_data(tmp_path, data):
    (tmp_path / "trained.json").write_text(json.dumps({"data": data}))
    with pytest.warns(OtherData, match="other data: data"):
        check_data(tmp_path, described_data(SOURCE))


def test_more_images_are_encoded_in_parts(trained):
    run = load_own_run(trained[0], method(), SOURCE)
    images = np.asarray(SOURCE.sample(jax.random.key(1), 600)["x"])
    np.testing.assert_allclose(run.encode(images).mean[512:], run.encode(images[512:]).mean, atol=1e-5)
    with pytest.raises(ValueError, match="got \\[0, 16, 16, 1\\]"):
        run.encode(images[:0])


def test_pictures_that_changed_since_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), np.uint8)
    np.save("images.npy", images)
    main(
        [
            "train",
            "vae",
            "--data",
            "arrays:images.npy",
            "--batch-size",
            "2",
            "--steps",
            "2",
            "--run",
            "run",
            "--no-score",
        ]
    )
    np.save("images.npy", images[:5])
    with pytest.warns(OtherData, match="was trained on other data: .*data.images 6 and now 5"):
        load_run("run")


def test_numbers_of_numpy_are_taken(tmp_path):
    numbers = {"steps": 4, "batch_size": np.int64(2), "seed": np.arange(3)[1]}
    state = train(tiny(), SOURCE, folder=tmp_path, log_every=2, **numbers)
    assert json.loads((tmp_path / "trained.json").read_text())["seed"] == 1
    same_bits(state, train(tiny(), SOURCE, steps=4, batch_size=2, seed=1))


def test_it_is_compared_by_its_scores(trained, tmp_path):
    """The method is known in Python alone, so that nothing is scored or drawn here."""
    folder = shutil.copytree(trained[0], tmp_path / "mine")
    with pytest.raises(RunFolderError, match="has no scores: compute them there, with jaxvae.runs.evaluate"):
        compare([folder], metrics=["mig"], num_samples=100)
    run = load_own_run(folder, method(), SOURCE)
    evaluate(run, represent(run, 100), ["mig"])
    assert find_runs([tmp_path]) == [folder]
    _, (line,) = compare([folder], metrics=["mig"], num_samples=100)
    assert (line.name, line.data, line.picture) == ("mine", SOURCE.name, None)
    assert line.values["mig"] == read_scores(folder)["metrics"]["mig"]["score"]


def test_a_run_is_shown_in_ten_lines(trained):
    run = load_own_run(trained[0], method(), SOURCE)
    lines = repr(run).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) < 150
    words = " ".join(lines)
    for told in (
        "mine",
        "sprites, 737,280 images of 16x16x1",
        "shape, scale",
        "encoder (",
        f"step      {int(run.state.step)}",
        "loss ",
    ):
        assert told in words


def test_rows_are_handed_over_with_the_state():
    seen = []
    state = train(
        method(), SOURCE, on_row=lambda step, state, row: seen.append((step, int(state.step), row)), **SETTINGS
    )
    assert [(step, at) for step, at, _ in seen] == [(2, 2), (4, 4)]
    assert int(state.step) == 4
    rows = []
    train(method(), SOURCE, writers=[lambda step, row: rows.append(row)], **SETTINGS)
    for (_, _, row), written in zip(seen, rows, strict=True):
        assert row["loss"] == written["loss"]


def test_a_progress_bar_is_shown_where_it_is_asked_for(monkeypatch):
    shown = []

    @contextmanager
    def bar(total, start=0):
        shown.append((total, start))
        yield lambda step, row: shown.append(step)

    monkeypatch.setattr("jaxvae.training.loop.progress_writer", bar)
    train(method(), SOURCE, **SETTINGS)
    assert shown == []
    train(method(), SOURCE, progress=True, **SETTINGS)
    assert shown == [(4, 0), 2, 4]
