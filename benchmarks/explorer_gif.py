"""Records the animation of the explorer that the README shows: `python -m benchmarks.explorer_gif --run RUN`.

It needs the extra `explore`, selenium, Chromium and ChromeDriver. Each frame is a screenshot of the page after a step
of a slider.
"""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

import jaxvae
from jaxvae.files import write_bytes
from jaxvae.report.encoding import gif

OUT = Path(__file__).parent / "results" / "explorer.gif"
MILLISECONDS = 90
MOST_BYTES = 2_000_000
WIDTH, HEIGHT = 900, 780
MOVE = """
const latent = about.latents[arguments[0]], input = document.getElementById(`z${latent.index}`);
input.value = latent.low + (latent.high - latent.low) * arguments[1];
input.dispatchEvent(new Event("input"));"""


@dataclass(frozen=True)
class Args:
    """Records the explorer of a run as a GIF."""

    run: Path
    """Folder of a run of pictures."""
    out: Path = OUT
    """GIF file; an existing one is replaced."""
    latents: int = 3
    """Number of latents that are moved, the most informative first."""
    steps: int = 9
    """Number of positions of each slider, forth; it then goes back."""


def main(args: Args) -> None:
    """Opens the page, moves the sliders and records them."""
    shown = jaxvae.explore(args.run)
    driver = browser()
    try:
        frames = _record(driver, shown.url, args)
    finally:
        driver.quit()
        shown.stop()
    content = gif(frames, MILLISECONDS)
    if len(content) > MOST_BYTES:
        raise SystemExit(f"the animation has {len(content):,} bytes, more than {MOST_BYTES:,}: lower --steps")
    write_bytes(args.out, content)
    print(f"{len(frames)} frames, {len(content):,} bytes: {args.out}")


def browser() -> Any:
    """Starts a headless Chromium and returns its driver."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for word in ("--headless=new", "--no-proxy-server", "--disable-dev-shm-usage", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(word)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def _record(driver: Any, url: str, args: Args) -> list[Image.Image]:
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [
        {"name": "prefers-reduced-motion", "value": "reduce"},
        {"name": "prefers-color-scheme", "value": "light"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(url)
    wait = WebDriverWait(driver, 30, 0.02)
    wait.until(lambda page: page.execute_script("return document.getElementById('status').textContent === 'Ready'"))
    driver.execute_script("document.getElementById('stage').scrollIntoView()")
    start = driver.execute_script("return [...chosen.a.code]")
    frames = []
    for latent in range(min(args.latents, driver.execute_script("return about.latents.length"))):
        driver.execute_script("chosen.a.code = arguments[0]; strip = null; update()", start)
        shares = [k / (args.steps - 1) for k in range(args.steps)]
        for share in [*shares, *shares[-2:0:-1]]:
            driver.execute_script(MOVE, latent, 0.1 + 0.8 * share)
            wait.until(lambda page: page.execute_script("return !running && !again"))
            frames.append(Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB"))
    return [frame.resize((WIDTH * 3 // 4, HEIGHT * 3 // 4), Image.Resampling.LANCZOS) for frame in frames]


if __name__ == "__main__":
    main(tyro.cli(Args))
