"""Tables that stay on the disk: the same columns, rows and splits as in memory, read in blocks."""

import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas
import pytest

from jaxvae.data import DataOptions, Streamed, Subset, anndata, in_file, origin_of
from jaxvae.data.fingerprint import fingerprint
from jaxvae.data.tabular import LeftOut
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.runs.encode import open_other
from jaxvae.schema import Summary, find_schema
from jaxvae.training import make_train_step

N = 900
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def frame():
    """Columns of all kinds, with missing values; some blocks have none of them, or only them."""
    table = pandas.DataFrame(
        {
            "size": RNG.normal(30, 2, N),
            "visits": RNG.poisson(3, N),
            "yes": RNG.choice([True, False], N),
            "word": RNG.choice(["x", "y", "z"], N),
            "same": 3.0,
            "name": [f"r{row}" for row in range(N)],
            "large": RNG.integers(0, 10**7, N),
            "digit": RNG.integers(0, 2, N),
        }
    )
    table.loc[::7, "size"] = np.nan
    table.loc[:40, "size"] = np.nan
    table["yes"] = table["yes"].astype(object).where(np.arange(N) > 100, None)
    table.loc[400::11, "word"] = None
    table["type"] = RNG.integers(0, 4, N)
    table["of"] = np.arange(N) // 10
    table["part"] = np.array(["train", "val", "test"])[table["of"] % 3]
    return table


def innermost(source):
    while not hasattr(source, "pixels"):
        source = source.table if isinstance(source, Streamed) else source.source
    return source


def compared(options, same_bits=True):
    """The parts in memory and on the disk, which are equal."""
    memory, stream = (DataOptions(stream=stream, **options).open_parts() for stream in (False, True))
    for one, other in zip(memory, stream, strict=True):
        assert (one is None) == (other is None)
        if isinstance(one, Subset):
            np.testing.assert_array_equal(one.index, other.index)
    here, there = innermost(memory.training), innermost(stream.training)
    assert isinstance(there.pixels, np.memmap)
    for column, known in zip(there.schema.columns, here.schema.columns, strict=True):
        assert (column.name, column.kind, column.values) == (known.name, known.kind, known.values)
        assert column.has_missing == known.has_missing
        np.testing.assert_allclose([column.mean, column.scale], [known.mean, known.scale], rtol=1e-6)
    np.testing.assert_allclose(there.pixels, here.pixels, atol=0 if same_bits else 1e-6)
    np.testing.assert_array_equal(there.factors, here.factors)
    assert (there.factor_names, there.factor_sizes) == (here.factor_names, here.factor_sizes)
    assert origin_of(memory.training).ids == origin_of(stream.training).ids
    return memory, stream


@pytest.mark.parametrize("block", [400, 10**6])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": ("visits=categorical", "large=real"), "columns": ("visits", "large", "size")},
        {"split_column": "part", "group_column": "of"},
        {"validation": 0.1, "test": 0.2, "group_column": "of", "id_column": "name"},
    ],
)
def test_parquet(block, options, frame, tmp_path, monkeypatch):
    monkeypatch.setattr(in_file, "BLOCK", block)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=70)
    drop = () if "split_column" in options else ("part",)
    options = {"data": str(tmp_path / "t.parquet"), "label_columns": ("type",), "drop": drop, **options}
    is_split = "validation" in options or "split_column" in options
    memory, stream = compared(options, same_bits=block == 10**6 and not is_split)
    if block == 10**6 and not is_split:
        assert fingerprint(memory.training) == fingerprint(stream.training)


def test_npy(tmp_path, monkeypatch):
    monkeypatch.setattr(in_file, "BLOCK", 300)
    matrix = np.stack([RNG.normal(5, 2, N), RNG.poisson(2.0, N), np.arange(N), np.ones(N), np.arange(N) % 2], axis=1)
    matrix[::5, 0] = np.nan
    np.save(tmp_path / "x.npy", matrix)
    _, stream = compared({"data": str(tmp_path / "x.npy"), "validation": 0.2}, same_bits=False)
    kinds = [column.kind for column in innermost(stream.training).schema.columns]
    assert kinds == ["real", "count", "identifier", "constant", "binary"]


