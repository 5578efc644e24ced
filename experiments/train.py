"""Trains one model and prints its MIG: a script to copy and change. `jaxvae train` also scores and reports.

python experiments/train.py --beta 6 --steps 5000
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

from jaxvae.analysis import encode_samples
from jaxvae.data import Scene
from jaxvae.methods import BetaTCVAE, beta_tc_vae
from jaxvae.metrics import mig
from jaxvae.networks import autoencoder
from jaxvae.training import train
from jaxvae.training.writers import progress_writer


@dataclass
class Args:
    """Flags of the script."""

    network: str = "mlp-small"
    latents: int = 10
    beta: float = 6.0
    learning_rate: float = 1e-3
    steps: int = 5000
    batch_size: int = 128
    seed: int = 0
    folder: Path | None = None
    """for checkpoints and metrics.jsonl; nothing is kept if not given"""


def main(args: Args) -> None:
    """Trains a beta-TCVAE on the demonstration scene and prints its MIG."""
    source = Scene()
    method = beta_tc_vae(
        autoencoder(args.network, source.event_shape, args.latents),
        hyperparameters=BetaTCVAE(learning_rate=args.learning_rate, beta=args.beta),
    )
    with progress_writer(args.steps) as progress:
        state = train(
            method,
            source,
            steps=args.steps,
            batch_size=args.batch_size,
            seed=args.seed,
            folder=args.folder,
            writers=[progress],
        )
    codes = encode_samples(method, state.params, source, jax.random.fold_in(jax.random.key(args.seed), 1000), 10_000)
    score = mig(codes.mean, codes.factors)
    print(f"MIG {score.score:.3f}")
    for name, value in zip(source.factor_names, score.per_factor, strict=True):
        print(f"  {name:14} {value:.3f}")


if __name__ == "__main__":
    main(tyro.cli(Args))
