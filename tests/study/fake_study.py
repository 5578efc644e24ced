"""A made-up table of a study."""

import numpy as np

from jaxvae.study.findings import DOWNSTREAM, METRICS, UNSUPERVISED
from jaxvae.study.grid import GRIDS, model_of

GRID = GRIDS["small"]
SCORES = (*METRICS, *UNSUPERVISED, *DOWNSTREAM, "sampled/gaussian_total_correlation")


def table(**columns):
    """A row per model of `small`; columns are functions of (row, random numbers) or numbers."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(GRID.size):
        row = {**model_of(GRID, number)._asdict(), "failure": "", "steps": 5000, "seconds": 20.0}
        quality = rng.normal()
        for name in SCORES:
            value = columns.get(name, columns.get("others", lambda row, rng, quality: rng.normal()))
            row[name] = value(row, rng, quality) if callable(value) else value
        rows.append(row)
    return rows
