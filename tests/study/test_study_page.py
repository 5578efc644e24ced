"""Findings of made-up tables: each claim can be shown and can fail to; and the page that tells them."""

import re

import pytest

from jaxvae.cli import main
from jaxvae.study.findings import METRICS, UNSUPERVISED, findings, theorem
from jaxvae.study.page import cost, study_html
from jaxvae.study.table import write_table
from tests.report.page_parts import Page
from tests.study.fake_study import GRID, table


def outcome(rows, words):
    (found,) = [finding for finding in findings(rows) if words in finding.claim]
    return found.outcome


def rank(row):
    sweep = next(sweep for sweep in GRID.sweeps if sweep.method == row["method"])
    return sweep.values.index(row["strength"])


def test_total_correlations():
    falls = table(**{"sampled/gaussian_total_correlation": lambda row, rng, q: -rank(row) + 0.1 * rng.normal()})
    rises = table(**{"sampled/gaussian_total_correlation": lambda row, rng, q: rank(row) + 0.1 * rng.normal()})
    assert outcome(falls, "less correlated are sampled") == "shown"
    assert outcome(rises, "less correlated are sampled") == "not shown"
    for name, expected in ((1.0, "shown"), (-1.0, "not shown")):
        means = {"mean/gaussian_total_correlation": lambda row, rng, q, s=name: s * rank(row) + 0.1 * rng.normal()}
        assert outcome(table(**means), "mean codes does not fall") == expected
    nothing = table(**{"mean/gaussian_total_correlation": None})
    assert outcome(nothing, "mean codes does not fall") == "not testable at this scale"


def test_agreement():
    alike = {name: lambda row, rng, q: q + 0.1 * rng.normal() for name in METRICS}
    odd = alike | {"mean/modularity": lambda row, rng, q: rng.normal()}
    assert outcome(table(**odd), "Metrics agree") == "shown"
    assert outcome(table(), "Metrics agree") == "not shown"


def test_variance():
    objective = {name: lambda row, rng, q: len(row["method"]) + 0.1 * rng.normal() for name in METRICS}
    assert outcome(table(**objective), "matter more than the objective") == "not shown"
    assert outcome(table(), "matter more than the objective") == "shown"


def test_selection():
    told = {name: lambda row, rng, q: q + 0.1 * rng.normal() for name in (*METRICS, "train/kl")}
    assert outcome(table(**told), "No score without labels") == "not shown"
    assert outcome(table(), "No score without labels") == "shown"


def test_transfer():
    settings = {name: lambda row, rng, q: rank(row) + len(row["method"]) + 0.5 * rng.normal() for name in METRICS}
    part = settings | {
        name: lambda row, rng, q: (rank(row) if row["data"] == "sprites" else -rank(row)) + 2 * rng.normal()
        for name in list(METRICS)[3:]
    }
    assert outcome(table(**part), "beats a random one") == "shown"
    one = [row for row in table(**settings) if row["data"] == "sprites"]
    assert outcome(one, "beats a random one") == "not testable at this scale"


def test_the_theorem():
    demo = theorem()
    # Ten equally likely values by bins of equal width: not all of a factor's entropy is in its code's bins.
    assert demo["mig"] > 0.75
    assert demo["mig turned"] < 0.02
    assert demo["p"] > 0.01


def test_failed_models_are_counted_and_numbers_may_miss():
    rows = table()
    for row in rows[:7]:
        row.update(dict.fromkeys((*METRICS, *UNSUPERVISED, "sampled/gaussian_total_correlation")), failure="diverged")
    page = Page(study_html(rows, "small"))
    assert "180 models, 7 failed" in page.words
    assert "nan" not in page.words
    assert len(page.all("img")) == 6
    assert all(picture["alt"] for picture in page.all("img"))
    assert page.words.count("shown") >= 6
    assert page.words.count("not testable at this scale") >= 1


def test_a_table_without_scores_is_told_without_numbers():
    page = Page(study_html(table(others=None), "small"))
    assert "nan" not in page.words
    assert page.words.count("not testable at this scale") >= 4


def test_cost_is_told():
    told = cost(table(), "small")
    assert "180 models of 5,000 updates, 5 seeds, trained in 1.00 hours" in told
    assert "(250 updates a second" in told
    assert "4,200 hours" in told


def test_the_command(tmp_path, capsys):
    write_table(tmp_path / "all.parquet", table(), {"preset": "small"})
    main(["study", "report", str(tmp_path / "all.parquet"), "--out", str(tmp_path / "new" / "page.html")])
    html = (tmp_path / "new" / "page.html").read_text()
    assert capsys.readouterr().out == f"page: {tmp_path / 'new' / 'page.html'}\n"
    assert len(html) < 5_000_000
    assert not re.findall(r"https?:", html)
    with pytest.raises(SystemExit):
        main(["study", "report", str(tmp_path / "none.parquet")])
    assert "there is no table" in capsys.readouterr().err
