"""The command as a user meets it: what it prints, where it leaves things, and how it says no."""

import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from PIL import Image

from jaxvae import cli
from jaxvae.cli.main import main
from jaxvae.cli.terminal import folders_first
from jaxvae.metrics import METRICS, UNSUPERVISED
from jaxvae.runs.score import QUICK, THOROUGH

TINY = ["--data", "sprites", "--image-size", "16", "--batch-size", "8", "--steps", "4"]


def call(*arguments):
    return subprocess.run([sys.executable, "-m", "jaxvae", *map(str, arguments)], capture_output=True, text=True)


BETA_VAE = ["train", "beta-vae", *TINY, "--beta", "2", "--learning-rate", "0.01", "--log-every", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, and what the command printed."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    with redirect_stdout(StringIO()) as told:
        main([*BETA_VAE, "--run", str(folder)])
    return folder, told.getvalue()


def test_the_command_is_where_it_was_in_0_1():
    assert cli.main is main


@pytest.mark.process
def test_train_leaves_a_complete_run_folder(trained):
    folder, told = trained
    lines = told.splitlines()
    assert lines[0] == f"beta-vae on sprites (737,280 images): 4 steps of 8 images, learning rate 0.01, in {folder}"
    assert [line.split()[0] for line in lines[1:]] == ["trained", "metric", *QUICK, "report:"]
    config = json.loads((folder / "config.json").read_text())
    assert config["hyperparameters"] == {"learning_rate": 0.01, "beta": 2.0, "warmup": 0.0}
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert (folder / "checkpoints" / "4").is_dir()
    scores = json.loads((folder / "scores.json").read_text())
    assert 0 <= scores["metrics"]["mig"]["score"] <= 1
    low, high = scores["metrics"]["mig"]["interval"]
    assert low <= scores["metrics"]["mig"]["score"] <= high
    assert set(scores["sampled"]) == set(QUICK)
    assert "</html>" in (folder / "report" / "index.html").read_text()


@pytest.mark.process
def test_train_is_quiet_where_it_is_not_a_terminal(tmp_path):
    done = call(*BETA_VAE, "--run", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")  # no progress bar
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "beta-vae",
        "trained",
        "metric",
        *QUICK,
        "report:",
    ]


@pytest.mark.process
def test_many_runs_in_one_command(tmp_path, capsys):
    many = ["beta-vae", *TINY, "--seeds", "0:2", "--sweep", "beta=1,4", "--run", str(tmp_path / "many")]
    main(["train", *many])
    shown = capsys.readouterr().out
    names = [f"beta-{beta}-seed-{seed}" for beta in (1, 4) for seed in (0, 1)]
    assert [line.split()[0] for line in shown.splitlines()[2:-1]] == names
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == names
    one = tmp_path / "many" / names[-1]
    config = json.loads((one / "config.json").read_text())
    assert (config["training"]["seed"], config["hyperparameters"]["beta"]) == (1, 4.0)
    main(["evaluate", str(one), "--num-samples", "500", "--metrics", "mig"])
    assert capsys.readouterr().out.splitlines()[1].startswith("mig")
    with pytest.raises(SystemExit):
        main(["train", *many])
    assert "holds a run already: add --resume" in capsys.readouterr().err
    main(["train", *many, "--resume", "--steps", "6", "--devices", "2"])
    assert json.loads((one / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6
    main(["train", "beta-vae", "--run", str(one), "--resume", "--steps", "8"])  # a member is a run like any other
    assert json.loads((one / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 8


@pytest.mark.process
def test_several_devices(tmp_path, capsys):
    tiny = [*TINY, "--no-score"]
    main(["train", "beta-vae", *tiny, "--devices", "4", "--microbatch", "2", "--run", str(tmp_path / "four")])
    main(["train", "beta-vae", *tiny, "--devices", "2", "--backend", "pmap", "--run", str(tmp_path / "two")])
    main(["train", "beta-vae", *tiny, "--run", str(tmp_path / "one")])
    losses = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])["loss"]
        for name in ("four", "two", "one")
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    with pytest.raises(SystemExit):
        main(["train", "beta-vae", *TINY, "--devices", "3"])
    assert "a batch of 8 images can't be split over 3 devices" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "beta-vae", *TINY, "--devices", "100"])
    assert "100 devices were asked for; there are 8 (cpu)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "beta-vae", *TINY, "--seeds", "0:2", "--tensorboard"])
    assert "--tensorboard is for a single run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "beta-vae", *TINY, "--seeds", "0:2", "--sweep", "beta=1,inf"])
    assert "hyperparameter beta must be a finite number, got inf" in capsys.readouterr().err


@pytest.mark.process
def test_what_a_run_has_switched_on_may_be_said_again(tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1), np.uint8))
    flags = ["--data", f"arrays:{tmp_path / 'images.npy'}", "--stream", "--no-score"]
    flags += ["--batch-size", "8", "--steps", "2"]
    main(["train", "beta-vae", *flags, "--run", str(tmp_path / "run")])
    main(["train", "beta-vae", *flags, "--run", str(tmp_path / "run"), "--resume"])


