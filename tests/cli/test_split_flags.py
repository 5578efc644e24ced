"""Splits, validation and early stopping on the command line: a run from its flags to its scores."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO

import jax
import numpy as np
import pandas
import pytest

from jaxvae.cli.main import main
from jaxvae.cli.train import parse_train
from jaxvae.runs.build import build, build_parts
from jaxvae.runs.compare import compare
from jaxvae.runs.load import load_run
from jaxvae.runs.score import represent, scored_examples

DIGITS = ["--data", "digits", "--batch-size", "32", "--network", "mlp-small", "--latents", "2"]
SPLIT = ["--validation", "0.1", "--test", "0.2", "--split-seed", "3"]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with a large learning rate, which soon stops improving, and what the command printed."""
    folder = tmp_path_factory.mktemp("splits") / "run"
    flags = ["--steps", "100000", "--validate-every", "20", "--patience", "2", "--learning-rate", "0.05"]
    with redirect_stdout(StringIO()) as told:
        main(["train", "vae", *DIGITS, *SPLIT, *flags, "--run", str(folder)])
    return folder, told.getvalue()


@pytest.mark.process
def test_a_run_stops_early_and_is_scored_on_its_test_rows(trained, capsys):
    folder, told = trained
    lines = told.splitlines()
    assert lines[0].startswith("vae on digits (1,258 images, 180 for validation, 359 for testing): 100000 steps of 32")
    stopped = rows(folder)[-1]["step"]
    losses = {row["step"]: row["validation_loss"] for row in rows(folder) if "validation_loss" in row}
    best = min(losses, key=losses.get)
    assert stopped == best + 40
    assert lines[1].endswith(f"the validation loss was lowest at step {best} (--checkpoint best)")
    assert lines[2].endswith("definition (test, 359 examples)")
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["rows"], scores["num_examples"], scores["step"]) == ("test, 359 examples", 359, stopped)
    page = (folder / "report" / "index.html").read_text()
    assert "test, 359 examples" in page
    assert "Dashed lines are of the validation examples" in page
    main(["evaluate", str(folder), "--metrics", "mig", "--checkpoint", "best", "--num-samples", "100"])
    assert "definition (test, 100 of 359 examples)" in capsys.readouterr().out
    assert json.loads((folder / "scores.json").read_text())["step"] == best
    _, (line,) = compare([folder], num_samples=100, metrics=("mig",))
    assert "not finished" not in line.note


@pytest.mark.process
def test_a_run_that_stopped_early_goes_on_with_more_patience_on_the_same_rows(trained, capsys):
    folder, _ = trained
    stopped = rows(folder)[-1]["step"]
    resume = ["train", "--run", str(folder), "--resume", "--no-score"]
    main(resume)
    assert f"jaxvae: training stopped early at step {stopped}: the validation loss" in capsys.readouterr().err
    assert rows(folder)[-1]["step"] == stopped
    before = build_parts(load_run(folder).config).parts
    main([*resume, "--patience", "4"])
    assert rows(folder)[-1]["step"] > stopped
    after = build_parts(load_run(folder).config).parts
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(inmost(one).index, inmost(other).index)
    for flags in (["--test", "0.1"], ["--split-seed", "4"], ["--validation", "0.3"]):
        with pytest.raises(SystemExit):
            main([*resume, *flags])
        assert f"source.{flags[0][2:].replace('-', '_')} was" in capsys.readouterr().err
    run = load_run(folder)
    assert inmost(scored_examples(run)).index.shape == (359,)
    assert len(represent(run, 1000).mean) == 359


def inmost(part):
    return part if hasattr(part, "index") else inmost(part.source)


