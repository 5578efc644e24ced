"""What a method is about is in its report, and what it does not have is left out."""

import re

import jax
import numpy as np
import pytest
from fake_report import fake_report
from page_parts import Page

from jaxvae.cli.train import parse_train
from jaxvae.report import write_report
from jaxvae.report.sections import sections
from jaxvae.runs.build import build
from jaxvae.runs.folder import open_run
from jaxvae.runs.load import load_run
from jaxvae.runs.score import evaluate, represent
from jaxvae.training import train

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 16, 16, 1))


def section(data, anchor):
    return next((part for part in sections(data) if part.anchor == anchor), None)


def test_pictures_of_a_method_have_a_section_with_maps_in_colour():
    data = fake_report(latents=3, num_images=2, num_values=3, size=16)
    assert section(data, "drawn") is None
    shown = {"image": IMAGES, "map": IMAGES - 0.5, "in colour": RNG.random((3, 16, 16, 3))}
    with_map = section(data._replace(pictures=shown, map_correlation=0.5678), "drawn")
    assert "red is added" in with_map.caption
    assert "on average" in with_map.caption
    assert "0.57" in with_map.caption
    assert with_map.picture.alt == "3 examples in rows: image, map, in colour"
    plain = section(data._replace(pictures={"image": IMAGES, "other": IMAGES}), "drawn")
    assert "red" not in plain.caption
    assert "correlation" not in plain.caption.lower()


def test_classes_have_a_section():
    data = fake_report(latents=3, num_images=2, num_values=3, size=16)
    assert section(data, "classes") is None
    shown = section(data._replace(spectra=RNG.random((4, 6)), cosines=RNG.random((20, 20))), "classes")
    alts = [card.picture.alt for card in shown.cards]
    assert alts == ["Singular values of the codes of 4 classes", "Absolute cosines of 20 codes, sorted by class"]


def test_images_without_reconstructions_are_shown_alone():
    data = fake_report(latents=3, num_images=2, num_values=3, size=16)
    alone = section(data._replace(reconstructions=np.zeros((0, 16, 16, 1))), "data")
    assert alone.title == "Data"
    assert "reconstruction" not in alone.caption + alone.picture.alt
    assert section(data, "data").title == "Data and reconstructions"


def report_of(words, tmp_path):
    config = parse_train([*words, "--steps", "2", "--batch-size", "8", "--seed", "1"]).config
    source, method = build(config)
    open_run(tmp_path, config, resume=False)
    train(method, source, steps=2, batch_size=8, seed=1, folder=tmp_path, log_every=1)
    run = load_run(tmp_path)
    codes = represent(run, 200)
    scores = evaluate(run, codes)
    page = write_report(run, codes, scores).read_text()
    return codes, scores, page, {part["id"] for part in Page(page).all("section")}


@pytest.mark.process
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("va-gan", "icam")])
def test_maps_of_a_run_are_shown(name, tmp_path):
    codes, scores, page, anchors = report_of([name], tmp_path)
    assert {"drawn", "data", "training"} <= anchors
    assert not anchors & {"sliders", "traversals", "prior", "classes"}
    assert "known effect" in page
    if name == "va-gan":
        assert codes.mean.shape == (200, 0)
        assert scores["metrics"] == {}
        assert not anchors & {"scores", "latents"}


def test_subspaces_of_a_run_are_shown(tmp_path):
    codes, scores, page, anchors = report_of(["mcr2", "--latents", "6"], tmp_path)
    np.testing.assert_allclose(np.linalg.norm(codes.mean, axis=1), 1, rtol=1e-5)
    assert {"classes", "scores", "latents"} <= anchors
    assert not anchors & {"drawn", "sliders", "traversals", "prior"}
    assert "codes of 10 classes" in page
    assert scores["metrics"]["mig"]["score"] is not None


def test_series_of_a_run_are_shown(tmp_path):
    *_, page, anchors = report_of(["vae", "--data", "waves", "--network", "conv1d", "--latents", "3"], tmp_path)
    assert {"series", "latents", "training"} <= anchors
    assert not anchors & {"sliders", "traversals", "prior", "columns", "loadings"}
    assert "Series and reconstructions" in page


def test_groups_of_a_run_are_shown(tmp_path):
    rows = "".join(f"{i}.5,{-i}.25,{i * i}.1,{i % 2}\n" for i in range(50))
    (tmp_path / "table.csv").write_text("arm_x,arm_y,leg_x,type\n" + rows)
    data = ["--data", f"table:{tmp_path / 'table.csv'}", "--label-columns", "type", "--groups", "prefix"]
    *_, page, anchors = report_of(["oi-vae", *data, "--latents", "2"], tmp_path / "run")
    assert {"loadings", "columns"} <= anchors
    assert not anchors & {"series", "sliders"}
    assert re.search("z[01] drives (arm|leg) most; z[01] drives (arm|leg) most", page)


@pytest.mark.process
def test_an_adversarial_autoencoder_is_shown_as_any_other(tmp_path):
    *_, anchors = report_of(["alae", "--latents", "6", "--data", "digits"], tmp_path)
    assert {"sliders", "data", "traversals", "prior", "latents"} <= anchors
    assert not anchors & {"drawn", "classes"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["va-gan", "--network", "conv"], "va-gan has no flag --network; it is for vae, "),
        (["va-gan", "--case-factor", "hue"], "squares has no factor 'hue'; there are effect, second"),
        (
            ["va-gan", "--sampling", "epochs"],
            "--sampling is for methods that do not draw their images by factors: leave it out",
        ),
        (["va-gan", "--data", "digits", "--image-size", "10"], "divisible by 4, got 10x10"),
        (["alae", "--network", "burgess"], "unknown network 'burgess'. There are: mlp, conv"),
        (["mcr2", "--class-factor", "hue"], "digits has no factor 'hue'; there are digit"),
        (["mcr2", "--copies", "10", "--class-factor", "digit"], "leave out --class-factor"),
        (["mcr2", "--label-noise", "2"], "from 0 to 1, got 2"),
        (["vae", "--case-factor", "sky"], "vae has no flag --case-factor; it is for va-gan, icam"),
        (["vae", "--copies", "5"], "vae has no flag --copies; it is for mcr2"),
    ],
)
def test_flags_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        build(parse_train(words).config)


def test_classes_of_copies_follow_the_batch():
    source, method = build(parse_train(["mcr2", "--copies", "25", "--batch-size", "100"]).config)
    batch = source.batch(jax.random.key(0), np.int32(0), 100)
    np.testing.assert_array_equal(np.unique(batch["class"]), np.arange(4))
    assert method.needs == ("x", "class")
