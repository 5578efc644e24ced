"""Observers during training: scores, pictures and histograms, which change nothing and are the same after a resume."""

import json
import math

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvae.cli.main import main
from jaxvae.cli.train import parse_train
from jaxvae.data import Sprites, from_arrays, split
from jaxvae.methods import VAE, vae
from jaxvae.metrics import dci, mig
from jaxvae.networks import autoencoder
from jaxvae.report import image_observer
from jaxvae.report.pictures import GAP, LABEL_WIDTH, tile_size
from jaxvae.runs import load_own_run, load_run, represent, score_observer
from jaxvae.runs.latents import latents_by_size
from jaxvae.runs.observe import OBSERVED
from jaxvae.training import train
from jaxvae.training.observers import Observation, Observer
from jaxvae.training.writers import Writer, folder_writer, tensorboard_writer
from tests.faults.tiny import rows, same_bits

SOURCE = Sprites(resolution=16)
METHOD = vae(autoencoder("mlp-small", SOURCE.event_shape, latent_dim=3), hyperparameters=VAE(learning_rate=1e-3))
EMPTY = Image.new("RGB", (1, 1))
SETTINGS = {"batch_size": 8, "log_every": 4, "checkpoint_every": 6}


def weights(every=5):
    """An observer that looks at one number of the state."""

    def observe(state):
        value = np.asarray(jax.tree.leaves(state.params)[0]).ravel()[0]  # a number of NumPy
        picture = np.full((2, 2, 3), int(state.step), np.uint8)
        return Observation({"weight": value}, {"a/picture": picture}, {"codes": np.arange(3.0)})

    return Observer(every, observe)


def observed(folder, steps, **settings):
    with folder_writer(folder / "images", after=newest(folder)) as write:
        return train(
            METHOD, SOURCE, steps=steps, folder=folder, observers=[weights()], writers=[write], **SETTINGS, **settings
        )


def newest(folder):
    return max((int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdecimal()), default=0)


def pictures(folder):
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


def test_observing_changes_nothing_and_a_resumed_run_observes_the_same(tmp_path):
    whole = observed(tmp_path / "whole", 15)
    same_bits(train(METHOD, SOURCE, steps=15, batch_size=8), whole)
    scores = {row["step"]: row["score_weight"] for row in rows(tmp_path / "whole") if "score_weight" in row}
    assert list(scores) == [5, 10, 15]
    for end in (7, 15):
        resumed = observed(tmp_path / "twice", end)
    same_bits(resumed, whole)
    again = {row["step"]: row["score_weight"] for row in rows(tmp_path / "twice") if "score_weight" in row}
    assert again.pop(7) not in scores.values()  # the end of the first part
    assert again == scores
    assert sorted(pictures(tmp_path / "whole")) == [f"{step:08d}-a-picture.png" for step in (5, 10, 15)]
    assert {name: again for name, again in pictures(tmp_path / "twice").items() if "007" not in name} == pictures(
        tmp_path / "whole"
    )


def test_pictures_after_the_checkpoint_are_deleted(tmp_path):
    (tmp_path / "00000010-traversals.png").touch()
    (tmp_path / "00000011-traversals.png").touch()
    (tmp_path / "mine.png").touch()
    with folder_writer(tmp_path, after=10):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["00000010-traversals.png", "mine.png"]


def test_pictures_and_histograms_come_before_the_row_and_rows_alone_to_functions():
    log, plain = [], []
    writer = Writer(
        lambda step, row: log.append(("row", step, "score_weight" in row)),
        lambda step, images: log.append(("images", step, *images)),
        lambda step, values: log.append(("histograms", step, *values)),
    )
    also = [writer, lambda step, row: plain.append(step)]
    train(METHOD, SOURCE, steps=8, batch_size=8, log_every=4, observers=[weights(4)], writers=also)
    assert log[:3] == [("images", 4, "a/picture"), ("histograms", 4, "codes"), ("row", 4, True)]
    assert [each[1] for each in log] == [4, 4, 4, 8, 8, 8]
    assert plain == [4, 8]


