"""The explorer on a phone, in the dark, in a notebook, for other data, and against attacks."""

import signal
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
pytest.importorskip("starlette", reason="needs pip install starlette uvicorn")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from jaxvae.cli.main import main  # noqa: E402
from jaxvae.data import Sprites, from_arrays  # noqa: E402
from jaxvae.method import Method, no_code  # noqa: E402
from jaxvae.methods import BetaVAE, beta_vae  # noqa: E402
from jaxvae.networks import autoencoder  # noqa: E402
from tests.browser import BEYOND, BROWSER, CONTRASTS, DRIVER  # noqa: E402
from tests.explorer.browsing import (  # noqa: E402
    find,
    open_page,
    press,
    serving,
    settled,
    wait,
)
from tests.explorer.explored import SOURCE, untrained  # noqa: E402

pytestmark = pytest.mark.process
if not (BROWSER and DRIVER):
    pytest.skip("needs a browser: apt-get install chromium chromium-driver", allow_module_level=True)

ATTACK = "<img src=x onerror='window.hit=1'>\"><script>window.hit=1</script>"


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


def test_pictures_of_a_method_are_counted(browser):
    """And leave the page of examples where it is."""
    images = np.random.default_rng(0).random((80, 8, 8, 1), np.float32)
    method = Method("maps", {}, (), (), encode=no_code, pictures=lambda net, key, batch: {"a map": batch["x"] - 0.5})
    with serving(untrained(method, from_arrays(images, name="pictures")), 80) as url:
        open_page(browser, url)
        assert find(browser, "drawn-count").text == "Draw 1 of random examples"
        find(browser, "redraw").click()
        wait(browser, "document.getElementById('drawn-count').textContent === 'Draw 2 of random examples'")
        find(browser, "later").click()
        wait(browser, "document.querySelector('#thumbnails button').ariaLabel.startsWith('Example 24')")
        assert browser.get_log("browser") == []


@pytest.mark.slow  # a measurement
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
