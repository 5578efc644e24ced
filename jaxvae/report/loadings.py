"""The section on groups of outputs: how strongly each latent drives each of them."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxvae.analysis import group_loadings
from jaxvae.methods.oi_vae import Networks
from jaxvae.report.figures import heat_map
from jaxvae.report.parts import Card, Section, chart
from jaxvae.runs.load import Run

MOST_GROUPS = 32
MOST_LATENTS = 16


class Loadings(NamedTuple):
    """Strength of latents in groups of outputs."""

    values: np.ndarray
    """Lengths of the columns of W [G, K], see `jaxvae.analysis.group_loadings`."""
    groups: Sequence[str]
    """Names of the groups [G]."""


def loadings_of(run: Run) -> Loadings | None:
    """Computes the loadings of a run; None for a method without groups of outputs."""
    if "loadings" not in run.state.params:
        return None
    values = group_loadings(run.state.params)
    networks = getattr(run.config, "networks", None)
    if isinstance(networks, Networks):
        return Loadings(values, networks.group_names(run.source))
    return Loadings(values, [f"group {g}" for g in range(len(values))])


def loadings_section(loadings: Loadings | None, order: np.ndarray) -> Section | None:
    """Builds the section: a heat map of groups and latents, the most important latents first."""
    if loadings is None:
        return None
    latents = np.asarray(order[:MOST_LATENTS], int)
    groups = np.sort(np.argsort(-loadings.values.max(axis=1), kind="stable")[:MOST_GROUPS])
    names = [loadings.groups[g] for g in groups]
    largest = float(loadings.values.max())
    shown = loadings.values[np.ix_(groups, latents)] / max(largest, 1e-12)
    caption = (
        f"Length of each latent's column of the loadings W of a group, relative to the longest ({largest:.2f}); "
        "0 means that the latent does not drive the group. Good is a few strong cells per row. The frame is around the "
        "group that a latent drives most."
    )
    if len(groups) < len(loadings.groups):
        caption += f" Of {len(loadings.groups)} groups, the {len(groups)} with the longest columns are shown."
    told = "; ".join(f"z{d} drives {names[int(shown[:, k].argmax())]} most" for k, d in enumerate(latents))
    card = Card("Loadings of each group", chart(partial(heat_map, shown, names, [f"z{d}" for d in latents]), told))
    return Section("loadings", "Latents and groups", caption=caption, layout="stack", cards=[card])
