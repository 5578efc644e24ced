"""Shards of a study: the same table however it is cut, and what is refused when it is put together."""

import json
import math
import shutil

import pytest

from jaxvae.cli.main import main
from jaxvae.study import shard as shard_module
from jaxvae.study.grid import GRIDS, Grid, Sweep
from jaxvae.study.shard import run_models, write_shard
from jaxvae.study.table import merge_tables, read_table, write_table

pytestmark = pytest.mark.process

MICRO = Grid(
    ("sprites",),
    (Sweep("beta-vae", "beta", (1.0, 4.0)), Sweep("dip-vae-ii", "lambda_od", (1.0, 5.0), {"lambda_d": 1.0})),
    2,
    {"image_size": 16, "network": "mlp-small", "latents": 3, "steps": 10, "batch_size": 8, "learning_rate": 1e-3},
)
TIMES = ("seconds",)


@pytest.fixture(autouse=True, scope="module")
def micro():
    """Few models and quick scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GRIDS, "tiny", MICRO)
        patch.setattr(shard_module, "SCORED", ("mig", "sap"))
        patch.setattr(shard_module, "UNSUPERVISED", ("gaussian_total_correlation",))
        yield


@pytest.fixture(scope="module")
def whole(micro, tmp_path_factory):
    """All models in one shard: its table, and what was printed."""
    told = []
    path = write_shard("tiny", range(8), tmp_path_factory.mktemp("study"), num_samples=200, progress=told.append)
    return path, told


def without_times(rows):
    """By column, whatever their order; None where a row has none."""
    names = {name for row in rows for name in row} - set(TIMES)
    return [{name: row.get(name) for name in names} for row in rows]


def test_a_row_says_everything(whole):
    path, told = whole
    rows, about = read_table(path)
    assert told == ["beta-vae on sprites: 4 of 4 models", "dip-vae-ii on sprites: 4 of 4 models"]
    assert [row["number"] for row in rows] == list(range(8))
    assert (rows[6]["method"], rows[6]["hyperparameter"], rows[6]["strength"], rows[6]["seed"]) == (
        "dip-vae-ii",
        "lambda_od",
        5.0,
        0,
    )
    kinds = {name.split("/")[0] for name in rows[0] if "/" in name}
    assert kinds == {"train", "mean", "sampled", "property", "exact", "downstream"}
    for row in rows:
        assert (row["steps"], row["failure"]) == (10, "")
        assert math.isfinite(row["train/loss"])
        assert 0 <= row["mean/mig"] <= 1
        parts = [row[f"exact/{name}"] for name in ("mutual_information", "total_correlation", "dimensionwise_kl")]
        assert all(math.isfinite(part) for part in parts)
        for learner in ("logistic", "trees"):
            # 200 examples leave 133 to learn from.
            names = {name for name in row if name.startswith(f"downstream/{learner}/")}
            assert names == {f"downstream/{learner}/{labels}" for labels in (10, 100)}
            assert all(0 < row[name] < 1 for name in names)
    assert rows[0]["train/loss"] != rows[1]["train/loss"]
    assert about["preset"] == "tiny"


def test_two_shards_are_the_same_table(whole, tmp_path):
    cut = write_shard("tiny", range(3, 6), tmp_path, num_samples=200, progress=lambda line: None)
    for numbers, name in ((range(3), "a"), (range(6, 8), "b")):
        part(whole, tmp_path, numbers, name)
    merged, _ = merge_tables(sorted(tmp_path.glob("shard-*.parquet")))
    assert cut in tmp_path.glob("shard-*.parquet")
    assert without_times(merged) == without_times(read_table(whole[0])[0])
    assert len({tuple(row) for row in merged}) == 1


def test_a_shard_that_was_killed_goes_on_to_the_same_table(whole, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    scored = shard_module.row_of
    count = []

    def dies(*args):
        count.append(args)
        if len(count) == 3:
            raise Killed
        return scored(*args)

    monkeypatch.setattr(shard_module, "row_of", dies)
    with pytest.raises(Killed):
        run_models("tiny", range(4), tmp_path, num_samples=200, progress=lambda line: None)
    monkeypatch.setattr(shard_module, "row_of", scored)
    # One model as if it had been killed in training, too: only its first checkpoints are there.
    (folder,) = [tmp_path / "models" / "00003"]
    for checkpoint in folder.glob("checkpoints/*"):
        if checkpoint.name.isdecimal() and int(checkpoint.name) > 8:
            shutil.rmtree(checkpoint)
    told = []
    rows = run_models("tiny", range(4), tmp_path, num_samples=200, progress=told.append)
    assert told == ["beta-vae on sprites: 2 of 4 models"]
    there = [{name: value for name, value in row.items() if value is not None} for row in read_table(whole[0])[0][:4]]
    assert without_times(rows) == without_times(there)


def test_a_model_that_diverged_is_a_row_that_says_so(whole, tmp_path):
    shutil.copytree(whole[0].parent / "models", tmp_path / "models")
    folder = tmp_path / "models" / "00002"
    (folder / "row.json").unlink()
    (folder / "diverged.json").write_text(json.dumps({"step": 7}))
    rows = run_models("tiny", range(4), tmp_path, num_samples=200, progress=lambda line: None)
    assert [row["failure"] for row in rows] == ["", "", "diverged before update 7", ""]
    assert "mean/mig" not in rows[2]
    write_table(tmp_path / "table.parquet", rows, {})
    assert read_table(tmp_path / "table.parquet")[0][2]["mean/mig"] is None


def part(whole, tmp_path, numbers, name, **changes):
    rows, about = read_table(whole[0])
    path = tmp_path / f"shard-{name}.parquet"
    write_table(path, [row for row in rows if row["number"] in numbers], about | changes)
    return path


def test_shards_that_do_not_fit_are_refused(whole, tmp_path):
    first, second = part(whole, tmp_path, range(5), "a"), part(whole, tmp_path, range(5, 8), "b")
    assert [row["number"] for row in merge_tables([second, first])[0]] == list(range(8))
    with pytest.raises(ValueError, match="model 4 is in .*shard-a.* and in .*shard-c"):
        merge_tables([first, part(whole, tmp_path, range(4, 8), "c")])
    with pytest.raises(ValueError, match="3 models are in no shard: 5 to 7"):
        merge_tables([first])
    with pytest.raises(ValueError, match="2 models are in no shard: 2, 4"):
        merge_tables([part(whole, tmp_path, (0, 1, 3), "d"), second])
    for changed in ("code", "grid", "num_samples"):
        other = part(whole, tmp_path, range(5, 8), "e", **{changed: "other"})
        with pytest.raises(ValueError, match=f"different studies: {changed} changed"):
            merge_tables([first, other])
    with pytest.raises(ValueError, match="no shards to merge"):
        merge_tables([])
    (tmp_path / "shard-f.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="is not a table of a study"):
        merge_tables([tmp_path / "shard-f.parquet"])


def test_models_of_other_code_are_not_mixed_in(whole, tmp_path, monkeypatch):
    shutil.copytree(whole[0].parent, tmp_path, dirs_exist_ok=True)
    write_shard("tiny", range(2), tmp_path, num_samples=200, progress=lambda line: None)
    with pytest.raises(ValueError, match=r"another study \(num_samples changed\): choose another --folder"):
        write_shard("tiny", range(2), tmp_path, num_samples=300, progress=lambda line: None)
    monkeypatch.setattr(shard_module, "code_digest", lambda: "other")
    with pytest.raises(ValueError, match="code changed"):
        write_shard("tiny", range(2), tmp_path, num_samples=200, progress=lambda line: None)


def test_the_command(whole, tmp_path, capsys):
    shutil.copytree(whole[0].parent / "models", tmp_path / "models")
    for shard in ("0/2", "1/2"):
        main(["study", "--folder", str(tmp_path), "--shard", shard, "--num-samples", "200"])
    assert "models 4 to 7 of 8" in capsys.readouterr().out
    main(["study", "merge", str(tmp_path), "--out", str(tmp_path / "new" / "all.parquet")])
    assert "8 models, 0 of them failed" in capsys.readouterr().out
    assert len(read_table(tmp_path / "new" / "all.parquet")[0]) == 8
    main(["study", "--model-num", "5"])
    said = capsys.readouterr().out
    assert "model 5 of 8: dip-vae-ii with lambda_od 1 on sprites, seed 1" in said
    assert "--lambda-od 1.0" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "2/2"], "shards are 0/n to n-1/n"),
        (["--shard", "half"], "--shard is NUMBER/OF"),
        (["--model-num", "8"], "0 to 7, got 8"),
        (["--num-samples", "3"], "--num-samples must be at least 100"),
        (["merge", "NOWHERE"], "no shards to merge"),
    ],
)
def test_what_can_not_be_is_said_in_a_line(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["study", *(word.replace("NOWHERE", str(tmp_path)) for word in words)])
    assert message in capsys.readouterr().err
