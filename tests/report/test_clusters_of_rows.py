"""Clusters of the rows of a table in the report: their sizes, their typical columns, and the view by UMAP."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_report import fake_report
from page_parts import ATTACK, Page

from jaxvae.analysis import Representation
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.report import tables
from jaxvae.report.clusters import (
    MOST_CLUSTERS,
    OfCluster,
    OfClusters,
    Typical,
    clusters_section,
    described,
    of_clusters,
)
from jaxvae.report.page import report_html
from jaxvae.report.sections import sections
from jaxvae.report.tables import OfColumns, Plane, by_umap, of_columns, planes_section
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.runs.encode import encode_all
from jaxvae.runs.load import Run
from jaxvae.runs.score import represent
from jaxvae.training import make_train_step

GROUP = np.repeat([2, 0, 5], [52, 28, 20])


def generated():
    """Group 0 is old, group 2 lives in Bern, and group 5 is ill, with more visits; nothing tells of the last column."""
    rng = np.random.default_rng(0)
    age = rng.normal(50, 5, 100) + 30 * (GROUP == 0)
    age[:3] = np.nan
    return {
        "age": age,
        "visits": rng.poisson(np.where(GROUP == 5, 50, 5)),
        "city": np.where(GROUP == 2, "Bern", np.where(np.arange(100) % 2, "Oslo", "Rome")),
        "ill": np.where(GROUP == 5, "yes", "no"),
        "nothing": np.tile([0.5, -0.5, 1.5, -1.5], 25),
    }


def test_typical_columns_are_those_that_make_the_groups():
    table = generated()
    source = from_columns(table, Columns(kinds=("visits=count",)))
    found = described(source.schema, np.asarray(source.pixels, np.float64), GROUP)
    assert [(each.number, each.rows) for each in found.clusters] == [(2, 52), (0, 28), (5, 20)]
    assert sum(each.rows for each in found.clusters) == found.rows == 100
    bern, old, ill = ({typical.name: typical for typical in each.typical} for each in found.clusters)
    assert next(iter(bern)) == "city=Bern"
    assert bern["city=Bern"].share == 1
    assert bern["city=Bern"].difference == pytest.approx((1 - 0.52) / (0.52 * 0.48) ** 0.5, rel=1e-5)
    assert next(iter(old)) == "age"
    known = table["age"][3:]
    expected = (known[49:77].mean() - known.mean()) / known.std()
    assert old["age"] == Typical("age", pytest.approx(expected, rel=1e-4), None)
    assert next(iter(ill)) == "ill=yes"
    assert ill["ill=yes"] == Typical("ill=yes", pytest.approx(2, rel=1e-5), 1)
    logs = np.log1p(table["visits"])
    assert ill["visits"].difference == pytest.approx((logs[80:].mean() - logs.mean()) / logs.std(), rel=1e-4)
    for names in (bern, old, ill):
        assert "nothing" not in names
        assert sum(name.startswith("city=") for name in names) == 1
        sizes = [abs(typical.difference) for typical in names.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_columns_of_vectors_have_numbers_and_at_most_five_are_named():
    x = np.zeros((40, 9))
    x[30:, 2:] = np.arange(7.0)
    found = described(None, x, np.repeat([0, 1], [30, 10]))
    assert [each.rows for each in found.clusters] == [30, 10]
    assert all(len(each.typical) == 5 for each in found.clusters)
    assert {typical.name for typical in found.clusters[1].typical} <= {f"x{d}" for d in range(3, 9)}
    assert found.clusters[1].typical[0].difference == pytest.approx((1 - 0.25) / (0.25 * 0.75) ** 0.5)
    assert found.clusters[0].typical[0].difference == pytest.approx(-0.25 / (0.25 * 0.75) ** 0.5)


def untrained(method, latents, **flags):
    """A model of the generated table."""
    config = default_config(method).with_flags(data="table:none.csv", latents=latents, hidden=(8,), **flags)
    source = config.batches.wrap(from_columns(generated(), Columns(kinds=("visits=count",))), method)
    built = build_method(config, networks_of(config, source), source)
    return Run(Path(), config, source, built, make_train_step(built, dataset_size=100)[0](jax.random.key(0)), [])


def test_sizes_are_those_of_the_codes_that_are_written():
    run = untrained("vae-sne", 2, components=8)
    middle = np.median(encode_all(run).means, axis=0)
    means = jnp.asarray(middle + np.array([[5.0, 0.0]] * 3 + [[-5.0, 0.0]] * 5), jnp.float32)
    params = {**run.state.params, "prior": dict(run.state.params["prior"], means=means)}
    run = run._replace(state=run.state._replace(params=params))
    codes = represent(run, 100)
    found = of_clusters(run, codes)
    written = encode_all(run).clusters
    sizes = dict(zip(*(column.tolist() for column in np.unique(written, return_counts=True)), strict=True))
    assert {each.number: each.rows for each in found.clusters} == sizes
    assert len(sizes) > 1
    assert sum(sizes.values()) == found.rows == 100
    few = Representation(codes.mean[:10], codes.logvar[:10], None)
    assert sum(each.rows for each in of_clusters(run, few).clusters) == 10
    assert of_clusters(untrained("vae", 2), codes) is None


def test_the_section_is_a_table():
    typical = [Typical("age", -1.26, None), Typical("city=Bern-Ost", 0.5, 0.876)]
    clusters = [OfCluster(3, 1200, typical), OfCluster(0, 800, [])]
    section = clusters_section(OfClusters(clusters, 2000))
    assert section.grid.names == ("Cluster", "Rows", "Share", "Typical")
    assert section.grid.rows == [("3", "1,200", "60.0 %", "age −1.3, city=Bern-Ost 88 %"), ("0", "800", "40.0 %", "–")]
    assert "2,000 rows that the scores are of, in 2 clusters." in section.caption
    assert "largest" not in section.caption
    many = clusters_section(OfClusters([OfCluster(k, 1, []) for k in range(MOST_CLUSTERS + 1)], MOST_CLUSTERS + 1))
    assert len(many.grid.rows) == MOST_CLUSTERS
    assert f"Listed are the {MOST_CLUSTERS} largest" in many.caption
    assert clusters_section(None) is None


def test_the_page_escapes_names_of_columns():
    def page(name):
        clusters = OfClusters([OfCluster(0, 2, [Typical(name, 1.0, None)])], 2)
        data = fake_report(latents=1, num_images=1, num_values=1, size=16)
        return Page(report_html(data._replace(of_clusters=clusters)))

    attacked = page(ATTACK)
    assert attacked.skeleton == page("age").skeleton
    assert attacked.words.count(ATTACK) == 1
    assert "clusters" in [section["id"] for section in attacked.all("section")]


class Fake:
    """Stands for umap-learn: the first two latents."""

    seen: ClassVar[list] = []

    def __init__(self, **options):
        self.seen.append(options)

    def fit_transform(self, codes):
        return codes[:, :2]


@pytest.mark.parametrize(("installed", "active", "views"), [(True, 3, 3), (True, 2, 2), (False, 3, 2)])
def test_more_than_two_active_latents_have_a_view_by_umap_where_it_is_installed(installed, active, views, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Fake) if installed else None)
    monkeypatch.setattr(tables, "MOST_EMBEDDED", 40)
    run = untrained("vae", 3)
    codes = represent(run, 100)
    planes = of_columns(run, codes, np.arange(3), active).planes
    assert len(planes) == views
    assert [len(plane.points) for plane in planes] == [100, 100, 40][:views]
    assert all(len(plane.values) == len(plane.points) for plane in planes)
    if views == 3:
        assert Fake.seen[-1]["random_state"] == 0
        assert planes[2].axes == ("UMAP 1", "UMAP 2")
        np.testing.assert_allclose(planes[2].points, codes.mean[:40, :2])


def test_further_pairs_of_three_active_latents_are_small_and_few_points(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(tables, "MOST_SMALL", 60)
    run = untrained("vae", 4)
    codes = represent(run, 100)
    order = np.array([2, 0, 3, 1])
    found = of_columns(run, codes, order, 3)
    ((first, second),) = found.pairs
    assert (first.axes, second.axes) == (("z2", "z3"), ("z0", "z3"))
    np.testing.assert_array_equal(first.points, codes.mean[:60, [2, 3]])
    np.testing.assert_array_equal(second.points, codes.mean[:60, [0, 3]])
    section = planes_section(found)
    assert [card.title for card in section.cards] == ["Codes", "Codes, further pairs", "Codes"]
    assert section.cards[1].picture.alt == "60 codes by z2 and z3, and by z0 and z3"
    assert "carry most, by their pairs with the third, and by principal components" in section.caption
    few = of_columns(run, codes, order, 2)
    assert few.pairs == ()
    assert len(planes_section(few).cards) == 2
    assert "third" not in planes_section(few).caption
    assert "carry most, and by principal components" in planes_section(few).caption


def test_pairs_of_each_label_follow_its_first_view_and_add_few_bytes():
    rng = np.random.default_rng(0)

    def planes(label, *axes):
        values = rng.integers(0, 12, tables.MOST_SMALL)
        points = rng.normal(size=(tables.MOST_SMALL, 2))
        return [Plane(points, each, label, values, [f"value {v}" for v in range(12)]) for each in axes]

    views = [planes(label, ("z0", "z1"), ("a", "b")) for label in ("type", "batch")]
    pairs = [planes(label, ("z0", "z2"), ("z1", "z2")) for label in ("type", "batch")]
    data = OfColumns([*views[0], *views[1]], ["x0"], np.ones(1), np.ones((3, 1)), np.arange(3), pairs)
    cards = planes_section(data).cards
    of_label = ["Codes by {}", "Codes by {}, further pairs", "Codes by {}"]
    assert [card.title for card in cards] == [each.format(label) for label in ("type", "batch") for each in of_label]
    picture = cards[1].picture
    assert sum(len(each.uri) for each in (picture.image, *picture.instead.values())) < 250_000
    assert (picture.image.width, picture.image.height) == pytest.approx((4.45 * 192, 2.3 * 192), abs=1)


def many(columns, labels, fit):
    plane = Plane(np.zeros((1, 2)), ("z0", "z1"), "type", np.zeros(1, int), ["a"])
    names = [f"x{d}" for d in range(columns)]
    return OfColumns([plane], names, np.asarray(fit), np.ones((1, columns)), np.arange(1), labels=labels)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (many(24, 4, [1.0] * 24), []),
        (many(25, 4, [1.0] * 24 + [np.nan]), ["the 24 columns of 25 that the latents change most"]),
        (
            many(1300, 4, [1.0] * 1300),
            ["the 24 columns of 1,300 that", "the 12 best and the 12 worst of 1,300 columns"],
        ),
        (many(2, 5, [-0.5, 1.0]), ["Charted are the first 4 of 5 labels.", "A negative R² is drawn as 0"]),
    ],
)
def test_captions_say_what_the_charts_leave_out(data, told):
    page = fake_report(latents=1, num_images=2, num_values=3, size=16)
    parts = sections(page._replace(of_columns=data))
    captions = " ".join(part.caption for part in parts if part.anchor in ("codes", "columns"))
    words = ("Charted are the first", "that the latents change most", "best and the", "drawn as 0")
    assert [text for text in told if text not in captions] == []
    assert sum(text in captions for text in words) == len(told)


def test_the_labels_of_the_data_are_counted():
    run = untrained("vae", 3)
    codes = represent(run, 20)
    assert of_columns(run, codes, np.arange(3)).labels == 0
    several = {f"label {k}": ["a", "b"] * 50 for k in range(5)}
    labelled = from_columns({**generated(), **several}, Columns(labels=tuple(several), kinds=("visits=count",)))
    run = run._replace(source=labelled)
    found = of_columns(run, represent(run, 20), np.arange(3))
    assert found.labels == 5
    assert len({plane.label for plane in found.planes}) == 4


def test_the_examples_of_a_table_are_called_rows():
    page = fake_report(latents=3, num_images=2, num_values=3, size=16)
    captions = {
        things: next(part.caption for part in sections(page._replace(things=things)) if part.anchor == "training")
        for things in ("images", "rows")
    }
    assert captions["images"] == (
        "Means over logging intervals with the last one at the right, in nats per image unless the name says "
        "otherwise, against the number of updates: good curves have levelled off by the end and do not jump. A total "
        "correlation that is estimated from batches is biased and may be below 0."
    )
    assert "in nats per row unless" in captions["rows"]
    for things, what in (("images", "a pixel by another example's"), ("rows", "a column by another row's")):
        changes = sections(page._replace(things=things, change_per_latent=np.ones(3)))
        card = next(part for part in changes if part.anchor == "latents").cards[0]
        assert card.picture.alt.startswith(f"change of {what} value, % of its range")


def test_umap_itself_gives_the_same_view_again():
    pytest.importorskip("umap", reason="needs pip install 'jaxvae[umap]'")
    codes = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    first, again = by_umap(codes), by_umap(codes)
    assert first.shape == (60, 2)
    np.testing.assert_array_equal(first, again)
    assert by_umap(codes[:15]) is None
