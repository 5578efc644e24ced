"""What the page of a run shows, as plain arrays and values: the page knows nothing of models."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MOST_LATENTS = 16
"""Latents shown in pictures."""


class ReportData(NamedTuple):
    """A run, ready to be shown. Images are [..., H, W, C], C = 1 or 3, values in [0, 1].

    Every part may be empty (no rows, no entries, ""): its section is then left out.
    """

    title: str
    summary: Mapping[str, str]
    """Facts by name: method, data, steps, seed, parameters, training time ..."""
    about_data: str
    """A paragraph."""
    images: np.ndarray
    """Examples of the data [n, H, W, C]."""
    reconstructions: np.ndarray
    """Of `images`, [n, H, W, C]; none of a method that draws no images."""
    traversals: np.ndarray
    """One image decoded with one latent replaced by one value [D', T, H, W, C]; the first latents in `latent_order`, at
    most `MOST_LATENTS`."""
    traversal_values: np.ndarray
    """The values, of the latent [T]; or, `by_quantile`, shares of examples whose value is below."""
    by_quantile: bool
    """Whether each latent takes values of its own, at these quantiles of it."""
    latent_order: np.ndarray
    """Indices of the latents, most informative first [D]."""
    latent_factor: Sequence[str | None]
    """Factor that a latent carries most, or None for a latent that is switched off; as in `latent_order` [D]."""
    pictures: Mapping[str, np.ndarray]
    """What a method has to show of examples beside them, by name, [n, H, W, C] each, the examples first. Those whose
    name ends in "map" are signed."""
    map_correlation: float | None
    """Of the maps with the known effect; None where that is not known."""
    spectra: np.ndarray | None
    """Singular values of the codes of each class, largest first [K, r]; None where codes are not about classes."""
    cosines: np.ndarray | None
    """Absolute cosines of codes, sorted by class [m, m]."""
    prior_samples: np.ndarray
    """Images decoded from draws of the prior [m, H, W, C]."""
    kl_per_latent: np.ndarray
    """Mean KL to N(0, 1), nats [D], in the model's order 0..D-1."""
    change_per_latent: np.ndarray | None
    """Mean change of an image's values by each latent [D], of codes that are points: their KL says nothing. None for
    others."""
    mutual_information: np.ndarray | None
    """Of latents 0..D-1 and factors, nats [D, K]; None for data without known factors."""
    factor_names: Sequence[str] | None
    """[K]"""
    factor_entropy: np.ndarray | None
    """Nats [K]."""
    scores: Mapping[str, Mapping[str, Any]]
    """Metric -> {"score": float, "definition": str, and, if there: "per_factor": [K], "warnings": [str]}."""
    history: Sequence[Mapping[str, Any]]
    """Rows of metrics.jsonl: {"step": int, "loss": float, ...}."""
    config: Mapping[str, Any]
    """Every setting, nested."""
    reproduce: str
    """Shell commands."""
    versions: Mapping[str, str]
    """Library -> version."""
