"""Does a controller of the KL's weight hold the KL at its set point? (Shao et al., 2020)

    python experiments/set_point.py          2 cores: about 3 minutes
    python experiments/set_point.py --full   networks and steps of the paper, for an accelerator

ControlVAEs with several set points are compared with annealed VAEs whose KL is held at the same capacities.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, known_sprites, shown

from jaxvae.methods import AnnealedVAE, ControlVAE, annealed_vae, control_vae
from jaxvae.networks import autoencoder, integral_memory
from jaxvae.training import train_population

CLAIM = "A proportional-integral controller of the KL's weight holds the KL at its set point."


@dataclass
class Args:
    """Flags of the experiment."""

    targets: tuple[float, ...] = (4.0, 8.0)
    """set points of the KL, in nats"""
    integral_gain: float = 0.005
    """of the controller"""
    seeds: int = 3
    steps: int = 1000
    batch_size: int = 64
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains both methods with every target, and compares the KL of the last fifth of the steps with it."""
    if args.full:
        args.steps, args.latents = 1_000_000, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    networks = autoencoder("burgess" if args.full else "mlp-small", source.event_shape, args.latents)
    warmup = args.steps / 2
    every = max(1, args.steps // 50)
    rows, off = [], {}
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    for target in args.targets:
        control = ControlVAE(1e-3, target=target, warmup=warmup, integral_gain=args.integral_gain)
        methods = {
            "ControlVAE": control_vae({**networks, "controller": integral_memory()}, hyperparameters=control),
            "annealed VAE": annealed_vae(networks, hyperparameters=AnnealedVAE(1e-3, c_end=target, warmup=warmup)),
        }
        for name, method in methods.items():
            steps, seen = [], []
            settings = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
            for step, _, terms in train_population(method, source, **settings, log_every=every):
                steps.append(step)
                seen.append({term: np.asarray(values) for term, values in terms.items()})
            last = [terms for step, terms in zip(steps, seen, strict=True) if step > 0.8 * args.steps]
            kl, reconstruction = (np.mean([t[term] for t in last], axis=0) for term in ("kl", "reconstruction"))
            off[name, target] = np.mean([np.abs(terms["kl"] - target) for terms in last], axis=0)
            beta = np.mean([terms["beta"] for terms in last], axis=0) if "beta" in last[0] else None
            rows.append(
                {
                    "method": name,
                    "set point": target,
                    "KL": shown(kl),
                    "off by": shown(off[name, target]),
                    "reconstruction": shown(reconstruction, 1),
                    "weight of the KL": "" if beta is None else shown(beta),
                }
            )
            print(rows[-1], flush=True)
            axes[0].plot(steps, [terms["kl"].mean() for terms in seen], label=f"{name}, {target:g}")
            if beta is not None:
                axes[1].plot(steps, [terms["beta"].mean() for terms in seen], label=f"set point {target:g}")
    axes[0].set(xlabel="step", ylabel="KL (nats)")
    axes[1].set(xlabel="step", ylabel="weight of the KL")
    for axis in axes:
        axis.legend(fontsize=8)
    figure.tight_layout()
    found = "distance of the KL from its set point over the last fifth of the steps, in nats: " + ", ".join(
        f"{name} at {target:g} {shown(values)}" for (name, target), values in off.items()
    )
    conclude("set_point", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
