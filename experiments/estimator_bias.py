"""How biased are estimates of the KL's terms, by batch size and weighting? (beta-TCVAE, Chen et al., 2018)

    python experiments/estimator_bias.py          2 cores: about 3 minutes
    python experiments/estimator_bias.py --full   64 x 64 sprites and networks of the paper, for an accelerator

beta-TCVAEs are trained on a data set that can be summed over, so that the exact terms are known. Batches are drawn
from it without replacement, each with new codes. The bias is the mean of the estimates minus the exact value.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.analysis import exact_kl_terms
from jaxvae.losses import Weighting, kl_decomposition, minibatch_log_qz, reparameterize
from jaxvae.methods import BetaTCVAE, beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "Estimates approach the exact terms as the batch grows to the whole data set, stratified weights ('uniform', "
    "'mss') long before it; 'mws' stays off by a constant."
)
TERMS = ("mutual_information", "total_correlation")


@dataclass
class Args:
    """Flags of the experiment."""

    batches: tuple[int, ...] = (8, 32, 128, 512, 1728)
    seeds: int = 3
    steps: int = 3000
    pairs: int = 2**23
    """of codes and posteriors per batch size and member: they set the number of batches, 4 to 128"""
    latents: int = 10
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


@partial(jax.jit, static_argnames=("batch", "weighting"))
def estimate(key: jax.Array, mean: jax.Array, logvar: jax.Array, batch: int, weighting: Weighting) -> jax.Array:
    """Mutual information and total correlation of a random batch of one member."""
    size = len(mean)
    rows = jax.random.choice(key, size, (batch,), replace=False)
    mean, logvar = mean[rows], logvar[rows]
    z = reparameterize(jax.random.fold_in(key, 1), mean, logvar)
    log_qz = minibatch_log_qz(z, mean, logvar, dataset_size=size, weighting=weighting)
    terms = kl_decomposition(z, mean, logvar, log_qz)
    return jax.numpy.stack([getattr(terms, name).mean() for name in TERMS])


def main(args: Args) -> None:
    """Trains the members, and draws the estimates of each weighting around the exact values."""
    if args.full:
        args.steps, args.batches = 50_000, (8, 32, 128, 512, 2048, 12_288)
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    networks = autoencoder("mlp" if args.full else "mlp-small", source.event_shape, args.latents)
    method = beta_tc_vae(networks, hyperparameters=BetaTCVAE(learning_rate=1e-3, beta=4.0))
    *_, (_, states, _) = train_population(
        method, source, seeds=range(args.seeds), steps=args.steps, batch_size=128, log_every=args.steps
    )
    means, logvars = posteriors(method, states, all_images(source))
    exact = jax.vmap(partial(exact_kl_terms, samples=8), (None, 0, 0))(jax.random.key(0), means, logvars)
    truth = np.array([getattr(exact, name) for name in TERMS])  # [terms, members]

    keys = jax.random.split(jax.random.key(1), 128)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    rows = [
        {"weighting": "exact", "batch": source.size} | {name: shown(t) for name, t in zip(TERMS, truth, strict=True)}
    ]
    biases = {}
    for weighting in get_args(Weighting):
        for batch in args.batches:
            repeats = int(np.clip(args.pairs // batch**2, 4, 128))
            members = zip(means, logvars, strict=True)
            values = np.array([[estimate(key, *m, batch, weighting) for key in keys[:repeats]] for m in members])
            bias = values.mean(axis=1).T - truth  # of [members, repeats, terms]
            spread = values.std(axis=1).mean(axis=0)
            biases[weighting, batch] = bias
            rows.append(
                {"weighting": weighting, "batch": batch}
                | {name: f"{shown(b)} (spread {s:.2f})" for name, b, s in zip(TERMS, bias, spread, strict=True)}
            )
        print(weighting, flush=True)
        for axis, term in zip(axes, range(len(TERMS)), strict=True):
            curve = [biases[weighting, batch][term].mean() for batch in args.batches]
            axis.plot(args.batches, curve, "o-", label=weighting)
    for axis, name in zip(axes, TERMS, strict=True):
        axis.axhline(0, color="k", lw=0.8)
        axis.set(xscale="log", yscale="symlog", xlabel="batch size", ylabel="bias, nats", title=name.replace("_", " "))
    axes[0].legend()
    figure.tight_layout()
    middle, whole = args.batches[len(args.batches) // 2], args.batches[-1]
    found = "bias of the total correlation at batch size " + "; ".join(
        f"{batch}: " + ", ".join(f"{w} {biases[w, batch][1].mean():+.2f}" for w in get_args(Weighting))
        for batch in (args.batches[0], middle, whole)
    )
    conclude("estimator_bias", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
