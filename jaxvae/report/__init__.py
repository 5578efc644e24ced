"""The report of a run: one self-contained HTML page."""

from jaxvae.report.collect import write_report

__all__ = ["write_report"]
