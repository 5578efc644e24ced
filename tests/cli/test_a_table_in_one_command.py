"""One command on a table of 3,000 x 50 with gaps: trained, reported and encoded, with codes that tell its groups."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.report.collect import collect
from jaxvae.runs import load_run, represent
from jaxvae.runs.score import read_scores

pytestmark = pytest.mark.process

N, KINDS = 3000, ("healthy", "mild", "severe", "unclear")
LATENTS = [f"z{latent}" for latent in range(5)]
STEPS = 3000


def patients():
    """Four groups of rows: 45 real columns, two counts and a word with 5 % of cells missing, an id and the group."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, N)
    centres = 4.0 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    cause = centres[group] + rng.normal(size=(N, 3))
    scale = 10.0 ** rng.integers(-3, 4, 45)
    table = pd.DataFrame(
        cause @ rng.normal(size=(3, 45)) + rng.normal(size=(N, 45)), columns=[f"m{d}" for d in range(45)]
    )
    table = table * scale + 5 * scale
    table["visits"] = rng.poisson(np.exp(1 + 0.1 * cause[:, 0].clip(-8, 8)))
    table["pills"] = rng.poisson(1 + group)
    table["city"] = rng.choice(["Bern", "Oslo", "Rome"], N)
    table = table.mask(rng.random(table.shape) < 0.05)
    table.insert(0, "patient", [f"p{row:04}" for row in rng.permutation(N)])
    table["diagnosis"] = np.array(KINDS)[group]
    assert table.shape == (3000, 50)
    return table


@pytest.fixture(scope="module")
def table():
    return patients()


@pytest.fixture(scope="module")
def place(table, tmp_path_factory):
    place = tmp_path_factory.mktemp("patients")
    table.to_csv(place / "patients.csv", index=False)
    roles = ["--label-columns", "diagnosis", "--id-column", "patient"]
    held = ["--validation", "0.1", "--validate-every", "20", "--patience", "3"]
    length = ["--steps", str(STEPS), "--batch-size", "128", "--learning-rate", "1e-2", "--latents", "5"]
    data = ["--data", f"table:{place / 'patients.csv'}"]
    main(["train", "vae", *data, *roles, *held, *length, "--run", str(place / "run")])
    return place


@pytest.fixture(scope="module")
def codes(place):
    main(["encode", str(place / "run"), "--out", str(place / "codes.csv")])
    return pd.read_csv(place / "codes.csv")


def test_the_columns_are_what_they_are(place):
    kinds = {column.name: column for column in load_run(place / "run", needs_data=False).source.schema.columns}
    assert [name for name, column in kinds.items() if column.kind == "count"] == ["visits", "pills"]
    assert [name for name, column in kinds.items() if column.kind == "categorical"] == ["city"]
    assert sum(column.kind == "real" for column in kinds.values()) == 45
    assert all(column.has_missing for column in kinds.values())
    assert not {"patient", "diagnosis"} & set(kinds)


def test_it_learns_and_writes_its_report(place):
    history = [row["validation_loss"] for row in load_run(place / "run").history if "validation_loss" in row]
    assert len(history) >= 3
    assert min(history) < history[0] - 5
    assert load_run(place / "run").state.step < STEPS  # stopped early
    assert min(history[-3:]) > min(history[:-3])
    page = (place / "run" / "report" / "index.html").read_text()
    for text in (
        "A table of 2,700 rows. Columns: 45 real, 2 count, 1 categorical; 48 have missing",
        "Codes by diagnosis",
    ):
        assert text in page
    scores = json.loads((place / "run" / "scores.json").read_text())
    assert scores["metrics"]["mig"]["score"] > 0


def test_the_scatter_of_the_report_separates_the_labels(place):
    """A point of the second half is of the type whose centroid of the first half is nearest, in 2 of 5 latents."""
    run = load_run(place / "run")
    planes = collect(run, represent(run, N), read_scores(run.folder)).of_columns.planes
    right = []
    for plane in planes:
        assert (plane.label, tuple(plane.value_names)) == ("diagnosis", KINDS)
        assert plane.points.shape == (300, 2)
        first, second = (plane.points[part] for part in (slice(150), slice(150, None)))
        means = np.array([first[plane.values[:150] == value].mean(axis=0) for value in range(4)])
        nearest = ((second[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
        right.append((nearest == plane.values[150:]).mean())
    assert max(right) > 0.7  # 0.25 by chance


def test_codes_have_the_ids_and_labels_of_their_rows(codes, table):
    assert codes["id"].tolist() == table["patient"].tolist()
    assert codes["diagnosis"].tolist() == table["diagnosis"].tolist()
    assert (codes["part"] == "validation").sum() == 300


def test_the_columns_of_another_file_may_be_in_any_order(place, codes, table):
    rows = np.random.default_rng(1).permutation(N)[:500]
    shuffled = table.iloc[rows, np.random.default_rng(2).permutation(50)]
    shuffled.drop(columns="diagnosis").to_csv(place / "new.csv", index=False)
    main(["encode", str(place / "run"), str(place / "new.csv"), "--out", str(place / "new_codes.csv")])
    new = pd.read_csv(place / "new_codes.csv")
    assert new["id"].tolist() == table["patient"].iloc[rows].tolist()
    np.testing.assert_array_equal(new[LATENTS], codes[LATENTS].iloc[rows])


def test_the_nearest_centroid_tells_the_labels_of_new_rows(codes):
    held = codes["part"] == "validation"
    means = codes[~held].groupby("diagnosis")[LATENTS].mean()
    distances = ((codes.loc[held, LATENTS].to_numpy()[:, None] - means.to_numpy()) ** 2).sum(-1)
    assert (means.index[distances.argmin(1)] == codes.loc[held, "diagnosis"]).mean() > 0.9
