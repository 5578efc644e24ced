"""Codes and factors of other programs: which rows belong together, how factors become integers, and their scores."""

import json
import re

import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.metrics import METRICS, UNSUPERVISED, Binning, infomec, information, mig
from jaxvae.runs.codes import write_columns
from jaxvae.runs.columns import read_columns
from jaxvae.runs.foreign import read_foreign, score_foreign
from jaxvae.runs.score import RESAMPLES, THOROUGH, score_arrays
from tests.report.page_parts import ATTACK, Page

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 4, (400, 2))
CODES = FACTORS @ np.array([[1.0, 0.2], [0.1, 1.0]]) + 0.3 * RNG.normal(size=(400, 2))


def write(path, header, *columns):
    rows = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def codes(tmp_path):
    return write(tmp_path / "codes.csv", "id,z0,z1", [f"e{i}" for i in range(400)], *CODES.T)


def test_rows_are_matched_by_their_ids(codes, tmp_path):
    order = RNG.permutation(400)
    shuffled = FACTORS[order]
    factors = write(tmp_path / "factors.csv", "b,id,a", shuffled[:, 1], [f"e{i}" for i in order], shuffled[:, 0])
    found = read_foreign(codes, [str(factors)])
    assert [factor.name for factor in found.factors] == ["b", "a"]
    np.testing.assert_array_equal(found.factors[1].values, FACTORS[:, 0])
    np.testing.assert_array_equal(found.codes, CODES)
    assert found.matched == "by the column id"
    scores = score_foreign(found, ["mig"])
    assert scores["metrics"]["mig"]["score"] == pytest.approx(mig(CODES, FACTORS[:, ::-1]).score)


def test_without_ids_rows_are_matched_by_their_order(codes, tmp_path):
    factors = write(tmp_path / "factors.csv", "a", FACTORS[:, 0])
    found = read_foreign(codes, [str(factors)])
    np.testing.assert_array_equal(found.factors[0].values, FACTORS[:, 0])
    assert found.matched == "by their order"
    np.save(tmp_path / "factors.npy", FACTORS[:399])
    message = f"{codes} has 400 rows and {tmp_path / 'factors.npy'} has 399: they are matched by their order"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_foreign(codes, [str(tmp_path / "factors.npy")])


def test_values_of_quantised_codes_are_categories(codes, tmp_path, capsys):
    numbers = np.digitize(CODES, [0.5, 1.5, 2.5])
    grid = write(tmp_path / "grid.csv", "z0,z1", *np.array([0.7, -0.1, 0.2, -0.4])[numbers].T)
    factors = write(tmp_path / "factors.csv", "a,b", *FACTORS.T)
    words = ["--factors", str(factors), "--metrics", "infomec", "--out", str(tmp_path / "scores.json")]
    found = {}
    for flags in ([], ["--quantised"]):
        main(["score", str(grid), *words, *flags])
        found[bool(flags)] = json.loads((tmp_path / "scores.json").read_text())["metrics"]["infomec"]
    assert found[True]["infom"] == pytest.approx(infomec(numbers, FACTORS, discrete_codes=True).infom)
    assert found[True]["infom"] != pytest.approx(found[False]["infom"])
    with pytest.raises(SystemExit) as stopped:
        main(["score", str(codes), *words, "--quantised"])
    assert stopped.value.code == 2
    assert "the code 'z0' has 400 different values in 400 examples, so it is not quantised" in capsys.readouterr().err


def test_intervals_of_metrics_of_information_take_one_pass_per_half(monkeypatch):
    """And the scores and intervals are those of each metric alone, to the bit."""
    names, counted, count = ["mig", "mig_sup", "jemmig", "dcimig", "med"], [], information._counted
    monkeypatch.setattr(information, "_counted", lambda *given: counted.append(given) or count(*given))
    alone = {}
    for name in names:
        monkeypatch.setattr(information, "_kept", {})
        alone |= score_arrays(CODES, None, FACTORS, [name])["metrics"]
    assert len(counted) == 5 * (1 + RESAMPLES)
    counted.clear()
    monkeypatch.setattr(information, "_kept", {})
    assert score_arrays(CODES, None, FACTORS, names)["metrics"] == alone
    assert len(counted) == 1 + RESAMPLES


