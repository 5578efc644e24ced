"""A headless Chromium, and what tests ask its pages."""

import os
import shutil
from contextlib import contextmanager

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

CONTRASTS = """
const channels = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
const over = (top, below) => {
  const [r, g, b, a = 1] = top;
  return [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
};
const light = colour => colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => {
  if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  return over(channels(getComputedStyle(element).backgroundColor), behind(element.parentElement));
};
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
  if (!text || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
  const ground = behind(element), ink = over(channels(getComputedStyle(element).color), ground);
  const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
  found.push([text.slice(0, 40), (high + 0.05) / (low + 0.05)]);
}
return found;
"""

BEYOND = """
const scrolls = one => ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
const inBox = one => one && (scrolls(one) || inBox(one.parentElement));
return [...document.querySelectorAll("main *, header *")]
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !inBox(one.parentElement))
  .map(one => one.outerHTML.slice(0, 60))"""
"""Returns what is beyond the right edge of the screen, where nothing scrolls to it."""


@contextmanager
def headless(folder):
    """A driver of a browser whose profile is in the folder, and that finds no other machine."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        "--headless=new",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(word)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")
        driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        yield driver
        driver.quit()
