"""AnnData files: the same numbers as in a table, counts as counts, and one line for each thing that is wrong."""

import json
import shutil
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from jaxvae.cli.main import main
from jaxvae.data import DataOptions, open_data
from jaxvae.data.anndata import LeftOut, NotCounts, anndata_file
from jaxvae.data.registry import kind_of
from jaxvae.data.tabular import Columns, table_file
from jaxvae.runs import load_run
from jaxvae.schema import Schema
from tests.data.anndata_cells import GENES, N, anndata, cells, saved, x_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:Writing zarr v2"),
    pytest.mark.filterwarnings("ignore:Variable names are not unique"),
]
LABELS = Columns(labels=("type", "day"), group="donor")


def as_csv(tmp_path, data):
    frame = pd.DataFrame(data.X, columns=data.var_names).assign(
        **{name: data.obs[name].to_numpy() for name in ("type", "day", "donor")}
    )
    frame.to_csv(tmp_path / "cells.csv", index=False)
    return tmp_path / "cells.csv"


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "zarr", "zarr-csr"])
def test_every_kind_of_file_has_the_values_of_a_csv(kind, real, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvae.data.anndata.BLOCK", 5 * N)  # several blocks
    data = cells(real)
    if real:
        data.X[0, 0] = -1.0
    table = anndata_file(saved(tmp_path, data, kind), None, LABELS)
    wanted = table_file(as_csv(tmp_path, data), LABELS)
    np.testing.assert_allclose(x_of(table), x_of(wanted), atol=1e-6)
    np.testing.assert_array_equal(table.factors, wanted.factors)
    np.testing.assert_array_equal(table.origin.groups, wanted.origin.groups)
    for ours, theirs in zip(table.schema.columns, wanted.schema.columns, strict=True):
        assert (ours.name, ours.kind, ours.has_missing) == (theirs.name, theirs.kind, theirs.has_missing)
        assert (ours.mean, ours.scale) == pytest.approx((theirs.mean, theirs.scale), rel=1e-6)
    assert table.schema.columns[-1].kind == ("real" if real else "constant")
    assert (table.name, table.event_shape) == ("cells", (GENES - (not real),))


def test_labels_groups_and_names_come_from_obs(tmp_path):
    path = saved(tmp_path, data := cells())
    table = anndata_file(path, None, LABELS)
    assert (table.factor_names, table.factor_sizes) == (("type", "day"), (2, 3))
    assert table.origin.label_values == (("B", "T"), ("1", "2", "3"))
    np.testing.assert_array_equal(table.factors[:, 0], data.obs["type"] == "T")
    np.testing.assert_array_equal(table.ids, data.obs_names)
    np.testing.assert_array_equal(anndata_file(path, None, Columns(id="barcode")).ids, data.obs["barcode"])
    with pytest.raises(
        ValueError, match="cells.h5ad: unknown column 'typ': did you mean 'type'.* There are: type, day"
    ):
        anndata_file(path, None, Columns(labels=("typ",)))
    with pytest.raises(ValueError, match="unknown column 'gene1'"):
        anndata_file(path, None, Columns(labels=("gene1",)))


def test_a_missing_label_is_a_value_of_its_own(tmp_path):
    data = cells()
    data.obs.loc["cell3", "type"] = None
    assert anndata_file(saved(tmp_path, data), None, LABELS).origin.label_values[0] == ("B", "T", "missing")


def test_layers_are_named_behind_the_file(tmp_path):
    data = cells()
    data.layers["doubled"] = 2 * data.X
    data.layers["ratio"] = sparse.csr_matrix(data.X / 3)
    path = saved(tmp_path, data)
    doubled = open_data(f"anndata:{path}:doubled")
    np.testing.assert_array_equal(x_of(doubled), 2 * x_of(open_data(str(path))))
    with pytest.raises(ValueError, match="unknown layer 'double': did you mean 'doubled'"):
        open_data(f"anndata:{path}:double")
    with pytest.warns(NotCounts, match="% of the values other than 0 are no whole numbers.*the layers are 'doubled'$"):
        ratio = open_data(f"anndata:{path}:ratio")
    assert {column.kind for column in ratio.schema.columns} == {"real", "constant"}
    shutil.move(path, tmp_path / "a:b.h5ad")
    np.testing.assert_array_equal(x_of(open_data(f"anndata:{tmp_path / 'a:b.h5ad'}:doubled")), x_of(doubled))
    np.testing.assert_array_equal(2 * x_of(open_data(f"anndata:{tmp_path / 'a:b.h5ad'}")), x_of(doubled))


@pytest.mark.parametrize("kind", ["dense", "zarr-csr"])
def test_a_layer_may_be_named_behind_a_bare_path(kind, tmp_path, monkeypatch):
    data = cells()
    data.layers["twice"] = 2 * data.X
    path = saved(tmp_path, data, kind)
    whole = x_of(open_data(f"anndata:{path}:twice"))
    assert kind_of(f"{path}:twice") == kind_of(str(path)) == "anndata"
    np.testing.assert_array_equal(x_of(open_data(f"{path}:twice")), whole)
    monkeypatch.chdir(tmp_path)
    options = DataOptions(data=f"{path.name}:twice", label_columns=("type",))
    assert options.is_tabular
    np.testing.assert_array_equal(x_of(options.open()), whole)
    with pytest.raises(ValueError, match="thrice"):
        open_data(f"{path}:thrice")
    with pytest.raises(ValueError, match="nowhere.h5ad: there is no such file"):
        open_data("nowhere.h5ad:twice")


def test_a_layer_where_there_is_no_x(tmp_path):
    data = anndata.AnnData(obs=cells().obs, var=cells().var, layers={"counts": cells().X})
    data.write_h5ad(path := tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(x_of(anndata_file(path, "counts")), cells().X[:, :-1])
    with pytest.raises(ValueError, match="there is no X in it: add one of the layers, 'counts'"):
        anndata_file(path)


def test_rare_genes_are_counts_up_to_rounding(tmp_path):
    """By its values alone, the first would be binary."""
    data = cells()
    data.X[:, 0] = np.arange(N) == 3
    data.X[:, 1] *= 1 - 1e-7
    table = anndata_file(saved(tmp_path, data, "csr"))
    assert {column.kind for column in table.schema.used} == {"count"}
    np.testing.assert_array_equal(x_of(table), np.round(data.X[:, :-1]))


@pytest.mark.filterwarnings("error::jaxvae.data.anndata.NotCounts")
def test_negative_numbers_are_real(tmp_path):
    data = cells()
    data.X[2, 3] = -1
    table = anndata_file(saved(tmp_path, data))
    assert {column.kind for column in table.schema.used} == {"real"}
    np.testing.assert_allclose(x_of(table).std(axis=0), 1, rtol=1e-5)


def test_kinds_are_given_for_all_or_by_name(tmp_path):
    data = cells()
    data.X[:, :3] = np.random.default_rng(0).integers(0, 2, (N, 3))
    path = saved(tmp_path, data)
    kinds = ("*=real", "gene0=binary", "gene1*=count", "gene5=constant", "gene6=identifier")
    table = anndata_file(path, None, Columns(kinds=kinds))
    found = {column.name: column.kind for column in table.schema.columns}
    assert [found[f"gene{i}"] for i in (0, 1, 2, 10, 5, 6)] == ["binary", "count", "real", "count", *2 * ["constant"]]
    np.testing.assert_array_equal(x_of(table)[:, 0], data.X[:, 0])
    np.testing.assert_allclose(x_of(table)[:, 2].std(), 1, rtol=1e-5)


def test_missing_values_are_kept(tmp_path):
    data = cells()
    data.X[3, 4] = np.nan
    table = anndata_file(saved(tmp_path, data))
    wanted = table_file(as_csv(tmp_path, data), Columns(drop=("type", "day", "donor")))
    assert [column.name for column in table.schema.columns if column.has_missing] == ["gene4"]
    assert table.schema.columns[4].mean == pytest.approx(wanted.schema.columns[4].mean)
    np.testing.assert_array_equal(x_of(table), x_of(wanted))


def test_variables_are_chosen_by_name_and_beginning(tmp_path):
    path = saved(tmp_path, data := cells(), "csc")
    table = anndata_file(path, None, Columns(use=("gene1*", "gene3"), drop=("gene10",)))
    assert table.schema.entry_names == ("gene1", "gene3")
    np.testing.assert_array_equal(x_of(table), data.X[:, [1, 3]])
    with pytest.raises(ValueError, match="unknown column 'gen3': did you mean 'gene3'"):
        anndata_file(path, None, Columns(use=("gen3",)))
    with pytest.raises(ValueError, match="--drop names all"):
        anndata_file(path, None, Columns(drop=("gene*",)))
    with pytest.raises(ValueError, match="each has the same value"):
        anndata_file(path, None, Columns(use=("gene11",)))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("kind", ["dense", "csc"])
def test_new_rows_are_read_by_name_in_any_order(kind, real, tmp_path):
    data = cells(real)
    data.X[0, 0] = 4 if not real else -1
    schema = anndata_file(saved(tmp_path, data)).schema
    told = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    order = np.random.default_rng(1).permutation(GENES)
    new = data[5:25, order].copy()
    more = anndata.AnnData(np.ones((20, 1), np.float32), obs=new.obs, var=pd.DataFrame(index=["another"]))
    path = saved(tmp_path, anndata.concat([more, new], axis=1, merge="first"), kind, "new")
    with pytest.warns(LeftOut, match=rf"1 of the {GENES + 1} variables are left out, .*: 'another'$"):
        new = anndata_file(path, None, Columns(), told)
    np.testing.assert_allclose(x_of(new), x_of(anndata_file(tmp_path / "cells.h5ad"))[5:25])
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftOut)
        anndata_file(path, None, Columns(drop=("another",)), told)


def test_new_rows_need_no_labels(tmp_path):
    told = anndata_file(saved(tmp_path, data := cells()), None, LABELS).schema
    del data.obs["type"], data.obs["donor"]
    new = anndata_file(saved(tmp_path, data, name="new"), None, LABELS, told)
    assert (new.factor_names, new.origin.groups) == (("day",), None)
    np.testing.assert_array_equal(x_of(new), data.X[:, :-1])


def test_new_rows_that_do_not_fit_are_refused(tmp_path):
    data = cells()
    data.X[:, 0] = np.arange(N) % 2
    schema = anndata_file(saved(tmp_path, data), None, Columns(kinds=("gene0=binary",))).schema
    with pytest.raises(
        ValueError, match="few.h5ad: there is no variable 'gene0', 'gene1', .* and 1 more, which the mo"
    ):
        anndata_file(saved(tmp_path, data[:, 6:], name="few"), None, Columns(), schema)
    for gene, value, message in (
        (0, 2, "binary column has a value that it did not have"),
        (1, 0.5, "'gene1' has negative or fractional values, and was a count: is it another layer"),
        (1, -1, "'gene1' has negative or fractional values"),
        (1, np.inf, "infinite values"),
    ):
        other = data.copy()
        other.X[2, gene] = value
        with pytest.raises(ValueError, match=f"new.h5ad: .*{message}"):
            anndata_file(saved(tmp_path, other, name="new"), None, Columns(), schema)


def test_the_columns_of_a_csv_table_are_found_in_anndata(tmp_path):
    data = cells()
    data.X[:, 0] = 1 + 3 * (np.arange(N) % 2)
    table = table_file(as_csv(tmp_path, data), Columns(drop=("type", "day", "donor")))
    assert table.schema.columns[0].kind == "binary"
    np.testing.assert_array_equal(x_of(anndata_file(saved(tmp_path, data), None, Columns(), table.schema)), x_of(table))
    words = table_file(as_csv(tmp_path, data), Columns(drop=("day", "donor")))
    data = anndata.concat([data, data[:, 1:2].copy()], axis=1, merge="first")
    data.var_names = [*data.var_names[:-1], "type"]
    with pytest.raises(ValueError, match="'type' was binary in the training data: it needs words"):
        anndata_file(saved(tmp_path, data, name="new"), None, Columns(), words.schema)


def changed(change):
    found = change(data := cells())
    return data if found is None else found


def put(value, row=3, gene=2):
    def change(data):
        data.X[row, gene] = value

    return change


def repeat(data):
    data.var_names = ["gene1", *data.var_names[1:]]


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        (put(0, [2, 5], slice(None)), Columns(), "2 rows have no counts at all: 'cell2', 'cell5': remove them"),
        (put(0, slice(None), slice(None)), Columns(), "each has the same value in all rows"),
        (put(np.inf), Columns(), "infinite values"),
        (put(-1), Columns(kinds=("gene2=count",)), "'gene2' has negative or fractional values, and can't be a count"),
        (put(2), Columns(kinds=("gene2=binary",)), "'gene2' has values up to .*, and a binary column has 0 and 1"),
        (put(2), Columns(kinds=("gene2=categorical",)), "unknown kind 'categorical'"),
        (put(2), Columns(kinds=("gen2=real",)), "unknown variable 'gen2': did you mean 'gene2'"),
        (put(2), Columns(kinds=("gene2",)), "--kind takes NAME=KIND"),
        (repeat, Columns(), "several variables have the name 'gene1': rename them.*var_names_make_unique"),
        (lambda data: data[:0].copy(), Columns(), r"X is empty: it has the shape \(0, 12\)"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change, columns, message, tmp_path):
    path = saved(tmp_path, changed(change))
    with pytest.raises(ValueError, match=f"cells.h5ad: .*{message}"):
        anndata_file(path, None, columns)


def test_a_cell_that_lacks_the_chosen_genes_has_counts_elsewhere(tmp_path):
    data = cells()
    data.X[4, :5] = 0
    table = anndata_file(saved(tmp_path, data), None, Columns(use=tuple(f"gene{i}" for i in range(5))))
    assert not x_of(table)[4].any()


def test_flags_of_tables_are_for_anndata(tmp_path):
    path = saved(tmp_path, cells())
    for data in (str(path), f"anndata:{path}", f"anndata:{path}:layer", str(saved(tmp_path, cells(), "zarr"))):
        assert DataOptions(data=data).is_tabular
    options = DataOptions(
        data=str(path), columns=("gene1*",), drop=("gene10",), label_columns=("type",), kind=("*=real",)
    )
    table = options.open()
    assert (table.schema.entry_names, table.factor_names) == (("gene1",), ("type",))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::jaxvae.training.run_folder.OtherData")
def test_a_run_on_counts(tmp_path, capsys):
    """Cells in another file, with their genes in another order, have the codes that they have in the first one."""
    path, run = saved(tmp_path, data := cells(), "csr"), tmp_path / "run"
    learn = ["train", "vae", "--data", str(path), "--label-columns", "type", "--network", "mlp-small"]
    with jax.numpy_dtype_promotion("standard"):  # as Optax needs
        main([*learn, "--steps", "3", "--batch-size", "8", "--no-score", "--run", str(run)])
        assert "11 count" in capsys.readouterr().out
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert np.isfinite(rows[-1]["reconstruction"])
        first = load_run(run)
        order = np.random.default_rng(0).permutation(GENES)
        other = load_run(run, data=str(saved(tmp_path, data[10:30, order], name="other")))
        ours, theirs = (each.encode(x_of(each.source)).mean for each in (first, other))
    assert ours.shape == (N, 10)
    np.testing.assert_array_equal(theirs, ours[10:30])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label-columns", "typ"], "unknown column 'typ': did you mean 'type'"),
        (["--image-size", "8"], "--image-size is for images"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(more, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "vae", "--data", str(saved(tmp_path, cells())), *more, "--run", str(tmp_path / "run")])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
