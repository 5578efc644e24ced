"""Does a prior that depends on the time segment recover mixed sources? (Khemakhem et al., 2020)

    python experiments/identifiable_sources.py          2 cores: about 10 minutes
    python experiments/identifiable_sources.py --full   number of steps of the paper
    python experiments/identifiable_sources.py --preset minutes: `jaxvae train ivae --preset paper`, into the results

The data are five sources whose variances change from segment to segment, mixed by one or more layers. The iVAE is
compared with a VAE, an iVAE with random segments, linear ICA, and an iVAE with fewer segments.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, print_rows, shown
from sklearn.decomposition import FastICA

from jaxvae.data import Table, segments
from jaxvae.method import Method, Nets
from jaxvae.methods import IVAE, VAE, gaussian, ivae, vae
from jaxvae.metrics import mcc
from jaxvae.networks import autoencoder, conditional_prior
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import train_population

CLAIM = (
    "Through a nonlinear mixing, sources whose variances change with the segment are recovered by an iVAE far better "
    "than by a VAE or linear ICA; random segments, or too few of them, take that away."
)
SOURCES = 5
PRESET = "iVAE, preset paper"


@dataclass
class Args:
    """Flags of the experiment."""

    layers: tuple[int, ...] = (1, 2, 3)
    """of the mixing, with 40 segments"""
    segments: tuple[int, ...] = (2, 5, 10)
    """with two layers"""
    points: int = 40_000
    """of all segments together"""
    seeds: int = 5
    steps: int = 4000
    batch_size: int = 128
    learning_rate: float = 1e-2
    scale: float = 0.1
    """standard deviation of the Gaussian likelihood"""
    full: bool = False
    preset: bool = False
    """trains the preset of the paper alone, and keeps the rest of the results"""
    results: Path = RESULTS
    """folder for the table and the figure"""


def scores(codes: np.ndarray, source: Table) -> tuple[float, float]:
    """MCC with the sources, and that of both after dividing each segment by its deviation, which u alone could tell."""
    true = np.asarray(source.extras["sources"])
    segment = np.asarray(source.extras["aux"]).argmax(1)
    within = [values.copy() for values in (codes, true)]
    for values in within:
        for number in np.unique(segment):
            values[segment == number] /= values[segment == number].std(0) + 1e-9
    return mcc(codes, true).score, mcc(*within).score


def trained_scores(name: str, source: Table, args: Args) -> np.ndarray:
    """Of every seed, [seeds, 2]."""
    aux = np.asarray(source.extras["aux"])
    if name == "random segments":
        aux = np.random.default_rng(1).permutation(aux)
    data = Table(**{**vars(source), "extras": {**source.extras, "aux": aux}})
    aux_dim = 0 if name == "VAE" else aux.shape[1]
    networks = autoencoder("xtanh", source.event_shape, SOURCES, aux_dim=aux_dim)
    if name == "VAE":
        method = vae(networks, likelihood=gaussian(args.scale), hyperparameters=VAE(args.learning_rate))
    else:
        networks["prior"] = conditional_prior(aux_dim, SOURCES)
        method = ivae(networks, likelihood=gaussian(args.scale), hyperparameters=IVAE(args.learning_rate))
    return scores_of_seeds(method, data, range(args.seeds), args.steps, args.batch_size)


def scores_of_seeds(method: Method, source: Table, seeds: range, steps: int, batch_size: int) -> np.ndarray:
    """Scores of a method trained with every seed, [seeds, 2]."""
    *_, (_, states, _) = train_population(method, source, seeds=seeds, steps=steps, batch_size=batch_size)
    batch = {"x": jnp.asarray(source.pixels), "aux": jnp.asarray(source.extras["aux"])}
    encode = jax.jit(lambda params: method.encode(Nets(method.networks, params), batch).mean)
    members = (jax.tree.map(lambda leaf, i=i: leaf[i], states.params) for i in seeds)
    return np.array([scores(np.array(encode(params)), source) for params in members])


def preset_row(args: Args) -> dict[str, Any]:
    """The preset of the paper, as the command line trains it."""
    config = default_config("ivae", "paper")
    source, training = segments(), config.training
    _, method = build(config)
    values = scores_of_seeds(method, source, range(args.seeds), training.steps, training.batch_size)
    overall, within = (shown(column, 3) for column in values.T)
    segment_count = source.extras["aux"].shape[1]
    return {"method": PRESET, "layers": 3, "segments": segment_count, "MCC": overall, "MCC within": within}


def main(args: Args) -> None:
    """Trains all of them, and draws MCC over layers and over segments."""
    path = args.results / "identifiable_sources.json"
    record = json.loads(path.read_text("utf-8")) if path.exists() else {"rows": []}
    of_preset = [row for row in record["rows"] if row["method"] == PRESET]
    if args.preset:
        record["rows"] = [row for row in record["rows"] if row not in of_preset] + [preset_row(args)]
        print_rows(record["rows"])
        path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        return
    if args.full:
        args.steps, args.batch_size = 12_500, 64
    rows: list[dict[str, Any]] = []
    found: dict[tuple[str, int, int], np.ndarray] = {}
    cases = [(name, depth, 40) for depth in args.layers for name in ("iVAE", "VAE", "random segments", "linear ICA")]
    for name, depth, number in cases + [("iVAE", 2, number) for number in args.segments]:
        source = segments(segments=number, points=args.points // number, sources=SOURCES, layers=depth)
        if name == "linear ICA":
            x = np.asarray(source.pixels).reshape(source.size, -1)
            fits = (FastICA(whiten="unit-variance", random_state=seed, max_iter=1000) for seed in range(args.seeds))
            values = np.array([scores(fit.fit_transform(x), source) for fit in fits])
        else:
            values = trained_scores(name, source, args)
        found[name, depth, number] = values[:, 0]
        overall, within = (shown(column, 3) for column in values.T)
        rows.append({"method": name, "layers": depth, "segments": number, "MCC": overall, "MCC within": within})
        print(rows[-1], flush=True)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for name in ("iVAE", "VAE", "random segments", "linear ICA"):
        means = [found[name, depth, 40].mean() for depth in args.layers]
        axes[0].plot(args.layers, means, "o-", label=name)
    few = [*args.segments, 40]
    deviations = [found["iVAE", 2, number].std() for number in few]
    axes[1].errorbar(few, [found["iVAE", 2, number].mean() for number in few], deviations, fmt="o-")
    axes[0].set(xlabel="layers of the mixing", ylabel="mean correlation coefficient", xticks=args.layers)
    axes[1].set(xlabel="segments, two layers", xscale="log")
    axes[0].legend()
    figure.tight_layout()
    differences = ", ".join(
        f"{depth} layers {shown(found['iVAE', depth, 40] - found['VAE', depth, 40], 3)}" for depth in args.layers
    )
    best = {
        depth: max((found[name, depth, 40].mean(), name) for name, d, n in found if (d, n) == (depth, 40))[1]
        for depth in args.layers
    }
    outcome = f"MCC of iVAE minus VAE: {differences}; best of all: " + ", ".join(
        f"{name} with {depth}" for depth, name in best.items()
    )
    outcome += "; segments " + ", ".join(f"{n}: {found['iVAE', 2, n].mean():.2f}" for n in few)
    conclude("identifiable_sources", CLAIM, rows + of_preset, outcome, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
