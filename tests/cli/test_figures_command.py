"""`jaxvae figures` and the tables of `jaxvae compare`, on a sweep of two weights and two seeds."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvae.cli.main import main
from jaxvae.runs import table

pytestmark = pytest.mark.process
SETTINGS = ["--data", "sprites", "--image-size", "16", "--batch-size", "16", "--steps", "40", "--log-every", "10"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "runs"
    main(["train", "beta-vae", *SETTINGS, "--seeds", "0:2", "--sweep", "beta=1,4", "--run", str(folder)])
    main(["fit", "pca", "--data", "sprites", "--image-size", "16", "--examples", "200", "--run", str(folder / "pca")])
    return folder


def test_figures_of_a_sweep(sweep, tmp_path, capsys):
    main(["figures", str(sweep), "--out", str(tmp_path), "--format", "pdf", "svg", "--num-samples", "500"])
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"training.pdf", "training.svg", "pareto.pdf", "scores.svg"} <= found
    for line in ("01", "02", "03"):
        names = {"traversals.pdf", "traversals.gif", "latents.svg", "mutual_information.pdf", "codes_0_shape.pdf"}
        assert {f"{line}/{name}" for name in names} <= found
    assert "03/dci.pdf" in found or "01/dci.pdf" in found
    with Image.open(tmp_path / "01" / "traversals.gif") as moving:
        assert moving.n_frames == 32
    assert all((tmp_path / name).stat().st_size > 500 for name in found)
    assert capsys.readouterr().out.splitlines()[-1] == f"{len(found)} figures in {tmp_path}"


def test_figures_of_the_committed_study(tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="needs pip install 'jaxvae[study]'")
    table_of_study = Path(__file__).parents[2] / "benchmarks" / "results" / "study" / "small.parquet"
    main(["figures", str(table_of_study), "--out", str(tmp_path), "--format", "pdf", "svg"])
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    names = [f"{figure}.{ending}" for figure in ("pareto", "scores") for ending in ("pdf", "svg")]
    assert found == sorted(f"{data}/{name}" for data in ("sprites", "noisy-sprites") for name in names)
    assert capsys.readouterr().out == f"8 figures in {tmp_path}\n"
    drawing = (tmp_path / "sprites" / "pareto.svg").read_text()
    assert "<image" not in drawing
    with pytest.raises(SystemExit):
        main(["figures", str(table_of_study), "--out", str(tmp_path), "--score", "support"])
    assert "--score support is not in the table of the study, which has beta_vae_score, dci" in capsys.readouterr().err


def test_tables_of_a_sweep(sweep, tmp_path):
    files = [word for ending in ("csv", "latex", "markdown") for word in (f"--{ending}", str(tmp_path / f"t.{ending}"))]
    main(["compare", str(sweep), "--out", str(tmp_path / "page.html"), "--num-samples", "500", *files])
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["seeds"] for row in rows] == ["2", "2", "1"]
    frame = table(sweep)
    assert len(frame) == 5
    known = frame[frame.method == "beta-vae"].groupby("beta").size()
    assert known.to_dict() == {1.0: 2, 4.0: 2}
    assert (tmp_path / "t.latex").read_text().count(r"\\") == 4
    assert (tmp_path / "t.markdown").read_text().count("\n| ") == 4
    assert np.isfinite(float(rows[0]["reconstruction_error"]))
    page = (tmp_path / "page.html").read_text()
    assert [title for title in ("Loss by step", "mig and error", "mig by weight") if title not in page] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["figures"], "name the runs to draw"),
        (["figures", "RUN", "--score", "magic"], "magic"),
        (["figures", "none.parquet"], "there is no table none.parquet"),
        (["figures", "none.parquet", "RUN"], "is the table of a study, which is drawn alone"),
        (["figures", "RUN", "--style", "nothing"], "--style nothing is neither a style"),
        (["compare", "RUN", "--csv", "FOLDER"], "is a folder: name a file for the table"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(sweep, tmp_path, capsys, arguments, told):
    words = {"RUN": str(sweep / "pca"), "FOLDER": str(tmp_path)}
    with pytest.raises(SystemExit) as stop:
        main([words.get(word, word) for word in arguments])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
