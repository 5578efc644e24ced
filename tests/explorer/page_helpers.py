"""What tests ask the explorer's page in a browser."""

import base64
import io
from contextlib import contextmanager

import numpy as np
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import jaxvae

COUNT = 60


@contextmanager
def serving(run, count=COUNT):
    shown = jaxvae.explore(run, num_samples=count)
    assert f'src="{shown.url}"' in shown._repr_html_()
    yield shown.url
    shown.stop()


def wait(browser, condition):
    return WebDriverWait(browser, 20, 0.02).until(lambda driver: driver.execute_script(f"return {condition}"))


def open_page(browser, url, *, width=1200, **prefers):
    prefers = {"reduced_motion": "reduce", **prefers}  # a page that scrolls smoothly is not where a click goes
    features = [{"name": f"prefers-{key.replace('_', '-')}", "value": value} for key, value in prefers.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(url)
    wait(browser, "document.getElementById('status').textContent !== 'Loading the run'")
    assert browser.find_element(By.ID, "status").text == "Ready"
    settled(browser)
    return browser


def settled(browser):
    wait(browser, "!running && !again")


def find(browser, name):
    return browser.find_element(By.ID, name)


def code(browser, name="a"):
    return np.array(browser.execute_script(f"return chosen.{name}.code"), np.float32)


def status(browser):
    return find(browser, "status").text


def picture(browser, figure):
    """The pixels that a figure shows."""
    script = "return document.querySelector(arguments[0]).toDataURL()"
    uri = browser.execute_script(script, f"#figure-{figure} canvas")
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        return np.asarray(image.convert("L"))


def decoded(explorer, codes):
    return np.frombuffer(explorer.decode(np.atleast_2d(codes).astype(np.float32)), np.uint8).reshape(-1, 16, 16)


def shows(browser, explorer):
    """Asserts that the figures show what A, B and the walk are."""
    settled(browser)
    a, b = code(browser), code(browser, "b")
    share = float(find(browser, "walk").get_attribute("value"))
    for figure, z in {"decoded-a": a, "decoded-b": b, "walk": a + share * (b - a)}.items():
        assert np.abs(picture(browser, figure).astype(int) - decoded(explorer, z)[0]).max() <= 1, figure


def press(element, *keys):
    for key in keys:
        element.send_keys(key)
