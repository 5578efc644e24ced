"""Series, and loadings of groups, in the report."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxvae.report import loadings as loadings_module
from jaxvae.report import series as series_module
from jaxvae.report.figures import DARK, LIGHT
from jaxvae.report.loadings import Loadings, loadings_section
from jaxvae.report.series import (
    OfSeries,
    lines_of,
    series_chart,
    series_section,
    series_traversals,
    traversal_chart,
)

RNG = np.random.default_rng(0)
OBSERVED = RNG.normal(size=(3, 20, 7)) * np.array([1, 9, 1.5, 8, 7, 0, 6])


def test_values_that_vary_most_are_drawn():
    assert lines_of(OfSeries(OBSERVED, OBSERVED)).tolist() == [1, 2, 3, 4, 6]
    assert lines_of(OfSeries(OBSERVED[..., :2], OBSERVED[..., :2])).tolist() == [0, 1]


def test_a_chart_has_a_solid_and_a_dashed_line_for_each_value(monkeypatch):
    figures = []

    def render(figure: Figure):
        figures.append(figure)

    monkeypatch.setattr(series_module, "render", render)
    series = OfSeries(OBSERVED[..., :2], OBSERVED[..., :2] + 1)
    series_chart(series, 1, LIGHT)
    lines = figures[0].axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]
    assert [line.get_color() for line in lines[::2]] == [line.get_color() for line in lines[1::2]]
    assert lines[0].get_color() != lines[2].get_color()
    for value in range(2):
        np.testing.assert_array_equal(lines[2 * value].get_ydata(), series.observed[1, :, value])
        np.testing.assert_array_equal(lines[2 * value + 1].get_ydata(), series.reconstructed[1, :, value])


def test_series_have_a_section():
    assert series_section(None) is None
    section = series_section(OfSeries(OBSERVED, OBSERVED + np.array([0.0, 1.0, 2.0])[:, None, None]))
    assert section.title == "Series and reconstructions"
    assert [card.value for card in section.cards] == ["squared error 0", "squared error 1", "squared error 4"]
    assert "Of 7 values at each time, the 5 that vary most" in section.caption
    assert section.cards[0].picture.alt == "5 of 7 values at 20 times and their reconstructions"
    assert "vary most" not in series_section(OfSeries(OBSERVED[..., :2], OBSERVED[..., :2])).caption


def traversed():
    """Latent 3 moves the second value up, latent 0 nothing."""
    levels = np.linspace(-2, 2, 7)
    moved = np.zeros((2, 7, 20, 3))
    moved[0, :, :, 1] = levels[:, None] * np.linspace(0, 1, 20)
    return OfSeries(OBSERVED[..., :3], OBSERVED[..., :3], [3, 0], np.stack([levels, levels]), moved)


def test_a_traversal_has_a_line_for_each_level(monkeypatch):
    figures = []
    monkeypatch.setattr(series_module, "render", figures.append)
    traversal_chart(traversed(), 0, DARK)
    lines = figures[0].axes[0].lines
    assert [line.get_label() for line in lines] == ["-2", "-0.67", "0", "0.67", "2"]
    np.testing.assert_allclose(lines[-1].get_ydata(), 2 * np.linspace(0, 1, 20))


def test_traversals_have_a_section():
    assert series_traversals(None) is None
    assert series_traversals(OfSeries(OBSERVED, OBSERVED)) is None
    section = series_traversals(traversed())
    assert [(card.title, card.value) for card in section.cards] == [
        ("z3: x1", "largest change 4"), ("z0: x0", "largest change 0")
    ]  # fmt: skip
    assert section.cards[0].picture.alt == "x1 over time for 5 values of latent 3"


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_series_of_one_time_is_drawn(theme):
    values = np.ones((1, 1, 1))
    assert series_chart(OfSeries(values, np.zeros((1, 1, 1))), 0, theme).size[0] > 100


def test_loadings_have_a_section(monkeypatch):
    drawn = []
    monkeypatch.setattr(loadings_module, "heat_map", lambda *given: drawn.append(given[:3]) or HEAT_MAP(*given))
    assert loadings_section(None, np.arange(3)) is None
    values = np.array([[0.0, 2.0, 1.0], [4.0, 0.0, 0.5]])
    section = loadings_section(Loadings(values, ["arm", "leg"]), np.array([2, 0, 1]))
    assert "relative to the longest (4.00)" in section.caption
    assert section.cards[0].picture.alt == "z2 drives arm most; z0 drives leg most; z1 drives arm most"
    shown, groups, latents = drawn[0]
    np.testing.assert_allclose(shown, [[0.25, 0, 0.5], [0.125, 1, 0]])
    assert (groups, latents) == (["arm", "leg"], ["z2", "z0", "z1"])


HEAT_MAP = loadings_module.heat_map


def test_the_strongest_of_many_groups_are_shown_in_their_order(monkeypatch):
    drawn = []
    monkeypatch.setattr(loadings_module, "heat_map", lambda *given: drawn.append(given[:3]) or HEAT_MAP(*given))
    values = np.zeros((40, 2))
    values[5:37, 1] = np.arange(32, 0, -1)
    section = loadings_section(Loadings(values, [f"g{k}" for k in range(40)]), np.arange(2))
    assert drawn[0][1] == [f"g{k}" for k in range(5, 37)]
    assert "Of 40 groups, the 32 with the longest columns" in section.caption


def test_loadings_that_have_all_died_are_drawn():
    assert loadings_section(Loadings(np.zeros((2, 3)), ["a", "b"]), np.arange(3)) is not None
