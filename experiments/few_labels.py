"""How much do a few labels help? (Locatello et al., 2020, "few labels")

    python experiments/few_labels.py          2 cores: about 3 minutes
    python experiments/few_labels.py --full   networks and steps of the study, on sprites, for an accelerator

A beta-VAE without labels is compared with some that also predict the labels of a few images, by cross-entropy of the
posterior means. Scores are over all images, labelled or not. The control has as many labels, each from another image.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.data import few_labels as label
from jaxvae.data import from_arrays
from jaxvae.methods import BetaVAE, SemiSupervisedVAE, beta_vae, semi_supervised_vae
from jaxvae.metrics import mig
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = "A hundred labels disentangle where none do, and the spread over seeds shrinks; more labels help further."


@dataclass
class Args:
    """Flags of the experiment."""

    labels: tuple[int, ...] = (25, 100, 400)
    beta: float = 4.0
    gamma_sup: float = 256.0
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 64
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains with each number of labels, scores, and draws a point per model."""
    if args.full:
        args.steps, args.latents = 300_000, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images, factors = all_images(source), np.asarray(source.factors)
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    rate = 1e-4 if args.full else 1e-3
    plain = beta_vae(networks, hyperparameters=BetaVAE(rate, args.beta))
    taught = semi_supervised_vae(networks, hyperparameters=SemiSupervisedVAE(rate, args.beta, args.gamma_sup))
    wrong = np.random.default_rng(0).permutation(factors)
    permuted = from_arrays(np.asarray(images), wrong, name="wrong labels", factor_names=source.factor_names)
    cases = {"none": (plain, source)}
    cases |= {str(count): (taught, label(source, count)) for count in args.labels}
    cases[f"{max(args.labels)} wrong"] = (taught, label(permuted, max(args.labels)))
    rows, scores = [], {}
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for name, (method, data) in cases.items():
        *_, (_, states, terms) = train_population(
            method,
            data,
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        codes = np.asarray(posteriors(method, states, images).mean)
        scores[name] = np.array([mig(mean, factors).score for mean in codes])
        tied = [abs(np.corrcoef(mean[:, k], factors[:, k])[0, 1]) for mean in codes for k in range(factors.shape[1])]
        rows.append(
            {
                "labels": name,
                "MIG": shown(scores[name], 3),
                "spread of MIG": f"{scores[name].std(ddof=1):.3f}",
                "reconstruction": shown(terms["reconstruction"]),
                "correlation of tied latents": f"{np.mean(tied):.2f}",
            }
        )
        axis.plot([name] * args.seeds, scores[name], "o", alpha=0.7)
        print(rows[-1], flush=True)
    axis.set(xlabel="labels", ylabel="MIG")
    figure.tight_layout()
    found = "MIG minus that without labels, same seeds: " + ", ".join(
        f"{name} {shown(scores[name] - scores['none'], 3)}" for name in cases if name != "none"
    )
    conclude("few_labels", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
