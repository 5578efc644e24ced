"""What do linear and factorial codes represent: orthogonal waves, independent sources, or parts?

    python experiments/linear_codes.py          2 cores: about 10 minutes

Bars: images of 8 x 8 pixels with a little noise, where each of the 8 rows and 8 columns is bright with probability
1/8. Every method has 16 latents, or as many prototypes as codewords. Sources: a uniform variable, a Laplace variable,
a square wave and a sine, mixed at random, with growing numbers of samples and of outliers.
"""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, interval, shown

from jaxvae.analysis import Effects, latent_effects
from jaxvae.baselines import (
    NMF,
    PCA,
    CooperativeVQ,
    FastICA,
    IndependentSubspaces,
    Infomax,
    MultipleCauseVQ,
    SelfOrganizingMap,
    TopographicICA,
    VectorQuantizer,
)
from jaxvae.losses import negentropy
from jaxvae.metrics import amari_index

CLAIM = (
    "PCA finds orthogonal waves and not one bar; ICA's latents are far from Gaussian and single bars, as are NMF's and "
    "those of cooperative quantizers; prototypes are whole images. ICA recovers mixed sources, with an error that "
    "falls as the root of the number of samples, PCA never does; kurtosis breaks first under outliers."
)
SIDE, BARS = 8, 16


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 5
    steps: int = 500
    """of iterative methods, at most"""
    examples: int = 4000
    samples: tuple[int, ...] = (500, 1000, 2000, 5000, 10_000)
    outliers: tuple[float, ...] = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05)
    """share of samples replaced by ones 20 times as wide"""
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def models(seed: int, steps: int) -> dict[str, Any]:
    """All that are compared on bars."""
    state = {"random_state": seed}
    return {
        "PCA": PCA(BARS, **state),
        "FastICA": FastICA(BARS, whiten="unit-variance", max_iter=steps, **state),
        "Infomax": Infomax(BARS, max_iter=steps, **state),
        "independent subspaces": IndependentSubspaces(BARS, max_iter=steps, n_init=2, **state),
        "topographic ICA": TopographicICA((4, 4), max_iter=steps, n_init=2, **state),
        "NMF": NMF(BARS, init="nndsvda", max_iter=steps, **state),
        "vector quantizer": VectorQuantizer(2 * BARS, n_init=2, **state),
        "cooperative VQ": CooperativeVQ(BARS, 2, max_iter=min(steps, 100), n_init=2, **state),
        "multiple-cause VQ": MultipleCauseVQ(BARS, 2, max_iter=min(steps, 100), n_init=2, **state),
        "self-organizing map": SelfOrganizingMap((8, 4), max_iter=min(steps, 50)),
    }


def bars(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 64], not negative, and the bars alone [16, 64]."""
    alone = np.concatenate([np.kron(np.eye(SIDE), np.ones(SIDE)), np.kron(np.ones(SIDE), np.eye(SIDE))])
    lit = rng.random((n, BARS)) < 1 / SIDE
    images = np.minimum(lit @ alone, 1) + 0.05 * rng.normal(size=(n, SIDE**2))
    return np.maximum(images, 0), alone


def bars_found(effects: Effects, alone: np.ndarray) -> int:
    """Bars that are nine tenths, by the cosine, of what some latent changes."""
    change = effects.change / np.maximum(np.linalg.norm(effects.change, axis=1, keepdims=True), 1e-12)
    return int(((change @ alone.T / SIDE**0.5).max(axis=0) > 0.9).sum())


def sources(n: int, rng: np.random.Generator, outliers: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mixed samples [n, 4], and the mixing matrix."""
    t = np.arange(n) * (2000 / n)
    parts = [rng.uniform(-1, 1, n), rng.laplace(size=n), np.sign(np.sin(0.31 * t)), np.sin(0.197 * t + 1)]
    x = np.stack([(part - part.mean()) / part.std() for part in parts], axis=1)
    wild = rng.random(n) < outliers
    x[wild] = 20 * rng.normal(size=(wild.sum(), 4))
    mixing = rng.normal(size=(4, 4))
    return x @ mixing.T, mixing


def unmixers(seed: int, steps: int) -> dict[str, Any]:
    """All that are compared on sources."""
    ica = {
        f"FastICA, {kind}": FastICA(4, fun=fun, whiten="unit-variance", max_iter=steps, random_state=seed)
        for kind, fun in {"negentropy by logcosh": "logcosh", "negentropy by exp": "exp", "kurtosis": "cube"}.items()
    }
    plain = Infomax(4, extended=False, max_iter=steps, random_state=seed)
    return {"PCA": PCA(4), **ica, "Infomax": plain, "extended Infomax": Infomax(4, max_iter=steps, random_state=seed)}


