"""Facts about the codes of a run, as values that AnnData objects and h5ad files hold in `uns`."""

import contextlib
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvae.analysis import Representation
from jaxvae.data.table import MISSING
from jaxvae.metrics import class_matching
from jaxvae.runs.codes import Codes
from jaxvae.runs.load import Run
from jaxvae.runs.score import read_scores
from jaxvae.runs.splits import split_effects_of
from jaxvae.schema import schema_of
from jaxvae.texts import is_missing
from jaxvae.training.run_folder import RunFolderError

TOP = 20
"""Number of genes of each direction of a latent."""
MOST_VALUES = 100
"""Largest number of values of a label that codes are scored by; the work and memory grow with it."""


def annotations(run: Run, codes: Codes, labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Describes a run and the codes of N examples.

    Args:
      run: Run that the codes come from.
      codes: Codes of the examples, from `encode_all`.
      labels: Labels by name, such as the cell type, [N] each; None or NaN is missing.

    Returns:
      "method"; "settings", the configuration as JSON text; "scores", those of the codes for each label of 2 to 100
      values (`jaxvae.metrics.class_matching`), if they can be computed; "kl", the KL of each latent in nats [K], if the
      posteriors have a variance; and for an additive decoder the latents by their effect, "order" [K], and the columns
      of the table that each direction raises most, "top_genes".
    """
    known: dict[str, Any] = {
        "method": run.method.name,
        "settings": json.dumps(run.config.to_json()),
        "scores": {},
    }
    if (codes.standard_deviations > 0).all():
        logvar = 2 * np.log(codes.standard_deviations)
        known["kl"] = Representation(codes.means, logvar, None).kl_per_latent()
    for label, values in labels.items():
        if 1 < len(set(values[~is_missing(values)].tolist())) <= MOST_VALUES:
            with contextlib.suppress(ValueError):  # codes that are not finite
                known["scores"][label] = class_matching(codes.means, values).scores
    effects = split_effects_of(run, codes.means)
    schema = schema_of(run.source)
    if effects is not None and schema is not None:
        top = effects.top(schema.entry_names, TOP)
        known["order"] = effects.order
        known["top_genes"] = {name: np.array(genes, str) for name, genes in top.items() if genes}
    return known


def annotations_of_file(run: Run, codes: Codes) -> dict[str, Any]:
    """Describes a run and codes as `annotations` does, for a file of these codes.

    The labels are those in the codes of rows of a table, except for covariates of the decoder. If the run was scored at
    this step, "run_scores" is the content of its scores.json as JSON text.
    """
    tabular = schema_of(run.source) is not None
    with warnings.catch_warnings():  # of rows without a label, and of classes with one row
        warnings.simplefilter("ignore")
        known = annotations(run, codes, _labels(run, codes) if tabular else {})
    try:
        scores = read_scores(run.folder)
    except RunFolderError:  # damaged, and `jaxvae evaluate` would write it again
        scores = None
    if scores is not None and scores["step"] == int(run.state.step):
        known["run_scores"] = json.dumps(scores)
    return known


def _labels(run: Run, codes: Codes) -> dict[str, np.ndarray]:
    """Returns the labels in codes as numbers, float64 [N] each, with NaN where one is missing."""
    if codes.factors is None:
        return {}
    texts = codes.factor_values or ((),) * len(codes.factor_names)
    covariates = getattr(getattr(run.config, "batches", None), "covariates", ())
    found = {}
    for name, column, words in zip(codes.factor_names, codes.factors.T, texts, strict=True):
        numbers = column.astype(np.float64)
        if MISSING in words:
            numbers[column == words.index(MISSING)] = np.nan
        if name not in covariates:
            found[name] = numbers
    return found
