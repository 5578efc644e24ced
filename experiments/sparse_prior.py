"""Does a sparse prior give sparse codes? (Mathieu et al., 2019)

    python experiments/sparse_prior.py          2 cores: about 10 minutes
    python experiments/sparse_prior.py --full   size of the paper, on sprites, for an accelerator

Decomposition VAEs are trained with the spike-and-slab prior (80% of the mass in the spike) and with the normal one,
with growing weights alpha of the distance between aggregate posterior and prior.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.analysis import hoyer_sparsity
from jaxvae.methods import DecompositionVAE, decomposition_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "With the sparse prior the sparsity of codes rises with alpha at little cost in reconstruction; with the normal "
    "prior it does not."
)


@dataclass
class Args:
    """Flags of the experiment."""

    alphas: tuple[float, ...] = (0.0, 10.0, 100.0)
    seeds: int = 5
    steps: int = 1500
    batch_size: int = 128
    latents: int = 16
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains all members of both priors, and draws sparsity, reconstruction and distance against alpha."""
    if args.full:
        args.steps, args.batch_size, args.latents = 10_000, 500, 50
    source = known_sprites(32 if args.full else 16)
    images = all_images(source)
    networks = autoencoder("mlp" if args.full else "mlp-small", source.event_shape, args.latents)
    hyperparameters = DecompositionVAE(learning_rate=1e-3, beta=1.0)
    shape = (len(args.alphas), args.seeds)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
    rows, sparsity, reconstruction = [], {}, {}
    for prior in ("sparse", "normal"):
        method = decomposition_vae(
            networks, prior=prior, divergence="mmd-dimensionwise", hyperparameters=hyperparameters
        )
        *_, (_, states, terms) = train_population(
            method,
            source,
            seeds=[seed for _ in args.alphas for seed in range(args.seeds)],
            sweep={"alpha": np.repeat(args.alphas, args.seeds).tolist()},
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        hoyer = np.reshape(jax.vmap(hoyer_sparsity)(posteriors(method, states, images).mean), shape)
        sparsity[prior], reconstruction[prior] = hoyer, terms["reconstruction"].reshape(shape)
        distance = terms["prior_distance"].reshape(shape)
        for i, alpha in enumerate(args.alphas):
            rows.append(
                {
                    "prior": prior,
                    "alpha": alpha,
                    "Hoyer": shown(hoyer[i], 3),
                    "reconstruction": shown(reconstruction[prior][i]),
                    "distance to prior": shown(distance[i], 3),
                }
            )
        for axis, values in zip(axes, (hoyer, reconstruction[prior], distance), strict=True):
            axis.errorbar(range(len(args.alphas)), values.mean(axis=1), values.std(axis=1), marker="o", label=prior)
        print(f"{prior} done", flush=True)
    for axis, title in zip(axes, ("Hoyer sparsity", "reconstruction, nats", "distance to the prior"), strict=True):
        axis.set_xticks(range(len(args.alphas)), [f"{alpha:g}" for alpha in args.alphas])
        axis.set(xlabel="alpha", title=title)
    axes[0].legend()
    figure.tight_layout()
    found = "; ".join(
        f"{prior} prior, alpha {args.alphas[0]:g} to {args.alphas[-1]:g}: sparsity rises by "
        f"{shown(sparsity[prior][-1] - sparsity[prior][0], 3)}, reconstruction by "
        f"{shown(reconstruction[prior][-1] - reconstruction[prior][0])} nats"
        for prior in ("sparse", "normal")
    )
    conclude("sparse_prior", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
