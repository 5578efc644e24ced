import re

import numpy as np
import pytest
from fake_report import FACTORS, fake_report
from page_parts import ATTACK, Page, decode

from jaxvae.report import sections
from jaxvae.report.page import report_html
from jaxvae.report.sections import shown_metric, shown_score

SECTIONS = (
    "sliders",
    "scores",
    "data",
    "traversals",
    "latents",
    "prior",
    "training",
    "configuration",
    "reproduce",
)


def small_report(**options):
    data = fake_report(**{"latents": 3, "num_images": 2, "num_values": 3, "size": 16, **options})
    return data._replace(history=[{"step": row["step"], "loss": row["loss"]} for row in data.history[:5]])


@pytest.fixture(scope="module")
def html() -> str:
    return report_html(fake_report())


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def anchors(page: Page) -> list[str]:
    return [section["id"] for section in page.all("section")]


def test_has_every_section_and_links_to_it(page):
    assert anchors(page) == list(SECTIONS)
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in SECTIONS]


def test_stays_small(html):
    assert len(html.encode()) < 2_000_000


def test_refers_to_nothing_outside_the_file(html, page):
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    for _, attributes in page.tags:
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert page.all("script") == [{}]  # that of the sliders, in the page
    assert not page.all("link")
    assert not re.search("https?://", re.sub('base64,[^"]*', "", html))
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy


def test_every_picture_has_a_text_and_decodes_to_its_size(page):
    pictures = page.all("img")
    assert len(pictures) == 5 + 3 + 2 + 6
    for picture in pictures:
        assert len(picture["alt"]) > 10
        with decode(picture["src"]) as image:
            image.load()
            shape = image.width / image.height
        assert int(picture["width"]) / int(picture["height"]) == pytest.approx(shape, rel=0.02)
    for other in page.all("source"):
        decode(other["srcset"]).load()


def test_pictures_have_the_expected_sizes(page):
    strips, others = page.all("img")[:5], page.all("img")[5:]
    comparison, traversals, kl, information, prior, *curves = (decode(p["src"]) for p in others)
    assert {decode(strip["src"]).size for strip in strips} == {(11 * 64, 64)}
    assert {(strip["width"], strip["height"]) for strip in strips} == {(str(11 * 128), "128")}
    assert comparison.size == (250 + 8 * 134, 4 * 134 + 18)
    assert traversals.size == (250 + 11 * 134, 44 + 10 * 134)
    assert kl.height == information.height
    assert prior.size == (6 + 8 * 134, 6 + 4 * 134)
    assert all(curve.size == pytest.approx((2.9 * 192, 1.6 * 192), abs=1) for curve in curves)


def test_charts_have_a_dark_version(page):
    media = [source["media"] for source in page.all("source")]
    assert media == ["(prefers-color-scheme: dark)"] * (2 + 6)


def test_a_slider_of_each_active_latent_names_it_and_its_values(page):
    data = fake_report()
    sliders = [each for each in page.all("input") if each["type"] == "range"]
    names = [f"{factor}, z{index} · " for index, factor in zip(data.latent_order, data.latent_factor, strict=True)]
    assert [each["aria-label"][: len(name)] for each, name in zip(sliders, names, strict=False)] == names[:5]
    assert len(sliders) == 5
    for each in sliders:
        assert each["data-values"] == "−2|−1.6|−1.2|−0.8|−0.4|0|+0.4|+0.8|+1.2|+1.6|+2"
        assert (each["min"], each["max"], each["value"]) == ("0", "10", "5")
    assert "The sliders are those of the 5 most informative active latents, of 10" in page.words


@pytest.mark.parametrize(
    ("kl", "change", "places"),
    [
        ([0.5, 0.005, 2.0], None, [2, 0]),
        ([0.0, 0.0, 0.0], None, [2, 0, 1]),
        ([0.0, 0.0, 0.0], [0.5, 0.005, 1.0], [2, 0]),
    ],
)
def test_without_factors_a_latent_is_active_by_its_size(kl, change, places):
    data = small_report()._replace(
        latent_order=np.array([2, 0, 1]),
        latent_factor=(None,) * 3,
        factor_names=None,
        mutual_information=None,
        kl_per_latent=np.array(kl),
        change_per_latent=None if change is None else np.array(change),
    )
    names = [each["aria-label"] for each in Page(report_html(data)).all("input")]
    assert [int(name[1]) for name in names] == places


def test_a_page_without_pictures_has_no_script():
    page = Page(report_html(small_report()._replace(traversals=np.zeros((0, 0, 16, 16, 1)))))
    assert page.all("script") == []
    assert "script-src" not in next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)