def test_a_grid_of_labels_is_put_in_order(tmp_path):
    order = RNG.permutation(24)
    labels = np.stack(np.unravel_index(order, (4, 6)), axis=1)
    table = pandas.DataFrame({"a": order * 1.5, "b": RNG.normal(size=24), "u": labels[:, 0], "v": labels[:, 1]})
    table.to_parquet(tmp_path / "t.parquet")
    _, stream = compared(
        {"data": str(tmp_path / "t.parquet"), "label_columns": ("u", "v"), "validation": 0.25}, same_bits=False
    )
    assert innermost(stream.training).is_grid


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "zarr", "zarr-csr"])
@pytest.mark.parametrize("real", [False, True])
def test_anndata(kind, real, tmp_path, monkeypatch):
    pytest.importorskip("anndata")
    from tests.data.anndata_cells import cells, saved

    monkeypatch.setattr(anndata, "BLOCK", 64)
    path = saved(tmp_path, cells(real), kind)
    options = {"data": f"anndata:{path}", "label_columns": ("type",), "validation": 0.25}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", anndata.NotCounts)
        compared(options, same_bits=False)


def test_new_rows_have_the_columns_of_the_run(frame, tmp_path):
    """A new column that holds a single value is left out, as in memory; others are refused by name."""
    frame.drop(columns="part").to_parquet(tmp_path / "t.parquet")
    options = DataOptions(data=str(tmp_path / "t.parquet"), stream=True)
    schema = innermost(options.open()).schema
    shuffled = frame.drop(columns="part").assign(empty=1.0).iloc[:50, ::-1]
    shuffled.to_parquet(tmp_path / "t.parquet")
    with pytest.warns(LeftOut, match="not trained on, are left out: 'empty'$"):
        there = innermost(options.open(schema)).pixels
    np.testing.assert_array_equal(there, innermost(DataOptions(data=str(tmp_path / "t.parquet")).open(schema)).pixels)
    shuffled.assign(more=np.arange(50) * 0.1).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match="the table has the column 'more', which the model was not trained on: remove it"
    ):
        options.open(schema)
    shuffled.drop(columns="size").to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="the table lacks the column 'size'"):
        options.open(schema)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n", "--stream reads tables from npy, Parquet, h5ad and zarr files, and .csv files as a "),
        ("t.npy", b"\x93NUMPY\x01", "t.npy: can't be read"),
        ("t.npy", b"<html>", "t.npy: not an npy file: it is a web page"),
        ("t.parquet", b"PAR1", "t.parquet: can't be read"),
    ],
)
def test_other_files_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        DataOptions(data=f"table:{tmp_path / name}", stream=True).open()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pandas.date_range("2020-01-01", periods=N), "column 'new' holds dates or times"),
        (np.where(np.arange(N) == N - 1, np.inf, 0.5), "column 'new' has 1 infinite values"),
        ([f"text {row // 2}" for row in range(N)], "column 'new' holds text, such as 'text 0'"),
    ],
)
def test_columns_that_can_not_be_learned_from(column, message, frame, tmp_path, monkeypatch):
    monkeypatch.setattr(in_file, "BLOCK", 400)
    frame.assign(new=column).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message):
        DataOptions(data=str(tmp_path / "t.parquet"), stream=True, drop=("part",)).open()


