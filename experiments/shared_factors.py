"""Do pairs of images that share unknown factors suffice to disentangle? (Locatello et al., 2020)

    python experiments/shared_factors.py          2 cores: about 5 minutes
    python experiments/shared_factors.py --full   networks and steps of the paper, on sprites, for an accelerator

Ada-GVAE, Ada-ML-VAE and a control that knows which factors a pair shares are compared with beta-VAEs that see the
same images one by one. A pair differs in one factor, or in two.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.data import Pairs
from jaxvae.methods import AdaGVAE, BetaVAE, ada_gvae, beta_vae
from jaxvae.metrics import mig
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "Pairs that share all but one of their factors, without a label of which, disentangle where a beta-VAE on single "
    "images does not; pairs that differ in more tell less."
)
RATE = 1e-3


@dataclass
class Args:
    """Flags of the experiment."""

    betas: tuple[float, ...] = (1.0, 4.0)
    """of the beta-VAEs; Ada-GVAE has 1"""
    differ: tuple[int, ...] = (1, 2)
    """factors in which a pair may differ"""
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 64
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains all of them, scores them and draws a point per model."""
    if args.full:
        args.steps, args.latents = 300_000, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images, factors = all_images(source), np.asarray(source.factors)
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    hp = AdaGVAE(learning_rate=1e-4 if args.full else RATE)
    cases = {
        f"beta-VAE, beta {beta:g}": (beta_vae(networks, hyperparameters=BetaVAE(hp.learning_rate, beta)), 1)
        for beta in args.betas
    }
    for differ in args.differ:
        cases |= {
            f"Ada-GVAE, {differ} differ": (ada_gvae(networks, hyperparameters=hp), differ),
            f"Ada-ML-VAE, {differ} differ": (
                ada_gvae(networks, averaging="ml-vae-harmonic", hyperparameters=hp),
                differ,
            ),
            f"told which, {differ} differ": (ada_gvae(networks, masks="known", hyperparameters=hp), differ),
        }
    rows, scores = [], {}
    figure, axis = plt.subplots(figsize=(8, 3.8))
    for name, (method, differ) in cases.items():
        *_, (_, states, terms) = train_population(
            method,
            Pairs(source, len(source.factor_names) - differ),
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        codes = np.asarray(posteriors(method, states, images).mean)
        scores[name] = np.array([mig(mean, factors).score for mean in codes])
        shared = terms.get("shared_latents")
        rows.append(
            {
                "trained with": name,
                "MIG": shown(scores[name], 3),
                "reconstruction": shown(terms["reconstruction"]),
                "latents shared": "" if shared is None else shown(shared),
            }
        )
        axis.plot([len(rows)] * args.seeds, scores[name], "o", alpha=0.7)
        print(rows[-1], flush=True)
    axis.set(ylabel="MIG", xticks=range(1, len(rows) + 1))
    axis.set_xticklabels(list(cases), rotation=30, ha="right", fontsize=8)
    figure.tight_layout()
    best = max((name for name in cases if name.startswith("beta")), key=lambda name: scores[name].mean())
    found = f"MIG minus that of the best {best}, same seeds: " + ", ".join(
        f"{name} {shown(scores[name] - scores[best], 3)}" for name in cases if not name.startswith("beta")
    )
    conclude("shared_factors", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