def test_tells_the_numbers(page):
    data = fake_report()
    for text in (*data.summary.values(), data.about_data, *data.versions.values()):
        assert text in page.words
    assert page.words.count(shown_score(data.scores["mig"]["score"])) == 2
    assert page.words.count(data.scores["mig"]["definition"]) == 2
    assert data.scores["mig"]["warnings"][0] in page.words
    for name, gap in zip(FACTORS, data.scores["mig"]["per_factor"], strict=True):
        assert f"{name} {gap:.3f}" in page.words
    assert '"learning_rate": 0.001' in page.words
    assert "--data sprites" in page.words


def test_the_value_of_a_single_factor_is_the_score():
    """A second line with it would say the same again."""
    data, scores = fake_report(), {"mig": {"score": 0.3, "definition": "a metric", "per_factor": [0.3]}}
    one = Page(report_html(data._replace(scores=scores, factor_names=("diagnosis",), mutual_information=None)))
    assert "diagnosis" not in one.words.split("a metric")[1].split("Data")[0]
    assert one.all("ul") == []


def test_alt_texts_tell_what_the_pictures_show(page):
    data = fake_report()
    best = data.latent_order[0]
    assert any(f"z{best} {data.kl_per_latent[best]:.2f}" in picture["alt"] for picture in page.all("img"))
    assert any(f"x in z{best} (0.86)" in picture["alt"] for picture in page.all("img"))


def report_of(text):
    """A report whose every text is this one."""
    data = small_report()
    rows = np.zeros((2, 16, 16, 1))
    return report_html(
        data._replace(
            title=text,
            summary={text: text},
            about_data=text,
            latent_factor=(text, None, None),
            factor_names=(text, *FACTORS[1:]),
            pictures={text: rows, f"{text} map": rows},
            scores={
                text: {"score": 0.5, "definition": text, "warnings": [text], "per_factor": [0.1] * 5},
                "dci": {"score": 0.5, "definition": text, "importance": np.ones((3, 5)).tolist()},
            },
            history=[{"step": 1, text: 1.0}, {"step": 2, text: 2.0}],
            config={text: {"nested": text}},
            reproduce=text,
            versions={text: text, "jaxvae": text},
        )
    )


def test_texts_are_escaped():
    page, harmless = Page(report_of(ATTACK)), Page(report_of("a text"))
    assert page.skeleton == harmless.skeleton
    # Two are in the settings, which are JSON: their quotes have backslashes.
    assert page.words.count(ATTACK) == harmless.words.count("a text") - 2 == 20
    assert sum(ATTACK in picture["alt"] for picture in page.all("img")) == 5


def test_data_without_factors():
    data = small_report()._replace(
        mutual_information=None, factor_names=None, factor_entropy=None, latent_factor=(None,) * 3, scores={}
    )
    page = Page(report_html(data))
    assert anchors(page) == [name for name in SECTIONS if name != "scores"]
    assert "the map" not in page.words
    assert not any("factor's entropy" in picture["alt"] for picture in page.all("img"))
    assert "unused" not in page.words


@pytest.mark.parametrize(
    ("missing", "section"),
    [
        ({"history": []}, "training"),
        ({"history": [{"step": 1, "seconds": 2.0}]}, "training"),
        ({"scores": {}}, "scores"),
        ({"config": {}}, "configuration"),
        ({"reproduce": "", "versions": {}}, "reproduce"),
        ({"prior_samples": np.zeros((0, 16, 16, 1))}, "prior"),
    ],
)
def test_a_missing_part_leaves_its_section_out(missing, section):
    page = Page(report_html(small_report()._replace(**missing)))
    assert anchors(page) == [name for name in SECTIONS if name != section]


def test_almost_nothing():
    none = np.zeros((0, 16, 16, 1))
    data = small_report()._replace(
        summary={},
        about_data="",
        images=none,
        reconstructions=none,
        traversals=np.zeros((0, 0, 16, 16, 1)),
        traversal_values=np.zeros(0),
        latent_order=np.zeros(0, int),
        latent_factor=(),
        prior_samples=none,
        kl_per_latent=np.zeros(0),
        mutual_information=None,
        factor_names=None,
        factor_entropy=None,
        scores={},
        history=[],
        config={},
        reproduce="",
        versions={},
    )
    page = Page(report_html(data))
    assert anchors(page) == []
    assert page.words.count("beta-tc-vae on sprites") == 2


