"""Runs beside each other: what is a line, what its numbers are, and a page that sorts."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from page_parts import ATTACK, Page
from scipy import stats

from jaxvae.cli.main import main
from jaxvae.report.comparison_page import comparison_html, shown
from jaxvae.runs.baseline import BaselineConfig
from jaxvae.runs.compare import PROPERTIES, Column, Line, _names, compare, find_runs, interval
from jaxvae.runs.folder import open_run
from jaxvae.training.run_folder import RunFolderError

RNG = np.random.default_rng(0)
TINY = ["--data", "sprites", "--image-size", "16", "--batch-size", "8", "--steps", "4", "--latents", "3"]
COLUMNS = [Column("mig", "mig", 1, ""), Column("error", "error", -1, "of <pixels>"), Column("parts", "parts", 0, "")]


def line(name, mig, error=(0.1,), **changes):
    values = {"mig": np.array(mig, float), "error": np.array(error, float), "parts": np.array([0.5])}
    given = {"data": "sprites", "note": "", "picture": RNG.random((3, 4, 8, 8, 1)), "rows": ("a", "b", "z0")}
    return Line(name, folders=tuple(mig), values=values, **(given | changes))


def row_of(page, name):
    return next(row for row in re.findall(r"<tr>(.*?)</tr>", page) if f'data-value="{name}"' in row)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    main(["train", "vae", *TINY, "--seeds", "0:2", "--run", str(folder / "vae")])
    main(["train", "beta-vae", *TINY, "--seeds", "0:2", "--sweep", "beta=2,4", "--run", str(folder / "beta")])
    main(["fit", "pca", *TINY[:4], "--latents", "3", "--examples", "200", "--run", str(folder / "pca")])
    return folder


def test_interval_is_students():
    mean, half = interval(np.array([1.0, 2.0, 4.0]))
    low, high = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    assert (mean, mean - half, mean + half) == (pytest.approx(7 / 3), pytest.approx(low), pytest.approx(high))
    assert interval(np.array([1.0, np.nan, 2.0, 4.0])) == pytest.approx((mean, half))
    assert interval(np.array([3.0]))[0] == 3
    assert np.isnan(interval(np.array([3.0]))[1])
    assert np.isnan(interval(np.array([np.nan]))).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((0.123, 0.046), "0.12 ± 0.05"),
        ((0.0123, 0.0046), "0.012 ± 0.005"),
        ((123.4, 5.6), "123 ± 6"),
        ((0.00012, 0.00003), "1.2e-04 ± 3e-05"),
        ((np.nan, np.nan), "–"),
        ((0.5, np.nan), "0.50"),
        ((0.0, 0.0), "0.00 ± 0.00"),
        ((-0.5, 0.1), "-0.50 ± 0.10"),
    ],
)
def test_numbers_are_shown_with_the_digits_they_need(value, text):
    assert shown(*value) == text


@pytest.mark.process
def test_seeds_are_one_line_and_settings_another(runs, capsys):
    folders = find_runs([runs / "vae", runs / "beta", runs / "pca"])
    assert len(folders) == 7
    told = []
    columns, lines = compare(folders, num_samples=200, metrics=("mig", "sap"), progress=told.append)
    assert [line.name for line in lines] == ["vae", "beta-vae · beta 2", "beta-vae · beta 4", "pca"]
    assert told == ["vae: 2 runs", "beta-vae · beta 2: 2 runs", "beta-vae · beta 4: 2 runs", "pca: 1 run"]
    assert [column.name for column in columns] == ["mig", "sap", *(column.name for column in PROPERTIES)]
    for one in lines:
        assert {len(values) for values in one.values.values()} == {1 if one.name == "pca" else 2}
        assert one.data == "sprites"
        for folder, mig, error in zip(one.folders, one.values["mig"], one.values["reconstruction_error"], strict=True):
            kept = folder / ("scores.json" if one.name == "pca" else "compared.json")
            scores = json.loads(kept.read_text())
            assert scores["metrics"]["mig"]["score"] == mig
            assert scores["num_samples"] == (10_000 if one.name == "pca" else 200)
            assert scores["properties"]["reconstruction_error"] == error
        assert one.picture.shape[1:] == (6, 16, 16, 1)
        assert one.rows[:2] == ("examples", "reconstructions")
        assert len(one.rows) == len(one.picture) <= 5
    assert lines[-1].values["overlap"] == pytest.approx(0, abs=1e-5)
    assert (lines[0].values["seconds"] > 0).all()


def mark(file, **changes):
    """Writes a MIG that nothing else would give, so that scores that are used again can be told."""
    scores = json.loads(file.read_text())
    scores["metrics"]["mig"]["score"] = 0.777
    file.write_text(json.dumps({**scores, **changes}))


def mig_of(folder, num_samples=150, metrics=("mig",)):
    return compare([folder], num_samples=num_samples, metrics=metrics)[1][0].values["mig"].tolist()


@pytest.mark.process
def test_scores_that_fit_are_used_again_and_nothing_is_overwritten(runs):
    folder = runs / "vae" / "seed-0"
    main(["evaluate", str(folder), "--num-samples", "150", "--metrics", "mig", "sap"])
    file = folder / "scores.json"
    mark(file)
    before = file.read_text()
    assert mig_of(folder) == mig_of(folder, num_samples=100) == [0.777]
    assert mig_of(folder, num_samples=160) != [0.777]
    assert mig_of(folder, metrics=("mig", "modularity")) != [0.777]
    assert file.read_text() == before
    kept = folder / "compared.json"
    mark(kept)
    assert mig_of(folder, metrics=("mig", "modularity")) == [0.777]
    mark(file, step=3)  # of an older checkpoint
    kept.unlink()
    assert mig_of(folder) != [0.777]
    main(["evaluate", str(folder), "--num-samples", "150", "--metrics", "gaussian_total_correlation"])
    kept.unlink()
    assert 0 <= mig_of(folder)[0] <= 1


@pytest.mark.process
def test_infomec_of_quantised_codes_is_noted(runs):
    folder = runs / "vae" / "seed-0"
    (line,) = compare([folder], num_samples=130, metrics=("infomec", "mig"))[1]
    assert line.note == ""
    file = folder / "compared.json"
    scores = json.loads(file.read_text())
    scores["metrics"]["infomec"]["definition"] = "InfoM, plug-in, reference convention"
    file.write_text(json.dumps(scores))
    (line,) = compare([folder], num_samples=130, metrics=("infomec",))[1]
    assert line.note == "infomec of quantised codes, which is not comparable with that of continuous ones"
    assert np.isfinite(line.values["infomec"]).all()
    assert compare([folder], num_samples=130, metrics=("mig",))[1][0].note == ""
    broken = runs / "vae" / "seed-1" / "scores.json"
    broken.write_text("{")
    (line,) = compare([folder, broken.parent], num_samples=130, metrics=("infomec",))[1]
    assert line.note.startswith("1 of 2 can't be loaded, infomec of quantised codes")
    broken.unlink()
    file.unlink()


@pytest.mark.process
def test_a_run_counts_once_and_of_one_seed_the_last(runs, tmp_path, monkeypatch):
    copy = tmp_path / "again"
    shutil.copytree(runs / "vae" / "seed-1", copy)
    (line,) = compare([*find_runs([runs / "vae"]), copy], num_samples=100, metrics=("mig",))[1]
    assert line.folders == (runs / "vae" / "seed-0", copy)
    assert line.note == f"seed 1 is there more than once: {copy} counts, {runs / 'vae' / 'seed-1'} does not"
    monkeypatch.chdir(runs)
    assert len(find_runs([runs / "pca", Path("pca"), runs])) == 7


@pytest.mark.process
def test_what_is_wrong_with_runs_is_noted(runs, tmp_path):
    for seed in ("seed-0", "seed-1"):
        shutil.copytree(runs / "vae" / seed, tmp_path / seed)
    (tmp_path / "seed-1" / "diverged.json").write_text('{"step": 2}')
    shutil.rmtree(tmp_path / "seed-1" / "checkpoints")
    (line,) = compare(find_runs([tmp_path]), num_samples=100, metrics=("mig",))[1]
    assert line.note == "1 of 2 diverged, 1 of 2 can't be loaded"
    assert np.isnan(line.values["mig"]).tolist() == [False, True]
    config = json.loads((tmp_path / "seed-0" / "config.json").read_text())
    (tmp_path / "seed-0" / "config.json").write_text(
        json.dumps({**config, "training": {**config["training"], "steps": 9}})
    )
    (line,) = compare([tmp_path / "seed-0"], num_samples=100, metrics=("mig",))[1]
    assert line.note == "1 of 1 not finished"
    shutil.rmtree(tmp_path / "seed-0" / "checkpoints")
    told = []
    (line,) = compare([tmp_path / "seed-0", runs / "pca"], num_samples=100, metrics=("mig",), progress=told.append)[1]
    assert line.name == "pca"
    assert any("left out" in text and "no checkpoint yet" in text for text in told)
    with pytest.raises(RunFolderError, match="no checkpoint yet"):
        compare([tmp_path / "seed-0"], num_samples=100, metrics=("mig",))


@pytest.mark.process
def test_one_damaged_run_does_not_end_a_comparison(runs, tmp_path):
    for name in ("good", "torn", "foreign"):
        shutil.copytree(runs / "vae" / "seed-0", tmp_path / name)
    (tmp_path / "torn" / "config.json").write_text("{")
    config = json.loads((tmp_path / "foreign" / "config.json").read_text())
    (tmp_path / "foreign" / "config.json").write_text(
        json.dumps({**config, "training": {**config["training"], "seed": "many"}})
    )
    told = []
    (line,) = compare(find_runs([tmp_path]), num_samples=100, metrics=("mig",), progress=told.append)[1]
    assert line.folders == (tmp_path / "good",)
    assert np.isfinite(line.values["mig"]).all()
    assert [any("left out" in text and name in text for text in told) for name in ("torn", "foreign")] == [True, True]
    with pytest.raises(RunFolderError, match="can't read"):
        compare([tmp_path / "torn"], num_samples=100, metrics=("mig",))


@pytest.mark.process
def test_pictures_show_what_they_say(tmp_path):
    """PCA of one pixel a latent: rows are examples, the same rebuilt, and one pixel that grows."""
    pixels = np.zeros((60, 64))
    pixels[:, 3], pixels[:, 40] = np.repeat(np.linspace(0, 1, 10), 6), np.tile(np.linspace(0, 0.5, 6), 10)
    np.save(tmp_path / "pixels.npy", pixels.reshape(-1, 8, 8).astype(np.float32))
    words = ["--data", f"arrays:{tmp_path / 'pixels.npy'}", "--latents", "2", "--run", str(tmp_path / "run")]
    main(["fit", "pca", *words])
    _, (line,) = compare([tmp_path / "run"], num_samples=100)
    assert line.data == "pixels.npy"
    assert np.isnan(line.values["mig"]).all()
    examples, rebuilt, first, second = line.picture.reshape(4, 6, 64)
    np.testing.assert_allclose(rebuilt, examples, atol=2e-3)
    for row, pixel in ((first, 3), (second, 40)):
        assert (np.abs(np.diff(row[:, pixel])) > 0.01).all()  # each value another
        assert np.ptp(np.delete(row, pixel, axis=1), axis=0).max() < 1e-5
        assert abs(np.sign(np.diff(row[:, pixel])).sum()) == 5
    assert line.values["negentropy"] > 0


def test_other_channels_have_no_picture(tmp_path):
    np.savez(tmp_path / "four.npz", images=RNG.integers(0, 255, (40, 8, 8, 4), dtype=np.uint8))
    words = ["--data", f"arrays:{tmp_path / 'four.npz'}", "--latents", "2", "--run", str(tmp_path / "run")]
    folder = tmp_path / "run"
    open_run(folder, BaselineConfig("pca", data=words[1], latents=2, examples=40), resume=False)
    assert compare([folder], num_samples=50)[1][0].picture is None


@pytest.mark.process
def test_the_command_prints_the_table_and_writes_the_page(runs, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    words = ["compare", "--metrics", "mig", str(runs / "vae"), str(runs / "pca"), "--num-samples", "200"]
    main([*words, "--out", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"page: {out}"
    assert [text.split()[0] for text in printed[2:-1]] == ["mig", "vae", "pca"]
    page = Page(out.read_text())
    assert "2 methods on sprites" in page.words
    assert len(page.all("img")) == 3  # what each has learned, and the curves of the training
    assert all(picture["alt"] and picture["src"].startswith("data:image/png;base64,") for picture in page.all("img"))
    assert out.stat().st_size < 200_000
    assert not {"http:", "https:"} & set(re.findall(r"https?:", out.read_text()))


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the runs to compare: jaxvae compare RUN"),
        (["NOWHERE"], "there is no run in"),
        (["FOREIGN"], "config.json cannot be read: "),
        (["RUNS/vae", "--out", "RUNS"], "--out must name a file that ends in .html"),
        (["RUNS/vae", "--metrics", "mgi"], "unknown metric 'mgi'"),
        (["RUNS/vae", "--out", "RUNS/vae/seed-0/config.json"], "--out must name a file that ends in .html"),
    ],
)
def test_what_can_not_be_is_said_in_a_line(words, message, runs, capsys, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"architectures": ["Other"]}')
    places = {"RUNS": runs, "NOWHERE": tmp_path, "FOREIGN": tmp_path / "other"}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    with pytest.raises(SystemExit):
        main(["compare", *words])
    assert message in capsys.readouterr().err


@pytest.mark.process
def test_runs_are_found_once(runs, tmp_path):
    assert find_runs([runs / "vae", runs / "vae" / "seed-1"]) == [runs / "vae" / "seed-0", runs / "vae" / "seed-1"]
    with pytest.raises(RunFolderError, match="nor below it"):
        find_runs([tmp_path])


def strong(lines, column):
    page = comparison_html(COLUMNS, lines, title="some")
    rows = re.findall(r"<tr>(.*?)</tr>", page)[1:]
    cells = [re.findall(r"<td[^>]*>.*?</td>", row)[-len(COLUMNS) :] for row in rows]
    return ["best" in row[column] for row in cells]


def test_what_is_better_than_others_by_its_interval_is_strong():
    top, none = line("top", [0.80, 0.82]), line("none", [np.nan])
    wide, near, far = line("wide", [0.5, 0.8]), line("near", [0.70]), line("far", [0.2, 0.21])
    # The top's interval is 0.81 ± 0.13, that of far 0.205 ± 0.06; one run has none, and 0.65 ± 1.9 says nothing.
    assert strong([wide, top, near, far, none], 0) == [False, True, False, False, False]
    assert strong([line("close", [0.78, 0.80]), top, far], 0) == [True, True, False]
    assert strong([line("widest", [0.585, 0.955]), line("little", [0.003, 0.003])], 0) == [False, False]
    assert strong([line("sharp", [0.81]), wide, near], 0) == [False, False, False]
    low, high = line("a", [0.5], [0.1, 0.101]), line("b", [0.5], [0.2, 0.201])
    assert strong([low, high], 1) == [True, False]
    assert strong([top, far], 2) == [False, False]
    assert strong([top], 0) == [False]


def test_the_best_is_that_of_each_data_set():
    easy = [line("a", [0.9, 0.91], data="easy"), line("b", [0.7, 0.71], data="easy")]
    hard = [line("a", [0.2, 0.21], data="hard"), line("b", [0.4, 0.41], data="hard")]
    assert strong([*easy, *hard], 0) == [True, False, False, True]


def test_every_value_of_a_sweep_is_in_its_label():
    configs = [
        {"method": "beta-vae", "hyperparameters.beta": 2.0, "latents": 3},
        {"method": "beta-vae", "hyperparameters.beta": 4.0, "latents": 3},
        {"method": "beta-vae", "hyperparameters.beta": 4.0, "latents": 5},
        {"method": "vae", "latents": 3},
    ]
    assert _names(configs) == [
        "beta-vae · beta 2 · latents 3",
        "beta-vae · beta 4 · latents 3",
        "beta-vae · beta 4 · latents 5",
        "vae",
    ]


def test_texts_are_escaped_and_notes_shown():
    def page(text):
        columns = [*COLUMNS, Column("mig", text, 0, text)]
        lines = [
            line("a", [0.5]),
            line(text, [0.5], data=text, note=text, rows=("a", text, "z0")),
            line(text, [0.5], data=text, picture=None),
        ]
        return Page(comparison_html(columns, lines, title=text, version=text))

    attacked = page(ATTACK)
    assert attacked.skeleton == page("a text").skeleton
    # The title twice, the heading and what it means (twice), name and data of each line, its note, name and rows of its
    # picture, the version.
    assert attacked.words.count(ATTACK) == page("a text").words.count("a text") == 13
    assert "of <pixels>" in attacked.words


def test_browsers_run_the_script_of_the_page_and_no_other():
    html = comparison_html(COLUMNS, [line("a", [0.5])], title="some")
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_data_is_a_column_where_it_differs():
    lines = [line("a", [0.5]), line("b", [0.5], data="scene", picture=None)]
    page = Page(comparison_html(COLUMNS, lines, title="some"))
    assert page.words.count("data") >= 1
    heads = [head for head in page.all("th") if head.get("scope") == "col"]
    assert len(heads) == 2 + len(COLUMNS)
    assert sum("data-text" in head for head in heads) == 2
    assert len(page.all("figure")) == 1
    same = Page(comparison_html(COLUMNS, lines[:1], title="some"))
    assert len([head for head in same.all("th") if head.get("scope") == "col"]) == 1 + len(COLUMNS)
