"""Figures for papers: files of every format open, are vector graphics, and no text is cut or over another."""

import io
import re
import warnings
import zlib

import numpy as np
import pytest
from fake_report import blobs
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from jaxvae.files import write_json
from jaxvae.report import paper
from jaxvae.report.paper_figures import in_order, spots_of
from jaxvae.runs.compare import Line
from jaxvae.runs.config import default_config

RNG = np.random.default_rng(0)
FACTORS = ("shape", "scale", "orientation", "horizontal position", "y")
ROWS = [f"z{d}" for d in range(10)]
SPOTS = [
    paper.Spot(f"{method} {beta:g}", method, beta, RNG.random(seeds) / beta, RNG.random(seeds))
    for method in ("beta-vae", "a-method-with-a-long-name")
    for beta, seeds in ((1.0, 5), (4.0, 3), (16.0, 1))
]
CROWDED = [
    paper.Spot(f"{m} {s:g}", m, s, np.full(3, 0.1 + 1e-3 * RNG.random()), np.full(3, 0.5 + 0.3 * RNG.random()))
    for m in ("a", "b", "c", "d")
    for s in (1.0, 20.0, 400.0)
] + [paper.Spot("far", "far", np.nan, np.array([0.4]), np.array([0.5]))]


def images(latents=4, values=7):
    codes = np.zeros((latents, values, latents))
    for d in range(latents):
        codes[d, :, d] = np.linspace(-2, 2, values)
    return blobs(codes.reshape(-1, latents), size=16).reshape(latents, values, 16, 16, 1)


def curves():
    steps = np.arange(100, 2000, 100)
    lines = [paper.Curve(f"beta {b}", steps, 100 / steps + RNG.random((3, len(steps)))) for b in range(3)]
    one = [paper.Curve("beta 1", steps, np.where(steps > 500, np.nan, 1.0)[None])]
    return {"loss": lines, "reconstruction": lines[:1], "kl": lines, "long_name_of_a_term": one}


FIGURES = {
    "traversals": lambda: paper.traversals(
        images(), ["z0 shape", "z1 horizontal", "z2", "z3"], [f"{k}%" for k in range(7)]
    ),
    "signed": lambda: paper.traversals(images(2, 5), ["z0", "z1"], [-2.0, -1.0, 0.0, 1.0, 2.0], paper.TEXT),
    "hinton": lambda: paper.hinton(RNG.random((10, 5)), ROWS, FACTORS, "importance"),
    "heat": lambda: paper.heat_map(RNG.random((10, 5)), ROWS, FACTORS, "information"),
    "wide heat": lambda: paper.heat_map(RNG.random((4, 20)), ROWS[:4], [f"f{k}" for k in range(20)], "information"),
    "curves": lambda: paper.curves(curves()),
    "pareto": lambda: paper.pareto(SPOTS, "mig"),
    "crowded": lambda: paper.pareto(CROWDED, "mig"),
    "violins": lambda: paper.violins(SPOTS, "mig"),
    "codes": lambda: paper.embedding(
        RNG.normal(size=(50, 2)), ("z0", "z1"), "shape", np.arange(50) % 3, ["a", "b", "$"]
    ),
    "many": lambda: paper.embedding(
        RNG.normal(size=(50, 2)), ("z0", "z1"), "x", np.arange(50), list(map(str, range(50)))
    ),
    "plain": lambda: paper.embedding(RNG.normal(size=(50, 2)), ("z0", "z1"), "", None, ()),
    "latents": lambda: paper.sizes_of_latents(RNG.random(10), ROWS, [True] * 5 + [False] * 5, "KL, nats"),
}


