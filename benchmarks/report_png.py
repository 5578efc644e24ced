"""Takes the picture of a report that the README shows: `python -m benchmarks.report_png --run RUN`.

RUN is the run of the README, `jaxvae train --run RUN`. The picture goes from the scores to the end of the sliders,
and leaves out the training time above them, which is that of the machine. It needs selenium, Chromium and ChromeDriver.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import tyro
from PIL import Image

from benchmarks.explorer_gif import browser
from jaxvae.files import write_bytes

OUT = Path(__file__).parent / "results" / "report.png"
WIDTH = 1060
MARGIN = 24
PLACE = """
const top = document.querySelector(".headline").getBoundingClientRect().top + scrollY;
return [top, document.getElementById("sliders").getBoundingClientRect().bottom + scrollY]"""


@dataclass(frozen=True)
class Args:
    """Takes a picture of the report of a run."""

    run: Path
    """Folder of a run of pictures with a report."""
    out: Path = OUT
    """PNG file; an existing one is replaced."""


def main(args: Args) -> None:
    """Opens the report and takes the picture."""
    driver = browser()
    try:
        media = [
            {"name": "prefers-reduced-motion", "value": "reduce"},
            {"name": "prefers-color-scheme", "value": "light"},
        ]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get((args.run / "report" / "index.html").resolve().as_uri())
        top, bottom = driver.execute_script(PLACE)
        clip = {"x": 0, "y": top - MARGIN, "width": WIDTH, "height": bottom - top + 2 * MARGIN, "scale": 1}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    finally:
        driver.quit()
    content = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    write_bytes(args.out, content.getvalue())
    print(f"{image.width} x {image.height}, {len(content.getvalue()):,} bytes: {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Args))
