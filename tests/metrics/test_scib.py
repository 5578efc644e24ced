"""Scores of scib-metrics: values by scikit-learn and by hand, and what is wrong in one line."""

import importlib.util
import json

import jax
import numpy as np
import pytest

from jaxvae.cli.main import main
from jaxvae.metrics.scib import scib
from tests.report.page_parts import Page

rng = np.random.default_rng(0)
LABELS = np.repeat(["B", "T", "NK"], 100)
BATCHES = rng.choice(["x", "y"], 300)
CODES = np.eye(3)[np.repeat([0, 1, 2], 100)] * 8 + rng.normal(size=(300, 3))
INSTALLED = importlib.util.find_spec("scib_metrics") is not None
needs_scib = pytest.mark.skipif(not INSTALLED, reason="needs pip install 'jaxvae[scib]'")


@pytest.fixture(autouse=True)
def as_users_have_it():
    """scib-metrics relies on the promotion of ranks, which these tests forbid elsewhere."""
    with jax.numpy_rank_promotion("allow"):
        yield


def file_of(tmp_path):
    lines = ["z0,z1,z2,type,batch"]
    lines += [",".join(map(str, (*code, *of))) for code, *of in zip(CODES, LABELS, BATCHES, strict=True)]
    path = tmp_path / "codes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@needs_scib
@pytest.mark.process
def test_types_apart_and_batches_mixed():
    from sklearn.metrics import silhouette_score

    found = scib(CODES, LABELS, BATCHES)
    np.testing.assert_allclose(found["silhouette_label"], (silhouette_score(CODES, LABELS) + 1) / 2, atol=1e-4)
    assert found["nmi_kmeans"] == pytest.approx(1, abs=1e-4)
    assert found["ari_kmeans"] == pytest.approx(1, abs=1e-4)
    assert found["clisi"] == pytest.approx(1, abs=1e-3)  # 90 neighbours of 100 cells of a type
    assert found["ilisi"] > 0.9
    assert found["kbet"] > 0.9
    assert found["bras"] > 0.8  # 0.04 where batches are apart, below


@needs_scib
@pytest.mark.process
def test_batches_apart():
    """Far apart, no cell has a neighbour of the other batch; the labels alone have no scores of batches."""
    apart = CODES + 100 * (BATCHES == "x")[:, None]
    found = scib(apart, LABELS, BATCHES)
    assert found["ilisi"] == pytest.approx(0, abs=1e-3)
    assert found["kbet"] < 0.1
    assert found["bras"] < 0.1
    assert set(scib(CODES, LABELS)) == {"silhouette_label", "nmi_kmeans", "ari_kmeans", "clisi"}


def test_what_is_wrong_with_the_cells_is_said():
    with pytest.raises(ValueError, match="one of the labels for each of 300 cells"):
        scib(CODES, LABELS[:10])
    with pytest.raises(ValueError, match="scores of the batches need two different ones, and there is only x"):
        scib(CODES, LABELS, np.full(300, "x"))
    with pytest.raises(ValueError, match="finite"):
        scib(np.full((300, 2), np.nan), LABELS)
    for nothing in (None, np.nan):
        holes = np.array([*LABELS[:-2], nothing, nothing], object)
        with pytest.raises(ValueError, match="2 of 300 labels are missing: leave out these cells"):
            scib(CODES, holes)


@needs_scib
@pytest.mark.process
def test_the_command_prints_and_writes_them(tmp_path, capsys):
    out = tmp_path / "scores.json"
    flags = ["--factors", "type", "batch", "--metrics", "mig", "--scib", "type", "batch", "--out", str(out)]
    main(["score", str(file_of(tmp_path)), *flags])
    found = json.loads(out.read_text())["scib"]
    assert found == pytest.approx(scib(CODES, LABELS, BATCHES), abs=1e-3)
    assert f"{found['ilisi']:.3f}" in capsys.readouterr().out


@pytest.mark.process
def test_the_page_shows_them(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxvae.cli.score.scib", lambda codes, *columns: {"ilisi": 0.314})
    flags = ["--factors", "type", "batch", "--metrics", "mig", "--scib", "type", "batch"]
    main(["score", str(file_of(tmp_path)), *flags, "--out", str(tmp_path / "page.html")])
    words = Page((tmp_path / "page.html").read_text()).words
    assert "ilisi 0.31" in " ".join(words.split())
    main(["score", str(file_of(tmp_path)), *flags[:-3], "--out", str(tmp_path / "page.html")])
    assert "scib-metrics" not in (tmp_path / "page.html").read_text()


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scib", "type", "batch", "more"], "--scib takes a label and, if there is one, a batch, got 3 names"),
        (["--scib", "tipe"], "tipe"),
    ],
)
def test_wrong_columns_are_refused(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(file_of(tmp_path)), "--factors", "type", "--metrics", "mig", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.skipif(INSTALLED, reason="scib-metrics is installed")
def test_without_the_package(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", str(file_of(tmp_path)), "--factors", "type", "--metrics", "mig", "--scib", "type"])
    assert ended.value.code == 2
    assert "pip install 'jaxvae[scib]'" in capsys.readouterr().err
