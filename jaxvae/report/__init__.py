"""The report of a run: one self-contained HTML page. Pictures during training are in `image_observer`."""

from jaxvae.report.collect import write_report
from jaxvae.report.during import image_observer

__all__ = ["image_observer", "write_report"]