@pytest.mark.process
def test_minutes_and_many_seeds(tmp_path, capsys):
    flags = [*DIGITS, "--steps", "8", "--log-every", "2"]
    main(["train", "vae", *flags, "--max-minutes", "1e-9", "--run", str(tmp_path / "one"), "--no-score"])
    assert "training stopped at step 2 after 1e-09 minutes: resume to go on" in capsys.readouterr().err
    many = ["train", "vae", *flags, *SPLIT, "--seeds", "0:2", "--validate-every", "3", "--run", str(tmp_path / "many")]
    main(many)
    for name in ("seed-0", "seed-1"):
        losses = [row["step"] for row in rows(tmp_path / "many" / name) if "validation_loss" in row]
        assert losses == [3, 6, 8]
    main(["evaluate", str(tmp_path / "many" / "seed-1"), "--metrics", "mig"])
    assert "definition (test, 359 examples)" in capsys.readouterr().out
    for limit in ("--patience", "--max-minutes"):
        with pytest.raises(SystemExit):
            main([*many, limit, "2"])
        assert f"{limit} is for a single run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--patience", "3"], "--patience counts validations without improvement: add --validation 0.1"),
        (["--validate-every", "10"], "--validate-every is for runs with validation examples: add --validation 0.1"),
        (["--split-seed", "1"], "--split-seed is for --validation and --test: add one of them"),
        (["--validation", "1.5"], "the validation share must be at least 0 and below 1, got 1.5"),
        (["--validation", "nan"], "the validation share must be at least 0 and below 1, got nan"),
        (["--validation", "0.5", "--test", "0.5"], "must leave examples for training"),
        (["--test", "0.0001"], "no test examples would be left of the 1,797 examples of digits"),
        (["--validation", "0.1", "--patience", "0"], "--patience must be at least 1, got 0"),
        (["--validation", "0.1", "--validate-every", "0"], "--validate-every must be at least 1, got 0"),
        (["--max-minutes", "0"], "--max-minutes must be a positive number, got 0"),
        (["--max-minutes", "inf"], "--max-minutes must be a positive number, got inf"),
        (["--validation", "0.1", "--split-seed", "-1"], "--split-seed must be at least 0 and below 2**31, got -1"),
    ],
)
def test_flags_that_cannot_act_are_refused(flags, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        build(parse_train(["vae", "--data", "digits", *flags]).config)


@pytest.mark.parametrize(
    "words",
    [
        ["ada-gvae", "--data", "sprites", "--image-size", "16"],
        ["group-vae", "--data", "sprites", "--image-size", "16"],
        ["semi-supervised-vae", "--data", "digits"],
        ["ivae", "--data", "segments"],
        ["mcr2", "--data", "digits", "--label-noise", "0.2", "--sampling", "epochs"],
        ["mcr2", "--data", "digits", "--copies", "8"],
        ["va-gan", "--data", "squares"],
        ["equivariant-rendering", "--data", "moving-sprites"],
    ],
    ids=" ".join,
)
def test_parts_of_every_method_hold_what_it_needs(words):
    parts, method = build_parts(parse_train([*words, "--validation", "0.1", "--test", "0.1"]).config)
    for part in parts:
        batch = jax.eval_shape(lambda part: part.batch(jax.random.key(0), jax.numpy.int32(0), 16), part)
        assert set(method.needs) - {"fresh_x"} <= set(batch)
        assert len(inmost(part).index) == part.size


@pytest.mark.process
def test_a_split_by_a_column_is_kept_and_obeyed_on_resume(tmp_path, capsys):
    rng = np.random.default_rng(0)
    part = np.array(["train", "train", "validation", "test"])[np.arange(80) % 4]
    table = pandas.DataFrame({"x": rng.normal(size=80), "y": rng.normal(size=80), "part": part})
    table.to_csv(tmp_path / "t.csv", index=False)
    command = ["train", "vae", "--data", str(tmp_path / "t.csv"), "--latents", "2", "--batch-size", "8", "--no-score"]
    run = ["--run", str(tmp_path / "run"), "--steps", "4", "--validate-every", "2", "--patience", "9"]
    main([*command, "--split-column", "part", *run])
    assert "vae on t (40 rows, 20 for validation, 20 for testing)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["source"]["split_column"] == "part"
    main(["train", "--run", str(tmp_path / "run"), "--resume", "--steps", "6", "--no-score"])
    training = inmost(load_run(tmp_path / "run").source)
    assert np.asarray(training.index).tolist() == np.flatnonzero(part == "train").tolist()
    table.assign(part=np.roll(part, 1)).to_csv(tmp_path / "t.csv", index=False)
    for flags, message in (
        (["--split-column", "part", "--resume", *run, "--steps", "8"], "fingerprint was"),
        (["--split-column", "part", "--test", "0.1"], "leave out --validation and --test"),
        (["--split-column", "x"], "it must be train, validation or test"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *flags])
        assert message in capsys.readouterr().err
    two = table.assign(part=np.where(part == "test", "test", "train"))
    two.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--split-column", "part", "--patience", "3", "--run", str(tmp_path / "two")])
    error = capsys.readouterr().err
    assert "the column 'part' has no rows for validation" in error
    assert error.count("\n") == 1
