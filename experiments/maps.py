"""Which weight of VAE-SNE's neighbour term gives the best maps and clusters, on five data sets?

    python experiments/maps.py          2 cores: about half an hour
    python experiments/maps.py --full   longer training

Two latents are learned for handwritten digits, ten Gaussian blobs in 50 dimensions, simulated cells (counts of 100
genes, eight types), a swiss roll, and windows of simulated poses, with the defaults of `jaxvae train vae-sne` for such
data and several weights of the neighbour term. A third of the rows is held out (of poses: two of six animals), and all
scores are of their codes. PCA and, if they are installed, UMAP (umap-learn) and openTSNE are fitted to the same
features of the same training rows and place the held-out rows on their maps. Without openTSNE, scikit-learn's t-SNE is
fitted to the held-out rows themselves.

Of the cells, the table also has the ten latents of a VAE with the learning rate of VAE-SNE, once with the likelihood of
counts, the default, and once with every column taken for a real number (`--kind "*=real"`), which is standardized; and
UMAP of 20 principal components, as cells are usually drawn.

The clusters of VAE-SNE are those of its mixture prior. Those of all maps are found by HDBSCAN, without their number,
and by k-means, with the number of types. A weight is better than the default one if, with the same seeds, its clusters
agree more with the types on every data set that has types, and if its codes keep no fewer neighbours on any data set,
as far as 95 % intervals can tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, interval, shown
from simulated_poses import pose_windows
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score

from jaxvae.analysis import find_clusters, neighbourhood_scores
from jaxvae.data import cells
from jaxvae.data.tabular import Columns, from_columns
from jaxvae.method import Nets
from jaxvae.methods import VAESNE
from jaxvae.networks import neighbour_features
from jaxvae.runs.build import build_parts
from jaxvae.runs.config import default_config
from jaxvae.schema import schema_of
from jaxvae.training import train_population

CLAIM = (
    "At the default weight of its neighbour term, VAE-SNE splits types into many clusters; a smaller weight finds "
    "clusters that agree better with the types, and keeps as many neighbours of new points."
)
COLUMNS = ("neighbours", "global", "clusters", "Rand", "HDBSCAN", "HDBSCAN Rand", "k-means Rand")
LEAST = 15
"""Number of rows of the smallest cluster of HDBSCAN."""
DEFAULT = VAESNE()
GENES = 100
COMPONENTS = 20
"""Number of principal components that UMAP is also fitted to."""


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 500
    weights: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.0)
    """weights of the neighbour term; the first one is compared with all others"""
    perplexities: tuple[float, ...] = ()
    """further perplexities, as fractions of the batch, for the two largest weights"""
    only: tuple[str, ...] = ()
    """data sets; by default, all"""
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


class DataSet(NamedTuple):
    """How a data set is opened, as a user would."""

    flags: Mapping[str, Any]
    label: str
    """Factor that colours the map."""
    opened: Callable[..., Any] | None = None
    has_types: bool = True
    """Whether the label is what clusters should be of."""
    as_real: Callable[..., Any] | None = None
    """How a table of counts is opened with every column as a real number."""


class Rows(NamedTuple):
    """Held-out rows."""

    x: np.ndarray
    features: np.ndarray
    """What distances are taken of [N, P]."""
    label: np.ndarray
    types: np.ndarray | None
    """The label, where clusters should be of it."""


def cells_as_real(schema: Any = None) -> Any:
    """The simulated cells, whose columns are taken for real numbers."""
    counted = cells(genes=GENES)
    batch, names = counted.at(jnp.arange(counted.size)), counted.schema.entry_names
    columns = dict(zip(names, np.asarray(batch["x"]).T, strict=True))
    types = np.asarray(batch["factors"])[:, counted.factor_names.index("type")]
    roles = Columns(labels=("type",), kinds=("gene*=real",))
    return from_columns({**columns, "type": types}, roles, schema, name="cells")


def data_sets() -> dict[str, DataSet]:
    """The five data sets."""
    roll, place = make_swiss_roll(1797, noise=0.5, random_state=0)
    tenth = np.argsort(np.argsort(place)) * 10 // len(place)
    sheet = {**dict(zip("xyz", roll.T, strict=True)), "place": tenth}
    of_roll, of_poses = Columns(labels=("place",)), Columns(labels=("behaviour",), group="animal")
    poses = partial(from_columns, pose_windows(), of_poses, name="poses")
    return {
        "digits": DataSet({"data": "digits"}, "digit"),
        "blobs": DataSet({"data": "clusters"}, "cluster"),
        "cells": DataSet({"data": "cells"}, "type", lambda schema: cells(genes=GENES), as_real=cells_as_real),
        "swiss roll": DataSet(
            {"data": "table:roll.csv", "label_columns": ("place",)},
            "place",
            partial(from_columns, sheet, of_roll, name="swiss roll"),
            has_types=False,
        ),
        "poses": DataSet(
            {"data": "table:poses.csv", "label_columns": ("behaviour",), "group_column": "animal"}, "behaviour", poses
        ),
    }


def measured(codes: np.ndarray, rows: Rows, cluster: np.ndarray | None = None) -> dict[str, float]:
    """Scores of codes [N, D]; `cluster` are those that the model has found itself."""
    kept = neighbourhood_scores(rows.features, codes)
    found = {"neighbours": kept.local_topological, "global": kept.global_spearman}
    dense = HDBSCAN(min_cluster_size=LEAST, copy=True).fit_predict(codes)
    found["HDBSCAN"] = float(len(set(dense) - {-1}))
    if cluster is not None:
        found["clusters"] = float(len(set(cluster)))
    if rows.types is not None:
        means = KMeans(len(set(rows.types)), n_init=10, random_state=0).fit_predict(codes)
        guesses = {"Rand": cluster, "HDBSCAN Rand": dense, "k-means Rand": means}
        for name, guess in guesses.items():
            if guess is not None:
                found[name] = adjusted_rand_score(rows.types, guess)
    return found


def peers(train: np.ndarray, test: np.ndarray, seed: int, *, reduced: bool = False) -> dict[str, np.ndarray]:
    """Held-out rows on the maps of other programs, by name; `reduced` adds UMAP of principal components."""
    found = {"PCA": PCA(2).fit(train).transform(test)} if seed == 0 else {}
    try:
        from umap import UMAP

        found["UMAP"] = UMAP(random_state=seed, n_jobs=1).fit(train).transform(test)
        if reduced:
            first = PCA(COMPONENTS, random_state=0).fit(train)
            few = UMAP(random_state=seed, n_jobs=1).fit(first.transform(train))
            found[f"UMAP of {COMPONENTS} components"] = few.transform(first.transform(test))
    except ImportError:
        pass
    try:
        from openTSNE import TSNE as WithTransform

        found["openTSNE"] = np.asarray(WithTransform(random_state=seed, n_jobs=1).fit(train).transform(test))
    except ImportError:
        if seed == 0:
            found["t-SNE of the held-out rows"] = TSNE(2, random_state=0).fit_transform(test)
    return found


Scores = dict[str, dict[str, np.ndarray]]
"""Values of each seed by model and column."""


def vaes(data: DataSet, args: Args, rows: Rows) -> dict[str, list[np.ndarray]]:
    """Codes of held-out rows by VAEs of counts and of real numbers, for each seed."""
    of_counts = DataSet(data.flags, data.label, data.opened)
    of_real = DataSet({"data": "table:cells.csv", "label_columns": (data.label,)}, data.label, data.as_real)
    found: dict[str, list[np.ndarray]] = {}
    for name, each in {"VAE, counts": of_counts, "VAE, every column real": of_real}.items():
        flags = {**each.flags, "test": 1 / 3, "steps": args.steps, "learning_rate": DEFAULT.learning_rate}
        config = default_config("vae").with_flags(**flags)
        parts, method = build_parts(config, opened=each.opened)
        assert parts.test is not None
        batch = parts.test.at(jnp.arange(parts.test.size))
        label = np.asarray(batch["factors"])[:, parts.training.factor_names.index(each.label)]
        assert np.array_equal(label, rows.label), "the rows of both models must be the same"
        seeds = list(range(args.seeds))
        *_, (_, states, _) = train_population(
            method, parts.training, seeds=seeds, steps=args.steps, batch_size=config.training.batch_size
        )
        encode = jax.jit(lambda params, x, method=method: method.encode(Nets(method.networks, params), {"x": x}).mean)
        of_seeds = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], states.params) for seed in seeds]
        found[name] = [np.asarray(encode(params, batch["x"])) for params in of_seeds]
    return found


def learned(data: DataSet, args: Args) -> tuple[Scores, dict[str, np.ndarray], Rows]:
    """Scores of all models of a data set, one map of each, and the held-out rows."""
    flags = {**data.flags, "test": 1 / 3, "steps": args.steps, "annealing": args.steps / 2}
    config = default_config("vae-sne").with_flags(**flags)
    parts, method = build_parts(config, opened=data.opened)
    assert parts.test is not None

    def read(source: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
        batch = {name: np.asarray(values) for name, values in source.at(jnp.arange(source.size)).items()}
        x, schema = batch["x"], schema_of(source)
        return batch, x.reshape(len(x), -1) if schema is None else np.asarray(neighbour_features(schema, x))

    (batch, features), (_, train) = read(parts.test), read(parts.training)
    label = batch["factors"][:, parts.training.factor_names.index(data.label)]
    rows = Rows(batch["x"], features, label, label if data.has_types else None)

    cases = [(weight, DEFAULT.perplexity) for weight in args.weights]
    cases += [(weight, perplexity) for perplexity in args.perplexities for weight in args.weights[:2]]
    members = [(case, seed) for case in cases for seed in range(args.seeds)]
    sweep = {
        "sne": [weight for (weight, _), _ in members],
        "perplexity": [perplexity for (_, perplexity), _ in members],
    }
    *_, (_, states, _) = train_population(
        method,
        parts.training,
        seeds=[seed for _, seed in members],
        steps=args.steps,
        batch_size=config.training.batch_size,
        sweep=sweep,
    )
    encode = jax.jit(lambda params, x: method.encode(Nets(method.networks, params), {"x": x}).mean)
    results: dict[str, list[dict[str, float]]] = {}
    maps: dict[str, np.ndarray] = {}
    for number, ((weight, perplexity), _) in enumerate(members):
        params = jax.tree.map(lambda leaf, number=number: leaf[number], states.params)
        codes = np.asarray(encode(params, rows.x))
        cluster = find_clusters(*Nets(method.networks, params).prior()).of_points(codes)
        name = named(weight) + (f", perplexity {perplexity:g}" if perplexity != DEFAULT.perplexity else "")
        results.setdefault(name, []).append(measured(codes, rows, cluster))
        maps.setdefault(name, codes)
    for seed in range(args.seeds):
        for name, codes in peers(train, rows.features, seed, reduced=data.as_real is not None).items():
            results.setdefault(name, []).append(measured(codes, rows))
            maps.setdefault(name, codes)
    if data.as_real is not None:
        results |= {name: [measured(each, rows) for each in codes] for name, codes in vaes(data, args, rows).items()}
    scores = {name: {key: np.array([each[key] for each in one]) for key in one[0]} for name, one in results.items()}
    for name, values in scores.items():
        print(name, {column: _shown(value) for column, value in values.items()}, flush=True)
    return scores, maps, rows


def named(weight: float) -> str:
    """Name of a model in the table."""
    return f"VAE-SNE, sne {weight:g}"


def _shown(values: np.ndarray) -> str:
    return shown(values, 2) if len(values) > 1 else f"{values[0]:.2f}"


def compared(scores: Mapping[str, Scores], typed: list[str], args: Args) -> tuple[list[dict[str, Any]], list[float]]:
    """How each weight differs from the first one with the same seeds, and the weights that are better than it."""
    rows, better = [], []
    first = named(args.weights[0])
    for weight in args.weights[1:]:
        row: dict[str, Any] = {"sne": f"{weight:g}"}
        of_rand, of_neighbours = [], []
        for data, models in scores.items():
            one, other = models[named(weight)], models[first]
            difference = one["neighbours"] - other["neighbours"]
            row[f"{data}, neighbours"] = shown(difference, 3)
            of_neighbours.append(interval(difference))
            if data in typed:
                difference = one["Rand"] - other["Rand"]
                row[f"{data}, Rand"] = shown(difference)
                of_rand.append(interval(difference))
        rand = [scores[data][named(weight)]["Rand"] - scores[data][first]["Rand"] for data in typed]
        kept = [models[named(weight)]["neighbours"] - models[first]["neighbours"] for models in scores.values()]
        row["all, Rand"] = shown(np.mean(rand, axis=0)) if rand else ""
        row["all, neighbours"] = shown(np.mean(kept, axis=0), 3)
        rows.append(row)
        if of_rand and all(m - half > 0 for m, half in of_rand) and all(m + half >= 0 for m, half in of_neighbours):
            better.append(weight)
    return rows, better


def found_in(scores: Mapping[str, Scores], kinds: Mapping[str, int], args: Args, better: list[float]) -> str:
    """What the table says."""
    sentences = []
    for data, models in scores.items():
        default = models[named(args.weights[0])]
        weights = {weight: models[named(weight)] for weight in args.weights}
        most = max(weights, key=lambda weight: weights[weight]["neighbours"].mean())
        text = f"{data}: {shown(default['clusters'], 1)} clusters at weight {args.weights[0]:g}"
        if data in kinds:
            best = max(weights, key=lambda weight: weights[weight]["Rand"].mean())
            text += (
                f" for {kinds[data]} types, adjusted Rand {shown(default['Rand'])}; it is highest at {best:g}, "
                f"{shown(weights[best]['Rand'])} with {shown(weights[best]['clusters'], 1)} clusters"
            )
        others = [
            f"{name} {_shown(models[name]['neighbours'])}"
            for name in models
            if not name.startswith("VAE-SNE") and "neighbours" in models[name]
        ]
        sentences.append(
            f"{text}; most neighbours are kept at {most:g}, {shown(weights[most]['neighbours'])} (default "
            f"{shown(default['neighbours'])}, {', '.join(others)})"
        )
    mean = {weight: np.mean([scores[data][named(weight)]["Rand"] for data in kinds], axis=0) for weight in args.weights}
    if kinds:
        best = max(mean, key=lambda weight: mean[weight].mean())
        over = "; ".join(f"{weight:g} {shown(values)}" for weight, values in mean.items())
        sentences.append(f"Adjusted Rand over the data sets with types: {over}; the highest mean is at {best:g}")
    verdict = ", ".join(f"{weight:g}" for weight in better) or "none"
    sentences.append(f"Weights that are better than the default one on every data set: {verdict}")
    return ". ".join(sentences)


def drawn(scores: Mapping[str, Scores], maps: Mapping[str, Any], kinds: Mapping[str, int], args: Args) -> Any:
    """A line of maps for each data set, and scores against the weight above them."""
    models = [named(args.weights[0]), named(args.weights[len(args.weights) // 2]), named(args.weights[-1])]
    others = list(dict.fromkeys(n for of, _ in maps.values() for n in of if not n.startswith("VAE-SNE")))
    figure = plt.figure(figsize=(3 * (len(models) + len(others)), 3.2 + 2.6 * len(maps)))
    top, below = figure.subfigures(2, 1, height_ratios=[3.2, 2.6 * len(maps)])
    panels = {"neighbours": "neighbours kept", "Rand": "adjusted Rand of the clusters", "clusters": "clusters / types"}
    places = range(len(args.weights))
    for axis, (column, title) in zip(top.subplots(1, 3), panels.items(), strict=True):
        for data, of in scores.items():
            if column != "neighbours" and data not in kinds:
                continue
            scale = kinds[data] if column == "clusters" else 1
            means, halves = np.transpose([interval(of[named(weight)][column] / scale) for weight in args.weights])
            axis.errorbar(places, means, np.nan_to_num(halves), label=data, capsize=2, marker="o", markersize=3)
        if column == "clusters":
            axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_xticks(places, [f"{weight:g}" for weight in args.weights])
        axis.set(xlabel="weight of the neighbour term", title=title)
    axis.legend(fontsize=7)
    grid = below.subplots(len(maps), len(models) + len(others), squeeze=False)
    for line, (data, (of, label)) in zip(grid, maps.items(), strict=True):
        for axis, name in zip(line, [*models, *others], strict=True):
            if name in of:
                axis.scatter(*of[name].T, c=label, cmap="tab10" if data in kinds else "viridis", s=3)
            axis.set(xticks=[], yticks=[])
            axis.set_title(name, fontsize=9)
        line[0].set_ylabel(data)
    return figure


def main(args: Args) -> None:
    """Trains and scores all models, compares the weights, and draws maps."""
    if args.full:
        args.steps = 20_000
    scores: dict[str, Scores] = {}
    maps: dict[str, Any] = {}
    kinds: dict[str, int] = {}
    table: list[dict[str, Any]] = []
    for name, data in data_sets().items():
        if args.only and name not in args.only:
            continue
        print(f"{name}:", flush=True)
        scores[name], of_models, rows = learned(data, args)
        maps[name] = (of_models, rows.label)
        if rows.types is not None:
            kinds[name] = len(set(rows.types))
        for model, values in scores[name].items():
            cells = {column: _shown(values[column]) if column in values else "" for column in COLUMNS}
            table.append({"data": name, "model": model, **cells})
    differences, better = compared(scores, list(kinds), args)
    found = found_in(scores, kinds, args, better)
    figure = drawn(scores, maps, kinds, args)
    conclude("maps", CLAIM, table, found, figure, args, {"differences from the first weight": differences})


if __name__ == "__main__":
    main(tyro.cli(Args))