def texts(figure):
    """The boxes in pixels of all texts that are shown."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = 1e-9 * (high - low)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (axes.axison and low - room <= tick.get_loc() <= high + room):
                    hidden |= {tick.label1, tick.label2}
    found = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip() and one not in hidden]
    renderer = canvas.get_renderer()
    return [(one.get_text(), one.get_window_extent(renderer), one.get_rotation()) for one in found]


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_or_over_another(name):
    with paper.styled():
        figure = FIGURES[name]()
        found = texts(figure)
    width, height = figure.bbox.width, figure.bbox.height
    assert len(found) > 3
    for text, box, _ in found:
        assert box.x0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= height + 1, text
    level = [(text, box) for text, box, turn in found if not 0 < turn < 90]  # boxes of oblique texts say little
    for k, (text, box) in enumerate(level):
        for other, beside in level[k + 1 :]:
            overlap_x = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            overlap_y = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert not (overlap_x > 1 and overlap_y > 1), f"{text!r} over {other!r}"
    assert figure.get_figwidth() in (paper.COLUMN, paper.TEXT)


LONG = [f"a factor with a long name {k}" for k in range(40)]
MANY = [paper.Spot(f"{name} 1", name, 1.0, RNG.random(3), RNG.random(3)) for name in LONG[:30]]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: paper.hinton(RNG.random((1, 1)), ["z0"], LONG[:1], "importance"),
        lambda: paper.heat_map(RNG.random((1, 40)), ["z0"], LONG, "information"),
        lambda: paper.hinton(RNG.random((64, 5)), [f"z{d}" for d in range(64)], FACTORS, "importance"),
        lambda: paper.pareto(MANY, "MIG"),
        lambda: paper.curves({"loss": [paper.Curve(n, np.arange(5), RNG.random((3, 5))) for n in LONG[:30]]}),
    ],
)
def test_there_is_room_for_long_names_and_many_lines(draw):
    """Matplotlib warns where it cannot lay a figure out."""
    with paper.styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        FigureCanvasAgg(figure).draw()
    box = figure.axes[0].get_window_extent()
    assert min(box.width, box.height) > 0.1 * figure.dpi


def test_files_are_vector_graphics_with_embedded_fonts(tmp_path):
    with paper.styled():
        files = paper.save(paper.pareto(SPOTS, "mig"), tmp_path / "pareto", paper.FORMATS)
        again = paper.save(paper.pareto(SPOTS, "mig"), tmp_path / "again", paper.FORMATS)
    assert [file.name for file in files] == ["pareto.pdf", "pareto.svg", "pareto.png"]
    pdf = files[0].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type0" in pdf or b"/TrueType" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Subtype /Image" not in pdf
    drawing = files[1].read_text()
    assert "<image" not in drawing
    assert len(re.findall("<path", drawing)) > 50
    with Image.open(files[2]) as image:
        assert image.width == round(paper.COLUMN * 600)
    assert files[0].read_bytes() == again[0].read_bytes()  # no dates
    assert zlib.crc32(pdf)


def test_a_style_changes_the_defaults(tmp_path):
    (tmp_path / "mine.mplstyle").write_text("font.size: 11\n")
    with paper.styled(str(tmp_path / "mine.mplstyle")):
        figure = paper.sizes_of_latents(RNG.random(3), ROWS[:3], [True] * 3, "KL")
        content = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(content, format="png")
        import matplotlib

        assert matplotlib.rcParams["font.size"] == 11
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    with pytest.raises(ValueError, match="--style nothing is neither a style of Matplotlib nor a file of one"):
        paper.styled("nothing")


def test_bands_are_intervals_of_the_mean_over_seeds():
    values = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]])
    mean, half = paper.band(values)
    np.testing.assert_allclose(mean, [2, 2])
    np.testing.assert_allclose(half, [4.302652729911275 * 1 / 3**0.5, 0], rtol=1e-9)  # Student's t with 2 degrees
    assert np.isnan(paper.band(values[:1])[1]).all()


def test_where_seeds_ended_there_is_no_band():
    """A band of no width would say that the mean is known."""
    values = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, np.nan]])
    mean, half = paper.band(values)
    np.testing.assert_allclose(mean, [2, 3, 3])
    assert np.isfinite(half).tolist() == [True, True, False]
    with paper.styled():
        figure = paper.curves({"loss": [paper.Curve("beta 1", np.arange(3), values)]})
    (collection,) = figure.axes[0].collections
    assert max(path.vertices[:, 0].max() for path in collection.get_paths()) == 1


def line(name, folder, data="sprites"):
    values = {"reconstruction_error": np.array([0.1, 0.2]), "mig": np.array([0.3, 0.4])}
    return Line(name, data, (folder,), values, "", None, ())


def test_spots_are_joined_that_differ_by_their_strength_alone(tmp_path):
    lines = []
    for number, (beta, latents) in enumerate([(1.0, 4), (4.0, 4), (1.0, 8), (4.0, 8)]):
        config = default_config("beta-vae").with_flags(beta=beta, latents=latents)
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / "config.json", config.to_json())
        lines.append(line(f"beta-vae · beta {beta:g} · latents {latents}", tmp_path / str(number)))
    spots = spots_of(in_order([lines[1], lines[2], lines[3], lines[0]]), "mig")
    assert [spot.strength for spot in spots] == [1, 4, 1, 4]
    assert [spot.method for spot in spots] == ["beta-vae · latents 4"] * 2 + ["beta-vae · latents 8"] * 2
    assert [spot.name for spot in spots][1] == "beta-vae · latents 4 4"
    with paper.styled():
        drawn = paper.pareto(spots, "MIG").axes[0]
    assert sorted(len(one.get_xdata()) for one in drawn.get_lines() if one.get_linestyle() == "-") == [2, 2]
    two = [lines[0]._replace(name="beta-vae"), lines[1]._replace(name="beta-vae", data="rooms")]
    assert [spot.method for spot in spots_of(two, "mig")] == ["beta-vae · sprites", "beta-vae · rooms"]
