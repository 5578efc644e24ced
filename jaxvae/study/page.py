"""The page of a study: its findings in comparison with the published ones, the plots of the study, and the costs."""

import importlib.metadata
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from jaxvae.report.encoding import embed
from jaxvae.report.figures import render
from jaxvae.report.page import render_html
from jaxvae.study.findings import (
    DOWNSTREAM,
    METRICS,
    UNSUPERVISED,
    correlations,
    data_of,
    findings,
    pick,
    theorem,
    transfer_shares,
    with_elbo,
)
from jaxvae.study.grid import GRIDS
from jaxvae.study.speed import Speed
from jaxvae.study.statistics import Rows, bootstrap, column, variance_shares

DPI = 140
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
    plots = (
        ("Total correlation", "Gaussian, of sampled and of mean codes.", correlation_plot(rows)),
        ("Metrics beside each other", "Rank correlations over the models of a data set.", agreement_plot(rows)),
        ("Scores by method", "All strengths and seeds; dots are models.", violins(rows, by="method")),
        ("MIG by strength", "From the weakest to the strongest.", violins(rows, by="strength")),
        ("What the variance goes with", "Shares of the variance of each score.", variance_plot(rows)),
        ("Selection without labels", "Rank correlations of scores with metrics.", selection_plot(rows)),
        ("Setting chosen elsewhere", "How often it beats a random one.", transfer_plot(rows)),
        ("Learning from codes", "Rank correlations of metrics with accuracies.", downstream_plot(rows)),
    )
    return render_html(
        "study.html",
        title=f"The study, {preset}",
        version=importlib.metadata.version("jaxvae"),
        cost=f"{cost(rows, preset)} {published_cost(speed)}",
        models=len(rows),
        failed=failed,
        findings=findings(rows),
        plots=[(title, f"{caption} {models}", embed(picture)) for title, caption, picture in plots],
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


def correlation_plot(rows: Rows) -> Image.Image:
    """Draws the total correlation over the strengths: a line for each method, and a row of panels for each data set."""
    sets, kinds = data_of(rows), ("sampled", "mean")
    figure = Figure(figsize=(9, 3 * len(sets)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(sets), 2, squeeze=False)
    for line, data in zip(panels, sets, strict=True):
        for axis, kind in zip(line, kinds, strict=True):
            for method in _methods(rows):
                part = pick(rows, data=data, method=method)
                name = f"{kind}/gaussian_total_correlation"
                estimates = [bootstrap(column(pick(part, strength=s), name)) for s in _strengths(part)]
                values, low, high = (np.array(numbers) for numbers in zip(*estimates, strict=True))
                axis.errorbar(range(len(values)), values, [values - low, high - values], label=method, marker=".")
            axis.set_title(f"{kind}, {data}", fontsize=9)
            axis.set(xlabel="strength, weakest first", ylabel="nats", xticks=range(len(values)))
    panels[0][0].legend(fontsize=7)
    return render(figure)


def agreement_plot(rows: Rows) -> Image.Image:
    """Draws the rank correlations between metrics as a heat map for each data set."""
    return _correlation_maps(rows, METRICS, METRICS)


def selection_plot(rows: Rows) -> Image.Image:
    """Draws the rank correlations of unsupervised scores with metrics as a heat map for each data set."""
    return _correlation_maps(rows, UNSUPERVISED, METRICS)


def downstream_plot(rows: Rows) -> Image.Image:
    """Draws the rank correlations of metrics with the known downstream accuracies as a heat map for each data set."""
    there = {name: title for name, title in DOWNSTREAM.items() if np.isfinite(column(rows, name)).any()}
    return _correlation_maps(rows, METRICS, there or DOWNSTREAM)


def transfer_plot(rows: Rows) -> Image.Image:
    """Draws the results of `transfer_shares` as bars, with a line at the chance level of 0.5."""
    shares = transfer_shares(rows)
    names = [f"{metric} metric,\n{data} data" for metric, data in shares]
    figure = Figure(figsize=(6, 3), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    axis.bar(names, np.nan_to_num(list(shares.values())))
    axis.axhline(0.5, color="#888888", lw=1)
    axis.set_ylim(0, 1)
    axis.tick_params(labelsize=8)
    return render(figure)


def violins(rows: Rows, *, by: str) -> Image.Image:
    """Draws violin plots of scores, with a row of panels for each data set.

    Args:
      rows: Rows of the merged table.
      by: Grouping of the models. "method" draws a panel for each metric with a violin for each method, and "strength" a
        panel for each method with a violin of the MIG for each strength.
    """
    sets = data_of(rows)
    panels = list(METRICS) if by == "method" else _methods(rows)
    figure = Figure(figsize=(2.6 * len(panels), 2.8 * len(sets)), dpi=DPI, layout="constrained")
    for line, data in zip(figure.subplots(len(sets), len(panels), squeeze=False), sets, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            if by == "method":
                groups = {m: column(pick(rows, data=data, method=m), panel) for m in _methods(rows)}
                title = METRICS[panel]
            else:
                part = pick(rows, data=data, method=panel)
                groups = {f"{s:g}": column(pick(part, strength=s), "mean/mig") for s in _strengths(part)}
                title = panel
            for place, values in enumerate(groups.values()):
                known = values[np.isfinite(values)]
                if len(known) > 1 and np.ptp(known) > 0:
                    axis.violinplot(known, [place], showextrema=False)
                axis.plot(np.full(len(known), place), known, ".", ms=3, color="#444444")
            axis.set_xticks(range(len(groups)), groups, rotation=60, fontsize=7, ha="right")
            axis.tick_params(axis="y", labelsize=7)
            axis.set_title(f"{title}, {data}", fontsize=8)
    return render(figure)


def variance_plot(rows: Rows) -> Image.Image:
    """Draws the shares of the variance as a stacked bar for each metric, with a panel for each data set."""
    sets = data_of(rows)
    figure = Figure(figsize=(4.5 * len(sets), 3), dpi=DPI, layout="constrained")
    for axis, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        shares = np.nan_to_num([variance_shares(pick(rows, data=data), name) for name in METRICS])
        left = np.zeros(len(METRICS))
        for kind, part in zip(("objective", "strength", "seed"), shares.T, strict=True):
            axis.barh(range(len(METRICS)), part, left=left, label=kind)
            left += part
        axis.set_yticks(range(len(METRICS)), METRICS.values(), fontsize=8)
        axis.set_title(data, fontsize=9)
        axis.legend(fontsize=7)
    return render(figure)


def _correlation_maps(rows: Rows, ones: Mapping[str, str], others: Mapping[str, str]) -> Image.Image:
    """Draws the rank correlations of named columns with other columns as a heat map for each data set."""
    sets = data_of(rows)
    size = (1.5 + len(others) * 0.6, 1.2 + len(ones) * 0.45)
    figure = Figure(figsize=(len(sets) * size[0], size[1]), dpi=DPI, layout="constrained")
    for axis, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        matrix = correlations(rows, data, ones, others)
        axis.imshow(matrix, cmap="coolwarm", vmin=-1, vmax=1, aspect="auto")
        for (row, place), value in np.ndenumerate(matrix):
            axis.text(place, row, f"{value:.2f}" if np.isfinite(value) else "–", ha="center", va="center", fontsize=7)
        axis.set_xticks(range(len(others)), others.values(), rotation=45, ha="right", fontsize=7)
        axis.set_yticks(range(len(ones)), ones.values(), fontsize=7)
        axis.set_title(data, fontsize=9)
    return render(figure)


def _hours(rows: Rows) -> float:
    return float(np.nansum(column(rows, "seconds"))) / 3600


def _longest(rows: Rows) -> int:
    return int(max(column(rows, "steps"), default=0))


def _methods(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


def _strengths(rows: Rows) -> list[float]:
    return sorted({row["strength"] for row in rows})