def test_ids_that_do_not_match(codes, tmp_path):
    ids = [f"e{i}" for i in range(1, 401)]
    factors = write(tmp_path / "factors.csv", "id,a", ids, FACTORS[:, 0])
    with pytest.raises(ValueError, match=re.escape("1 of the 400 ids of") + ".*such as 'e0'"):
        read_foreign(codes, [str(factors)])
    ids[1] = ids[0]
    write(factors, "id,a", ids, FACTORS[:, 0])
    with pytest.raises(ValueError, match="the id 'e1' is there more than once"):
        read_foreign(codes, [str(factors)])


def test_numbers_as_ids_may_have_been_floats(tmp_path):
    codes = write(tmp_path / "a.csv", "id,z0", [0, 1, 2], [5, 6, 7])
    factors = write(tmp_path / "b.csv", "id,a", [2.0, 1.0, 0.0], [10, 11, 12])
    assert read_foreign(codes, [str(factors)]).factors[0].values.tolist() == [2, 1, 0]


def test_columns_of_one_file(tmp_path):
    path = write(tmp_path / "all.csv", "x,a,y,b,id,cluster,word", CODES[:, 0], FACTORS[:, 0], CODES[:, 1],
                 FACTORS[:, 1], range(400), range(400), ["w"] * 400)  # fmt: skip
    found = read_foreign(path, ["a", "b"])
    assert found.code_names == ("x", "y")
    np.testing.assert_array_equal(found.codes, CODES)
    assert [factor.name for factor in found.factors] == ["a", "b"]
    assert read_foreign(path, ["b"], columns=["y"]).code_names == ("y",)
    for factors, columns, message in (
        (["a", "c"], (), "unknown column 'c'. There are: x, a, y, b"),
        (["a"], ("a",), "the column 'a' can't be a code and a factor"),
        (["a"], ("word",), "the column 'word' must hold finite numbers"),
        (["a"], ("q",), "there is no column q"),
        (["nowhere.csv"], (), "nowhere.csv: there is no such file"),
        (["c"], (), "unknown column 'c'."),
        (["c.doc"], (), "columns come from files that end in"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            read_foreign(path, factors, columns=columns)


def test_a_file_of_codes_may_be_the_file_of_factors(tmp_path):
    path = write(tmp_path / "all.csv", "z0,sd0,cluster,a", CODES[:, 0], np.ones(400), range(400), FACTORS[:, 0])
    found = read_foreign(path, [str(path)])
    assert [factor.name for factor in found.factors] == ["a"]
    np.testing.assert_array_equal(found.standard_deviations, np.ones((400, 1)))
    only = write(tmp_path / "codes.csv", "z0", CODES[:, 0])
    with pytest.raises(ValueError, match="there is no column of factors in it, only z0"):
        read_foreign(path, [str(only)])


def test_words_and_whole_numbers_keep_their_values(tmp_path):
    path = write(
        tmp_path / "a.csv", "z0,word,number,flag", range(4), ["b", "a", "b", "c"], [-5, 10, 10, 2], [True, False] * 2
    )
    factors = read_foreign(path, ["word", "number", "flag"]).factors
    assert [factor.values.tolist() for factor in factors] == [[1, 0, 1, 2], [0, 2, 2, 1], [1, 0, 1, 0]]
    assert factors[0].in_words("quantiles") == "word: 3 values"


@pytest.mark.parametrize(
    ("binning", "values", "edges"),
    [
        ("quantiles", [0.5, 1, 2, 3, 4, 5, 6, 1000], [1.75, 3.5, 5.25]),
        ("width", [0.5, 1, 2, 3, 4, 5, 6, 8.5], [2.5, 4.5, 6.5]),
    ],
)
def test_continuous_factors_are_cut_into_bins(binning, values, edges, tmp_path):
    path = write(tmp_path / "a.csv", "z0,mass", range(8), values)
    (factor,) = read_foreign(path, ["mass"], bins=4, binning=binning).factors
    np.testing.assert_allclose(factor.edges, edges)
    expected = [sum(value >= edge for edge in edges) for value in values]
    assert factor.values.tolist() == expected
    told = factor.in_words(binning)
    kind = {"quantiles": "of about equal counts at 1.75 3.5 5.25", "width": "of equal width at 2.5 4.5 6.5"}[binning]
    assert told == f"mass: 8 different numbers, cut into 4 bins {kind}"


@pytest.mark.parametrize("binning", ["quantiles", "width"])
def test_definitions_say_how_factors_were_cut(binning, tmp_path):
    """In the words of the metrics that cut factors themselves; not where none is cut, or none is read."""
    count = np.repeat([0.5, 1.5, 2.5, 3.5], [150, 100, 100, 50])
    columns = (*CODES.T, FACTORS[:, 0], CODES[:, 0], CODES[:, 1], count)
    path = write(tmp_path / "a.csv", "z0,z1,shape,mass,age,count", *columns)
    asked = ["mig", "gaussian_total_correlation"]

    def definitions(factors):
        found = score_foreign(read_foreign(path, factors, bins=6, binning=binning), asked, binning=binning)["metrics"]
        return [found[name]["definition"] for name in asked]

    whole, unsupervised = definitions(["shape"])
    bins = {"quantiles": "about equal counts", "width": "equal width"}[binning]
    assert definitions(["shape", "mass"]) == [f"{whole}, factor mass cut into 6 bins of {bins}", unsupervised]
    assert (
        mig(CODES, CODES, binning=Binning(6, binning)).definition == f"{whole}, factors 0, 1 cut into 6 bins of {bins}"
    )
    several = {
        "quantiles": f", factors mass, age cut into 6 bins of {bins}, factor count cut into 3 bins of {bins}",
        "width": f", factors mass, age, count cut into 6 bins of {bins}",
    }
    assert definitions(["mass", "age", "count"])[0] == whole + several[binning]


def test_values_that_are_repeated_share_a_bin(tmp_path):
    path = write(tmp_path / "a.csv", "z0,mass", range(10), [0.5] * 7 + [1.5, 2.5, 3.5])
    (factor,) = read_foreign(path, ["mass"], bins=5).factors
    np.testing.assert_allclose(factor.edges, [1.5, 1.7])
    assert factor.values.tolist() == [0] * 7 + [1, 2, 2]
    (factor,) = read_foreign(write(tmp_path / "c.csv", "z0,mass", range(3), [0.5] * 3), ["mass"]).factors
    assert factor.values.tolist() == [0, 0, 0]
    many = write(tmp_path / "b.csv", "z0,count", range(600), range(600))
    (factor,) = read_foreign(many, ["count"], bins=3).factors
    assert np.bincount(factor.values).tolist() == [200] * 3


@pytest.mark.parametrize("value", ["", "nan", "inf"])
def test_a_factor_without_a_value_is_named(value, tmp_path):
    path = write(tmp_path / "a.csv", "z0,mass,kind", range(4), [1, value, 2, 3], ["a", "", "b", ""])
    with pytest.raises(
        ValueError, match=re.escape("the factor 'mass' has no value in 1 of 4 rows (the first is row 1)")
    ):
        read_foreign(path, ["mass"])
    with pytest.raises(
        ValueError, match=re.escape("the factor 'kind' has no value in 2 of 4 rows (the first is row 1)")
    ):
        read_foreign(path, ["kind"])


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("gap", [None, float("nan"), "NA"])
def test_labels_that_are_missing_in_anndata_are_missing(gap, categorical, tmp_path):
    """They are no class of their own, exactly as the empty cells of a csv file."""
    anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    missing = pandas.NA if gap == "NA" else gap
    labels = pandas.Series(["B", missing, "T", "B"], dtype="category" if categorical else object)
    if gap == "NA" and not categorical:
        labels = labels.astype("string")
    more = {"batch": pandas.array([1, 2, None, 2], dtype="Int64"), "whole": ["x", "y", "x", "z"]}
    obs = pandas.DataFrame({"type": labels.array, **more}, index=list("abcd"))
    path = tmp_path / "codes.h5ad"
    with anndata.settings.override(allow_write_nullable_strings=True):
        anndata.AnnData(obs=obs, obsm={"X_vae": CODES[:4]}).write_h5ad(path)
    with pytest.raises(
        ValueError, match=re.escape("the factor 'type' has no value in 1 of 4 rows (the first is row 1)")
    ):
        read_foreign(path, ["type"])
    with pytest.raises(
        ValueError, match=re.escape("the factor 'batch' has no value in 1 of 4 rows (the first is row 2)")
    ):
        read_foreign(path, ["batch"])
    (tmp_path / "codes.csv").write_text("id,type,batch,whole\na,B,1,x\nb,,2,y\nc,T,,x\nd,B,2,z\n")
    from_text, from_anndata = (read_columns(tmp_path / name, "z") for name in ("codes.csv", "codes.h5ad"))
    for name, column in from_text.items():
        np.testing.assert_array_equal(from_anndata[name], column)


def test_samples_are_of_the_posteriors(tmp_path):
    narrow = write(tmp_path / "a.csv", "z0,z1,sd0,sd1,a", *CODES.T, *np.full((2, 400), 1e-9), FACTORS[:, 0])
    wide = write(tmp_path / "b.csv", "z0,z1,sd0,sd1,a", *CODES.T, *np.full((2, 400), 9.0), FACTORS[:, 0])
    scores = [score_foreign(read_foreign(path, ["a"]), ["mig"]) for path in (narrow, wide)]
    means = [each["metrics"]["mig"]["score"] for each in scores]
    samples = [each["sampled"]["mig"]["score"] for each in scores]
    assert means[0] == means[1] == pytest.approx(samples[0])
    assert samples[1] < 0.2 * means[1]


def test_the_command_prints_the_table_and_writes_the_scores(codes, tmp_path, capsys):
    np.savez(tmp_path / "factors.npz", factors=FACTORS + np.array([0, 10]), factor_names=["shape", "size"])
    out = tmp_path / "new" / "scores.json"
    main(["score", str(codes), "--factors", str(tmp_path / "factors.npz"), "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "factors (rows matched to those of the codes by their order):", "  shape: 4 values", "  size: 4 values"
    ]  # fmt: skip
    assert lines[3].split()[:3] == ["metric", "means", "samples"]
    assert "(400 examples)" in lines[3]
    assert [line.split()[0] for line in lines[4:-1]] == list(THOROUGH)
    scores = json.loads(out.read_text())
    assert list(scores["metrics"]) == list(THOROUGH)
    assert scores["factors"]["size"] == {"values": 4, "different": 4, "edges": []}
    assert scores["metrics"]["mig"]["score"] == pytest.approx(mig(CODES, FACTORS).score)
    low, high = scores["metrics"]["mig"]["interval"]
    assert low < scores["metrics"]["mig"]["score"] < high
    assert set(THOROUGH) < set(METRICS | UNSUPERVISED)


def test_the_page_has_the_table(codes, tmp_path, capsys):
    """With the numbers that are printed, and the names of files and factors as text."""
    table = {"z0": CODES[:, 0], "z1": CODES[:, 1], "sd0": np.full(400, 0.1), "sd1": np.full(400, 0.1)}
    columns = {**table, ATTACK: FACTORS[:, 0], "age": CODES[:, 0]}
    write_columns(tmp_path / "codes.parquet", columns)
    asked = ["score", str(tmp_path / "codes.parquet"), "--factors", ATTACK, "age", "--metrics", "mig", "sap"]
    main([*asked, "--out", str(tmp_path / "new" / "page.html")])
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    html = (tmp_path / "new" / "page.html").read_text()
    page = Page(html)
    text = " ".join(page.text)
    assert page.text.count("Scores of codes.parquet") == 2
    assert "400 different numbers, cut into 10 bins of about equal counts" in text
    assert ATTACK in text
    assert ATTACK not in html
    for name in ("mig", "sap"):
        _, means, plus, half, samples, *definition = next(line for line in printed if line[0] == name)
        assert plus == "±"
        for number in (means, half, samples):
            assert number in page.text
        assert " ".join(definition[:4]) in " ".join(text.split())


def test_metrics_that_need_no_factors_are_computed_without(codes, capsys):
    main(["score", str(codes), "--metrics", "mig", "gaussian_total_correlation"])
    lines = capsys.readouterr().out.splitlines()
    assert "metrics that need factors are left out: add --factors FILE" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["gaussian_total_correlation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: there is no such file"),
        (["CODES", "--factors", "z0", "z9"], "unknown column 'z9'"),
        (["CODES", "--metrics", "gim"], "unknown metric 'gim'"),
        (["CODES", "--bins", "1", "--factors", "z0"], "--bins must be at least 2, got 1"),
        (["CODES", "--out", "scores.csv"], "--out must name a file that ends in .json or .html"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(arguments, message, codes, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score", *(str(codes) if word == "CODES" else word for word in arguments)])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error
    assert error.count("\n") == 1
