"""Does the neighbour term keep the neighbourhoods of new points? (Graving & Couzin, 2020)

    python experiments/neighbour_embedding.py          2 cores: about 10 minutes
    python experiments/neighbour_embedding.py --full   longer training

Two latents are learned for handwritten digits and for a swiss roll in three dimensions, by PCA, a VAE, and VAE-SNE
with Student-t and Gaussian kernels, with and without annealing of the perplexity. t-SNE cannot embed new points and
is fitted to the test points themselves, for comparison.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, shown
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score

from jaxvae.analysis import find_clusters, neighbourhood_scores
from jaxvae.data import digits, from_arrays
from jaxvae.losses import gaussian_nll
from jaxvae.method import Nets
from jaxvae.methods import VAESNE, gaussian, vae_sne
from jaxvae.networks import autoencoder, mixture_prior
from jaxvae.training import train_population

CLAIM = (
    "With the neighbour term codes of new points keep local neighbourhoods better than a VAE's or PCA's, at a small "
    "cost in likelihood; annealing the perplexity keeps the global layout; clusters come with it, their number unset."
)
COLUMNS = ("global", "local", "fine")


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 5
    steps: int = 1500
    batch_size: int = 256
    scale: float = 0.2
    """of the Gaussian likelihood; pixels are from 0 to 1"""
    components: int = 100
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def measured(codes: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """Global (rank correlation of distances), local (1 % nearest) and fine (1 to 10 nearest) agreement with pixels."""
    scores = neighbourhood_scores(images.reshape(len(images), -1), codes)
    values = (scores.global_spearman, scores.local_topological, scores.fine)
    return dict(zip(COLUMNS, values, strict=True))


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and what colours them in the figure: digits, and a rolled-up sheet with noise, standardised."""
    source = digits()
    roll, place = make_swiss_roll(1797, noise=0.5, random_state=0)
    roll = (roll / roll.std(0)).astype(np.float32)
    images = np.asarray(source.at(jnp.arange(source.size))["x"])
    return {"digits": (images, np.asarray(source.factors)[:, 0]), "swiss roll": (roll, place)}


def embedded(images: np.ndarray, label: np.ndarray, args: Args) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores of the last third of the images by model and column, each of all seeds, and one embedding per model."""
    train, test = np.split(images, [2 * len(images) // 3])
    flat = test.reshape(len(test), -1)
    pictures = {"PCA": PCA(2).fit(train.reshape(len(train), -1)).transform(flat)}
    pictures["t-SNE of the test points"] = TSNE(2, random_state=0).fit_transform(flat)
    scores: dict[str, Any] = {
        name: {column: np.array([value]) for column, value in measured(codes, test).items()}
        for name, codes in pictures.items()
    }
    annealing = args.steps / 2
    cases: dict[str, tuple[Any, dict[str, float]]] = {
        "VAE": ("student-t", {"sne": 0.0}),
        "VAE-SNE, t": ("student-t", {"annealing": annealing}),
        "VAE-SNE, t, not annealed": ("student-t", {"annealing": 0.0}),
        "VAE-SNE, Gaussian": ("gaussian", {"annealing": annealing}),
    }
    for name, (similarity, hp) in cases.items():
        networks = autoencoder("mlp-small", images.shape[1:], 2) | {"prior": mixture_prior(2, args.components)}
        method = vae_sne(networks, likelihood=gaussian(args.scale), similarity=similarity, hyperparameters=VAESNE(**hp))
        members = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
        *_, (_, states, _) = train_population(method, from_arrays(train, real=True), **members)
        results = []
        for seed in range(args.seeds):
            net = Nets(method.networks, jax.tree.map(lambda leaf, seed=seed: leaf[seed], states.params))
            mean = method.encode(net, {"x": test}).mean
            nll = gaussian_nll(method.decode(net, mean), jnp.asarray(test), args.scale).mean()
            codes, found = np.asarray(mean), find_clusters(*net.prior())
            cluster = found.of_points(codes)
            results.append(measured(codes, test) | {"log p(x|z)": -float(nll), "clusters": len(set(cluster))})
            if label.dtype.kind == "i":
                results[-1]["adjusted Rand"] = adjusted_rand_score(label[-len(test) :], cluster)
            pictures.setdefault(name, codes)
        scores[name] = {column: np.array([result[column] for result in results]) for column in results[0]}
        print(name, {column: shown(values) for column, values in scores[name].items()}, flush=True)
    return scores, pictures


def main(args: Args) -> None:
    """Trains all of them, scores held-out points, and draws one embedding of each."""
    if args.full:
        args.steps = 20_000
    rows: list[dict[str, Any]] = []
    outcomes = []
    sets = data_sets()
    figure, axes = plt.subplots(len(sets), 6, figsize=(18, 3 * len(sets)))
    for (data, (images, label)), line in zip(sets.items(), axes, strict=True):
        order = np.random.default_rng(0).permutation(len(images))
        images, label = images[order], label[order]
        scores, pictures = embedded(images, label, args)
        for name, values in scores.items():
            cells = {column: shown(v, 3) if len(v) > 1 else f"{v[0]:.3f}" for column, v in values.items()}
            columns = (*COLUMNS, "log p(x|z)", "clusters", "adjusted Rand")
            rows.append({"data": data, "model": name} | {column: cells.get(column, "") for column in columns})
        for axis, (name, codes) in zip(line, pictures.items(), strict=True):
            axis.scatter(*codes.T, c=label[-len(codes) :], cmap="tab10" if data == "digits" else "viridis", s=3)
            axis.set(xticks=[], yticks=[])
            axis.set_title(name, fontsize=9)
        sne, vae = scores["VAE-SNE, t"], scores["VAE"]
        better = ", ".join(f"{c} {shown(sne[c] - vae[c], 3)}" for c in (*COLUMNS, "log p(x|z)"))
        pca = ", ".join(f"{c} {sne[c].mean() - scores['PCA'][c].mean():.3f}" for c in COLUMNS)
        annealed = shown(sne["global"] - scores["VAE-SNE, t, not annealed"]["global"], 3)
        outcomes.append(
            f"{data}: VAE-SNE (t) minus VAE, same seeds, {better}; minus PCA, {pca}; "
            f"annealing changes global by {annealed}"
        )
        if "adjusted Rand" in sne:
            rand = f"adjusted Rand {shown(sne['adjusted Rand'])} (VAE {shown(vae['adjusted Rand'])})"
            outcomes[-1] += f"; {shown(sne['clusters'], 1)} clusters for 10 digits, {rand}"
    figure.tight_layout()
    conclude("neighbour_embedding", CLAIM, rows, ". ".join(outcomes), figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
