"""Does an additive decoder give each cell type and each program of genes a latent? (Moinfar & Theis, 2024)

    python experiments/cells.py          2 cores: about half an hour
    python experiments/cells.py --full   400 epochs of the authors

Simulated cells (`jaxvae.data.cells`): counts in which eight programs add up in rates, with two batches. Real cells, if
scanpy is installed, whose package holds them: 700 blood cells, 765 genes, log-normalized, with ten types
(`pbmc68k_reduced`). All deep models have the encoder of DRVI and 16 latents. The VAE is DRVI with one split, which is a
VAE with a library size and, on simulated cells, the batch as a covariate of its decoder. The beta-TCVAE has neither, as
no other method than DRVI takes covariates. PCA, ICA and NMF have log-normalized values. The deep models have counts on
simulated cells and, on blood cells, z-scores of the log-normalized values.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, posteriors, shown
from sklearn.decomposition import NMF, PCA, FastICA

from jaxvae.data import cells
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.metrics import class_matching, mcc
from jaxvae.runs.build import build_method, networks_of
from jaxvae.runs.config import default_config
from jaxvae.training import train_population

CLAIM = (
    "ICA finds more of the cell types and programs than a VAE whose loss alone is changed, and a VAE with the additive "
    "decoder DRVI more than ICA, with logsumexp pooling more than with mean pooling."
)
SCORES = ("LMS-SMI", "LMS-SPN", "MSAS-SMI", "MSGS-SMI")
ELU = {"network": "elu", "dropout": 0.1, "learning_rate": 1e-3}
DEEP: dict[str, tuple[str, dict[str, Any]]] = {
    "VAE": ("drvi", {"splits": 1}),
    "beta-TCVAE": ("beta-tc-vae", ELU),
    "DRVI, mean": ("drvi", {"pooling": "mean"}),
    "DRVI, logsumexp": ("drvi", {}),
}


@dataclass
class Args:
    """Flags of the experiment."""

    latents: int = 16
    seeds: int = 5
    steps: int = 1500
    batch_size: int = 128
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def real_cells() -> tuple[Any, np.ndarray] | None:
    """Table and values [N, D] of the cells in scanpy's package; None if that, or anndata, is not installed."""
    spec = importlib.util.find_spec("scanpy")
    if spec is None or importlib.util.find_spec("anndata") is None:
        print("real cells are left out: they are in the package scanpy, which is not installed, or anndata is not")
        return None
    import anndata

    file = Path(spec.submodule_search_locations[0]) / "datasets/10x_pbmc68k_reduced.h5ad"
    data = anndata.read_h5ad(file)
    values = np.asarray(data.raw.X.todense(), np.float64)
    values = values[:, np.ptp(values, axis=0) > 0]
    columns = {f"gene{g}": column for g, column in enumerate(values.T)}
    kinds = tuple(f"{name}=real" for name in columns)
    labels = {"type": data.obs["bulk_labels"].astype(str).to_numpy()}
    return from_columns({**columns, **labels}, Columns(labels=("type",), kinds=kinds), name="blood"), values


def simulated_cells() -> tuple[Any, np.ndarray]:
    """Table of counts, and their logarithms at one library size [N, D]."""
    table = cells()
    counts = np.asarray(table.pixels, np.float64)
    return table, np.log1p(counts / counts.sum(axis=1, keepdims=True) * np.median(counts.sum(axis=1)))


def linear_codes(values: np.ndarray, args: Args) -> dict[str, list[np.ndarray]]:
    """Codes [N, K] of the baselines, one for each seed."""
    seeds, k = range(args.seeds), args.latents

    def fitted(make: Callable[[int], Any]) -> list[np.ndarray]:
        return [make(seed).fit_transform(values) for seed in seeds]

    return {
        "PCA": [PCA(k).fit_transform(values)] * args.seeds,
        "ICA": fitted(lambda seed: FastICA(k, whiten="unit-variance", max_iter=500, random_state=seed)),
        "NMF": fitted(lambda seed: NMF(k, init="nndsvdar", max_iter=300, random_state=seed)),
    }


