"""The explorer as a browser shows it: every control does what it says, by mouse and keyboard, wide and narrow."""

import json
import time

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
pytest.importorskip("starlette", reason="needs pip install starlette uvicorn")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.browser import BROWSER, DRIVER  # noqa: E402
from tests.explorer.page_helpers import (  # noqa: E402
    code,
    find,
    picture,
    press,
    shows,
    status,
    wait,
)

pytestmark = pytest.mark.process
if not (BROWSER and DRIVER):
    pytest.skip("needs a browser: apt-get install chromium chromium-driver", allow_module_level=True)

ATTACK = "<img src=x onerror='window.hit=1'>\"><script>window.hit=1</script>"


def test_the_page_opens_and_asks_nobody_else(show, served, explorer):
    browser = show()
    assert find(browser, "stage").is_displayed()
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert asked[0] == served
    assert {url[: len(served)] for url in asked if not url.startswith(("data:", "blob:", "about:"))} == {served}
    shows(browser, explorer)
    np.testing.assert_array_equal(picture(browser, "original-a"), np.rint(255 * explorer.examples[0][..., 0]))
    np.testing.assert_array_equal(picture(browser, "original-b"), np.rint(255 * explorer.examples[1][..., 0]))
    names = [label.text.split("\n")[0] for label in browser.find_elements(By.CSS_SELECTOR, ".latent label")]
    told = [latent for latent in explorer.describe()["latents"] if latent["active"]]
    assert [name.split(" ")[0] for name in names if name] == [latent["name"].split(" ")[0] for latent in told]


def test_a_slider_moves_one_latent_and_the_picture(show, explorer):
    browser = show()
    before, latent = code(browser), explorer.describe()["latents"][0]
    slider = find(browser, f"z{latent['index']}")
    press(slider, *[Keys.ARROW_RIGHT] * 7)
    after = code(browser)
    assert (after != before).tolist() == [d == latent["index"] for d in range(4)]
    shows(browser, explorer)
    told = find(browser, f"z{latent['index']}-value").text.replace("−", "-")
    assert abs(float(told) - after[latent["index"]]) < 0.006
    assert wait(browser, "strip?.frames?.length") == 61
    press(slider, Keys.HOME)  # from the batch of the slider's positions
    assert code(browser)[latent["index"]] == np.float32(latent["low"])
    shows(browser, explorer)
    assert find(browser, "reset").is_enabled()
    find(browser, "reset").click()
    np.testing.assert_array_equal(code(browser), before)
    shows(browser, explorer)
    assert not find(browser, "reset").is_enabled()


def test_a_drag_moves_the_picture(show, explorer):
    browser = show()
    slider = find(browser, f"z{explorer.describe()['latents'][0]['index']}")
    chain = webdriver.ActionChains(browser).click_and_hold(slider)
    for _ in range(8):
        chain = chain.move_by_offset(9, 0)
    chain.release().perform()
    assert find(browser, "speed").text.endswith("ms a frame")
    shows(browser, explorer)
    assert find(browser, "reset").is_enabled()


def test_examples_are_chosen_by_click_and_by_number(show, explorer):
    browser = show()
    thumbnails = browser.find_elements(By.CSS_SELECTOR, "#thumbnails button")
    assert len(thumbnails) == 24
    thumbnails[5].click()
    np.testing.assert_allclose(code(browser), explorer.codes.mean[5], rtol=1e-5)
    browser.find_element(By.CSS_SELECTOR, "input[name=place][value=b]").click()
    find(browser, "later").click()
    wait(browser, "document.querySelector('#thumbnails button').ariaLabel.startsWith('Example 24')")
    browser.find_elements(By.CSS_SELECTOR, "#thumbnails button")[2].click()
    np.testing.assert_allclose(code(browser, "b"), explorer.codes.mean[26], rtol=1e-5)
    assert status(browser).startswith("B is example 26: shape ")
    shows(browser, explorer)
    number = find(browser, "number")
    number.clear()
    press(number, "37", Keys.ENTER)
    np.testing.assert_allclose(code(browser, "b"), explorer.codes.mean[37], rtol=1e-5)
    number.clear()
    press(number, "999", Keys.ENTER)
    assert status(browser) == "Examples have the numbers 0 to 59."


def test_a_latent_is_swapped_between_two_examples(show, explorer):
    browser = show()
    a, b = code(browser), code(browser, "b")
    d = explorer.describe()["latents"][0]["index"]
    browser.find_element(By.CSS_SELECTOR, "#active [aria-label^='Swap']").click()
    swapped = np.arange(4) == d
    np.testing.assert_array_equal(code(browser), np.where(swapped, b, a))
    np.testing.assert_array_equal(code(browser, "b"), np.where(swapped, a, b))
    shows(browser, explorer)
    find(browser, "exchange").click()
    np.testing.assert_array_equal(code(browser), np.where(swapped, a, b))
    shows(browser, explorer)


def test_walk_and_random_code(show, explorer):
    browser = show()
    press(find(browser, "walk"), Keys.HOME, *[Keys.ARROW_RIGHT] * 8)
    assert find(browser, "walk-value").text == "25 %"
    shows(browser, explorer)
    find(browser, "prior").click()
    wait(browser, "chosen.a.row === null")
    assert not find(browser, "figure-original-a").is_displayed()
    shows(browser, explorer)
    find(browser, "play-walk").click()
    wait(browser, "document.getElementById('walk').value > 0.5")
    find(browser, "play-walk").click()
    shows(browser, explorer)


def test_play_moves_a_latent_until_it_is_stopped(show, explorer):
    browser = show()
    d, play = explorer.describe()["latents"][0]["index"], browser.find_element(By.CSS_SELECTOR, "[aria-label^='Move']")
    first = code(browser)[d]
    play.click()
    wait(browser, f"Math.abs(chosen.a.code[{d}] - {first}) > 0.5")
    assert play.get_attribute("aria-pressed") == "true"
    play.click()
    rest = code(browser)
    time.sleep(0.2)
    np.testing.assert_array_equal(code(browser), rest)
    shows(browser, explorer)
