"""The explorer as a browser shows it: own pictures, files, links, other pages, tables and the command."""

import base64
import csv
import io
import signal
import subprocess
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from PIL import Image

webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
pytest.importorskip("starlette", reason="needs pip install starlette uvicorn")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

from jaxvae.cli.main import main  # noqa: E402
from jaxvae.data import Sprites, from_arrays  # noqa: E402
from jaxvae.methods import BetaVAE, beta_vae  # noqa: E402
from jaxvae.networks import autoencoder  # noqa: E402
from tests.browser import BEYOND, BROWSER, CONTRASTS, DRIVER  # noqa: E402
from tests.explorer.explored import SOURCE, untrained  # noqa: E402
from tests.explorer.page_helpers import (  # noqa: E402
    COUNT,
    code,
    find,
    open_page,
    picture,
    press,
    serving,
    settled,
    shows,
    status,
    wait,
)

pytestmark = pytest.mark.process
if not (BROWSER and DRIVER):
    pytest.skip("needs a browser: apt-get install chromium chromium-driver", allow_module_level=True)

ATTACK = "<img src=x onerror='window.hit=1'>\"><script>window.hit=1</script>"


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


def test_every_control_has_a_name(show):
    browser = show()
    controls = browser.find_elements(By.CSS_SELECTOR, "button, input, select, [role=application], #figures [role=img]")
    assert len(controls) > 50
    hidden = [one for one in controls if not one.is_displayed()]
    names = [one.accessible_name for one in controls if one not in hidden]
    assert all(name.strip() for name in names)
    assert browser.find_element(By.CSS_SELECTOR, "[role=status]").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(show, scheme):
    browser = show(color_scheme=scheme)
    assert [found for found in browser.execute_script(CONTRASTS) if found[1] < 4.5 and "example" not in found[0]] == []
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in ground[4:-1].split(",")) < 60) == (scheme == "dark")
    ink = browser.execute_script("return document.querySelector('#scatter text[font-weight]').getAttribute('fill')")
    assert ink == browser.execute_script("return theme().ink")


def test_a_phone_shows_everything(show, explorer):
    browser = show(width=400)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.execute_script("return [innerWidth, document.scrollingElement.scrollWidth <= innerWidth]") == [
        400,
        True,
    ]
    assert browser.execute_script(BEYOND) == []
    slider = find(browser, f"z{explorer.describe()['latents'][0]['index']}")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    place = browser.execute_script(
        "const box = document.getElementById('figure-decoded-a').getBoundingClientRect(); return [box.top, box.bottom]"
    )
    assert 0 <= place[0] < place[1] <= 450  # the picture stays in view


def test_other_pages_get_nothing(browser, served):
    browser.get("about:blank")
    script = "return fetch(arguments[0]).then(answer => answer.text()).catch(error => 'refused')"
    assert browser.execute_script(script, f"{served}about") == "refused"
    token = served.rstrip("/").split("/")[-1]
    browser.get(served.replace(token, "0" * len(token)))
    assert "the token in the address is wrong" in browser.find_element(By.TAG_NAME, "body").text


def test_a_notebook_shows_it_in_a_frame(browser, served, tmp_path):
    """A page of another server of this machine, as that of a notebook."""
    (tmp_path / "index.html").write_text(f'<iframe src="{served}" width="800" height="600"></iframe>')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        browser.switch_to.frame(0)
        wait(browser, "document.getElementById('status')?.textContent === 'Ready'")
        assert find(browser, "stage").is_displayed()
        browser.switch_to.default_content()
        server.shutdown()


def test_names_that_attack_do_not_run(browser, run):
    """Without the page's policy, so that nothing but the escaping is in the way."""
    images = np.asarray(SOURCE.sample(run.evaluation_key, 40)["x"])
    factors = np.arange(40)[:, None] % np.array([2, 3])
    source = from_arrays(images, factors, name=ATTACK, factor_names=(ATTACK, "other"))
    hostile = run._replace(source=source, method=run.method._replace(name=ATTACK))
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    try:
        with serving(hostile, 40) as url:
            open_page(browser, url)
            assert "window.hit" in browser.find_element(By.TAG_NAME, "h1").text
            point = browser.find_elements(By.CSS_SELECTOR, "#scatter g circle")[3]
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
            webdriver.ActionChains(browser).move_to_element(point).click().perform()
            settled(browser)
            assert browser.execute_script("return window.hit ?? null") is None
            assert browser.get_log("browser") == []
    finally:
        browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})


def test_a_table_shows_the_columns_that_change(browser, tmp_path):
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(200, 3)) * [1, 10, 100] + 50, rng.poisson(3, (200, 1))], axis=1)
    names = ["age", "weight", "income", "visits"]
    lines = [",".join(names), *(",".join(f"{value:.3f}" for value in row[:3]) + f",{row[3]:.0f}" for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    settings = ["--steps", "300", "--latents", "2", "--hidden", "16", "--learning-rate", "1e-2", "--no-score"]
    main(["train", "vae", "--data", f"table:{tmp_path / 't.csv'}", "--run", str(tmp_path / "run"), *settings])
    with serving(tmp_path / "run") as url:
        open_page(browser, url)
        slider = browser.find_element(By.CSS_SELECTOR, ".latent input")
        press(slider, *[Keys.ARROW_RIGHT] * 9)
        settled(browser)
        told = browser.find_element(By.CSS_SELECTOR, "#figure-decoded-a [role=img]").get_attribute("aria-label")
        assert any(f"A decoded: {name} changes most, by " in told for name in names)
        texts = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#figure-decoded-a text")]
        assert texts[0] in names
        assert "→" in texts[1]
        assert [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#figure-original-a dt")] == names
        assert browser.get_log("browser") == []


def test_milliseconds_of_a_frame_at_64_pixels(browser, capsys):
    source = Sprites(64)
    run = untrained(beta_vae(autoencoder("conv", source.event_shape, latent_dim=10), hyperparameters=BetaVAE()), source)
    script = """
      return (async () => {
        const times = [];
        for (let k = 0; k < 60; k++) {
          const start = performance.now(), [thing] = await decode([chosen.a.code]);
          paint(document.querySelector("#figure-decoded-a .shown"), thing);
          times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b);
      })()"""
    with serving(run, 100) as url:
        open_page(browser, url)
        times = browser.execute_script(script)
    assert len(times) == 60
    with capsys.disabled():
        print(f"\nexplorer, conv decoder at 64 x 64: {times[30]:.1f} ms a frame, 95% below {times[56]:.1f} ms")


def test_the_command_serves_until_ctrl_c(tmp_path):
    tiny = ["--data", "sprites", "--image-size", "16", "--batch-size", "8", "--steps", "2", "--no-score"]
    main(["train", "beta-vae", *tiny, "--run", str(tmp_path / "run")])
    command = [sys.executable, "-m", "jaxvae", "explore", str(tmp_path / "run"), "--no-browser", "--num-samples", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("explorer: http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=30)
    assert (process.returncode, told) == (0, "the explorer has ended\n")
    assert "Traceback" not in errors
