"""The section on an additive decoder: which columns each direction of a latent raises."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxvae.analysis import Representation, SplitEffects
from jaxvae.analysis.split_effects import SIGNS
from jaxvae.report.figures import heat_map
from jaxvae.report.parts import Card, Section, chart
from jaxvae.runs.load import Run
from jaxvae.runs.splits import split_effects_of
from jaxvae.schema import schema_of

MOST_DIRECTIONS = 24
MOST_COLUMNS = 36
TOP = 3
"""Number of columns of each direction in the chart."""
NAMED = 8
"""Number of columns of each direction in the text."""


class OfSplits(NamedTuple):
    """Effects of the splits of an additive decoder on columns."""

    effects: SplitEffects
    columns: Sequence[str]
    """Names of the columns [P]."""


def of_splits(run: Run, codes: Representation) -> OfSplits | None:
    """Collects the data of the section; None for a model of pictures, or without a split for each latent."""
    if len(run.source.event_shape) != 1:
        return None
    effects, schema = split_effects_of(run, codes.mean), schema_of(run.source)
    if effects is None:
        return None
    names = [f"x{d}" for d in range(run.source.event_shape[0])] if schema is None else schema.entry_names
    return OfSplits(effects, names)


def splits_section(data: OfSplits | None) -> Section | None:
    """Builds the section: a heat map of directions and their top columns, the directions with most effect first."""
    if data is None:
        return None
    effects, combined = data.effects, data.effects.combined
    directions = [(place, int(k)) for k in effects.order for place in range(2) if not effects.vanished[place, k]]
    shown = directions[:MOST_DIRECTIONS]
    gone = int(effects.vanished.all(axis=0).sum())
    caption = (
        f"Each sign of a latent is a direction; those with most effect come first. {gone} of {len(effects.order)} "
        "latents have vanished. A number is large if the direction raises the column much, and no other latent does, "
        "relative to the largest of its row"
    )
    if not shown:
        return Section("splits", "Latents and their columns", caption=f"{caption}.")
    columns: list[int] = []
    for place, k in shown:
        top = np.argsort(-combined[place, k], kind="stable")[:TOP]
        columns += [int(p) for p in top if int(p) not in columns and combined[place, k, p] > 0]
    columns = columns[:MOST_COLUMNS]
    rows = [f"z{k}{SIGNS[place]}" for place, k in shown]
    values = np.stack([combined[place, k][columns] / max(combined[place, k].max(), 1e-12) for place, k in shown])
    told = effects.top(data.columns, NAMED)
    caption += ". " + "; ".join(f"{row}: {', '.join(told[row])}" for row in rows if told[row])
    names = [data.columns[p] for p in columns]
    card = Card("Top columns of each direction", chart(partial(heat_map, values, rows, names), ", ".join(names)))
    return Section("splits", "Latents and their columns", caption=f"{caption}.", layout="stack", cards=[card])
