"""The figures of a study for a paper: scores against the reconstruction error, and their distributions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxvae.report import paper
from jaxvae.report.sections import shown_metric
from jaxvae.study.findings import data_of, pick
from jaxvae.study.plots import methods_of, strengths_of
from jaxvae.study.statistics import Rows, column

ERROR = "property/reconstruction_error"


def draw_study(rows: Rows, out: Path, *, score: str, formats: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Draws a score against the reconstruction error, and its distribution by method and strength, for each data set.
    Settings whose models have all failed are left out, and so is a data set that has no other.

    Args:
      rows: Rows of the merged table of a study.
      out: Folder for the files, with a folder per data set if there are several.
      score: Name of a metric of posterior means.
      formats: Formats of the files: pdf, svg or png.

    Returns:
      The files.

    Raises:
      ValueError: The table does not have the score.
    """
    name = f"mean/{score}"
    if not np.isfinite(column(rows, name)).any():
        known = sorted({key.removeprefix("mean/") for row in rows for key in row if key.startswith("mean/")})
        raise ValueError(f"--score {score} is not in the table of the study, which has {', '.join(known)}")
    files: list[Path] = []
    sets = data_of(rows)
    for data in sets:
        spots = []
        for method in methods_of(rows):
            own = pick(rows, data=data, method=method)
            for strength in strengths_of(own):
                found = pick(own, strength=strength)
                error, value = column(found, ERROR), column(found, name)
                if np.isfinite(error).any() and np.isfinite(value).any():
                    spots.append(paper.Spot(f"{method} {strength:g}", method, strength, error, value))
        if not spots:
            continue
        place = out / data if len(sets) > 1 else out
        place.mkdir(parents=True, exist_ok=True)
        files += paper.save(paper.pareto(spots, shown_metric(score)), place / "pareto", formats)
        files += paper.save(paper.violins(spots, shown_metric(score)), place / "scores", formats)
    return files
