"""How far minibatch estimates of the KL's terms are from the truth, by batch size and weighting.

    python -m benchmarks.estimators

A beta-TCVAE is trained on sprites; 4,096 random images are then taken for the whole data set, so that its aggregate
posterior is known exactly. Batches are drawn from them without replacement, each with fresh codes. Bias is the mean of
the estimates minus the exact value, spread their standard deviation over batches; both in nats.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import tyro

from jaxvae.analysis import encode_samples
from jaxvae.data import Sprites
from jaxvae.losses import KLTerms, Weighting, exact_log_qz, kl_decomposition, minibatch_log_qz, reparameterize
from jaxvae.methods import BetaTCVAE, beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import train

RESULTS = Path(__file__).parent / "results" / "estimators.json"


@dataclass
class Args:
    """Flags of the benchmark."""

    steps: int = 4000
    dataset_size: int = 4096
    batches: tuple[int, ...] = (8, 32, 128, 512, 2048, 4096)
    pairs: int = 2**24
    """of codes and posteriors per batch size: they set the number of batches, 4 to 256"""
    seed: int = 0


def trained_posteriors(args: Args) -> tuple[jax.Array, jax.Array]:
    """Mean and logvar [N, D] of the data set's images under a trained model."""
    source = Sprites(32)
    networks = autoencoder("mlp-small", source.image_shape, latent_dim=10)
    method = beta_tc_vae(networks, hyperparameters=BetaTCVAE(beta=4.0))
    state = train(method, source, steps=args.steps, batch_size=128, seed=args.seed)
    codes = encode_samples(method, state.params, source, jax.random.key(args.seed + 1), args.dataset_size)
    return jax.numpy.asarray(codes.mean), jax.numpy.asarray(codes.logvar)


def average(terms: KLTerms) -> KLTerms:
    """Means over the examples."""
    return KLTerms(*(term.mean() for term in terms))


def main(args: Args) -> None:
    """Prints the table and writes results/estimators.json."""
    mean, logvar = trained_posteriors(args)
    size = len(mean)

    @jax.jit
    def exact(key: jax.Array) -> KLTerms:
        z = reparameterize(key, mean, logvar)
        return average(kl_decomposition(z, mean, logvar, exact_log_qz(z, mean, logvar)))

    @partial(jax.jit, static_argnums=(1, 2))
    def estimate(key: jax.Array, batch: int, weighting: Weighting) -> KLTerms:
        rows = jax.random.choice(key, size, (batch,), replace=False)
        z = reparameterize(jax.random.fold_in(key, 1), mean[rows], logvar[rows])
        log_qz = minibatch_log_qz(z, mean[rows], logvar[rows], dataset_size=size, weighting=weighting)
        return average(kl_decomposition(z, mean[rows], logvar[rows], log_qz))

    keys = jax.random.split(jax.random.key(args.seed), 256)
    truth = [float(np.mean(term)) for term in zip(*(exact(key) for key in keys[:8]), strict=True)]
    print(
        f"N = {size}, exact: "
        + ", ".join(f"{name} {value:.3f}" for name, value in zip(KLTerms._fields, truth, strict=True))
    )
    rows = [{"weighting": "exact", "batch": size, **dict(zip(KLTerms._fields, truth, strict=True))}]
    print(f"{'bias ± spread':20}" + "".join(f"{name:>24}" for name in KLTerms._fields))
    for batch in args.batches:
        repeats = int(np.clip(args.pairs // batch**2, 4, 256))
        for weighting in get_args(Weighting):
            estimates = np.array([estimate(key, batch, weighting) for key in keys[:repeats]])
            bias, spread = estimates.mean(axis=0) - truth, estimates.std(axis=0)
            row = {"weighting": weighting, "batch": batch, "repeats": repeats}
            rows.append(row | {"bias": bias.round(4).tolist(), "spread": spread.round(4).tolist()})
            cells = "".join(f"{f'{b:+.3f} ± {s:.3f}':>24}" for b, s in zip(bias, spread, strict=True))
            print(f"B = {batch:5} {weighting:10}{cells}", flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