def main(args: Args) -> None:
    """Fits everything, and tells what was found."""
    warnings.simplefilter("ignore")  # of not having converged within the steps
    table: dict[str, list[dict[str, float]]] = {}
    pictures: dict[str, np.ndarray] = {}
    for seed in range(args.seeds):
        x, alone = bars(args.examples, np.random.default_rng(seed))
        for name, model in models(seed, args.steps).items():
            start = time.perf_counter()
            codes = model.fit(x).transform(x)
            seconds = time.perf_counter() - start
            effects = latent_effects(model.inverse_transform, codes, examples=200)
            varies = codes[:, codes.std(axis=0) > 0].astype(np.float32)
            row = {
                "bars found": bars_found(effects, alone),
                "overlap": effects.overlap,
                "negentropy": float(negentropy(varies).mean()),
                "parts": effects.parts,
                "exclusive": effects.exclusive,
                "error": ((model.inverse_transform(codes) - x) ** 2).mean(),
                "seconds": seconds,
            }
            table.setdefault(name, []).append(row)
            if seed == 0:
                whole = getattr(model, "codebook_", None)
                pictures[name] = effects.change if whole is None else whole.reshape(-1, SIDE**2)[:BARS]
    columns = list(table["PCA"][0])
    number = {name: {c: np.array([row[c] for row in rows]) for c in columns} for name, rows in table.items()}
    by_samples = amari(args, [(n, 0.0) for n in args.samples])
    by_outliers = amari(args, [(max(args.samples), share) for share in args.outliers])
    of_sources = {
        name: {
            "Amari index": shown(values[-1], 3),
            "slope": f"{np.polyfit(np.log(args.samples), np.log(values.mean(axis=1)), 1)[0]:.2f}",
            f"with {args.outliers[-1]:.0%} outliers": shown(by_outliers[name][-1], 3),
        }
        for name, values in by_samples.items()
    }
    empty = dict.fromkeys([*columns, *of_sources["PCA"]], "")
    rows = [
        {"method": f"bars: {name}"} | empty | {c: shown(v, 3) for c, v in values.items() if np.isfinite(v).all()}
        for name, values in number.items()
    ]
    rows += [{"method": f"sources: {name}"} | empty | values for name, values in of_sources.items()]
    found = "of 16 bars " + ", ".join(f"{name} {shown(v['bars found'], 1)}" for name, v in number.items())
    found += "; overlap of PCA " + shown(number["PCA"]["overlap"], 4)
    found += "; negentropy " + ", ".join(f"{n} {shown(number[n]['negentropy'], 3)}" for n in ("PCA", "FastICA"))
    found += "; Amari index " + ", ".join(f"{name} {shown(v[-1], 3)}" for name, v in by_samples.items())
    conclude("linear_codes", CLAIM, rows, found, draw(pictures, by_samples, by_outliers, args), args)


def amari(args: Args, settings: list[tuple[int, float]]) -> dict[str, np.ndarray]:
    """Of every method, at (samples, outliers): [settings, seeds]."""
    values: dict[str, list[list[float]]] = {}
    for n, outliers in settings:
        of_seeds: dict[str, list[float]] = {}
        for seed in range(args.seeds):
            x, mixing = sources(n, np.random.default_rng(seed), outliers)
            for name, model in unmixers(seed, args.steps).items():
                of_seeds.setdefault(name, []).append(amari_index(model.fit(x).components_ @ mixing))
        for name, found in of_seeds.items():
            values.setdefault(name, []).append(found)
    return {name: np.array(found) for name, found in values.items()}


def draw(pictures: dict[str, np.ndarray], by_samples: Any, by_outliers: Any, args: Args) -> plt.Figure:
    """What each latent changes, or each prototype is, and the two curves."""
    figure = plt.figure(figsize=(13, 7))
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    for axis, (name, maps) in zip(left.subplots(len(pictures), 1), pictures.items(), strict=True):
        tiles = [np.pad(tile.reshape(SIDE, SIDE) / max(tile.max(), 1e-12), 1, constant_values=0.5) for tile in maps]
        axis.imshow(np.concatenate(tiles, axis=1), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[], xlim=(-0.5, BARS * (SIDE + 2) - 0.5))
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    above, below = right.subplots(2, 1)
    for name, values in by_samples.items():
        above.errorbar(args.samples, *zip(*map(interval, values), strict=True), label=name, marker=".")
        below.errorbar(args.outliers, *zip(*map(interval, by_outliers[name]), strict=True), marker=".")
    above.set(xscale="log", yscale="log", xlabel="samples", ylabel="Amari index")
    below.set(xlabel="share of outliers", ylabel="Amari index", ylim=(0, None))
    above.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args))
