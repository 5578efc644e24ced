"""Cells x genes in Python: trains a method on an AnnData object, and writes the codes into it.

```python
import anndata
import numpy as np
from jaxvae.anndata import encode, train

rng = np.random.default_rng(0)
adata = anndata.AnnData(rng.poisson(2.0, (200, 30)).astype(np.float32))
adata.obs["donor"], adata.obs["type"] = rng.choice(["a", "b"], 200), rng.choice(["B", "T"], 200)

run = train(adata, "drvi", batch="donor", labels=["type"], latents=8, steps=50)
print(adata.obsm["X_jaxvae"].shape)  # (200, 8)
print(adata.uns["jaxvae"]["scores"]["type"]["LMS-SMI"], adata.uns["jaxvae"]["top_genes"])
encode(run, adata[:10].copy())  # new cells, which get an obsm["X_jaxvae"] as well
```

The matrix X holds counts, if all of its values are whole numbers and none is negative; otherwise real numbers, which
are standardized. If the counts are in a layer, name it: `train(adata, layer="counts")`. All genes that vary are learned
from: removing bad cells and choosing highly variable genes is the job of scanpy, and comes before. What comes after is
scanpy's as well: `sc.pp.neighbors(adata, use_rep="X_jaxvae")`, `sc.tl.umap(adata)`.

For files and run folders, use `jaxvae train drvi --data anndata:FILE --label-columns type donor --covariates donor`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data import Table
from jaxvae.data.anndata_object import anndata_object
from jaxvae.data.tabular import column_array
from jaxvae.runs.annotations import annotations
from jaxvae.runs.build import build_parts
from jaxvae.runs.config import default_config
from jaxvae.runs.encode import encode_all
from jaxvae.runs.load import Run
from jaxvae.runs.observe import score_observer
from jaxvae.schema import Schema, schema_of
from jaxvae.training import train as train_method
from jaxvae.training.optimizers import evaluation_params

KEY = "X_jaxvae"
"""Name of the codes in obsm."""


def train(
    adata: Any,
    method: str = "drvi",
    *,
    layer: str | None = None,
    batch: str | Sequence[str] = (),
    labels: Sequence[str] = (),
    size_factor: str | None = None,
    preset: str | None = None,
    progress: bool = False,
    **flags: Any,
) -> Run:
    """Trains a method on the cells of an AnnData object, and writes the codes into it.

    Args:
      adata: AnnData object of cells x genes. It gets obsm["X_jaxvae"], the posterior means of all cells [N, K], and
        uns["jaxvae"]: the settings, the scores of the codes for each label (`jaxvae.metrics.class_matching`), the
        KL of each latent in nats [K], and for an additive decoder the latents by their effect ("order") and the genes
        that each direction raises most ("top_genes").
      method: Name of the method, as `jaxvae list` gives it.
      layer: Layer with the counts; by default, X.
      batch: Columns of obs, such as the batch or the donor, that the decoder of `drvi` sees, so that the code does
        not have to represent them.
      labels: Columns of obs, such as the cell type, that the codes are scored by. They are not learned from.
      size_factor: Column of obs with size factors, in any unit, in the place of each cell's sum of counts, for `drvi`.
      preset: Preset of the method.
      progress: Whether to show a progress bar.
      flags: Flags of `jaxvae train METHOD`, with underscores: `latents=32, steps=5000, seed=1, validation=0.1`.

    Returns:
      The run, which encodes, decodes and is scored like one that is loaded from a folder. It has no folder.

    Raises:
      ValueError: The object cannot be learned from, a column is missing, or a flag is wrong; the message says which.

    Warns:
      NotCounts: No value is negative, and some are no whole numbers; the message gives their share.
    """
    batches = (batch,) if isinstance(batch, str) else tuple(batch)
    columns = tuple(dict.fromkeys((*labels, *batches)))
    if size_factor is not None and method != "drvi":
        raise ValueError(f"size factors are for drvi, and {method} does not use them: leave size_factor out")
    covariates = {"covariates": batches} if batches else {}
    given = {"data": "anndata:adata", "label_columns": columns, **covariates, **flags}
    config = default_config(method, preset).with_flags(**given)
    if config.source.stream:
        raise ValueError("stream is for files, and an AnnData object is in memory: leave it out")
    idle = config.idle()
    if useless := [name for name in flags if name in idle]:
        raise ValueError(f"{useless[0]} is for {idle[useless[0]]}: leave it out")

    def table(schema: Schema | None) -> Table:
        return anndata_object(adata, layer, columns=config.source.of_table, size_factor=size_factor, schema=schema)

    parts, built = build_parts(config, opened=table)
    batch_size = min(config.training.batch_size, parts.training.size)
    config = replace(config, training=replace(config.training, batch_size=batch_size)).settled()
    history: list[dict[str, Any]] = []
    observers = []
    if every := config.training.score_every:
        observers.append(score_observer(built, parts.training, every, seed=config.seed, held_out=parts.held_out))
    state = train_method(
        built,
        parts.training,
        steps=config.training.steps,
        batch_size=batch_size,
        seed=config.seed,
        log_every=config.training.log_every,
        microbatch=config.training.microbatch,
        on_nan=config.training.on_nan,
        progress=progress,
        on_row=lambda step, state, row: history.append({"step": step, **row}),
        validation=parts.validation,
        validate_every=config.training.validate_every,
        patience=config.training.patience,
        max_minutes=config.training.max_minutes,
        observers=observers,
    )
    state = state._replace(params=evaluation_params(state))
    run = Run(Path(), config, parts.training, built, state, history, parts.held_out)
    codes = encode_all(run, config.batches.wrap(table(schema_of(parts.training)), method))
    adata.obsm[KEY] = codes.means
    adata.uns["jaxvae"] = annotations(run, codes, {str(label): column_array(adata.obs[label]) for label in labels})
    return run


def encode(run: Run, adata: Any, *, layer: str | None = None) -> np.ndarray:
    """Encodes the cells of another AnnData object, and writes their codes into its obsm["X_jaxvae"].

    Its genes are found by name, in any order; genes that the run does not know are left out.

    Args:
      run: Run of `train`, or one that `jaxvae.runs.load_run` loads.
      adata: AnnData object.
      layer: Layer with the counts; by default, X.

    Returns:
      Posterior means [N, K].

    Raises:
      ValueError: A gene is missing, or values are not those that the run learned from.
    """
    table = anndata_object(adata, layer, schema=schema_of(run.source))
    adata.obsm[KEY] = encode_all(run, table).means
    return adata.obsm[KEY]
