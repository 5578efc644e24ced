"""Quality of codes of cells as single-cell biology measures it, by the package scib-metrics."""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors

from jaxvae.metrics.inputs import numbered_labels

LISI_NEIGHBOURS = 90
KBET_NEIGHBOURS = 50
MISSING = "scores of single-cell integration need the package scib-metrics: pip install 'jaxvae[scib]'"


def scib(codes: ArrayLike, labels: ArrayLike, batches: ArrayLike | None = None) -> dict[str, float]:
    """Computes how well codes keep labels apart, and how well they mix batches, by scib-metrics (Luecken et al., 2022).

    All scores are between 0 and 1, and 1 is best. Of the labels, such as cell types: `silhouette_label`, `nmi_kmeans`
    and `ari_kmeans` (clusters of k-means, as many as labels), and `clisi` (neighbours have one label). Of the batches:
    `silhouette_batch`, `bras` (a silhouette of batches within each label), `ilisi` (neighbours have all batches) and
    `kbet` (share of cells whose neighbours have the batches in the proportions of all cells). Neighbours are exact: 90
    for LISI and 50 for kBET, as there, the cell itself among them, and fewer if there are fewer cells. The graph
    connectivity, Leiden clusters, kBET per label and the regression on principal components are not computed.

    Args:
      codes: Codes [N, D].
      labels: Label of each cell [N].
      batches: Batch of each cell [N]. Without it, only the scores of the labels are computed.

    Returns:
      Scores by name.

    Raises:
      ImportError: scib-metrics is not installed.
      ValueError: Lengths differ, a code is not finite, a label or batch is missing (None or NaN), or there is only one.
    """
    codes = np.asarray(codes, np.float32)
    if codes.ndim != 2 or not np.isfinite(codes).all():
        raise ValueError(f"codes must be finite numbers [cells, latents], got shape {codes.shape}")
    of_labels = _numbered("labels", labels, len(codes))
    of_batches = None if batches is None else _numbered("batches", batches, len(codes))
    if importlib.util.find_spec("scib_metrics") is None:
        raise ImportError(MISSING)
    import scib_metrics
    from scib_metrics.nearest_neighbors import NeighborsResults

    count = min(LISI_NEIGHBOURS, len(codes))
    distances, indices = NearestNeighbors(n_neighbors=count).fit(codes).kneighbors(codes)
    neighbours = NeighborsResults(indices=indices, distances=distances)
    clusters = scib_metrics.nmi_ari_cluster_labels_kmeans(codes, of_labels)
    found: dict[str, Any] = {
        "silhouette_label": scib_metrics.silhouette_label(codes, of_labels),
        "nmi_kmeans": clusters["nmi"],
        "ari_kmeans": clusters["ari"],
        "clisi": scib_metrics.clisi_knn(neighbours, of_labels),
    }
    if of_batches is not None:
        found |= {
            "silhouette_batch": scib_metrics.silhouette_batch(codes, of_labels, of_batches),
            "bras": scib_metrics.bras(codes, of_labels, of_batches),
            "ilisi": scib_metrics.ilisi_knn(neighbours, of_batches),
            "kbet": scib_metrics.kbet(neighbours.subset_neighbors(min(KBET_NEIGHBOURS, count)), of_batches)[0],
        }
    return {name: float(value) for name, value in found.items()}


def _numbered(what: str, values: ArrayLike, count: int) -> np.ndarray:
    """Returns the values as numbers from 0 [N]."""
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(f"there must be one of the {what} for each of {count} cells, got shape {values.shape}")
    numbers = numbered_labels(values)
    if missing := int(np.isnan(numbers).sum()):
        raise ValueError(f"{missing:,} of {count:,} {what} are missing: leave out these cells")
    if not numbers.any():
        raise ValueError(f"scores of the {what} need two different ones, and there is only {values[0]}")
    return numbers.astype(int)
