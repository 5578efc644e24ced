"""Findings of made-up tables: each claim can be shown and can fail to; and the page that tells them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxvae.cli import study as study_command
from jaxvae.cli.main import main
from jaxvae.report import paper
from jaxvae.report.encoding import Embedded
from jaxvae.report.page import render_html
from jaxvae.report.parts import Card, Picture, Section
from jaxvae.study.figures import draw_study
from jaxvae.study.findings import DOWNSTREAM, METRICS, Finding, findings, theorem
from jaxvae.study.grid import GRIDS, Model, config_of, model_of
from jaxvae.study.page import cost, published_cost, study_html
from jaxvae.study.speed import Speed, hours, speed_of
from jaxvae.study.table import read_table, write_table
from tests.report.page_parts import ATTACK, Page
from tests.study.fake_study import GRID, SCORES, table


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


def test_annealed_vaes_capacity_is_no_strength():
    def rises_there(row, rng, quality):
        return (50 if row["method"] == "annealed-vae" else -1) * rank(row) + 0.1 * rng.normal()

    assert (
        outcome(table(**{"sampled/gaussian_total_correlation": rises_there}), "less correlated are sampled") == "shown"
    )


def test_transfer():
    def setting(row):
        return rank(row) + len(row["method"])

    good = {name: lambda row, rng, q: setting(row) + 0.5 * rng.normal() for name in METRICS}
    # Half of the metrics see something of their own in each setting, and another thing on the other data.
    own = {
        name: lambda row, rng, q: (
            setting(row) + 2 * np.sin(37 * setting(row) + 3 * len(row["data"])) + 0.5 * rng.normal()
        )
        for name in list(METRICS)[3:]
    }
    assert outcome(table(**good | own), "beats a random one") == "shown"
    turned = {
        name: lambda row, rng, q: (1 if row["data"] == "sprites" else -1) * setting(row) + rng.normal()
        for name in METRICS
    }
    assert outcome(table(**turned), "beats a random one") == "not shown"
    one = [row for row in table(**good) if row["data"] == "sprites"]
    assert outcome(one, "beats a random one") == "not testable at this scale"


def test_downstream():
    useful = {name: lambda row, rng, q: q + 0.1 * rng.normal() for name in (*METRICS, *DOWNSTREAM)}
    claim = "learning downstream need fewer examples"
    assert outcome(table(**useful), claim) == "not shown"
    assert outcome(table(), claim) == "shown"
    assert outcome(table(**dict.fromkeys(DOWNSTREAM)), claim) == "not testable at this scale"
    # One learner that disentangled codes do not help, and a metric is nothing to rely on.
    half = useful | {"downstream/trees/efficiency": lambda row, rng, q: rng.normal()}
    assert outcome(table(**half), claim) == "shown"


def test_the_theorem():
    demo = theorem()
    # Ten equally likely values by bins of equal width: not all of a factor's entropy is in its code's bins.
    assert demo["mig"] > 0.75
    assert demo["mig turned"] < 0.02
    assert demo["p"] > 0.01


@pytest.mark.process
def test_a_table_without_scores_is_told_without_numbers():
    page = Page(study_html(table(others=None), "small"))
    assert "nan" not in page.words
    assert page.words.count("not testable at this scale") >= 4


def test_texts_are_escaped():
    def page(text):
        values = {"models": 1, "failed": 0, "theorem": {"mig": 1.0, "mig turned": 0.0, "p": 0.5}}
        texts = {"title": text, "version": text, "cost": text, "findings": [Finding(text, text, text)]}
        card = Card(text, Picture(Embedded("data:,", 10, 10), text, 2))
        sections = [Section("a", text, caption=text, layout="columns", cards=[card])]
        return Page(render_html("study.html", **values, **texts, sections=sections))

    assert page(ATTACK).skeleton == page("a text").skeleton
    assert page(ATTACK).words.count(ATTACK) == 11  # that of the section is in the contents as well


def test_cost_is_told():
    told = cost(table(), "small")
    assert "180 models of 5,000 updates, 5 seeds, trained in 1.00 hours" in told
    assert "(250 updates a second" in told


def test_what_the_published_grid_would_take():
    grid = GRIDS["full"]
    speeds = {f"{sweep.method}, {channels}": 100.0 / channels for sweep in grid.sweeps for channels in (1, 3)}
    # 2 data sets of one channel and 5 of three, 1,800 models of 300,000 updates each.
    expected = (2 * 1800 * 300_000 / 100 + 5 * 1800 * 300_000 / (100 / 3)) / 3600
    assert hours(grid, speeds) == pytest.approx(expected)
    assert config_of(grid, 0).training.steps == 300_000
    speed = speed_of(json.loads(json.dumps(Speed("a chip", speeds, expected)._asdict())))
    assert speed == Speed("a chip", speeds, expected)
    assert "measured on a chip, one model at a time: 33.3 to 100.0 updates a second" in published_cost(speed)
    assert "25,500 hours of it for all" in published_cost(speed)
    assert "measured" not in published_cost(None)
    with pytest.raises(ValueError, match="no speed that"):
        speed_of({"device": "a chip"})


def test_the_committed_study_says_what_its_table_says():
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "study"
    rows, about = read_table(results / "small.parquet")
    assert about["preset"] == "small"
    places = [{name: row[name] for name in Model._fields} for row in rows]
    assert places == [model_of(GRID, number)._asdict() for number in range(GRID.size)]
    assert sum(path.stat().st_size for path in results.iterdir()) < 5_000_000
    words = Page((results / "small.html").read_text()).words
    for found in findings(rows):
        assert f"{found.claim} {found.outcome} {found.numbers}" in words


@pytest.mark.process
def test_the_command_counts_failed_models_and_tells_the_speed_that_it_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study_command, "measure_speed", lambda: Speed("a chip", {"beta-vae, 1": 10.0}, 1234.0))
    noted, page, rows = tmp_path / "new" / "speed.json", tmp_path / "pages" / "page.html", tmp_path / "all.parquet"
    main(["study", "speed", "--out", str(noted)])
    assert "1,234 hours of a chip" in capsys.readouterr().out
    of_seeds = table()
    for row in of_seeds[:7]:
        row.update(dict.fromkeys(SCORES), failure="diverged")
    write_table(rows, of_seeds, {"preset": "small"})
    main(["study", "report", str(rows), "--speed", str(noted), "--out", str(page)])
    assert capsys.readouterr().out == f"page: {page}\n"
    html = page.read_text()
    assert "1,234 hours of it for all" in html
    page_of_it = Page(html)
    assert page_of_it.words.count("180 models of 5,000 updates, 5 seeds, 1.00 hours.") == 8
    assert "180 models, 7 failed" in page_of_it.words
    assert "nan" not in page_of_it.words
    # Two kinds of codes, three maps, six metrics, six methods and shares of variance, each of two data sets; transfer.
    assert len(page_of_it.all("img")) == 2 * (2 + 3 + 6 + 6 + 1) + 1
    assert len(page_of_it.all("source")) == len(page_of_it.all("img"))  # each is drawn for dark pages as well
    assert all(picture["alt"] for picture in page_of_it.all("img"))
    assert page_of_it.words.count("shown") >= 7
    assert "not testable at this scale" not in page_of_it.words
    assert len(html) < 5_000_000
    assert not re.findall(r"https?:", html)
    noted.write_text("[]")
    with pytest.raises(SystemExit):
        main(["study", "report", str(rows), "--speed", str(noted), "--out", str(page)])
    assert "no speed that" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["study", "report", str(tmp_path / "none.parquet")])
    assert "there is no table" in capsys.readouterr().err


def test_figures_leave_out_settings_that_failed(tmp_path, monkeypatch):
    rows, names = table(), []
    whole, failed = dict.fromkeys(row["data"] for row in rows)
    method, strength = rows[0]["method"], rows[0]["strength"]
    for row in rows:
        row["property/reconstruction_error"] = 0.1
        if row["data"] == failed or (row["method"], row["strength"]) == (method, strength):
            row |= {"failure": "diverged", "mean/mig": None, "property/reconstruction_error": None}
    monkeypatch.setattr(paper, "pareto", lambda spots, *more: names.extend(spot.name for spot in spots) or Figure())
    files = draw_study(rows, tmp_path, score="mig", formats=("svg",))
    assert sorted(file.relative_to(tmp_path).as_posix() for file in files) == [
        f"{whole}/pareto.svg",
        f"{whole}/scores.svg",
    ]
    assert f"{method} {strength:g}" not in names
    assert len(names) == sum(len(sweep.values) for sweep in GRID.sweeps) - 1
