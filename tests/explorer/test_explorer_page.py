"""The explorer as a browser shows it: every control does what it says, by mouse and keyboard, wide and narrow."""

import base64
import csv
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
pytest.importorskip("starlette", reason="needs pip install starlette uvicorn")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

from tests.browser import BROWSER, DRIVER  # noqa: E402
from tests.explorer.browsing import (  # noqa: E402
    COUNT,
    code,
    find,
    open_page,
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


def own_picture(tmp_path):
    levels = np.zeros((40, 60), np.uint8)
    levels[10:30, 25:45] = 255
    Image.fromarray(levels).save(tmp_path / "own.png")
    return tmp_path / "own.png"


GIVE = """
const bytes = Uint8Array.from(atob(arguments[0]), letter => letter.charCodeAt(0)), files = new DataTransfer();
files.items.add(new File([bytes], "own.png", {type: "image/png"}));
document.body.dispatchEvent(arguments[1] === "paste"
  ? new ClipboardEvent("paste", {clipboardData: files, bubbles: true, cancelable: true})
  : new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}))"""


@pytest.mark.parametrize("way", ["open", "paste", "drop"])
def test_an_own_picture(show, explorer, tmp_path, way):
    browser, path = show(), own_picture(tmp_path)
    if way == "open":
        find(browser, "own").send_keys(str(path))
    else:
        browser.execute_script(GIVE, base64.b64encode(path.read_bytes()).decode(), way)
    wait(browser, "chosen.a.own !== null && document.querySelector('#figure-original-a figcaption').textContent")
    expected = explorer.encode(path.read_bytes())
    np.testing.assert_allclose(code(browser), expected["code"], rtol=1e-4, atol=1e-5)
    small = np.frombuffer(base64.b64decode(expected["pixels"]), np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(picture(browser, "original-a"), small)
    assert find(browser, "figure-original-a").text == "A: own picture"
    shows(browser, explorer)


def test_a_picture_that_cannot_be_read_is_said(browser, served, tmp_path):
    open_page(browser, served)
    (tmp_path / "own.png").write_bytes(b"<svg onload='window.hit=1'/>")
    find(browser, "own").send_keys(str(tmp_path / "own.png"))
    wait(browser, "document.getElementById('status').classList.contains('wrong')")
    assert status(browser).startswith("it is no picture in one of the formats PNG")
    assert browser.execute_script("return [window.hit ?? null, chosen.a.row]") == [None, 0]


def test_the_scatter_plot_shows_colours_pictures_and_is_clicked(show, explorer):
    browser = show()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#scatter g circle")) == COUNT
    Select(find(browser, "axis-x")).select_by_value("2")
    Select(find(browser, "axis-y")).select_by_value("0")
    Select(find(browser, "colour")).select_by_visible_text("scale")
    fills = browser.execute_script(
        "return [...document.querySelectorAll('#scatter g circle')].map(one => one.getAttribute('fill'))"
    )
    scale = explorer.codes.factors[:, explorer.run.source.factor_names.index("scale")]
    assert len(set(fills)) == len(set(scale.tolist()))
    assert len({(fill, int(value)) for fill, value in zip(fills, scale, strict=True)}) == len(set(fills))
    places = np.array(browser.execute_script("return scatter.points"))
    assert np.corrcoef(places[:, 0], explorer.codes.mean[:, 2])[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], explorer.codes.mean[:, 0])[0, 1] < -0.999  # up is more
    apart = np.abs(places[:, None] - places[None]).max(axis=-1) + 1e9 * np.eye(COUNT)
    lonely = int(apart.min(axis=1).argmax())
    point = browser.find_elements(By.CSS_SELECTOR, "#scatter g circle")[lonely]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    webdriver.ActionChains(browser).move_to_element(point).perform()
    wait(browser, "!document.getElementById('hover').hidden")
    assert find(browser, "hover").text.startswith(f"Example {lonely}: shape ")
    webdriver.ActionChains(browser).move_to_element(point).click().perform()
    np.testing.assert_allclose(code(browser), explorer.codes.mean[lonely], rtol=1e-5)
    shows(browser, explorer)


def test_the_scatter_plot_from_the_keyboard(show, explorer):
    browser = show()
    plot = find(browser, "scatter")
    assert "Arrow keys move" in plot.get_attribute("aria-label")
    places, at = np.array(browser.execute_script("return scatter.points")), 0
    for key, axis, sign in ((Keys.ARROW_RIGHT, 0, 1), (Keys.ARROW_DOWN, 1, 1), (Keys.ARROW_LEFT, 0, -1)):
        press(plot, key)
        now = browser.execute_script("return scatter.at")
        assert now == at or sign * (places[now, axis] - places[at, axis]) > 0
        at = now
    press(plot, Keys.ENTER)
    np.testing.assert_allclose(code(browser), explorer.codes.mean[at], rtol=1e-5)


def saved(browser, downloads, button, ending):
    find(browser, button).click()
    end, content = time.monotonic() + 20, b""
    while not content and time.monotonic() < end:  # the file is there before its content
        time.sleep(0.1)
        if not list(downloads.glob("*.crdownload")) and (found := list(downloads.glob(f"*.{ending}"))):
            content = found[0].read_bytes()
    found[0].unlink()
    return content


def test_what_is_shown_is_saved(show, explorer, downloads):
    browser = show()
    with Image.open(io.BytesIO(saved(browser, downloads, "save-png", "png"))) as image:
        assert image.format == "PNG"
        assert image.width == 1760
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    drawing = saved(browser, downloads, "save-svg", "svg").decode()
    assert drawing.count("<image ") == 5
    assert drawing.count("<circle ") > COUNT
    assert "http" not in drawing.replace("http://www.w3.org", "")
    with Image.open(io.BytesIO(saved(browser, downloads, "save-gif", "gif"))) as image:
        assert (image.format, image.n_frames) == ("GIF", 32)
    with Image.open(io.BytesIO(saved(browser, downloads, "save-walk", "gif"))) as image:
        assert image.n_frames == 32
    rows = list(csv.reader(saved(browser, downloads, "save-csv", "csv").decode().splitlines()))
    assert rows[0] == ["id", "z0", "z1", "z2", "z3"]
    assert [row[0] for row in rows[1:]] == ["A", "B"]
    np.testing.assert_allclose(np.array(rows[1][1:], float), code(browser), rtol=1e-6)


def test_a_link_restores_the_state(show, served, explorer):
    browser = show()
    browser.find_elements(By.CSS_SELECTOR, "#thumbnails button")[7].click()
    press(find(browser, f"z{explorer.describe()['latents'][1]['index']}"), *[Keys.ARROW_LEFT] * 3)
    press(find(browser, "walk"), Keys.END)
    Select(find(browser, "axis-x")).select_by_value("3")
    Select(find(browser, "colour")).select_by_visible_text("x")
    find(browser, "save-link").click()
    wait(browser, "document.getElementById('status').textContent.startsWith('The link')")
    link, before = browser.current_url, code(browser)
    browser.get("about:blank")
    browser.get(link)
    wait(browser, "document.getElementById('status').textContent === 'Ready'")
    np.testing.assert_allclose(code(browser), before, rtol=1e-5)
    assert find(browser, "walk").get_attribute("value") == "1"
    assert Select(find(browser, "axis-x")).first_selected_option.get_attribute("value") == "3"
    assert Select(find(browser, "colour")).first_selected_option.text == "x"
    shows(browser, explorer)
    browser.get(f"{served}#a=-1&za=x&b=1e9&x=99&walk=7&colour=%3Cscript%3E&latent=none")
    browser.refresh()
    wait(browser, "document.getElementById('status').textContent === 'Ready'")
    shows(browser, explorer)
