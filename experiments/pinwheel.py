"""Can overlap alone cluster a code? (Mathieu et al., 2019)

    python experiments/pinwheel.py          2 cores: about 8 minutes
    python experiments/pinwheel.py --full   more seeds, and steps of the paper

The data are points on four arms; the model has two latents and a prior with four clusters. First beta, the weight of
the KL, is raised alone, then alpha, the weight of KL(p(z) || q(z)), with beta = 0. The paper learns the scale of the
likelihood, which is fixed here.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, posteriors, shown
from scipy.optimize import linear_sum_assignment

from jaxvae.data import Table, from_arrays
from jaxvae.losses import inclusive_kl, pinwheel_mixture
from jaxvae.methods import DecompositionVAE, decomposition_vae, gaussian
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = "Raising beta alone never gives the four clean clusters of the prior; raising alpha does."
CENTRES = np.array([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])


@dataclass
class Args:
    """Flags of the experiment."""

    betas: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    """with alpha = 0"""
    alphas: tuple[float, ...] = (0.1, 1.0, 10.0)
    """with beta = 0"""
    scale: float = 0.1
    """of the Gaussian likelihood"""
    seeds: int = 5
    steps: int = 3000
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def pinwheel(arms: int = 4, points: int = 100, rate: float = 0.25) -> Table:
    """The paper's points [400, 2] as images of 1 x 2 pixels; the arm is their factor. Brought to [0, 1]."""
    rng = np.random.default_rng(0)
    arm = np.repeat(np.arange(arms), points)
    features = rng.normal(size=(arms * points, 2)) * np.array([0.3, 0.1]) + np.array([1.0, 0.0])
    angle = 2 * np.pi * arm / arms + rate * np.exp(features[:, 0])
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    place = np.einsum("ni,nij->nj", features, turn)
    return from_arrays((place / 4 + 0.5)[:, None, :, None], arm[:, None], name="pinwheel", factor_names=("arm",))


def purity(codes: np.ndarray, arm: np.ndarray) -> float:
    """Share of codes in their arm's cluster, every arm given a cluster of its own in the best way."""
    nearest = ((codes[:, None] - CENTRES) ** 2).sum(axis=-1).argmin(axis=1)
    counts = np.zeros((4, 4))
    np.add.at(counts, (arm, nearest), 1)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(arm))


def main(args: Args) -> None:
    """Trains all members together, and draws the codes of some over the prior's clusters."""
    if args.full:
        args.steps, args.seeds = 20_000, 20
    source = pinwheel()
    images, arm, prior = all_images(source), np.asarray(source.factors)[:, 0], pinwheel_mixture()
    pairs = [(0.0, beta) for beta in args.betas] + [(alpha, 0.0) for alpha in args.alphas]
    alphas, betas = np.repeat(pairs, args.seeds, axis=0).T
    # Points are scaled by 1/4 into the unit square, and the likelihood with them.
    method = decomposition_vae(
        autoencoder("mlp-small", source.event_shape, 2),
        likelihood=gaussian(args.scale / 4),
        prior="pinwheel",
        divergence="inclusive-kl",
        hyperparameters=DecompositionVAE(learning_rate=1e-3),
    )
    *_, (_, states, _) = train_population(
        method,
        source,
        seeds=[seed for _ in pairs for seed in range(args.seeds)],
        sweep={"alpha": alphas.tolist(), "beta": betas.tolist()},
        steps=args.steps,
        batch_size=400,
        log_every=args.steps,
    )
    mean, logvar = posteriors(method, states, images)
    drawn = prior.sample(jax.random.key(0), 2000)
    far = jax.vmap(lambda m, v: inclusive_kl(drawn, prior.log_density(drawn), m, v).mean())(mean, logvar)
    decode = jax.vmap(lambda params, z: method.networks["decoder"].apply(params["decoder"], z))
    error = 4 * jnp.sqrt(((decode(states.params, mean) - images[None]) ** 2).sum(axis=(2, 3, 4)).mean(axis=1))
    pure = np.array([purity(np.asarray(codes), arm) for codes in mean])
    members = np.arange(len(pure)).reshape(len(pairs), args.seeds)
    rows = [
        {
            "alpha": alpha,
            "beta": beta,
            "codes in their cluster": shown(pure[of]),
            "KL(p || q)": shown(far[of]),
            "error": shown(error[of], 3),
        }
        for (alpha, beta), of in zip(pairs, members, strict=True)
    ]
    figure, axes = plt.subplots(1, len(pairs), figsize=(2.2 * len(pairs), 2.6), sharex=True, sharey=True)
    grid = jnp.stack(jnp.meshgrid(jnp.linspace(-2, 2, 100), jnp.linspace(-2, 2, 100)), axis=-1)
    for axis, (alpha, beta), of in zip(axes, pairs, members, strict=True):
        axis.contour(
            grid[..., 0], grid[..., 1], prior.log_density(grid), levels=[-6, -3, 0], colors="0.7", linewidths=0.7
        )
        axis.scatter(*np.asarray(mean[of[0]]).T, c=arm, cmap="tab10", vmax=9, s=3)
        axis.set(title=f"alpha {alpha:g}, beta {beta:g}", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
        axis.title.set_fontsize(8)
    figure.tight_layout()
    best = {
        "beta alone": max(range(len(args.betas)), key=lambda i: pure[members[i]].mean()),
        "alpha": max(range(len(args.betas), len(pairs)), key=lambda i: pure[members[i]].mean()),
    }
    found = "share of codes in a cluster of their arm's own, at best: " + "; ".join(
        f"with {name} {shown(pure[members[i]])} (alpha {pairs[i][0]:g}, beta {pairs[i][1]:g}, KL(p || q) "
        f"{shown(far[members[i]])} nats)"
        for name, i in best.items()
    )
    conclude("pinwheel", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