def test_an_interval_below_one_is_refused():
    with pytest.raises(ValueError, match="interval must be at least 1 step, got 0"):
        train(METHOD, SOURCE, steps=1, batch_size=8, observers=[weights(0)])


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A run with real observers, and the pictures of its last step."""
    folder = tmp_path_factory.mktemp("observed")
    taken, codes = {}, {}
    observers = [score_observer(METHOD, SOURCE, 4), image_observer(METHOD, SOURCE, 4)]
    writer = Writer(lambda step, row: None, lambda step, all: taken.update(all), lambda step, all: codes.update(all))
    train(METHOD, SOURCE, steps=6, folder=folder, observers=observers, writers=[writer], **SETTINGS)
    return load_own_run(folder, METHOD, SOURCE), taken, codes


@pytest.mark.process
def test_scores_are_those_of_the_first_examples_of_the_report(shown):
    run, _, _ = shown
    codes = represent(run, OBSERVED)
    row = run.history[-1]
    assert [name for name in row if name.startswith("score_")] == ["score_mig", "score_dci"]
    np.testing.assert_allclose(row["score_mig"], mig(codes.mean, codes.factors).score, rtol=1e-4)
    np.testing.assert_allclose(row["score_dci"], dci(codes.mean, codes.factors).score, rtol=1e-2)
    assert [row["step"] for row in run.history if "score_mig" in row] == [4, 6]


@pytest.mark.process
def test_pictures_are_of_the_model(shown):
    run, taken, codes = shown
    assert list(taken) == ["reconstructions", "traversals", "prior samples"]
    assert list(codes) == ["codes/z0", "codes/z1", "codes/z2"]
    np.testing.assert_allclose(np.stack(list(codes.values()), 1), represent(run, 500).mean, atol=1e-6)
    side, _ = tile_size(16, 16)
    grid = taken["reconstructions"]

    def tile(row, column):
        """One pixel of each enlarged pixel."""
        top, left = row * (side + GAP), LABEL_WIDTH + column * (side + GAP)
        return grid[top : top + side : side // 16, left : left + side : side // 16, 0] / 255

    for column in (0, 3):
        rebuilt = run.decoder(run.encode(tile(0, column)[None, :, :, None]).mean)[0, :, :, 0]
        np.testing.assert_allclose(tile(1, column), rebuilt, atol=2 / 255)


def test_data_without_factors_and_methods_without_codes(tmp_path):
    plain = from_arrays(np.random.default_rng(0).random((30, 8, 8, 1), np.float32))
    method = vae(autoencoder("mlp-small", (8, 8, 1), latent_dim=2), hyperparameters=VAE())
    held_out = split(plain, 0.4).held_out
    state = train(method, plain, steps=1, batch_size=4)
    scores = score_observer(method, plain, 1, held_out=held_out).observe(state).scores
    assert list(scores) == ["gaussian_total_correlation", "mutual_information_score"]
    assert all(map(math.isfinite, scores.values()))
    with pytest.raises(ValueError, match="mig needs factors, and those of"):
        score_observer(method, plain, 1, metrics=["mig"])
    with pytest.raises(ValueError, match="pipe needs a decoder"):
        score_observer(method, plain, 1, metrics=["pipe"])
    with pytest.raises(ValueError, match="vae learns no code"):
        score_observer(method._replace(encode=type(method)._field_defaults["encode"]), plain, 1)
    with pytest.raises(ValueError, match="pictures during training are for images"):
        image_observer(method, from_arrays(np.zeros((9, 4), np.float32), real=True), 1)


@pytest.mark.process
@pytest.mark.parametrize("name", ["factor-vae", "mcr2", "va-gan"])
def test_each_kind_of_method_draws_what_it_has(name):
    from tests.explorer.explored import untrained
    from tests.methods.method_table import SOURCE as EVERYTHING
    from tests.methods.method_table import make

    run = untrained(make(name), EVERYTHING)
    found = image_observer(run.method, EVERYTHING, 1).observe(run.state)
    expected = {"factor-vae": 3, "mcr2": 0, "va-gan": 1}[name]
    assert len(found.images) == expected
    assert bool(found.histograms) == (name != "va-gan")
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in found.images.values())


@pytest.mark.process
@pytest.mark.parametrize("name", ["qlae", "beta-vae"])
def test_latents_are_ordered_as_in_the_report(name, monkeypatch):
    """The KL of a deterministic code to the prior tells nothing, so that the changes of the output take its place."""
    from tests.explorer.explored import untrained
    from tests.methods.method_table import SOURCE as EVERYTHING
    from tests.methods.method_table import make

    shown = []
    monkeypatch.setattr("jaxvae.report.during.image_rows", lambda rows, labels, above: shown.extend(labels) or EMPTY)
    run = untrained(make(name), EVERYTHING)
    image_observer(run.method, EVERYTHING, 1).observe(run.state)
    latents = latents_by_size(run, represent(run, 500), {})
    unit, sizes = ("%", 100 * latents.sizes) if name == "qlae" else ("nats", latents.sizes)
    assert [(label.name, label.detail) for label in shown] == [
        (f"z{index}", f"{sizes[index]:.2f} {unit}") for index in latents.order
    ]


def test_tensorboard_has_pictures_and_histograms(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs pip install 'jaxvae[tensorboard]'")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401 - the file is a sequence of records

    with tensorboard_writer(tmp_path) as write:
        write.images(3, {"reconstructions": np.full((4, 5, 3), 7, np.uint8)})
        write.histograms(3, {"codes/z0": np.array([0.0, 1.0, 1.0])})
        write(3, {"loss": 2.0})
    (file,) = tmp_path.iterdir()
    data, found = file.read_bytes(), {}
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        found |= {value.tag: (event.step, value) for value in event.summary.value}
        data = data[16 + length :]
    assert {tag: step for tag, (step, _) in found.items()} == {"reconstructions": 3, "codes/z0": 3, "loss": 3}
    assert (found["reconstructions"][1].image.height, found["reconstructions"][1].image.width) == (4, 5)
    assert found["codes/z0"][1].histo.num == 3


TINY = ["vae", "--data", "sprites", "--image-size", "16", "--batch-size", "8", "--log-every", "2", "--no-score"]
EVERY = ["--images-every", "3", "--score-every", "4"]


@pytest.mark.process
def test_the_flags_write_to_the_folder_and_the_report_and_resume(tmp_path, capsys):
    whole, twice = tmp_path / "whole", tmp_path / "twice"
    main(["train", *TINY, *EVERY, "--steps", "6", "--run", str(whole)])
    assert sorted({name.partition("-")[0] for name in pictures(whole)}) == ["00000003", "00000006"]
    assert {name.partition("-")[2] for name in pictures(whole)} == {
        "reconstructions.png",
        "traversals.png",
        "prior-samples.png",
    }
    assert [row["step"] for row in rows(whole) if "score_dci" in row] == [4, 6]
    main(["train", *TINY, *EVERY, "--steps", "3", "--run", str(twice)])
    main(["train", "--steps", "6", "--run", str(twice), "--resume"])
    same_bits(load_run(twice).state, load_run(whole).state)
    assert pictures(twice) == pictures(whole)
    assert rows(twice)[-1] == rows(whole)[-1]
    main(["train", *TINY, "--steps", "6", "--run", str(tmp_path / "plain")])
    same_bits(load_run(tmp_path / "plain").state, load_run(whole).state)
    assert not (tmp_path / "plain" / "images").exists()
    assert not any(name.startswith("score_") for row in rows(tmp_path / "plain") for name in row)
    main(["report", str(whole), "--num-samples", "300"])
    page = (whole / "report" / "index.html").read_text()
    assert "Scores during training" in page
    assert "mig against the training step" in page.lower()


@pytest.mark.process
def test_trackers_get_the_pictures(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs pip install 'jaxvae[wandb]'")
    pytest.importorskip("mlflow", reason="needs pip install 'jaxvae[mlflow]'")
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    main(["train", *TINY, "--images-every", "2", "--steps", "4", "--run", str(folder), "--wandb", "--mlflow"])
    kept = sorted(path.name for path in folder.glob("mlartifacts/**/images/*.png"))
    assert kept == sorted(pictures(folder))
    for path in folder.glob("mlartifacts/**/images/*.png"):
        np.testing.assert_array_equal(
            np.asarray(Image.open(path)), np.asarray(Image.open(folder / "images" / path.name))
        )
    images = sorted(folder.glob("wandb/offline-run-*/files/media/images/*.png"))
    assert len(images) == len(kept) == 6
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "home"}


@pytest.mark.parametrize("flag", ["--images-every", "--score-every"])
def test_for_a_single_run_and_at_least_one_step(flag, tmp_path, capsys):
    for more, told in ((["2", "--seeds", "0:2"], "is for a single run"), (["0"], "must be at least 1, got 0")):
        with pytest.raises(SystemExit) as stop:
            main(["train", *TINY, "--run", str(tmp_path / "run"), flag, *more])
        assert stop.value.code == 2
        assert f"{flag} {told}" in capsys.readouterr().err


def test_tables_have_no_pictures(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n" + "".join(f"{i}.5,{-i}.25\n" for i in range(20)))
    with pytest.raises(ValueError, match="--images-every is for images: leave it out"):
        parse_train(["vae", "--data", f"table:{tmp_path / 'table.csv'}", "--images-every", "2"])


@pytest.mark.process
def test_a_method_without_a_code_is_refused_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "va-gan", "--run", str(tmp_path / "run"), "--score-every", "2"])
    assert stop.value.code == 2
    assert "va-gan learns no code that could be scored during training" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_settings_are_kept(tmp_path):
    config = parse_train([*TINY, *EVERY]).config
    written = json.loads(json.dumps(config.to_json()))
    assert (written["training"]["images_every"], written["training"]["score_every"]) == (3, 4)
    assert type(config).from_json(written) == config
