"""Does the neighbour term keep neighbourhoods, for points that were not seen in training? (Graving & Couzin, 2020)

    python experiments/neighbour_embedding.py          2 cores: about 10 minutes
    python experiments/neighbour_embedding.py --full   longer training

Two latents for handwritten digits: PCA, a VAE, and VAE-SNE with Student-t and Gaussian kernels, with and without
annealing of the perplexity; t-SNE, which can't place new points, of the test points themselves for comparison.
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
    steps: int = 2000
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


def main(args: Args) -> None:
    """Trains all of them, scores held-out points, and draws one embedding of each."""
    if args.full:
        args.steps = 20_000
    source = digits()
    images = np.asarray(source.at(jnp.arange(source.size))["image"])
    order = np.random.default_rng(0).permutation(source.size)
    train, test = images[order[:1200]], images[order[1200:]]
    label = np.asarray(source.factors)[order[1200:], 0]
    data = from_arrays(train, real=True)
    flat = test.reshape(len(test), -1)
    pictures = {"PCA": PCA(2).fit(train.reshape(len(train), -1)).transform(flat)}
    pictures["t-SNE of the test points"] = TSNE(2, random_state=0).fit_transform(flat)
    rows: list[dict[str, Any]] = []
    scores: dict[str, dict[str, np.ndarray]] = {}
    for name, codes in pictures.items():
        scores[name] = {column: np.array([value]) for column, value in measured(codes, test).items()}
    annealing = args.steps / 2
    cases = {
        "VAE": ("student-t", {"sne": 0.0}),
        "VAE-SNE, t": ("student-t", {"annealing": annealing}),
        "VAE-SNE, t, not annealed": ("student-t", {"annealing": 0.0}),
        "VAE-SNE, Gaussian": ("gaussian", {"annealing": annealing}),
    }
    for name, (similarity, hp) in cases.items():
        networks = autoencoder("selu", source.image_shape, 2) | {"prior": mixture_prior(2, args.components)}
        method = vae_sne(networks, likelihood=gaussian(args.scale), similarity=similarity, hyperparameters=VAESNE(**hp))
        *_, (_, states, _) = train_population(
            method, data, seeds=range(args.seeds), steps=args.steps, batch_size=args.batch_size
        )
        results = []
        for seed in range(args.seeds):
            params = jax.tree.map(lambda leaf, seed=seed: leaf[seed], states.params)
            net = Nets(method.networks, params)
            mean = method.encode(net, {"image": test}).mean
            found = find_clusters(*net.prior())
            codes = np.asarray(mean)
            nll = gaussian_nll(method.decode(net, mean), jnp.asarray(test), args.scale).mean()
            cluster = found.of_points(codes)
            results.append(measured(codes, test) | {"log p(x|z)": -float(nll), "clusters": len(set(cluster))})
            results[-1]["adjusted Rand"] = adjusted_rand_score(label, cluster)
            pictures.setdefault(name, codes)
        scores[name] = {column: np.array([result[column] for result in results]) for column in results[0]}
        print(name, {column: shown(values) for column, values in scores[name].items()}, flush=True)
    for name, values in scores.items():
        cells = {column: shown(v, 3) if len(v) > 1 else f"{v[0]:.3f}" for column, v in values.items()}
        rows.append(
            {"model": name} | {c: cells.get(c, "") for c in (*COLUMNS, "log p(x|z)", "clusters", "adjusted Rand")}
        )
    figure, axes = plt.subplots(1, len(pictures), figsize=(3 * len(pictures), 3))
    for axis, (name, codes) in zip(axes, pictures.items(), strict=True):
        axis.scatter(*codes.T, c=label, cmap="tab10", s=3)
        axis.set(title=name, xticks=[], yticks=[])
        axis.title.set_fontsize(8)
    figure.tight_layout()
    sne = scores["VAE-SNE, t"]
    outcome = "VAE-SNE (t) minus VAE, same seeds: " + ", ".join(
        f"{column} {shown(sne[column] - scores['VAE'][column], 3)}" for column in (*COLUMNS, "log p(x|z)")
    )
    outcome += "; minus PCA: " + ", ".join(f"{c} {sne[c].mean() - scores['PCA'][c].mean():.3f}" for c in COLUMNS)
    unannealed = sne["global"] - scores["VAE-SNE, t, not annealed"]["global"]
    outcome += (
        f"; annealing changes global by {shown(unannealed, 3)}; clusters {shown(sne['clusters'], 1)} for 10 digits, "
    )
    outcome += f"adjusted Rand {shown(sne['adjusted Rand'])} (VAE {shown(scores['VAE']['adjusted Rand'])})"
    conclude("neighbour_embedding", CLAIM, rows, outcome, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