@pytest.mark.process
def test_evaluate_and_report_work_on_the_run(trained, capsys):
    folder, _ = trained
    main(["evaluate", str(folder), "--num-samples", "500", "--checkpoint", "best"])
    shown = capsys.readouterr().out
    assert "500 examples" in shown
    assert [line.split()[0] for line in shown.splitlines()[1:]] == list(THOROUGH)
    scores = json.loads((folder / "scores.json").read_text())["metrics"]
    assert np.shape(scores["dci"]["importance"]) == (10, 5)
    main(["evaluate", str(folder), "--num-samples", "500", "--metrics", "downstream", "mig"])
    assert list(json.loads((folder / "scores.json").read_text())["sampled"]) == [*THOROUGH, "downstream"]  # merged
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder), "--metrics", "gim"])
    assert "unknown metric 'gim'. There are: mig, mig_sup, jemmig" in capsys.readouterr().err
    (folder / "report" / "index.html").unlink()
    main(["report", str(folder), "--num-samples", "500"])
    assert (folder / "report" / "index.html").exists()


@pytest.mark.process
def test_resume_takes_what_is_not_said_from_the_run(trained, capsys):
    folder, _ = trained
    main(["train", "--run", str(folder), "--resume", "--steps", "6"])
    told = capsys.readouterr().out
    assert "beta-vae on sprites (737,280 images): 6 steps of 8" in told
    assert "resumed: its newest checkpoint is of step 4" in told
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6


@pytest.mark.process
def test_pictures_without_factors_are_trained_on_and_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    settings = ["--image-size", "16", "--sampling", "epochs", "--batch-size", "3", "--steps", "4"]
    main(["train", "vae", "--data", f"pictures:{tmp_path / 'photos'}", *settings])
    out = capsys.readouterr().out
    assert "vae on photos (5 images): 4 steps of 3 images, learning rate 0.0001, in runs/vae-pictures-photos-0" in out
    folder = tmp_path / "runs" / "vae-pictures-photos-0"
    assert json.loads((folder / "scores.json").read_text())["metrics"].keys() == UNSUPERVISED.keys() - {"support"}
    assert "metrics that need factors are left out: the factors of photos are not known" in out
    assert "</html>" in (folder / "report" / "index.html").read_text()
    main(["evaluate", str(folder), "--num-samples", "7"])
    assert "not known" in capsys.readouterr().out


def test_list_names_everything_with_a_line_each(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert {"methods", "baselines", "data", "networks", "metrics", "presets of methods (--preset)"} <= set(lines)
    entries = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    assert {"vae", "beta-vae", "beta-tc-vae", "pca", "scene", "sprites", "conv", "mig"} <= {
        entry[0] for entry in entries
    }
    assert all(len(entry) == 2 and len(" ".join(entry)) < 130 for entry in entries)


def test_help_and_version(capsys):
    main([])
    main(["--version"])
    assert "jaxvae train" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["train", "beta-tc-vae", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--beta" in text
    assert "--steps" in text


def test_a_run_may_stand_after_the_metrics(tmp_path):
    """The flag takes several words, and would take the run as well."""
    run, other = tmp_path / "run", tmp_path / "mig"
    run.mkdir()
    other.mkdir()
    words = ["--num-samples", "5", "--metrics", "mig", "sap", str(run), str(other), "--out", "page.html"]
    expected = [str(run), str(other), "--num-samples", "5", "--metrics", "mig", "sap", "--out", "page.html"]
    assert folders_first(words, "--metrics", METRICS) == expected
    for unchanged in (["a", "b"], ["--metrics", "mig", "gim"], ["--metrics", "mig", "--out", str(run)]):
        assert folders_first(unchanged, "--metrics", METRICS) == unchanged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["trian"],
            "unknown command 'trian': did you mean 'train'? There are: train, fit, evaluate, report, compare, figures,",
        ),
        (
            ["train", "beta-vea"],
            "unknown method 'beta-vea': did you mean 'beta-vae'? There are: vae, beta-vae",
        ),
        (["train", "FactorVEA"], "unknown method 'FactorVEA': did you mean 'factor-vae'?"),
        (["train", "--lr", "1"], "unknown flag --lr; `jaxvae train beta-tc-vae --help` lists the flags"),
        (["train", "--data", "{tmp}"], "no pictures in this folder"),
        (["train", "--beta", "1,4"], "--beta takes one number; for several, write --sweep beta=1,4"),
        (["train", "--seeds", "3"], "--seeds 3 is one seed: write 0:3 for 3 seeds, or --seed"),
        (["train", "--data", "sprite"], "unknown data 'sprite': did you mean 'sprites'? There are: "),
        (["train", "--network", "cnv"], "unknown network 'cnv': did you mean 'conv'?"),
        (["train", "--dtype", "float16"], "unknown dtype 'float16': did you mean 'bfloat16'?"),
        (["train", "--likelihood", "x"], "unknown likelihood 'x'. There are: auto, bernoulli"),
        (
            ["train", "--likelihood", "gaussian", "--scale", "0"],
            "scale of the gaussian likelihood must be positive",
        ),
        (["train", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["train", "beta-tc-vae", "--batch-size", "1"], "at least 2"),
        (["train", "--steps", "-5"], "--steps must be at least 1, got -5"),
        (["train", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["train", "--seed", "4294967296"], "--seed must be below 2**32"),
        (["train", "--image-size", "160000000"], "image size must be at most 4096"),
        (["train", "--warmup", "-5"], "the warmup is a number of steps"),
        (["train", "--likelihood", "laplace", "--scale", "nan"], "scale of the laplace likelihood must be positive"),
        (["train", "--data", "sprites", "vae"], "the method comes first: jaxvae train vae"),
        (["train", "--log-every", "0"], "--log-every must be at least 1"),
        (["train", "--latents", "0"], "at least 1 latent"),
        (["train", "--image-size", "30"], "image size must be a positive multiple of 16, got 30"),
        (["train", "--learning-rate", "0"], "learning rate must be positive"),
        (["train", "--beta", "nan"], "hyperparameter beta must be a finite number"),
        (["train", "beta-vae", "--beta", "-1"], "beta weighs the KL and must be >= 0"),
        (["train", "--resume"], "--resume needs the folder"),
        (["evaluate", "{tmp}/nothing"], "there is no run in"),
        (["list", "methods"], "takes no arguments"),
    ],
)
def test_what_is_asked_wrongly_gets_one_line_and_exit_code_2(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("jaxvae: ")
    assert len(error.splitlines()) == 1
    assert message in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "holds a run already: add --resume"),
        (["--resume", "--batch-size", "9"], "batch_size was 8 and is now 9"),
        (["--resume", "--steps", "2"], "it can't end at 2"),
        (["--resume", "--beta", "3"], "hyperparameters.beta was 2.0 and is now 3.0"),
    ],
)
def test_a_run_is_never_overwritten_or_continued_as_another(trained, change, message, capsys):
    folder, _ = trained
    with pytest.raises(SystemExit) as stop:
        main(["train", "--run", str(folder), *change])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.process
