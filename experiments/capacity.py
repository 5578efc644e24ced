"""Does the KL follow the capacity, and do latents become active one by one? (Annealed VAE, Burgess et al., 2018)

    python experiments/capacity.py          2 cores: about 5 minutes
    python experiments/capacity.py --full   networks and schedule of the paper, for an accelerator

The capacity grows from 0. A sweep of beta-VAEs on the same data gives the reconstructions to compare with at equal
KL.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, interval, known_sprites, posteriors, shown

from jaxvae.losses import kl_standard_normal_per_latent
from jaxvae.methods import AnnealedVAE, BetaVAE, annealed_vae, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "The KL follows the capacity, latents switch on one after another, and at equal KL the reconstruction is that of a "
    "beta-VAE."
)
ON = 0.1
"""Nats from which a latent counts as switched on."""


@dataclass
class Args:
    """Flags of the experiment."""

    capacity: float = 12.0
    betas: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    seeds: int = 5
    steps: int = 5000
    batch_size: int = 128
    looks: int = 50
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains both methods, and draws KL against capacity and reconstruction against KL."""
    if args.full:
        args.steps, args.batch_size, args.latents, args.capacity = 300_000, 64, 10, 25.0
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images = all_images(source)
    networks = autoencoder("burgess" if args.full else "mlp-small", source.event_shape, args.latents)
    gamma, rate = (1000.0, 5e-4) if args.full else (100.0, 1e-3)
    schedule = AnnealedVAE(learning_rate=rate, gamma=gamma, c_end=args.capacity, warmup=0.8 * args.steps)
    method = annealed_vae(networks, hyperparameters=schedule)
    options = {"steps": args.steps, "batch_size": args.batch_size}
    seeds = list(range(args.seeds))
    looks = []
    for step, states, terms in train_population(
        method, source, seeds=seeds, log_every=max(1, args.steps // args.looks), **options
    ):
        per_latent = kl_standard_normal_per_latent(*posteriors(method, states, images)).mean(axis=1)
        capacity = args.capacity * min(1.0, step / schedule.warmup)
        looks.append((capacity, np.sort(per_latent, axis=1)[:, ::-1], terms["reconstruction"]))
        print(f"step {step}", flush=True)
    capacities, kl, reconstruction = (np.array(column) for column in zip(*looks, strict=True))
    few = seeds[:2]
    sweep = {"beta": np.repeat(args.betas, len(few)).tolist()}
    rival = beta_vae(networks, hyperparameters=BetaVAE(learning_rate=rate))
    *_, (_, _, frontier) = train_population(
        rival, source, seeds=few * len(args.betas), sweep=sweep, log_every=max(1, args.steps // args.looks), **options
    )

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    for latent in range(args.latents):
        axes[0].plot(capacities, kl[:, :, latent].mean(axis=1), label=f"latent no. {latent + 1} by KL")
    axes[0].plot(capacities, kl.sum(axis=2).mean(axis=1), "k", lw=1, label="all")
    axes[0].plot(capacities, capacities, "k:", label="capacity")
    axes[0].set(xlabel="capacity, nats", ylabel="KL, nats")
    axes[0].legend(fontsize=7)
    axes[1].plot(kl.sum(axis=2), reconstruction, "C0.", ms=3)
    axes[1].plot(frontier["kl"], frontier["reconstruction"], "C1x", label="beta-VAE")
    axes[1].plot([], [], "C0.", label="annealed VAE")
    axes[1].set(xlabel="KL, nats", ylabel="reconstruction, nats")
    axes[1].legend()
    figure.tight_layout()
    total = kl.sum(axis=2)
    off_target = np.abs(total[1:] - capacities[1:, None]).mean(axis=0)
    switched = np.array([[_first(capacities, latent > ON) for latent in member.T] for member in kl.swapaxes(0, 1)])
    rows = [
        {"latent": f"no. {i + 1}", "switched on at, nats": shown(at[at < np.inf]), "members": int((at < np.inf).sum())}
        for i, at in enumerate(switched.T)
    ]
    order = np.argsort(frontier["kl"])
    at_equal_kl = np.interp(total[-1], frontier["kl"][order], frontier["reconstruction"][order])
    mean, half = interval(off_target)
    found = (
        f"the KL is {mean:.2f} ± {half:.2f} nats off the capacity on average; latents switch on at "
        f"{', '.join(row['switched on at, nats'] for row in rows)} nats; in the end the reconstruction is "
        f"{shown(reconstruction[-1] - at_equal_kl)} nats above that of a beta-VAE at its KL"
    )
    conclude("capacity", CLAIM, rows, found, figure, args)


def _first(capacities: np.ndarray, on: np.ndarray) -> float:
    return float(capacities[on.argmax()]) if on.any() else np.inf


if __name__ == "__main__":
    main(tyro.cli(Args))
