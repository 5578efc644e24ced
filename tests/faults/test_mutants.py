"""Edited and damaged files end in a result, or in a line that says what is wrong: never in a traceback."""

import shutil

import numpy as np
import pytest
from PIL import Image

from jaxvae.cli.main import main
from jaxvae.data import open_data
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import config_of, load_run
from jaxvae.runs.score import read_scores
from jaxvae.training import train
from jaxvae.training.run_folder import read_history
from tests.faults.mutants import mutated_bytes, mutated_json

CONFIG = default_config("vae").with_flags(data="sprites", image_size=16, latents=3, steps=2, batch_size=4, log_every=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    open_run(folder, CONFIG, resume=False)
    source, method = build(CONFIG)
    train(method, source, steps=2, batch_size=4, log_every=1, folder=folder)
    main(["evaluate", str(folder), "--metrics", "mig", "sap", "--num-samples", "100"])
    return folder


@pytest.fixture(scope="module")
def data_files(tmp_path_factory):
    """One of each kind, and the flag that names it."""
    folder = tmp_path_factory.mktemp("data")
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8)
    factors = np.stack([np.arange(20) % 2, np.arange(20) % 5], axis=1)
    np.save(folder / "a.npy", images)
    np.savez(folder / "a.npz", images=images, factors=factors, factor_names=np.array(["one", "two"]))
    h5py = pytest.importorskip("h5py", reason="needs pip install h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"], file["factors"] = images, factors
    (folder / "pictures").mkdir()
    for number, image in enumerate(images[:3]):
        Image.fromarray(image[..., 0]).save(folder / "pictures" / f"{number}.png")
    return {
        folder / "a.npy": "arrays:{}",
        folder / "a.npz": "arrays:{}",
        folder / "a.h5": "arrays:{}",
        folder / "pictures" / "1.png": "pictures:{.parent}",
    }


def in_a_line(action):
    """Whether it worked; raises what is no error that a user is told in a line."""
    try:
        action()
    except (ValueError, OSError):  # RunFolderError is a ValueError; main() prints these
        return False
    return True


def configurations(trained, tmp_path, numbers):
    """How many of the mutants could be used."""
    place = shutil.copytree(trained, tmp_path / "run")
    text, usable = (trained / "config.json").read_text(), 0
    for number in numbers:
        (place / "config.json").write_bytes(mutated_json(text, np.random.default_rng(number)))
        usable += in_a_line(lambda: load_run(place) and build(config_of(place)))
    return usable


def scores_and_rows(trained, tmp_path, numbers):
    place = shutil.copytree(trained, tmp_path / "run")
    usable = 0
    for name, read in (("scores.json", read_scores), ("metrics.jsonl", read_history)):
        for number in numbers:
            text = (trained / name).read_text()
            line = text if name == "scores.json" else text.splitlines()[0]
            mutant = mutated_json(line, np.random.default_rng(number))
            (place / name).write_bytes(mutant)
            usable += in_a_line(lambda read=read: read(place))
    return usable


def data(data_files, tmp_path, numbers):
    usable = 0
    for file, flag in data_files.items():
        copied = shutil.copytree(file.parent, tmp_path / file.stem / file.suffix[1:] / "data") / file.name
        for number in numbers:
            copied.write_bytes(mutated_bytes(file.read_bytes(), np.random.default_rng(number)))
            usable += in_a_line(lambda flag=flag, copied=copied: open_data(flag.format(copied)))
    return usable


@pytest.mark.process
def test_some_mutants(trained, data_files, tmp_path):
    assert 0 < configurations(trained, tmp_path / "a", range(20)) < 20
    assert 0 < scores_and_rows(trained, tmp_path / "b", range(20)) < 40
    assert 0 < data(data_files, tmp_path / "c", range(10)) < 40


@pytest.mark.slow
def test_500_mutants(trained, data_files, tmp_path):
    configurations(trained, tmp_path / "a", range(100, 300))
    scores_and_rows(trained, tmp_path / "b", range(100, 150))
    data(data_files, tmp_path / "c", range(100, 150))


CONFIGS = [("config.json", text) for text in ("[]", "{}", '{"method": ["vae"]}')]
ROWS = ("metrics.jsonl", '{"step": 1, "loss": "low"}\n')
SCORES = ("scores.json", '{"metrics": 3}')  # the other commands write them anew


@pytest.mark.parametrize(
    ("command", "file", "text"),
    [(command, *what) for command in ("evaluate", "report", "compare", "train") for what in (*CONFIGS, ROWS)]
    + [("compare", *SCORES)],
)
def test_commands_say_it_in_a_line(trained, tmp_path, command, file, text, capsys):
    place = shutil.copytree(trained, tmp_path / "run")
    (place / file).write_text(text)
    words = {"train": ["train", "--run", str(place), "--resume", "--steps", "3"]}.get(command, [command, str(place)])
    more = {"compare": ["--out", str(tmp_path / "page.html")]}.get(command, [])
    with pytest.raises(SystemExit) as stop:
        main([*words, *more])
    error = capsys.readouterr().err
    assert stop.value.code in (1, 2)
    assert error.startswith("jaxvae: ")
    assert error.count("\n") == 1
    assert file.split(".")[0] in error


@pytest.mark.process
def test_nothing_is_executed_from_a_file(tmp_path):
    """An array of objects is a pickle: it is refused before it is read."""

    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    attack = np.array([Attack()], dtype=object)
    np.save(tmp_path / "a.npy", attack, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=attack)
    for file in ("a.npy", "b.npz"):
        with pytest.raises(ValueError, match=file):
            open_data(f"arrays:{tmp_path / file}")
    assert not (tmp_path / "executed").exists()
