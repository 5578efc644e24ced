"""A browser that shows the explorer of a small run."""

import pytest

from tests.browser import headless
from tests.explorer.browsing import COUNT, open_page, serving
from tests.explorer.explored import small_run


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, downloads):
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
    from jaxvae.explorer.state import Explorer

    return Explorer(run, COUNT)


@pytest.fixture(scope="module")
def served(run):
    with serving(run) as url:
        yield url


@pytest.fixture
def show(browser, served):
    yield lambda **options: open_page(browser, served, **options)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
