"""Data of a run's page, as plain arrays and values. The page does not depend on models."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvae.report.clusters import OfClusters
from jaxvae.report.loadings import Loadings
from jaxvae.report.series import OfSeries
from jaxvae.report.splits import OfSplits
from jaxvae.report.tables import OfColumns

MOST_LATENTS = 16
"""Largest number of latents shown in pictures."""
MOST_CHARTED = 64
"""Largest number of latents, and of factors, in a chart, so that it fits a page and the limits of picture formats."""


class ReportData(NamedTuple):
    """Data of a run for its page. Images are [..., H, W, C] with C = 1 or 3 and values in [0, 1].

    Every field may be empty (no rows, no entries, ""); its section is then left out.
    """

    title: str
    summary: Mapping[str, str]
    """Facts by name: method, data, steps, seed, parameters, training time ..."""
    about_data: str
    """Paragraph about the data."""
    images: np.ndarray
    """Examples of the data [n, H, W, C]."""
    reconstructions: np.ndarray
    """Reconstructions of `images` [n, H, W, C]; empty for a method that does not reconstruct images."""
    traversals: np.ndarray
    """One image decoded with one latent replaced by one value [D', T, H, W, C]; the first latents in `latent_order`, at
    most `MOST_LATENTS`."""
    traversal_values: np.ndarray
    """Values of each latent in the traversal [T]. With `by_quantile`, they are the quantile levels of the latent's
    values."""
    by_quantile: bool
    """Whether the values of each latent are its own quantiles at the levels `traversal_values`."""
    latent_order: np.ndarray
    """Indices of the latents [D], most informative first."""
    latent_factor: Sequence[str | None]
    """Factor that each latent encodes most, or None for an inactive latent [D]; latents are ordered as in
    `latent_order`."""
    pictures: Mapping[str, np.ndarray]
    """Further pictures of examples by the method, by name, [n, H, W, C] each; the examples come first. Pictures whose
    name ends in "map" are signed."""
    map_correlation: float | None
    """Correlation of the maps with the known effect; None if the effect is unknown."""
    spectra: np.ndarray | None
    """Singular values of the codes of each class, largest first [K, r]; None if the method does not learn class
    subspaces."""
    cosines: np.ndarray | None
    """Absolute cosines between codes, sorted by class [m, m]."""
    of_columns: OfColumns | None
    """How a model of vectors treats their columns; None for other examples."""
    prior_samples: np.ndarray
    """Images decoded from samples of the prior [m, H, W, C]."""
    kl_per_latent: np.ndarray
    """Mean KL of each latent to N(0, 1) in nats [D], in the model's order 0..D-1."""
    change_per_latent: np.ndarray | None
    """Mean change of an example's values by each latent [D] for deterministic codes, whose KL is not informative. None
    for other codes."""
    mutual_information: np.ndarray | None
    """Mutual information of latents 0..D-1 and factors in nats [D, K]; None for data without known factors."""
    factor_names: Sequence[str] | None
    """Names of the factors [K]."""
    factor_entropy: np.ndarray | None
    """Entropy of the factors in nats [K]."""
    scores: Mapping[str, Mapping[str, Any]]
    """Metric -> {"score": float, "definition": str, and optionally "per_factor": [K], "warnings": [str]}."""
    history: Sequence[Mapping[str, Any]]
    """Rows of metrics.jsonl: {"step": int, "loss": float, ...}."""
    config: Mapping[str, Any]
    """Every setting, nested."""
    reproduce: str
    """Shell commands that train the run again."""
    versions: Mapping[str, str]
    """Version of each library."""
    of_series: OfSeries | None = None
    """Series and their reconstructions; None for other examples."""
    loadings: Loadings | None = None
    """How strongly each latent drives each group of outputs; None for methods without groups."""
    of_splits: OfSplits | None = None
    """Effects of the splits of an additive decoder on columns; None for other decoders."""
    of_clusters: OfClusters | None = None
    """Clusters of the rows of a table; None for other examples, or a prior that is no learned mixture."""
    things: str = "images"
    """What the examples are called: images or rows."""
    live: Mapping[str, Any] | None = None
    """The decoder as a program of the page, see `jaxvae.report.live.live_model`; None for a page without it."""
