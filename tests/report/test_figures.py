import math
import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxvae.report.figures import (
    DARK,
    LIGHT,
    curve,
    heat_map,
    latent_chart,
    logged_terms,
    plain,
    term_values,
    wants_log_axis,
)

HISTORY = [{"step": s, "loss": 100.0 / s, "kl": float(s), "seconds": 1.0, "steps_per_second": 9.0} for s in (1, 5, 20)]


def colour(text: str) -> list[int]:
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


def count(image, text: str) -> int:
    return int((np.asarray(image) == colour(text)).all(axis=-1).sum())


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_charts_are_on_the_card_of_their_theme(theme):
    charts = [
        latent_chart(np.array([2.0, 0.1]), ["z0", "z1"], [True, False], "nats", theme),
        heat_map(np.eye(2), ["z0", "z1"], ["x", "y"], theme),
        curve(HISTORY, "loss", theme),
    ]
    for chart in charts:
        assert list(chart.getpixel((0, 0))) == colour(theme.card)
        assert chart.mode == "RGB"


def test_bars_are_as_long_as_the_kl_and_coloured_by_activity():
    chart = latent_chart(np.array([4.0, 2.0]), ["z0", "z1"], [True, False], "nats", LIGHT)
    assert count(chart, LIGHT.accent) == pytest.approx(2 * count(chart, LIGHT.off), rel=0.05)


@pytest.mark.parametrize("latents", [1, 32])
def test_latent_chart_grows_with_the_latents(latents):
    chart = latent_chart(np.ones(latents), [f"z{d}" for d in range(latents)], [True] * latents, "nats", LIGHT)
    assert chart.size == pytest.approx((4.45 * 192, (0.75 + 0.27 * latents) * 192), abs=1)


@pytest.mark.parametrize("kl", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [-1e-6, 1.0]])
def test_latent_chart_of_odd_values(kl):
    latent_chart(np.array(kl), ["z0", "z1"], [True, True], "nats", LIGHT)


def test_heat_map_shows_shares_as_colour():
    full, empty = (heat_map(np.full((2, 2), v), ["a", "b"], ["x", "y"], LIGHT) for v in (1.0, 0.0))
    assert count(full, LIGHT.accent) > 20_000
    assert count(empty, LIGHT.accent) == 0


@pytest.mark.process
def test_large_heat_maps_have_no_numbers():
    for columns, numbers in ((20, True), (30, False)):
        image = np.asarray(heat_map(np.zeros((50, columns)), ["z"] * 50, ["f"] * columns, LIGHT))
        left, top = image.shape[1] // 2, image.shape[0] // 4
        cells = image[top : 3 * top, left : left + left // 2]
        assert (len(np.unique(cells)) > 1) == numbers


@pytest.mark.parametrize("shape", [(1, 1), (32, 5), (3, 40)])
def test_heat_map_grows_with_its_cells(shape):
    chart = heat_map(np.zeros(shape), ["z"] * shape[0], ["f"] * shape[1], LIGHT)
    width, height = 1.2 + max(0.62 * shape[1], 2.2), 0.75 + 0.27 * shape[0]
    assert chart.size == pytest.approx((width * 192, height * 192), abs=1)


def test_heat_map_of_a_factor_without_entropy():
    heat_map(np.array([[math.nan, 0.5], [math.nan, 0.1]]), ["z0", "z1"], ["constant", "x"], LIGHT)


def test_names_with_formula_signs_are_text():
    latent_chart(np.ones(2), ["$\\frac", "a_b^c $"], [True, True], "nats", LIGHT)
    heat_map(np.eye(2), ["$x", "y"], ["$\\bad$", "a\nb"], LIGHT)


def test_control_characters_in_names_are_shown():
    """The font has no glyph for them, and the warning that says so would repeat them."""
    assert plain("a\x1b[2J\tb") == r"a\x1b[2J b"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heat_map(np.eye(2), ["x\x1b[2J", "y"], ["a\x07", "b"], LIGHT)


def test_logged_terms_are_in_order_and_leave_the_machine_out():
    assert logged_terms([*HISTORY, {"step": 30, "late": 1.0}]) == ["loss", "kl", "late"]
    assert logged_terms([]) == []


def test_validation_terms_are_drawn_beside_those_of_training():
    """As a line through all of their values, whatever rows are in between."""
    rows = [{"step": s, "loss": 100.0 - s} for s in range(0, 40, 2)]
    validated = [{**row, **({"validation_loss": 90.0} if row["step"] % 8 == 0 else {})} for row in rows]
    assert logged_terms(validated) == logged_terms(rows) == ["loss"]
    assert logged_terms([{"step": 1, "validation_kl": 1.0}]) == ["validation_kl"]
    plain, both = curve(rows, "loss", LIGHT), curve(validated, "loss", LIGHT)
    assert count(plain, LIGHT.ink) == 0
    assert count(both, LIGHT.ink) > 200
    assert 0.8 < count(both, LIGHT.accent) / count(plain, LIGHT.accent) < 1.2
    odd = [{"step": s, "loss": 1.0, "validation_loss": v} for s, v in enumerate([math.nan, 1e-3, math.inf, 1e3])]
    curve(odd, "loss", LIGHT)


def test_term_values_have_gaps():
    rows = [{"step": 1, "a": 2}, {"step": 2}, {"step": 3, "a": None}, {"step": 4, "a": math.inf}]
    np.testing.assert_array_equal(term_values(rows, "a"), [2, math.nan, math.nan, math.inf])


@pytest.mark.parametrize(
    "values", [[1.0], [math.nan], [math.inf, 1.0, 2.0], [0.0, 0.0], [-5.0, 5.0], [1e-3, 1e3], [1e-9, 1e9], [1e30, 1.0]]
)
def test_curves_of_odd_values(values):
    assert curve([{"step": 10 * s, "a": v} for s, v in enumerate(values)], "a", LIGHT).size == pytest.approx(
        (2.9 * 192, 1.6 * 192), abs=1
    )


def test_log_axis_is_for_positive_values_of_several_sizes():
    assert wants_log_axis(np.array([1.0, 100.0, math.nan]))
    assert not wants_log_axis(np.array([1.0, 2.0]))
    assert not wants_log_axis(np.array([0.0, 100.0]))
    assert not wants_log_axis(np.array([-1.0, 100.0]))
    assert not wants_log_axis(np.array([math.nan]))


def test_global_state_of_matplotlib_is_left_alone():
    before = dict(mpl.rcParams)
    curve(HISTORY, "loss", DARK)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