@pytest.mark.parametrize("options", [{"latents": 1}, {"channels": 3}, {"num_values": 1}, {"num_images": 1}])
def test_shapes_of_data(options):
    assert anchors(Page(report_html(small_report(**options)))) == list(SECTIONS)


@pytest.mark.process
def test_many_latents_are_shown_in_part_and_charted_in_full():
    data = small_report(latents=32)
    page = Page(report_html(data))
    assert page.words.count("The 16 most informative of 32 latents") == 1
    assert "those of the 5 most informative active latents, of 32" in page.words
    alt = next(picture["alt"] for picture in page.all("img") if picture["alt"].startswith("KL to"))
    assert alt.count("z") == 32


@pytest.mark.process
@pytest.mark.parametrize("most", [12, pytest.param(64, marks=pytest.mark.slow)])
def test_charts_of_hundreds_of_latents_and_factors_are_of_some(most, monkeypatch):
    """Those of all would be pictures larger than their formats allow, and texts of thousands of numbers."""
    monkeypatch.setattr(sections, "MOST_CHARTED", min(most, sections.MOST_CHARTED))
    data = small_report(latents=500)
    data = data._replace(
        factor_names=tuple(f"gene {k}" for k in range(300)),
        factor_entropy=np.full(300, 0.6),
        mutual_information=np.full((500, 300), 0.1),
        scores={"dci": {"score": 0.1, "definition": "DCI", "importance": np.full((500, 300), 0.01).tolist()}},
    )
    html = report_html(data)
    page = Page(html)
    assert len(html.encode()) < 5_000_000
    usual = len(Page(report_html(small_report(latents=32))).all("img"))
    assert len(page.all("img")) <= usual + 2  # the map of importances, for light and for dark pages
    assert f"Charted are the {most} most informative of 500 latents and the first {most} of 300 factors" in page.words
    pictures = {picture["alt"].partition(" ")[0]: picture for picture in page.all("img")}
    for name in ("KL", "Mutual", "Importance"):
        assert int(pictures[name]["width"]) < 4200
        assert int(pictures[name]["height"]) < 1800
        assert len(pictures[name]["alt"]) < 3000


@pytest.mark.process
def test_many_factors_get_a_row_for_their_map():
    data = small_report()
    names = tuple(f"attribute {k}" for k in range(40))
    wide = data._replace(
        factor_names=names, factor_entropy=np.full(40, 0.6), mutual_information=np.full((3, 40), 0.1), scores={}
    )
    assert any(part.get("class") == "stack" for part in Page(report_html(wide)).all("div"))
    assert not any(part.get("class") == "stack" for part in Page(report_html(data)).all("div"))


@pytest.mark.process
def test_large_photographs_stay_below_the_limit():
    data = small_report(latents=16, channels=3, num_values=5)
    rng = np.random.default_rng(0)
    coarse = rng.uniform(size=(1, 1, 32, 32, 3)).repeat(4, axis=2).repeat(4, axis=3)

    def photographs(*shape):
        return np.clip(coarse.reshape(128, 128, 3) + 0.1 * rng.normal(size=(*shape, 128, 128, 3)), 0, 1)

    html = report_html(
        data._replace(
            images=photographs(16),
            reconstructions=photographs(16),
            traversals=photographs(16, 5),
            prior_samples=photographs(32),
        )
    )
    assert len(html.encode()) < 5_000_000


def test_a_constant_factor_is_neither_shown_as_carried_nor_a_crash():
    data = small_report()
    scores = {"mig": {**data.scores["mig"], "per_factor": [None, 0.1, 0.2, 0.3, 0.4]}}
    entropy = np.array([0.0, *data.factor_entropy[1:]])
    page = Page(report_html(data._replace(factor_entropy=entropy, scores=scores)))
    assert "shape –" in page.words
    assert not any("shape in z" in picture["alt"] for picture in page.all("img"))


def test_an_undefined_score_is_no_headline():
    data = small_report()._replace(scores={"mig": {"score": float("nan"), "definition": "some"}})
    page = Page(report_html(data))
    assert page.words.count("some") == 1
    assert "nan" not in page.words


def test_kl_belongs_to_its_latent_whatever_the_order():
    data = small_report()._replace(
        latent_order=np.array([2, 0, 1]), kl_per_latent=np.array([1.5, 0.01, 3.25]), latent_factor=("x", "y", None)
    )
    page = Page(report_html(data))
    assert any("z2 3.25, z0 1.50, z1 0.01" in picture["alt"] for picture in page.all("img"))


def test_names_of_metrics():
    assert shown_metric("mig") == "MIG"
    assert shown_metric("beta-vae_score") == "beta vae score"