@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_of_values_tell_what_all_of_them_tell(size):
    columns = {
        "real": np.where(np.arange(100) % 9 == 0, np.nan, RNG.normal(1e6, 1e-2, 100)),
        "count": RNG.poisson(2.0, 100),
        "words": np.array(["b", "a", None, "c"], object)[np.arange(100) % 4],
        "truths": np.where(np.arange(100) < 50, True, None),
        "binary": np.array([3.0, 1.5])[RNG.integers(0, 2, 100)],
        "row": np.arange(100) + 5,
        "not a row": np.roll(np.arange(100), 50),
    }
    for name, values in columns.items():
        counted = np.arange(100) % 3 != 0
        summary = Summary(name)
        for first in range(0, 100, size):
            summary.add(values[first : first + size], counted[first : first + size])
        found = summary.column()
        whole = find_schema({name: values, "x": np.arange(100) * 0.1}).columns[0]
        assert (found.kind, found.values, found.has_missing) == (whole.kind, whole.values, whole.has_missing)
        if found.kind in ("real", "count"):
            training = values[counted & ~np.isnan(values)]
            scale = training.std() if found.kind == "real" else 1.0
            np.testing.assert_allclose([found.mean, found.scale], [training.mean(), scale], rtol=1e-7)


def test_a_block_without_values_may_be_of_another_type():
    """As a nullable column of truths, whose first blocks have no missing value and whose last have nothing else."""
    summary = Summary("flag")
    summary.add(np.array([True, False, True]))
    summary.add(np.array([None, None], object))
    with pytest.raises(ValueError, match="column 'flag' holds words such as 'True', and can't be real"):
        summary.column("real")


MEASURED = """
import sys, threading, time
import pandas, numpy as np, pyarrow.parquet
from jaxvae.data import DataOptions, in_file
def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024
in_file.BLOCK = 1 << 18
DataOptions(data=sys.argv[1], stream=True).open()  # what is imported and compiled stays
peak = [before := anonymous()]
def watch():
    while True:
        peak.append(anonymous())
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
source = DataOptions(data=sys.argv[2], stream=sys.argv[3] == "stream", validation=0.1).open()
source.source.rows(np.arange(100)) if sys.argv[3] == "stream" else None
print(max(peak) - before)
"""


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("ending", ["npy", pytest.param("parquet", marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(ending, tmp_path):
    """40 MB as float32; the table in memory takes several times as much."""
    matrix = RNG.normal(size=(200_000, 50)).astype(np.float32)
    for name, rows in (("small", matrix[:1000]), ("large", matrix)):
        if ending == "npy":
            np.save(tmp_path / f"{name}.npy", rows)
        else:
            pandas.DataFrame(rows, columns=[f"c{d}" for d in range(50)]).to_parquet(
                tmp_path / f"{name}.parquet", row_group_size=10_000
            )
    files = [str(tmp_path / f"{name}.{ending}") for name in ("small", "large")]
    taken = {
        how: float(subprocess.run([sys.executable, "-c", MEASURED, *files, how], stdout=-1, check=True).stdout)
        for how in ("memory", "stream")
    }
    assert taken["memory"] > 40  # megabytes
    assert taken["stream"] < 30


@pytest.mark.parametrize("kind", ["parquet", "csv", "parquet with a named index"])
def test_other_rows_stay_in_their_file_as_those_of_the_run_do(frame, tmp_path, kind):
    ending, rows = kind.split()[0], slice(300, 500)
    frame = frame.drop(columns=["same", "yes"]).assign(row=np.arange(N))
    frame.to_parquet(tmp_path / "x.parquet", index=False)
    other = frame[rows].drop(columns="row").rename_axis("row") if "index" in kind else frame[rows]
    getattr(other, f"to_{ending}")(tmp_path / f"other.{ending}", index=None if "index" in kind else False)
    opened = {}
    for stream in (False, True):
        config = default_config("vae").with_flags(data=str(tmp_path / "x.parquet"), stream=stream)
        source, method = build(config)
        init, _ = make_train_step(method, dataset_size=source.size)
        run = SimpleNamespace(config=config, source=source, method=method, state=init(jax.random.key(0)))
        opened[stream] = open_other(run, str(tmp_path / f"other.{ending}"))
    assert isinstance(opened[True].pixels, np.memmap) == (kind == "parquet")
    assert not isinstance(opened[False].pixels, np.memmap)
    np.testing.assert_allclose(opened[True].pixels, opened[False].pixels, atol=1e-6)
