"""Pages as a browser shows them: it sorts, moves, asks nobody, and can be read in the dark and on a phone."""

import io
import json

import numpy as np
import pytest
from fake_report import FACTORS, fake_report
from markupsafe import Markup
from PIL import Image

from jaxvae.report.comparison_page import comparison_html
from jaxvae.report.page import report_html
from jaxvae.report.pictures import signed
from jaxvae.runs.compare import Column, Line
from jaxvae.study.findings import Finding, findings
from jaxvae.study.page import study_html
from tests.browser import BEYOND, BROWSER, CONTRASTS, DRIVER, headless
from tests.study.fake_study import table

webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = pytest.mark.process

if not (BROWSER and DRIVER):
    pytest.skip("needs a browser: apt-get install chromium chromium-driver", allow_module_level=True)

PAGES = ("report", "photographs", "comparison", "study")
ATTACK = "<img src=x onerror='window.hit=1'>\"><script>window.hit=1</script>' onload='window.hit=1"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with headless(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Files by name, as the code makes them of made-up data."""
    rng = np.random.default_rng(0)
    photographs = fake_report(latents=8, num_values=5, channels=3, num_images=4)
    for name in ("images", "reconstructions", "traversals", "prior_samples"):
        noisy = getattr(photographs, name) * 0.5 + 0.5 * rng.random(getattr(photographs, name).shape)
        photographs = photographs._replace(**{name: noisy})
    names = tuple(f"attribute_{k}_of_forty" for k in range(40))
    long = "jaxvae train beta-tc-vae --run " + "a-long-name/" * 20
    scores = {"mig": {"score": 0.4, "definition": "of_" * 60, "per_factor": [0.1] * 40, "warnings": ["w" * 200]}}
    photographs = photographs._replace(
        title="beta-tc-vae on " + "photographs_" * 12,
        summary={"data": "tfds:" + "name/" * 40},
        about_data="w" * 200,
        factor_names=names,
        factor_entropy=np.full(40, 0.6),
        mutual_information=np.full((8, 40), 0.1),
        scores=scores,
        reproduce=long,
    )
    htmls = {
        "report": report_html(fake_report()),
        "photographs": report_html(photographs),
        "comparison": comparison(),
        "study": study_page(),
        "attacked report": attacked_report(),
        "attacked comparison": comparison([line(ATTACK, 0.5, data=ATTACK, note=ATTACK, rows=(ATTACK, "b", "z0"))]),
        "unescaped comparison": comparison([line("low", 0.5, note=Markup(ATTACK)), line("high", 0.9)]),
        "unescaped report": report_html(fake_report(num_images=1)._replace(about_data=Markup(ATTACK))),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, html in htmls.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


def line(name, *values, **changes):
    """A run with these scores."""
    rng = np.random.default_rng(len(name))
    scores = {f"score {k}": np.array([value]) for k, value in enumerate((*values, *[0.5] * 12)[:12])}
    given = {"data": "sprites", "note": "", "picture": rng.random((3, 4, 8, 8, 1)), "rows": ("a", "b", "z0")}
    return Line(name, folders=("run",), values=scores, **(given | changes))


def comparison(lines=None):
    columns = [Column(f"score {k}", f"score {k}", (1, -1, 0)[k % 3], "what it is") for k in range(12)]
    lines = lines or [
        line("nine", 9.0, 0.2),
        line("none", np.nan, 0.1, data="arrays", note="1 of 3 diverged"),
        line("hundred", 100.0, 0.3),
        line("Ten", 10.0, 1e-5, picture=None),
        line("minus", -3.0, np.nan),
    ]
    return comparison_html(columns, lines, title="Some")


def study_page():
    """With one more finding, of names that attack."""
    with pytest.MonkeyPatch.context() as patch:
        found = [*findings(table()), Finding(ATTACK, ATTACK, ATTACK)]
        patch.setattr("jaxvae.study.page.findings", lambda rows: found)
        return study_html(table()[::3], "small")


def attacked_report():
    data = fake_report(latents=3, num_images=2, num_values=3, size=16)
    return report_html(
        data._replace(
            title=ATTACK,
            summary={ATTACK: ATTACK},
            about_data=ATTACK,
            latent_factor=(ATTACK, None, None),
            factor_names=(ATTACK, *FACTORS[1:]),
            scores={ATTACK: {"score": 0.5, "definition": ATTACK, "warnings": [ATTACK], "per_factor": [0.1] * 5}},
            history=[{"step": 1, ATTACK: 1.0}, {"step": 2, ATTACK: 2.0}],
            config={ATTACK: {"nested": ATTACK}},
            reproduce=ATTACK,
            versions={ATTACK: ATTACK, "jaxvae": ATTACK},
        )
    )


@pytest.fixture
def show(browser, pages):
    """Opens a page: on a screen this wide, by a user who prefers this, with or without its content policy."""

    def show(name, *, width=1200, policy=True, **prefers):
        browser.get("about:blank")
        browser.get_log("browser"), browser.get_log("performance")
        features = [{"name": f"prefers-{key.replace('_', '-')}", "value": value} for key, value in prefers.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": not policy})
        browser.get((pages / f"{name}.html").as_uri())
        return browser

    return show


@pytest.mark.parametrize("name", PAGES)
def test_opens_without_errors_and_asks_nobody(name, show, pages):
    browser = show(name)
    assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert (pages / f"{name}.html").as_uri() in asked
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert [url for url in asked if url.startswith("file")] == [(pages / f"{name}.html").as_uri()]
    assert (pages / f"{name}.html").stat().st_size < 5_000_000


@pytest.mark.parametrize("name", PAGES)
def test_pictures_are_there_and_say_what_they_show(name, show):
    pictures = show(name).execute_script(
        "return Promise.all([...document.images].map(one => one.decode().then(() => [one.alt, one.naturalWidth])))"
    )
    assert len(pictures) > 2
    assert all(alt.strip() and width > 1 for alt, width in pictures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_stands_out(name, scheme, show):
    browser = show(name, color_scheme=scheme)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 15
    assert [found for found in contrasts if found[1] < 4.5] == []
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in ground[4:-1].split(",")) < 60) == (scheme == "dark")


def test_charts_are_dark_in_the_dark(show):
    sources = [
        show("report", color_scheme=scheme).execute_script("return [...document.images].map(one => one.currentSrc)")
        for scheme in ("light", "dark")
    ]
    assert sum(one != two for one, two in zip(*sources, strict=True)) == 2 + 6


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_on_a_phone(name, show):
    browser = show(name, width=400)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    wide, screen = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert screen == 400
    assert wide <= screen
    assert browser.execute_script(BEYOND) == []


def names_of(browser):
    return [cell.text.split("\n")[0] for cell in browser.find_elements(By.CSS_SELECTOR, "tbody th")]


def test_a_click_sorts_by_number_and_what_is_missing_comes_last(show):
    browser = show("comparison")
    heads = {head.text: head for head in browser.find_elements(By.CSS_SELECTOR, "thead button")}
    first = ["nine", "none", "hundred", "Ten", "minus"]
    assert names_of(browser) == first
    heads["score 0"].click()
    assert names_of(browser) == ["hundred", "Ten", "nine", "minus", "none"]
    heads["score 0"].click()
    assert names_of(browser) == ["minus", "nine", "Ten", "hundred", "none"]
    heads["score 1"].click()  # lower is better
    assert names_of(browser) == ["Ten", "none", "nine", "hundred", "minus"]
    heads["method"].click()
    assert names_of(browser) == ["hundred", "minus", "nine", "none", "Ten"]
    heads["data"].click()
    assert names_of(browser)[0] == "none"
    assert [head.get_attribute("aria-sort") for head in browser.find_elements(By.TAG_NAME, "th")[:3]] == [
        "none",
        "ascending",
        "none",
    ]
    assert browser.get_log("browser") == []


def focused(browser):
    return browser.switch_to.active_element


def press(browser, key):
    webdriver.ActionChains(browser).send_keys(key).perform()


def tab_to(browser, text):
    for _ in range(60):
        press(browser, Keys.TAB)
        if focused(browser).text == text:
            return focused(browser)
    raise AssertionError(f"the tab key does not reach {text}")


def ring(browser):
    return browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
def test_the_table_sorts_from_the_keyboard(key, show):
    browser = show("comparison", width=400)
    tab_to(browser, "score 0")
    assert ring(browser) != "none"
    press(browser, key)
    assert names_of(browser) == ["hundred", "Ten", "nine", "minus", "none"]
    tab_to(browser, "score 11")
    left, right, box = browser.execute_script(
        "const place = document.activeElement.getBoundingClientRect();"
        "return [place.left, place.right, document.activeElement.closest('.card').scrollLeft]"
    )
    assert box > 0
    assert 0 <= left < right <= 400


def test_settings_unfold_from_the_keyboard_and_links_lead_there(show):
    browser = show("report")
    tab_to(browser, "Training")
    assert ring(browser) != "none"
    press(browser, Keys.ENTER)
    assert browser.current_url.endswith("#training")
    browser.execute_script("document.querySelector('summary').focus()")
    press(browser, Keys.SPACE)
    assert browser.find_element(By.CSS_SELECTOR, "details pre").is_displayed()


def window_of(mover):
    """Pixels of the picture that a slider shows."""
    frames = mover.find_element(By.CSS_SELECTOR, ".frames")
    frames.parent.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", frames)
    shot = frames.screenshot_as_png
    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"), float)


@pytest.mark.parametrize("width", [1200, 400])
def test_a_slider_shows_the_picture_of_its_value(width, show):
    # A page that scrolls smoothly is not where a screenshot is taken.
    data, browser = fake_report(), show("report", width=width, reduced_motion="reduce")
    movers = browser.find_elements(By.CSS_SELECTOR, "#sliders figure")
    assert len(movers) == 5
    for place, mover in enumerate(movers[:2]):
        slider, value = mover.find_element(By.TAG_NAME, "input"), mover.find_element(By.TAG_NAME, "output")
        assert f"z{data.latent_order[place]}" in slider.accessible_name
        at = 5
        for key, step in ((Keys.ARROW_RIGHT, 6), (Keys.HOME, 0), (Keys.ARROW_UP, 1), (Keys.END, 10)):
            slider.send_keys(key)
            shown = data.traversals[place].repeat(2, axis=1).repeat(2, axis=2)[..., 0] * 255
            distance = np.abs(window_of(mover) - shown).mean(axis=(1, 2))
            assert int(np.argmin(distance)) == step != at
            assert distance[step] < 2
            told = signed(data.traversal_values[step])
            assert value.text == told == slider.get_attribute("aria-valuetext")
            at = step
    assert browser.get_log("browser") == []


def test_the_pictures_move_where_it_is_asked_for(show):
    browser = show("photographs", reduced_motion="reduce")
    place = "return document.querySelector('#sliders img').getBoundingClientRect().left"
    assert len({browser.execute_script(place) for _ in range(4)}) == 1
    play = browser.find_element(By.CSS_SELECTOR, "#sliders button")
    play.send_keys(Keys.SPACE)
    assert play.text == "Stop"
    seen = set()
    WebDriverWait(browser, 20, 0.01).until(lambda driver: seen.add(driver.execute_script(place)) or len(seen) == 5)
    play.send_keys(Keys.SPACE)
    assert play.text == "Play"
    assert browser.execute_script(place) in seen
    assert len({browser.execute_script(place) for _ in range(4)}) == 1


def test_without_scripts_the_pictures_stand_side_by_side(show):
    browser = show("report", reduced_motion="reduce")
    try:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.refresh()
        data, mover = fake_report(), browser.find_element(By.CSS_SELECTOR, "#sliders figure")
        assert not mover.find_element(By.TAG_NAME, "input").is_displayed()
        assert not browser.find_element(By.CSS_SELECTOR, "#sliders button").is_displayed()
        pixels = window_of(mover)
        assert pixels.shape[1] > 7 * 128
        for place in range(7):
            shown = data.traversals[0, place, ..., 0].repeat(2, axis=0).repeat(2, axis=1) * 255
            assert np.abs(pixels[:128, 128 * place : 128 * (place + 1)] - shown).mean() < 2
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("name", ["attacked report", "attacked comparison", "study"])
def test_texts_do_not_run(name, show):
    """Without the policy, so that nothing but escaping is in the way."""
    browser = show(name, policy=False)
    assert "window.hit" in browser.find_element(By.TAG_NAME, "body").text
    assert browser.execute_script("return window.hit ?? null") is None
    assert browser.get_log("browser") == []


def test_what_gets_around_escaping_does_not_run_either(show):
    """While the page's own script does."""
    browser = show("unescaped comparison")
    browser.find_elements(By.CSS_SELECTOR, "thead button")[1].click()
    assert names_of(browser) == ["high", "low"]
    assert browser.execute_script("return window.hit ?? null") is None
    browser = show("unescaped report")
    assert browser.execute_script("return window.hit ?? null") is None
    assert show("unescaped report", policy=False).execute_script("return window.hit") == 1