def test_a_method_that_differs_from_the_runs_is_refused(trained, capsys):
    folder, _ = trained
    with pytest.raises(SystemExit):
        main(["train", "vae", *TINY, "--steps", "6", "--run", str(folder), "--resume"])
    assert "is of the method beta-vae, not vae: leave the method out" in capsys.readouterr().err


def test_a_folder_that_can_not_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        main(["train", *TINY, "--run", str(tmp_path / "file" / "run")])
    assert stop.value.code == 2
    assert "can't write to the run folder" in capsys.readouterr().err


@pytest.mark.process
def test_tensorboard_events_and_what_to_install_without_it(tmp_path, capsys, monkeypatch):
    main(["train", "vae", *TINY, "--run", str(tmp_path / "run"), "--tensorboard", "--no-score"])
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["train", *TINY, "--run", str(tmp_path / "other"), "--tensorboard"])
    assert stop.value.code == 2
    assert "pip install 'jaxvae[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.process
def test_a_loss_that_is_not_finite_fails_in_one_line(tmp_path):
    done = call("train", *TINY, "--steps", 60, "--learning-rate", 1e18, "--run", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.startswith("jaxvae: not a finite number at step ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.process
def test_scores_of_the_state_in_hand_are_those_of_the_run_loaded_again(trained, capsys):
    folder, _ = trained
    before = json.loads((folder / "scores.json").read_text())
    main(["evaluate", str(folder), "--metrics", *QUICK])
    after = json.loads((folder / "scores.json").read_text())
    assert {name: after["metrics"][name] for name in QUICK} == before["metrics"]
    assert after["properties"] == before["properties"]


def test_a_run_may_be_left_without_scores(tmp_path, capsys):
    main([*BETA_VAE, "--no-score", "--run", str(tmp_path / "run")])
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"`jaxvae report {tmp_path / 'run'}` scores the run and writes its report"
    )
    assert not (tmp_path / "run" / "scores.json").exists()
    assert (tmp_path / "run" / "checkpoints" / "4").is_dir()


def test_a_dry_run_says_what_a_step_takes_and_trains_nothing(tmp_path, capsys):
    main([*BETA_VAE, "--dry-run", "--run", str(tmp_path / "run")])
    shown = capsys.readouterr().out.splitlines()
    settings = dict(line.split(maxsplit=1) for line in shown[:-1])
    assert (settings["beta"], settings["data"], settings["clip-norm"]) == ("2.0", "sprites", "default")
    assert "texture" not in settings
    parameters, memory = re.match(
        r"([\d,]+) parameters, ([\d,]+) MB of memory per device; a step compiled", shown[-1]
    ).groups()
    encoder, decoder = (
        256 * 256 + 256 + 256 * 256 + 256 + 256 * 20 + 20,
        10 * 256 + 256 + 256 * 256 + 256 + 256 * 256 + 256,
    )
    assert int(parameters.replace(",", "")) == encoder + decoder
    assert int(memory.replace(",", "")) >= 4 * 3 * (encoder + decoder) / 1e6  # parameters, and Adam's two moments
    assert not (tmp_path / "run").exists()