def deep_codes(name: str, table: Any, args: Args) -> list[np.ndarray]:
    """Posterior means [N, K] of a method, one for each seed."""
    method_name, flags = DEEP[name]
    steps = 400 * table.size // args.batch_size if args.full else args.steps
    config = default_config(method_name).with_flags(data="cells", latents=args.latents, steps=steps, **flags)
    if method_name == "drvi" and "batch" in table.factor_names:
        config = config.with_flags(covariates=("batch",))
    source = config.batches.wrap(table, method_name)
    method = build_method(config, networks_of(config, source), source)
    *_, (_, states, _) = train_population(
        method, source, seeds=range(args.seeds), steps=steps, batch_size=args.batch_size
    )
    return list(np.asarray(posteriors(method, states, np.asarray(table.pixels)).mean))


def directions(codes: np.ndarray) -> np.ndarray:
    """The parts of each latent above and below 0: [N, 2 K]."""
    return np.concatenate([np.maximum(codes, 0), np.maximum(-codes, 0)], axis=1)


def scored(codes: list[np.ndarray], table: Any) -> dict[str, list[float]]:
    """Scores of each seed: those of the types, and the correlation with the programs, if these are known."""
    types = np.asarray(table.factors)[:, table.factor_names.index("type")]
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for one in codes:
        scores = class_matching(one, types).scores
        for name in SCORES:
            found[name].append(scores[name])
    if "programs" in table.extras:
        programs = np.asarray(table.extras["programs"])
        found["programs"] = [mcc(one, programs).over_factors for one in codes]
        found["programs by direction"] = [mcc(directions(one), programs).over_factors for one in codes]
    return found


def main(args: Args) -> None:
    """Trains and scores all methods on both data sets."""
    data = {"simulated": simulated_cells()}
    if (real := real_cells()) is not None:
        data["blood"] = real
    rows, bars = [], {}
    for place, (table, values) in data.items():
        makers: dict[str, Callable[[], list[np.ndarray]]] = {
            name: partial(lambda codes: codes, codes) for name, codes in linear_codes(values, args).items()
        }
        makers |= {name: partial(deep_codes, name, table, args) for name in DEEP}
        for name, make in makers.items():
            found = scored(make(), table)
            bars[place, name] = found
            row = {"data": place, "method": name, **{each: shown(found[each]) for each in SCORES}}
            row |= {each: shown(found[each]) if each in found else "" for each in ("programs", "programs by direction")}
            rows.append(row)
            print(row, flush=True)
            jax.clear_caches()
    conclude("cells", CLAIM, rows, in_words(bars), figure_of(bars, list(data)), replace(args))


def in_words(bars: dict[tuple[str, str], dict[str, list[float]]]) -> str:
    """Compares DRVI with ICA and the VAE, seed by seed."""
    parts = []
    for place in dict.fromkeys(place for place, _ in bars):
        ours = np.array(bars[place, "DRVI, logsumexp"]["LMS-SMI"])
        others = ("ICA", "VAE", "beta-TCVAE", "DRVI, mean")
        gaps = [f"{shown(ours - np.array(bars[place, other]['LMS-SMI']))} above {other}" for other in others]
        parts.append(f"on {place} cells LMS-SMI of DRVI with logsumexp is {', '.join(gaps)}")
    return "; ".join(parts)


def figure_of(bars: dict[tuple[str, str], dict[str, list[float]]], places: list[str]) -> Any:
    """Bars of LMS-SMI and LMS-SPN, with a dot for each seed."""
    figure, axes = plt.subplots(1, len(places), figsize=(5.5 * len(places), 3.6), squeeze=False)
    for panel, place in zip(axes[0], places, strict=True):
        names = [name for where, name in bars if where == place]
        for shift, score in enumerate(("LMS-SMI", "LMS-SPN")):
            x = np.arange(len(names)) + 0.4 * shift
            values = np.array([bars[place, name][score] for name in names])
            panel.bar(x, values.mean(axis=1), 0.38, label=score)
            panel.plot(x[:, None].repeat(values.shape[1], 1), values, ".", color="black", markersize=3)
        panel.set_xticks(np.arange(len(names)) + 0.2, names, rotation=40, ha="right")
        panel.set_title(f"{place} cells")
        panel.legend()
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args, description=CLAIM))
