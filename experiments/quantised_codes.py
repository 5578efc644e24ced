"""Are codes of few values per latent more modular than those of VAEs, with or without weight decay? (Hsu et al., 2023)

    python experiments/quantised_codes.py          2 cores: about 5 minutes
    python experiments/quantised_codes.py --full   conv networks and steps of the paper, for an accelerator

QLAEs with several weight decays, and one with fixed values, are compared with a beta-TCVAE, a FactorVAE and a
FactorQVAE, on upright sprites and on small rooms. InfoM and InfoC are computed from the plug-in information of
quantised codes, and from that by nearest neighbours of the others, as in the paper.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_rooms, known_sprites, posteriors, shown

from jaxvae.data import Table
from jaxvae.method import Method, Nets
from jaxvae.methods import BetaTCVAE, FactorQVAE, FactorVAE, beta_tc_vae, factor_qvae, factor_vae, qlae
from jaxvae.methods.qlae import decayed
from jaxvae.metrics import infomec, mig
from jaxvae.networks import autoencoder, discriminator, shared_values, value_lists
from jaxvae.training import train_population, with_optimizer

CLAIM = (
    "Codes of few values per latent are more modular (InfoM) than those of a beta-TCVAE and a FactorVAE, without a "
    "worse reconstruction, and they need a strong weight decay for it."
)
RATE = 1e-3
SHARED = 64
"""Number of values that the latents of the FactorQVAE share."""
SCORED = 1000
"""Number of examples that are scored, in random order."""


@dataclass
class Args:
    """Flags of the experiment."""

    decays: tuple[float, ...] = (0.1, 0.0, 1.0)
    """weight decays of the QLAE with learned values; the first is also that with fixed values"""
    seeds: int = 5
    steps: int = 1000
    batch_size: int = 64
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def methods_for(source: Table, args: Args) -> dict[str, Method]:
    """The methods by name, with twice as many latents as factors."""
    latents = 2 * len(source.factor_names)
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, latents)
    lists = {**networks, "values": value_lists(latents)}
    rival = {**networks, "discriminator": discriminator(latents, widths=(256, 256, 256))}
    critic = discriminator(latents * SHARED, widths=(256, 256, 256))
    shared = {**networks, "values": shared_values(SHARED), "discriminator": critic}
    return {
        "beta-TCVAE": beta_tc_vae(networks, hyperparameters=BetaTCVAE(RATE)),
        "FactorVAE": factor_vae(rival, hyperparameters=FactorVAE(RATE)),
        **{
            f"QLAE, decay {decay:g}": with_optimizer(qlae(lists), partial(decayed, weight_decay=decay))
            for decay in args.decays
        },
        "QLAE, fixed values": with_optimizer(
            qlae(lists, values="fixed"), partial(decayed, weight_decay=args.decays[0])
        ),
        "FactorQVAE": factor_qvae(shared, hyperparameters=FactorQVAE(RATE, discriminator_learning_rate=RATE)),
    }


def scored(method: Method, states: object, source: Table) -> dict[str, np.ndarray]:
    """Scores of every member of a population, by name."""
    chosen = np.random.default_rng(0).permutation(source.size)[:SCORED]
    images, factors = all_images(source)[chosen], np.asarray(source.factors)[chosen]
    codes = np.asarray(posteriors(method, states, images).mean)
    found: dict[str, list[float]] = {"InfoM": [], "InfoC": [], "InfoE": [], "MIG": []}
    for code in codes:
        numbers = np.stack([np.unique(latent, return_inverse=True)[1] for latent in code.T], axis=1)
        scores = infomec(
            numbers if method.quantised else code, factors, discrete_codes=method.quantised, convention="paper"
        )
        for name in ("infom", "infoc", "infoe"):
            found[f"Info{name[-1].upper()}"].append(getattr(scores, name))
        found["MIG"].append(mig(code, factors).score)
    decode = jax.jit(jax.vmap(lambda params, z: method.decode(Nets(method.networks, params), z)))
    error = ((decode(states.params, jnp.asarray(codes)) - images[None]) ** 2).mean(axis=(1, 2, 3, 4))
    return {**{name: np.array(values) for name, values in found.items()}, "squared error": np.asarray(error)}


def main(args: Args) -> None:
    """Trains all of them, scores them and draws a point per model."""
    if args.full:
        args.steps, args.batch_size = 200_000, 128
    size = 64 if args.full else 16
    worlds = {"upright sprites": known_sprites(size), "small rooms": known_rooms(size)}
    rows, finds = [], []
    figure, axes = plt.subplots(1, len(worlds), figsize=(11, 3.8), sharey=True)
    for axis, (world, source) in zip(axes, worlds.items(), strict=True):
        scores = {}
        for name, method in methods_for(source, args).items():
            settings = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
            *_, (_, states, _) = train_population(method, source, **settings, log_every=args.steps)
            scores[name] = scored(method, states, source)
            digits = {"squared error": 4}
            cells = {score: shown(values, digits.get(score, 2)) for score, values in scores[name].items()}
            rows.append({"data": world, "method": name, **cells})
            axis.plot([len(scores)] * args.seeds, scores[name]["InfoM"], "o", alpha=0.7)
            print(rows[-1], flush=True)
        axis.set(title=world, ylabel="InfoM", xticks=range(1, 1 + len(scores)))
        axis.set_xticklabels(list(scores), rotation=30, ha="right", fontsize=8)
        first = scores[f"QLAE, decay {args.decays[0]:g}"]
        against = [name for name in scores if scores[name] is not first]
        finds.append(
            f"{world}: InfoM of the QLAE with decay {args.decays[0]:g} minus that of others, same seeds: "
            + ", ".join(f"{name} {shown(first['InfoM'] - scores[name]['InfoM'])}" for name in against)
        )
    figure.tight_layout()
    conclude("quantised_codes", CLAIM, rows, "; ".join(finds), figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
