"""Which terms of the KL does a weight reduce, in a beta-VAE and in a beta-TCVAE? (Chen et al., 2018)

    python experiments/exact_terms.py          2 cores: about 5 minutes
    python experiments/exact_terms.py --full   networks and batches of the paper, for an accelerator

Both methods are trained with the same weights on a data set that can be summed over, so that mutual information,
total correlation and dimension-wise KL are exact during training.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.analysis import ExactTerms, exact_kl_terms
from jaxvae.methods import BetaTCVAE, BetaVAE, beta_tc_vae, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = "At equal weight the beta-VAE squeezes all parts of the KL; the beta-TCVAE only the total correlation."


@dataclass
class Args:
    """Flags of the experiment."""

    betas: tuple[float, ...] = (1.0, 4.0, 8.0)
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 128
    look_every: int = 500
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains all members of both methods, and draws their exact terms."""
    if args.full:
        args.steps, args.batch_size, args.latents, args.seeds = 50_000, 2048, 10, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images = all_images(source)
    networks = autoencoder("mlp" if args.full else "mlp-small", source.event_shape, args.latents)
    methods = [
        beta_vae(networks, hyperparameters=BetaVAE(learning_rate=1e-3)),
        beta_tc_vae(networks, hyperparameters=BetaTCVAE(learning_rate=1e-3)),
    ]
    exact = jax.jit(jax.vmap(exact_kl_terms, (None, 0, 0)))
    betas = np.repeat(args.betas, args.seeds)
    shape = (len(args.betas), args.seeds)
    figure, panels = plt.subplots(len(methods), 3, figsize=(11, 6), sharex=True, sharey="col")
    rows, ends = [], {}
    for method, axes in zip(methods, panels, strict=True):
        steps, seen = [], []
        for step, states, terms in train_population(
            method,
            source,
            seeds=[seed for _ in args.betas for seed in range(args.seeds)],
            sweep={"beta": betas.tolist()},
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.look_every,
        ):
            mean, logvar = posteriors(method, states, images)
            steps.append(step)
            seen.append(np.array(exact(jax.random.key(step), mean, logvar)).reshape(3, *shape))
            reconstruction = terms["reconstruction"].reshape(shape)
            print(f"{method.name} step {step}", flush=True)
        curves = np.array(seen)  # [looks, terms, betas, seeds]
        ends[method.name] = curves[-1]
        for i, beta in enumerate(args.betas):
            named = dict(zip(ExactTerms._fields, curves[-1, :, i], strict=True))
            rows.append({"method": method.name, "beta": beta} | {name: shown(v) for name, v in named.items()})
            rows[-1]["reconstruction"] = shown(reconstruction[i], 1)
            for axis, name, curve in zip(axes, ExactTerms._fields, curves[:, :, i].swapaxes(0, 1), strict=True):
                axis.plot(steps, curve.mean(axis=-1), label=f"beta {beta:g}")
                axis.fill_between(steps, curve.min(axis=-1), curve.max(axis=-1), alpha=0.2)
                axis.set(title=f"{method.name}: {name.replace('_', ' ')}", xlabel="updates", ylabel="nats")
    panels[0, 0].legend()
    figure.tight_layout()
    kept = {name: (end[:, -1] / end[:, 0]).mean(axis=-1) for name, end in ends.items()}
    found = "; ".join(
        f"{name} with beta {args.betas[-1]:g} keeps {mi:.0%} of the mutual information and {tc:.0%} of the total "
        f"correlation it has with beta {args.betas[0]:g}"
        for name, (mi, tc, _) in kept.items()
    )
    conclude("exact_terms", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
