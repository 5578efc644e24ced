"""Are codes of few values per latent more modular than those of VAEs, with or without weight decay? (Hsu et al., 2023)

    python experiments/quantised_codes.py          2 cores: about 5 minutes
    python experiments/quantised_codes.py --full   conv networks and steps of the paper, for an accelerator

With `--runs FOLDER` the codes are kept, and scored again without training if they are there already.

QLAEs with several weight decays, and one with fixed values, are compared with a beta-TCVAE, a FactorVAE and a
FactorQVAE, on upright sprites and on small rooms. InfoM and InfoC are computed from the plug-in information of
quantised codes, and from that by nearest neighbours of the others, as in the paper. InfoE is that of the public codes,
on the rows that its regression learned from, and next to it that of unseen rows. MIG cuts the codes of all methods into
20 bins of equal width. `jaxvae evaluate` takes the values of quantised codes as categories instead
(`jaxvae.metrics.registry.OF_QUANTISED`), which gives other numbers where two values of a latent share a bin: learned
and shared values can, fixed ones cannot. The codes of the first QLAE and of the beta-TCVAE are also scored in all
public forms of InfoMEC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_rooms, known_sprites, posteriors, shown
from what_metrics_see import FORMS

from jaxvae.data import Table
from jaxvae.method import Method, Nets
from jaxvae.methods import BetaTCVAE, FactorQVAE, FactorVAE, beta_tc_vae, factor_qvae, factor_vae, qlae
from jaxvae.methods.qlae import decayed
from jaxvae.metrics import InfoMEC, infomec, mig
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
INFOE = {"InfoE": None, "InfoE, unseen rows": 2 / 3}
"""Shares of the rows that the regression of InfoE learns from; None scores the rows that it learned from, as public
codes do."""


@dataclass
class Args:
    """Flags of the experiment."""

    decays: tuple[float, ...] = (0.1, 0.0, 1.0)
    """weight decays of the QLAE with learned values; the first is also that with fixed values"""
    seeds: int = 5
    steps: int = 1000
    batch_size: int = 64
    full: bool = False
    runs: str = ""
    """folder for the codes of all models, which are not trained again if they are there"""
    results: Path = RESULTS
    """folder for the table and the figure"""


class Codes(NamedTuple):
    """Codes of the scored examples under every member of a population."""

    mean: np.ndarray
    """Codes [members, N, D], quantised or posterior means."""
    deviation: np.ndarray
    """Posterior standard deviations [members, N, D], 0 for quantised codes."""
    error: np.ndarray
    """Squared error of the reconstruction [members]."""


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


def chosen_examples(source: Table) -> tuple[jax.Array, np.ndarray]:
    """Images [N, H, W, C] and factors [N, K] of the examples that are scored."""
    chosen = np.random.default_rng(0).permutation(source.size)[:SCORED]
    return all_images(source)[chosen], np.asarray(source.factors)[chosen]


def encoded(method: Method, states: object, images: jax.Array) -> Codes:
    """Encodes images under every member of a population, and measures the reconstruction."""
    posterior = posteriors(method, states, images)
    decode = jax.jit(jax.vmap(lambda params, z: method.decode(Nets(method.networks, params), z)))
    error = ((decode(states.params, posterior.mean) - images[None]) ** 2).mean(axis=(1, 2, 3, 4))
    deviation = jnp.zeros_like(posterior.mean) if method.quantised else jnp.exp(posterior.logvar / 2)
    return Codes(*map(np.asarray, (posterior.mean, deviation, error)))


def scores_of(
    codes: Codes, factors: np.ndarray, quantised: bool, infoe: Mapping[str, float | None] = INFOE
) -> dict[str, np.ndarray]:
    """Scores of every member of a population, by name. `infoe` is what `INFOE` is."""
    found: dict[str, list[float]] = {"InfoM": [], "InfoC": [], **{name: [] for name in infoe}, "MIG": []}
    for code in codes.mean:
        for name, share in infoe.items():
            scores = mec(code, factors, quantised, train_fraction=share)
            found[name].append(scores.infoe)
        found["InfoM"].append(scores.infom)
        found["InfoC"].append(scores.infoc)
        found["MIG"].append(mig(code, factors).score)
    return {**{name: np.array(values) for name, values in found.items()}, "squared error": codes.error}


def mec(code: np.ndarray, factors: np.ndarray, quantised: bool, **settings: object) -> InfoMEC:
    """InfoMEC of codes [N, D], with the values of quantised codes as categories."""
    return infomec(code, factors, convention="paper", discrete_codes=quantised, **settings)


def scored(
    method: Method, states: object, source: Table, infoe: Mapping[str, float | None] = INFOE
) -> dict[str, np.ndarray]:
    """Scores of every member of a population, by name."""
    images, factors = chosen_examples(source)
    return scores_of(encoded(method, states, images), factors, method.quantised, infoe)


def kept(folder: str, name: str, method: Method, source: Table, args: Args) -> Codes:
    """Codes of a method, from the folder if they are there, and otherwise of models that are trained."""
    settings = f"{args.steps} steps {args.batch_size} images {args.seeds} seeds"
    path = Path(folder) / f"{source.name} {source.event_shape[0]} {name} {settings}.npz".replace(" ", "-")
    if folder and path.exists():
        with np.load(path) as arrays:
            return Codes(**arrays)
    members = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
    *_, (_, states, _) = train_population(method, source, **members, log_every=args.steps)
    codes = encoded(method, states, chosen_examples(source)[0])
    if folder:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **codes._asdict())
    return codes


def in_all_forms(world: str, name: str, codes: Codes, factors: np.ndarray, quantised: bool) -> list[dict[str, str]]:
    """InfoMEC of the same models in each public form. That of FactorQVAE takes samples of the posteriors of VAEs."""
    table = []
    rng = np.random.default_rng(0)
    samples = codes.mean + codes.deviation * rng.standard_normal(codes.mean.shape)
    for form, (neighbours, active) in FORMS.items():
        of_samples = form == "FactorQVAE" and not quantised
        settings = {"neighbours": neighbours, "active": active, "train_fraction": None}
        read = samples if of_samples else codes.mean
        found = [mec(code, factors, quantised, **settings) for code in read]
        table.append(
            {"data": world, "method": name, "form": form, "codes": "samples" if of_samples else "means"}
            | {"active codes": f"{np.mean([each.active.sum() for each in found]):.1f}"}
            | {f"Info{part}": shown([getattr(each, f"info{part.lower()}") for each in found]) for part in "MEC"}
        )
    return table


def main(args: Args) -> None:
    """Trains all of them, scores them and draws a point per model."""
    if args.full:
        args.steps, args.batch_size = 200_000, 128
    size = 64 if args.full else 16
    worlds = {"upright sprites": known_sprites(size), "small rooms": known_rooms(size)}
    rows, finds, forms = [], [], []
    first_name = f"QLAE, decay {args.decays[0]:g}"
    figure, axes = plt.subplots(1, len(worlds), figsize=(11, 3.8), sharey=True)
    for axis, (world, source) in zip(axes, worlds.items(), strict=True):
        scores = {}
        _, factors = chosen_examples(source)
        for name, method in methods_for(source, args).items():
            codes = kept(args.runs, name, method, source, args)
            scores[name] = scores_of(codes, factors, method.quantised)
            if name in (first_name, "beta-TCVAE"):
                forms += in_all_forms(world, name, codes, factors, method.quantised)
            digits = {"squared error": 4}
            cells = {score: shown(values, digits.get(score, 2)) for score, values in scores[name].items()}
            rows.append({"data": world, "method": name, **cells})
            axis.plot([len(scores)] * args.seeds, scores[name]["InfoM"], "o", alpha=0.7)
            print(rows[-1], flush=True)
        axis.set(title=world, ylabel="InfoM", xticks=range(1, 1 + len(scores)))
        axis.set_xticklabels(list(scores), rotation=30, ha="right", fontsize=8)
        first = scores[first_name]
        finds += [
            f"{world}: {score} of the {first_name} minus that of others, same seeds: "
            + ", ".join(f"{name} {shown(first[score] - scores[name][score])}" for name in scores if name != first_name)
            for score in ("InfoM", "InfoE")
        ]
    figure.tight_layout()
    conclude("quantised_codes", CLAIM, rows, "; ".join(finds), figure, args, {"infomec": forms})


if __name__ == "__main__":
    main(tyro.cli(Args))
