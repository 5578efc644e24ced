"""Does a penalty decorrelate the posterior means or the samples? (DIP-VAE, Kumar et al., 2018)

    python experiments/dip_moments.py          2 cores: about 8 minutes
    python experiments/dip_moments.py --full   networks and steps of the study, for an accelerator

Locatello et al. (2019) found that regularizers lower the total correlation of sampled codes but not that of the
means, except for DIP-VAE-I, which penalizes the means.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.losses import code_covariance, gaussian_total_correlation
from jaxvae.methods import METHODS
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "DIP-VAE-I decorrelates the posterior means, DIP-VAE-II only the sampled codes; type I keeps all latents active, "
    "type II lets some switch off."
)
ACTIVE = 0.01
"""Variance of the posterior means from which a latent counts as active (Burda et al., 2016)."""


@dataclass
class Args:
    """Flags of the experiment."""

    lambdas: tuple[float, ...] = (1.0, 5.0, 20.0)
    seeds: int = 5
    steps: int = 2000
    batch_size: int = 256
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def moments(mean: jax.Array, logvar: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gaussian total correlation of the means and of the samples, and the number of active latents, of one member."""
    of_means = code_covariance(mean)
    of_samples = of_means + jnp.diag(jnp.exp(logvar).mean(axis=0))
    active = (jnp.diag(of_means) > ACTIVE).sum()
    return gaussian_total_correlation(of_means), gaussian_total_correlation(of_samples), active


def main(args: Args) -> None:
    """Trains all methods and draws the two total correlations."""
    if args.full:
        args.steps, args.latents = 300_000, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images = all_images(source)
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    settings = [("vae", {}), ("beta-vae", {"beta": 4.0}), ("beta-tc-vae", {"beta": 6.0})]
    for kind, share in (("i", 10.0), ("ii", 1.0)):
        settings += [(f"dip-vae-{kind}", {"lambda_od": od, "lambda_d": share * od}) for od in args.lambdas]
    rate = 1e-4 if args.full else 1e-3
    rows, of_means, of_samples = [], [], []
    for name, weights in settings:
        entry = METHODS[name]
        hyperparameters = entry.hyperparameters(**{"learning_rate": rate, **weights})
        method = entry.build(networks, hyperparameters=hyperparameters)
        *_, (_, states, terms) = train_population(
            method,
            source,
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        in_means, in_samples, active = jax.vmap(moments)(*posteriors(method, states, images))
        label = " ".join([name, *(f"{weight:g}" for weight in list(weights.values())[:1])])
        rows.append(
            {
                "method": label,
                "TC of means": shown(in_means),
                "TC of samples": shown(in_samples),
                "active": shown(active, 1),
                "reconstruction": shown(terms["reconstruction"], 1),
            }
        )
        of_means.append(np.asarray(in_means))
        of_samples.append(np.asarray(in_samples))
        print(rows[-1], flush=True)

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True)
    for axis, values, title in ((axes[0], of_means, "posterior means"), (axes[1], of_samples, "samples")):
        for place, members in enumerate(values):
            axis.plot([max(1e-4, member) for member in members], [place] * len(members), "C0o", ms=4, alpha=0.6)
        axis.set(xscale="log", xlabel="Gaussian total correlation, nats", title=title)
    axes[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
    figure.tight_layout()
    tc = {row["method"]: (m.mean(), s.mean()) for row, m, s in zip(rows, of_means, of_samples, strict=True)}
    strongest = f"{args.lambdas[-1]:g}"
    found = "Gaussian total correlation of means / samples: " + "; ".join(
        f"{name} {tc[name][0]:.3f} / {tc[name][1]:.3f}"
        for name in ("vae", f"dip-vae-i {strongest}", f"dip-vae-ii {strongest}")
    )
    found += f"; active latents of {args.latents}: " + ", ".join(
        f"{row['method']} {row['active']}" for row in rows[-6:]
    )
    conclude("dip_moments", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
