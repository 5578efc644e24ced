"""The section on clusters: for a prior that is a mixture, the size of each cluster and the columns that it is about."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxvae.analysis import Representation
from jaxvae.report.parts import Grid, Section
from jaxvae.report.pictures import signed
from jaxvae.report.tables import by_column
from jaxvae.runs.encode import clusters_of
from jaxvae.runs.load import Run
from jaxvae.runs.score import examples_of
from jaxvae.schema import Schema, schema_of

MOST_CLUSTERS = 24
MOST_TYPICAL = 5
"""Largest number of columns that are named for a cluster."""
LEAST_DIFFERENCE = 0.2
"""Difference from the mean of all rows, in standard deviations of the column, below which a column is not typical."""


class Typical(NamedTuple):
    """A column whose mean in a cluster differs from that in all rows."""

    name: str
    """Name of the column, or "column=value" for a value of a binary or categorical column."""
    difference: float
    """Mean of the cluster less that of all rows, in standard deviations of the column (of log(1 + count) for counts,
    and of the share of rows with that value for binary and categorical columns)."""
    share: float | None
    """Share of the cluster's rows that have the value; None for numbers."""


class OfCluster(NamedTuple):
    """A cluster of rows."""

    number: int
    """Number of the cluster, as `jaxvae encode` writes it."""
    rows: int
    typical: Sequence[Typical]
    """Columns that differ most from all rows, the most different first."""


class OfClusters(NamedTuple):
    """Clusters of the rows of a table, the largest first."""

    clusters: Sequence[OfCluster]
    rows: int
    """Number of rows in all clusters."""


def of_clusters(run: Run, codes: Representation) -> OfClusters | None:
    """Collects the data of the section; None for other examples than rows of numbers, or a prior of another kind."""
    if len(run.source.event_shape) != 1 or not codes.mean.size:
        return None
    found = clusters_of(run)
    if found is None:
        return None
    return described(schema_of(run.source), examples_of(run, len(codes.mean)), found.of_points(codes.mean))


def described(schema: Schema | None, x: np.ndarray, cluster: np.ndarray) -> OfClusters:
    """Describes clusters by their sizes and typical columns.

    Args:
      schema: Columns of the rows; None for vectors, whose columns are x0, x1 and so on.
      x: Rows [N, D], NaN where a value is missing.
      cluster: Cluster of each row, int [N].
    """
    names, of_values = _names(schema, x.shape[1])
    values = by_column(schema, x)
    observed = ~np.isnan(values)
    values = np.where(observed, values, 0.0)
    mean = values.sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    spread = np.sqrt((np.where(observed, values - mean, 0.0) ** 2).sum(axis=0) / np.maximum(observed.sum(axis=0), 1))
    clusters = []
    for number, rows in zip(*np.unique(cluster, return_counts=True), strict=True):
        chosen = cluster == number
        seen = observed[chosen].sum(axis=0)
        own = values[chosen].sum(axis=0) / np.maximum(seen, 1)
        varies = (seen > 0) & (spread > 0)
        difference = np.where(varies, own - mean, 0.0) / np.where(varies, spread, 1.0)
        typical = [
            Typical(names[p], float(difference[p]), float(own[p]) if of_values[p] else None)
            for p in _strongest(schema, difference)
        ]
        clusters.append(OfCluster(int(number), int(rows), typical))
    return OfClusters(sorted(clusters, key=lambda each: (-each.rows, each.number)), len(cluster))


def _names(schema: Schema | None, width: int) -> tuple[list[str], list[bool]]:
    """Returns the name of each entry of x, and whether it is 1 or 0 for a value of a column."""
    if schema is None:
        return [f"x{d}" for d in range(width)], [False] * width
    names, of_values = list(schema.entry_names), [False] * width
    for column, start in zip(schema.used, schema.starts, strict=True):
        for place in range(start, start + column.width):
            of_values[place] = column.kind in ("binary", "categorical")
        if column.kind == "binary":
            names[start] = f"{column.name}={column.values[1]}"
    return names, of_values


def _strongest(schema: Schema | None, difference: np.ndarray) -> list[int]:
    """Returns the entries of x that differ most, and of a categorical column only one."""
    column_of = np.arange(len(difference))
    for column, start in () if schema is None else zip(schema.used, schema.starts, strict=True):
        column_of[start : start + column.width] = start
    chosen: dict[int, int] = {}
    for place in np.argsort(-np.abs(difference), kind="stable"):
        if abs(difference[place]) < LEAST_DIFFERENCE or len(chosen) == MOST_TYPICAL:
            break
        chosen.setdefault(int(column_of[place]), int(place))
    return list(chosen.values())


def clusters_section(data: OfClusters | None) -> Section | None:
    """Builds the section: a table with a row for each cluster, the largest first."""
    if data is None:
        return None
    shown, total = data.clusters[:MOST_CLUSTERS], len(data.clusters)
    number = f"{total} cluster{'s' * (total > 1)}"
    caption = (
        f"The {data.rows:,} rows that the scores are of, in {number}. Components of the prior that overlap are one "
        "cluster, and jaxvae encode writes the same numbers. A column is typical if its mean in the cluster is far "
        "from that of all rows. Numbers are differences in standard deviations of the column (of its logarithm for "
        "counts), and percentages are the shares of the cluster's rows that have the value."
    )
    if len(shown) < total:
        caption += f" Listed are the {len(shown)} largest."
    lines = [
        (str(each.number), f"{each.rows:,}", f"{100 * each.rows / data.rows:.1f} %", _in_words(each.typical))
        for each in shown
    ]
    return Section("clusters", "Clusters", caption=caption, grid=Grid(("Cluster", "Rows", "Share", "Typical"), lines))


def _in_words(typical: Sequence[Typical]) -> str:
    words = [
        f"{each.name} {signed(each.difference)}" if each.share is None else f"{each.name} {100 * each.share:.0f} %"
        for each in typical
    ]
    return ", ".join(words) or "–"
