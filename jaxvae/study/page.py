"""The page of a study: its findings in comparison with the published ones, the charts of the study, and the costs."""

import importlib.metadata

import numpy as np

from jaxvae.report.page import render_html
from jaxvae.study.findings import findings, theorem, with_elbo
from jaxvae.study.grid import GRIDS
from jaxvae.study.plots import study_sections
from jaxvae.study.speed import Speed
from jaxvae.study.statistics import Rows, column

PUBLISHED_HOURS = 2.52 * 365.25 * 24
"""Number of hours of a P100 GPU for the 12,600 published models."""


def study_html(rows: Rows, preset: str, speed: Speed | None = None) -> str:
    """Renders a merged table as one self-contained HTML document, to be stored as UTF-8.

    Args:
      rows: Rows of the merged table.
      preset: Name of the grid.
      speed: Measured speed of a device, with which the page states the time for the published grid.
    """
    rows = with_elbo(rows)
    failed = sum(bool(row["failure"]) for row in rows)
    models = f"{len(rows)} models of {_longest(rows):,} updates, {GRIDS[preset].seeds} seeds, {_hours(rows):.2f} hours."
    return render_html(
        "study.html",
        title=f"The study, {preset}",
        version=importlib.metadata.version("jaxvae"),
        cost=f"{cost(rows, preset)} {published_cost(speed)}",
        models=len(rows),
        failed=failed,
        findings=findings(rows),
        sections=study_sections(rows, models),
        theorem=theorem(),
    )


def cost(rows: Rows, preset: str) -> str:
    """Describes the numbers of models, steps and hours."""
    hours = _hours(rows)
    steps = float(np.nansum(column(rows, "steps")))
    return (
        f"{len(rows)} models of {_longest(rows):,} updates, {GRIDS[preset].seeds} seeds, trained in {hours:.2f} hours "
        f"of one process ({steps / max(hours * 3600, 1e-9):,.0f} updates a second, scores not counted)."
    )


def published_cost(speed: Speed | None) -> str:
    """Describes the time of the published grid, and the time that it would take at a measured speed."""
    told = f"The published grid is 12,600 models of 300,000 updates and took {PUBLISHED_HOURS:,.0f} hours of P100 GPUs."
    if speed is None:
        return told
    slow, fast = min(speed.updates_per_second.values()), max(speed.updates_per_second.values())
    return (
        f"{told} Its nets and images, measured on {speed.device}, one model at a time: {slow:,.1f} to {fast:,.1f} "
        f"updates a second by method and channels, {speed.hours:,.0f} hours of it for all."
    )


def _hours(rows: Rows) -> float:
    return float(np.nansum(column(rows, "seconds"))) / 3600


def _longest(rows: Rows) -> int:
    return int(max(column(rows, "steps"), default=0))
