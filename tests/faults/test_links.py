"""A run folder from a stranger may hold symbolic links: nothing is written to where they lead."""

import os
import warnings

import numpy as np
import pytest

from jaxvae.cli.main import COMMANDS, main
from jaxvae.files import LeadsOutside
from jaxvae.runs.config import default_config
from jaxvae.runs.folder import open_run
from jaxvae.runs.score import read_scores
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.run_folder import (
    RunFolderError,
    cut_history,
    only_writer,
    read_settings,
    write_history,
    write_json,
)
from jaxvae.training.writers import jsonl_writer

CONFIG = default_config("beta-vae").with_flags(steps=10)


@pytest.fixture
def run(tmp_path):
    open_run(tmp_path / "run", CONFIG, resume=False)
    (tmp_path / "run" / "lock").unlink(missing_ok=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "victim").write_text("precious")
    yield tmp_path / "run"
    assert (tmp_path / "victim").read_text() == "precious"
    assert os.listdir(tmp_path / "outside") == []


def test_files_of_a_run_replace_the_links_under_their_names(run, tmp_path):
    for name in ("config.json", "config.json.partial", "metrics.jsonl", "metrics.jsonl.partial", "scores.json"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(tmp_path / "victim")
    write_json(run / "config.json", CONFIG.to_json())
    write_json(run / "scores.json", {})
    write_history(run, [{"step": 5, "loss": 1.0}])
    cut_history(run, 5)
    with jsonl_writer(run / "metrics.jsonl") as write:
        write(10, {"loss": 0.5})
    assert (run / "metrics.jsonl").read_text().count("\n") == 2


def test_rows_are_not_appended_through_a_link(run, tmp_path):
    (run / "metrics.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(LeadsOutside, match="metrics.jsonl is a symbolic link"), jsonl_writer(run / "metrics.jsonl"):
        pass


def test_a_lock_is_not_made_through_a_link(run, tmp_path):
    (run / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(LeadsOutside, match="lock is a symbolic link out of its folder"), only_writer(run):
        pass
    with pytest.raises(RunFolderError, match="lock is a symbolic link out of its folder"):
        open_run(run, CONFIG, resume=True)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/5", "checkpoints/5.orbax-checkpoint-tmp"])
def test_checkpoints_are_not_written_through_a_link(name, run, tmp_path):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(tmp_path / "outside")
    with pytest.raises(LeadsOutside, match=f"{name} is a symbolic link out of its folder"):
        Checkpoints(run / "checkpoints")


def test_members_are_not_trained_through_a_link(run, tmp_path, capsys):
    population = tmp_path / "population"
    population.mkdir()
    (population / "seed-1").symlink_to(tmp_path / "outside")
    with pytest.raises(SystemExit):
        main(
            ["train", "beta-vae", "--data", "sprites", "--image-size", "16", "--seeds", "0:2", "--run", str(population)]
        )
    assert "seed-1 is a symbolic link out of its folder" in capsys.readouterr().err


def test_settings_of_any_size_are_not_read(run):
    with (run / "config.json").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(RunFolderError, match=r"config.json: it has 104,857,600 bytes, and at most 67,108,864 are read"):
        read_settings(run, "config.json")
    (run / "scores.json").write_text('{"step": ' + "[" * 100_000)
    with pytest.raises(RunFolderError, match=r"scores.json: it is nested too deeply"):
        read_scores(run)


def test_escape_sequences_in_names_do_not_reach_the_terminal(tmp_path, capsys):
    path = tmp_path / "a\x1b[2J\x1b]0;owned\x07.npz"
    np.savez(path.open("wb"), images=np.full((2, 8, 8), 7.0))
    with pytest.raises(SystemExit):
        main(["train", "vae", "--data", f"arrays:{path}", "--steps", "2", "--run", str(tmp_path / "r")])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"a\x1b[2J\x1b]0;owned\x07: images must be in [0, 1], found 7 to 7" in printed.err


@pytest.mark.parametrize(
    "words", [["encode", "r", "--out", "c.csv", "--flag\x1b[2J", "3"], ["explore", "r", "--port", "\x1b[2J"]]
)
def test_escape_sequences_in_words_are_not_repeated(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"\x1b[2J" in printed.err


def test_escape_sequences_in_warnings_are_shown(monkeypatch):
    monkeypatch.setitem(COMMANDS, "list", lambda words: warnings.warn("a\x1b[2J", stacklevel=2))
    with pytest.warns(UserWarning, match="a") as caught:
        main(["list"])
    assert str(caught[0].message) == r"a\x1b[2J"


@pytest.mark.process
@pytest.mark.parametrize("shape", [(16, 16, 2), (16, 16, 5), (1, 1, 20)])
def test_any_number_of_channels_is_trained_on_and_reported(shape, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / os.fsdecode(b"caf\xe9.npz")  # a name that is not UTF-8, as from an old archive
    with path.open("wb") as file:
        np.savez(file, images=rng.random((64, *shape)), factors=rng.integers(0, 3, (64, 2)))
    run = tmp_path / "r"
    network = ["--network", "mlp-small"]
    main(["train", "vae", "--data", f"arrays:{path}", *network, "--steps", "4", "--batch-size", "8", "--run", str(run)])
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert ("shown in red and green" if shape[2] == 2 else "the first three channels are shown") in page
    assert r"caf\udce9" in page
