"""Rows of a table that are held out are in no batch, neither before nor after `--resume`, in memory and on the disk."""

import jax
import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.runs import load_run
from jaxvae.training import steps

pytestmark = pytest.mark.process

N = 60
RNG = np.random.default_rng(0)
TABLE = np.stack([1.5 * np.arange(N) + 0.25, RNG.normal(size=N), RNG.normal(size=N)], axis=1)
"""The first column tells the row, as a real number."""
TINY = ["--steps", "3", "--batch-size", "8", "--latents", "2", "--network", "mlp-small", "--no-score"]
SHARES = ["--validation", "0.1", "--test", "0.25", "--split-seed", "5", "--validate-every", "2"]
ORDER = np.argsort(np.random.PCG64(5).random_raw(N), kind="stable")
"""The first quarter is for testing, and the following tenth for validation."""


@pytest.fixture
def batches(monkeypatch):
    """The examples of every batch that is trained on."""
    seen, draw = [], steps.draw_batch

    def observed(*arguments):
        batch = draw(*arguments)
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), batch["x"], ordered=True)
        return batch

    monkeypatch.setattr(steps, "draw_batch", observed)
    return seen


def rows_of(batches, run):
    """The rows in the file of the examples, from their first column."""
    jax.effects_barrier()
    column = run.source.schema.columns[0]
    values = np.concatenate(batches)[:, 0].astype(np.float64) * column.scale + column.mean
    rows = (values - 0.25) / 1.5
    np.testing.assert_allclose(rows, rows.round(), atol=1e-3)
    return rows.round().astype(int)


def written(tmp_path, ending):
    path, names = tmp_path / f"x.{ending}", ["row", "b", "c"]
    frame = pd.DataFrame(TABLE, columns=names)
    if ending == "npy":
        np.save(path, TABLE)
    elif ending == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        words = np.full(N, "train", object)
        words[ORDER[:15]], words[ORDER[15:21]] = "test", "validation"
        frame.assign(part=words).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("ending", "more"),
    [
        ("csv", ["--sampling", "epochs", "--drop", "part", *SHARES]),
        ("csv", ["--sampling", "replacement", "--drop", "part", *SHARES]),
        ("csv", ["--sampling", "epochs", "--split-column", "part", "--validate-every", "2"]),
        ("npy", ["--sampling", "epochs", "--stream", *SHARES]),
        ("parquet", ["--sampling", "epochs", "--stream", *SHARES]),
        ("parquet", ["--sampling", "replacement", "--stream", *SHARES]),
    ],
)
def test_rows_that_are_held_out_are_in_no_batch(ending, more, batches, tmp_path):
    folder = tmp_path / "run"
    main(["train", "vae", "--data", f"table:{written(tmp_path, ending)}", *more, *TINY, "--run", str(folder)])
    run = load_run(folder)
    before = rows_of(batches, run)
    assert len(before) == 3 * 8
    batches.clear()
    main(["train", "--run", str(folder), "--resume", "--steps", "20", "--no-score"])
    after = rows_of(batches, run)
    assert len(after) == 17 * 8
    trained_on, learned = set(ORDER[21:].tolist()), {*before.tolist(), *after.tolist()}
    assert not learned & set(ORDER[:21].tolist())
    assert learned <= trained_on
    if "epochs" in more:
        assert learned == trained_on  # in the order of the epochs, which go on where they ended
        assert len(set(before.tolist()) | set(after[: 39 - 24].tolist())) == 39
    assert [run.parts.test.size, run.parts.validation.size] == [15, 6]
