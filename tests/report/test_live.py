"""A report that carries its decoder: the page computes what JAX computes, and says when it cannot."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.methods import BetaVAE, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.report import write_report
from jaxvae.report.live import Unsupported, as_script_text, program_of
from jaxvae.runs.score import evaluate, represent
from tests.explorer.explored import small_run, untrained


def test_operations_and_weights_of_a_dense_decoder():
    weights = np.linspace(-1, 1, 3 * 100).reshape(3, 100).astype(np.float32)
    program = program_of(lambda code: jax.nn.sigmoid(code @ weights + 1).reshape(-1, 10, 10, 1), 3)
    assert program.operations[0]["op"] == "dot_general"
    np.testing.assert_array_equal(program.weights.reshape(3, 100), weights.astype(np.float16))
    assert program.operations[-1]["shape"] == [1, 10, 10, 1]


@pytest.mark.parametrize(
    ("decode", "told"),
    [
        (lambda code: jnp.sort(code), "the page does not know the operation sort"),
        (lambda code: code @ np.ones((2, 2_000_001), np.float32), "more than 4,000,000 bytes of weights"),
        (lambda code: code @ np.full((2, 50), 1e5, np.float32), "weights above 65504, the largest in float16"),
        (lambda code: code.astype(int).astype(float), "converts numbers from float32 to int32"),
    ],
)
def test_what_the_page_cannot_run_is_named(decode, told):
    with pytest.raises(Unsupported, match=told):
        program_of(decode, 2)


def test_names_cannot_end_the_script():
    text = as_script_text({"name": "</script><script>window.hit=1</script>"})
    assert "<" not in text
    assert json.loads(text)["name"].startswith("</script>")


def rounded(run):
    """The run with weights of 16 bits, as the page has them; biases of few numbers keep theirs."""
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float16).astype(jnp.float32) if leaf.size > 64 else leaf, run.state.params
    )
    return run._replace(state=run.state._replace(params=params))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
    from tests.browser import BROWSER, DRIVER, headless

    if not (BROWSER and DRIVER):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    with headless(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def conv_run():
    from jaxvae.data import Sprites

    source = Sprites(64)
    return untrained(beta_vae(autoencoder("conv", source.event_shape, latent_dim=4), hyperparameters=BetaVAE()), source)


@pytest.mark.process
@pytest.mark.parametrize("make", [small_run, conv_run])
def test_the_page_decodes_as_jax(make, browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    from tests.browser import BEYOND

    run = make()._replace(folder=tmp_path)
    codes = represent(run, 50)
    path = write_report(run, codes, evaluate(run, codes, ["mig"]), live=True)
    browser.get_log("browser"), browser.get_log("performance")
    for width in (1200, 400):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(path.as_uri())
        assert browser.execute_script(BEYOND) == []
        assert browser.execute_script("return document.scrollingElement.scrollWidth <= innerWidth")
    assert browser.get_log("browser") == []
    few = np.random.default_rng(0).normal(size=(4, codes.mean.shape[1])).astype(np.float32)
    shown = browser.execute_script("return arguments[0].map(code => [...liveDecode(code)])", few.tolist())
    expected = rounded(run).decoder(few)
    np.testing.assert_allclose(np.array(shown).reshape(expected.shape), expected, atol=2e-5)
    before = browser.execute_script("return document.getElementById('live-picture').toDataURL()")
    slider = browser.find_element(By.CSS_SELECTOR, ".slider input")
    assert slider.accessible_name.startswith("z")
    slider.send_keys(Keys.HOME)
    assert browser.execute_script("return document.getElementById('live-picture').toDataURL()") != before
    browser.find_element(By.ID, "live-reset").send_keys(Keys.ENTER)
    assert browser.execute_script("return document.getElementById('live-picture').toDataURL()") == before
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert {url for url in urls if not url.startswith("data:")} == {path.as_uri()}
    assert path.stat().st_size < 8_000_000
