"""Does a factorised support disentangle factors that are correlated in the training data? (Roth et al., 2023)

    python experiments/correlated_factors.py          2 cores: about 5 minutes
    python experiments/correlated_factors.py --full   networks and steps of the paper, for an accelerator

beta-TCVAEs and HFS-VAEs of several weights are trained on small rooms whose scale follows the hue of the floor and
whose shape that of the wall, and as controls on rooms without correlations. All are scored on examples of the full
grid, without correlations, and on examples with another correlation, of scale and the hue of the object. The weights of
the paper, 80 to 2,000, are for sums over 16 times as many pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_rooms, posteriors, shown

from jaxvae.data import CorrelatedPairs, Table, Tie
from jaxvae.method import Method
from jaxvae.methods import HFSVAE, BetaTCVAE, beta_tc_vae, hfs_vae
from jaxvae.metrics import dci, mig
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "On correlated training data, the factorised support gives more disentangled codes than the beta-TCVAE, by DCI and "
    "MIG on uncorrelated data."
)
TIES = (Tie("scale", "floor_hue"), Tie("shape", "wall_hue"))
MOVED = Tie("scale", "object_hue")
"""Correlation of the other examples that are scored."""
RATE = 1e-3
RIVAL = "beta-TCVAE"


@dataclass
class Args:
    """Flags of the experiment."""

    sigma: float = 0.1
    """of the correlation"""
    weights: tuple[float, ...] = (1.0, 10.0, 100.0)
    """of the support"""
    hinged: tuple[float, ...] = (100.0,)
    """weights of the support of models with a hinge on the standard deviations of latents below 1"""
    hinge_weight: float = 10.0
    controls: tuple[float, ...] = (100.0,)
    """weights of the support of the models without hinge that are also trained without correlations"""
    seeds: int = 3
    steps: int = 600
    batch_size: int = 64
    latents: int = 8
    samples: int = 1000
    """examples that are scored, in random order"""
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def methods_for(source: Table, args: Args) -> dict[str, Method]:
    """The methods by name."""
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    rate = 1e-4 if args.full else RATE
    methods = {RIVAL: beta_tc_vae(networks, hyperparameters=BetaTCVAE(rate))}
    for weight in args.weights:
        methods[f"HFS, weight {weight:g}"] = hfs_vae(networks, hyperparameters=HFSVAE(rate, support_weight=weight))
    for weight in args.hinged:
        settings = HFSVAE(rate, support_weight=weight, hinge_weight=args.hinge_weight)
        methods[f"HFS, weight {weight:g}, hinge"] = hfs_vae(networks, hinge="variance", hyperparameters=settings)
    return methods


def scored_rows(source: Table, args: Args) -> dict[str, np.ndarray]:
    """Numbers of the examples that are scored, all different: uniform, and with a correlation that training had not."""
    rng = np.random.default_rng(0)
    values = np.asarray(source.factors) / (np.array(source.factor_sizes) - 1)
    one, other = (values[:, source.factor_names.index(name)] for name in MOVED[:2])
    likely = np.exp(-((one - other) ** 2) / (2 * args.sigma**2))
    uniform = rng.permutation(source.size)[: args.samples]
    return {"": uniform, ", moved": rng.choice(source.size, len(uniform), replace=False, p=likely / likely.sum())}


def main(args: Args) -> None:
    """Trains all of them on both data sets, scores them and draws a point per model."""
    if args.full:
        args.steps, args.latents = 300_000, 10
    source = known_rooms(64 if args.full else 16)
    images, factors, chosen = all_images(source), np.asarray(source.factors), scored_rows(source, args)
    worlds = {"correlated": CorrelatedPairs(source, TIES, args.sigma), "uncorrelated": source}
    controls = (RIVAL, *(f"HFS, weight {weight:g}" for weight in args.controls))
    rows, scores = [], {}
    figure, axis = plt.subplots(figsize=(8, 3.8))
    for world, seen in worlds.items():
        for name, method in methods_for(source, args).items():
            if world == "uncorrelated" and name not in controls:
                continue
            settings = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
            *_, (_, states, terms) = train_population(method, seen, **settings, log_every=max(1, args.steps // 10))
            found: dict[str, np.ndarray] = {}
            for where, numbers in chosen.items():
                codes = np.asarray(posteriors(method, states, images[numbers]).mean)
                found[f"DCI{where}"] = np.array([dci(code, factors[numbers]).score for code in codes])
                found[f"MIG{where}"] = np.array([mig(code, factors[numbers]).score for code in codes])
            scores[world, name] = found
            rows.append(
                {
                    "trained on": world,
                    "method": name,
                    **{score: shown(values) for score, values in found.items()},
                    "reconstruction": shown(terms["reconstruction"], 1),
                    "code scale": shown(terms["code_scale"]) if "code_scale" in terms else "",
                }
            )
            axis.plot([len(rows)] * args.seeds, found["DCI"], "o", alpha=0.7)
            print(rows[-1], flush=True)
    labels = [f"{row['method']}\n{row['trained on']}" for row in rows]
    axis.set(ylabel="DCI", xticks=range(1, 1 + len(rows)))
    axis.set_xticklabels(labels, rotation=30, ha="right", fontsize=8)
    figure.tight_layout()
    trained = [name for world, name in scores if world == "correlated" and name != RIVAL]
    differences = [
        f"{name} {shown(scores['correlated', name][score] - scores['correlated', RIVAL][score])} ({score})"
        for name in trained
        for score in scores["correlated", RIVAL]
    ]
    conclude(
        "correlated_factors",
        CLAIM,
        rows,
        "trained on correlated rooms, minus the beta-TCVAE, same seeds: " + ", ".join(differences),
        figure,
        args,
    )


if __name__ == "__main__":
    main(tyro.cli(Args))
