"""Simulated cells x genes, whose counts are sums of programs of genes."""

from dataclasses import replace

import numpy as np

from jaxvae.data.table import Table
from jaxvae.data.tabular import Columns, from_columns


def cells(
    *,
    cells: int = 2000,
    genes: int = 300,
    programs: int = 8,
    batches: int = 2,
    others: float = 0.15,
    strength: float = 4.0,
    batch_effect: float = 0.3,
    theta: float = 5.0,
    library: float = 1000.0,
    seed: int = 0,
) -> Table:
    """Counts of genes in cells, negative binomial, in which programs of genes add up.

        rate_ig  = (base_g + strength sum_k a_ik w_kg) exp(b_batch(i),g),   a_ik = activity >= 0 of program k in cell i
        count_ig ~ NB( mean L_i rate_ig / sum_h rate_ih, inverse dispersion theta ),   log L_i ~ N(log library, 0.3^2)

    Each cell has a type, and the program of its type is active; each other one is active with probability `others`. An
    activity is Gamma(2) with mean 1. A program has a tenth of the genes, with Gamma(2) weights of mean 1, and programs
    overlap at random. The base of a gene is Gamma(0.6) of mean 1, and the effect of a batch on it N(0, batch_effect^2).

    Args:
      cells: Number of cells.
      genes: Number of genes; those without any count are constant columns.
      programs: Number of programs, and of types.
      batches: Number of batches of the experiment, which do not depend on the types.
      others: Probability that a program is active in a cell of another type.
      strength: Strength of the programs, relative to the base.
      batch_effect: Standard deviation of the effect of a batch on a gene.
      theta: Inverse dispersion of the counts.
      library: Median number of counts in a cell.
      seed: Random seed.

    Returns:
      A table of counts whose factors are "type" and "batch". A further column is "programs" [N, K], the activities.

    Raises:
      ValueError: A number is out of range.
    """
    for number, value in {"cells": cells, "genes": genes, "programs": programs, "batches": batches}.items():
        if value < 1:
            raise ValueError(f"{number} must be at least 1, got {value}")
    if not 0 <= others <= 1 or min(strength, theta, library) <= 0 or batch_effect < 0:
        raise ValueError(
            "others must be a probability, strength, theta and library positive, and batch_effect at least 0, got "
            f"{others}, {strength}, {theta}, {library} and {batch_effect}"
        )
    rng = np.random.default_rng(seed)
    base = rng.gamma(0.6, 1 / 0.6, genes) + 0.02
    chosen = rng.random((programs, genes)).argsort(axis=1) < max(1, genes // 10)
    weights = chosen * rng.gamma(2.0, 0.5, (programs, genes))
    batch_factors = np.exp(batch_effect * rng.standard_normal((batches, genes)))
    kind, batch = rng.integers(0, programs, cells), rng.integers(0, batches, cells)
    active = (rng.random((cells, programs)) < others) | np.eye(programs, dtype=bool)[kind]
    activity = active * rng.gamma(2.0, 0.5, (cells, programs))
    rate = (base + strength * activity @ weights) * batch_factors[batch]
    size = library * np.exp(0.3 * rng.standard_normal(cells))
    mean = size[:, None] * rate / rate.sum(axis=1, keepdims=True)
    counts = rng.poisson(rng.gamma(theta, mean / theta))
    names = [f"gene{g}" for g in range(genes)]
    labels = {"type": np.array([f"type {k}" for k in kind]), "batch": np.array([f"batch {b}" for b in batch])}
    kinds = [f"{name}={'count' if counts[:, g].any() else 'constant'}" for g, name in enumerate(names)]
    columns = dict(zip(names, counts.T, strict=True))
    table = from_columns({**columns, **labels}, Columns(labels=tuple(labels), kinds=tuple(kinds)), name="cells")
    rows = slice(None) if table.origin.rows is None else table.origin.rows
    return replace(table, extras={"programs": activity[rows].astype(np.float32)})
