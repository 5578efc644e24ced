"""The explorer of a small run in a browser."""

import pytest

from jaxvae.explorer.state import Explorer
from tests.browser import BROWSER, DRIVER, headless
from tests.explorer.explored import small_run


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads):
    if not (BROWSER and DRIVER):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    with headless(tmp_path_factory.mktemp("browser")) as driver:
        allowed = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
        yield driver


@pytest.fixture(scope="module")
def run():
    return small_run()


@pytest.fixture(scope="module")
def explorer(run):
    """What the page is compared with."""
    return Explorer(run, 60)


@pytest.fixture(scope="module")
def served(run):
    from tests.explorer.page_helpers import serving

    with serving(run) as url:
        yield url


@pytest.fixture
def show(browser, served):
    from tests.explorer.page_helpers import open_page

    yield lambda **options: open_page(browser, served, **options)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
