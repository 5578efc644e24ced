"""`jaxvae encode RUN` of runs that hold examples out: all rows in the order of the file, and the part of each."""

import anndata
import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.data import open_data
from jaxvae.runs import encode_all, load_run
from jaxvae.runs.codes import Codes
from jaxvae.runs.foreign import read_foreign

pytestmark = pytest.mark.process

N = 60
TINY = ["--steps", "2", "--latents", "2", "--batch-size", "8", "--network", "mlp-small", "--no-score"]
HELD = ["--validation", "0.2", "--test", "0.25", "--split-seed", "3"]


def expected_parts(size, validation=0.2, test=0.25, seed=3):
    """The words of `jaxvae.data.split`, from the order that NumPy's bits give."""
    order = np.argsort(np.random.PCG64(seed).random_raw(size), kind="stable")
    words = np.full(size, "train", object)
    first, second = round(test * size), round(validation * size)
    words[order[:first]], words[order[first : first + second]] = "test", "validation"
    return words.tolist()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on a table with names and labels of rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(N, 4)) * 3 + 5, columns=list("abcd"))
    table.insert(0, "name", [f"row {97 * row % 61}" for row in range(N)])
    table["kind"] = np.where(np.arange(N) % 7 == 0, "", np.where(table["a"] > 5, "high", "low"))
    place = tmp_path_factory.mktemp("parts")
    table.to_csv(place / "rows.csv", index=False)
    roles = ["--label-columns", "kind", "--id-column", "name"]
    main(["train", "vae", "--data", str(place / "rows.csv"), *roles, *HELD, *TINY, "--run", str(place / "run")])
    return place


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz", "h5ad"])
def test_all_rows_are_written_with_their_parts(ending, place, tmp_path, capsys):
    out = tmp_path / f"codes.{ending}"
    main(["encode", str(place / "run"), "--out", str(out)])
    assert capsys.readouterr().out == f"60 codes of 2 latents, with part, kind: {out}\n"
    table = pd.read_csv(place / "rows.csv", keep_default_na=False)
    match ending:
        case "npz":
            found = np.load(out)
            ids, part, means, kinds = found["ids"], found["part"], found["means"], None
        case "h5ad":
            found = anndata.read_h5ad(out)
            ids, part, means, kinds = found.obs_names, found.obs["part"], found.obsm["X_jaxvae"], found.obs["kind"]
        case _:
            found = pd.read_csv(out, keep_default_na=False) if ending == "csv" else pd.read_parquet(out)
            ids, part, means, kinds = found["id"], found["part"], found[["z0", "z1"]].to_numpy(), found["kind"]
            assert list(found.columns) == ["id", "z0", "z1", "sd0", "sd1", "part", "kind"]
    assert list(ids) == list(table["name"])
    assert list(part) == expected_parts(N)
    run = load_run(place / "run")
    rows = run.source.schema.encode({name: table[name].to_numpy() for name in "abcd"})
    np.testing.assert_allclose(means, run.encode(rows).mean, atol=1e-6)
    if kinds is not None:
        assert list(kinds) == list(table["kind"])


def test_the_first_rows(place):
    run = load_run(place / "run")
    done = []
    whole, some = encode_all(run, chunk=7, progress=done.append), encode_all(run, limit=11)
    assert sorted(done) == done
    assert done[-1] == N
    assert some.ids.tolist() == whole.ids[:11].tolist()
    assert some.part.tolist() == expected_parts(N)[:11]
    np.testing.assert_array_equal(some.factors, whole.factors[:11])
    np.testing.assert_allclose(some.means, whole.means[:11], atol=1e-6)
    np.testing.assert_allclose(some.standard_deviations, whole.standard_deviations[:11], atol=1e-6)


def test_other_data_have_no_parts(place, tmp_path):
    main(["encode", str(place / "run"), str(place / "rows.csv"), "--out", str(tmp_path / "codes.csv")])
    assert "part" not in pd.read_csv(tmp_path / "codes.csv")


def test_the_part_is_no_factor(place, tmp_path):
    main(["encode", str(place / "run"), "--out", str(tmp_path / "codes.csv")])
    table = pd.read_csv(tmp_path / "codes.csv").fillna({"kind": "none"})
    table.to_csv(tmp_path / "codes.csv", index=False)
    found = read_foreign(tmp_path / "codes.csv", [str(tmp_path / "codes.csv")])
    assert [factor.name for factor in found.factors] == ["kind"]
    table["part"] = np.arange(N) % 3  # a factor of another program
    table[["id", "part"]].to_csv(tmp_path / "factors.csv", index=False)
    found = read_foreign(tmp_path / "codes.csv", [str(tmp_path / "factors.csv")])
    assert [factor.name for factor in found.factors] == ["part"]
    codes = Codes(np.arange(2), np.zeros((2, 1)), np.ones((2, 1)), None, np.array([[0], [1]]), ("part",))
    assert list(codes.labels()) == ["part"]
    named = codes._replace(part=np.array(["train", "test"]))
    assert {name: list(column) for name, column in named.labels().items()} == {
        "part": ["train", "test"],
        "factor_part": [0, 1],
    }


def test_rows_of_a_grid_of_labels_and_of_a_streamed_table(tmp_path):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(12, 3)), columns=list("abc"))
    order = rng.permutation(12)
    rows["u"], rows["v"] = order // 4, order % 4
    rows.to_csv(tmp_path / "grid.csv", index=False)
    held = ["--validation", "0.25"]
    grid = ["--data", str(tmp_path / "grid.csv"), "--label-columns", "u", "v", *held]
    main(["train", "vae", *grid, *TINY, "--run", str(tmp_path / "grid")])
    codes = encode_all(run := load_run(tmp_path / "grid"))
    assert codes.ids.tolist() == [*range(12)]
    np.testing.assert_array_equal(codes.factors, rows[["u", "v"]])
    expected = run.encode(run.source.schema.encode({name: rows[name].to_numpy() for name in "abc"})).mean
    np.testing.assert_allclose(codes.means, expected, atol=1e-6)
    assert (codes.part == "validation").sum() == 3

    values = rng.normal(size=(N, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", values)
    streamed = ["--data", f"table:{tmp_path / 'rows.npy'}", "--stream", "--sampling", "epochs", *HELD]
    main(["train", "vae", *streamed, *TINY, "--run", str(tmp_path / "streamed")])
    codes = encode_all(run := load_run(tmp_path / "streamed"))
    assert codes.part.tolist() == expected_parts(N)
    expected = run.encode(run.source.schema.encode({f"column{d}": values[:, d] for d in range(3)})).mean
    np.testing.assert_allclose(codes.means, expected, atol=1e-6)


def test_pictures_with_factors_and_clusters(tmp_path):
    words = ["train", "vae-sne", "--data", "digits", "--components", "4", *TINY, *HELD]
    main([*words, "--run", str(tmp_path / "digits")])
    codes = encode_all(run := load_run(tmp_path / "digits"))
    assert codes.part.tolist() == expected_parts(1797)
    assert codes.clusters.shape == (1797,)
    whole = open_data("digits")
    np.testing.assert_array_equal(codes.factors, whole.factors)
    np.testing.assert_allclose(codes.means, run.encode(np.asarray(whole.at(np.arange(1797))["x"])).mean, atol=1e-5)
