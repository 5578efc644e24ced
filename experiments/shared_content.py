"""Do groups of images that share a factor encode it in their content? (Bouchacourt et al., 2018)

    python experiments/shared_content.py          2 cores: about 5 minutes
    python experiments/shared_content.py --full   convolutional networks and more steps

The groups are sprites of one shape and size at different positions. ML-VAE and Group-VAE are compared with a VAE
whose latents are split in the same way. A linear probe predicts shape and size from the content latents and from the
style latents.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxvae.data import Groups
from jaxvae.methods import VAE, GroupVAE, group_vae, vae
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "Groups that share factors separate them: what is shared is told from the content's latents and not from the "
    "styles', and what is not shared the other way round; a VAE mixes them."
)
SHARED, OWN = ("shape", "scale"), ("x", "y")


@dataclass
class Args:
    """Flags of the experiment."""

    members: tuple[int, ...] = (2, 8)
    """images of a group"""
    content: int = 4
    latents: int = 8
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 128
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def told(latents: np.ndarray, factors: np.ndarray, names: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    """Accuracy of a linear probe on held-out images, averaged over the wanted factors, and scaled: 0 chance, 1 all."""
    scores = []
    for column in map(names.index, wanted):
        train, test, value, truth = train_test_split(latents, factors[:, column], random_state=0)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(train, value)
        chance = 1 / (factors[:, column].max() + 1)
        scores.append((probe.score(test, truth) - chance) / (1 - chance))
    return float(np.mean(scores))


def main(args: Args) -> None:
    """Trains all of them, and draws what each part of the code tells."""
    if args.full:
        args.steps = 100_000
    source = known_sprites(64 if args.full else 16)
    images, factors, names = all_images(source), np.asarray(source.factors), source.factor_names
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    cases: dict[str, tuple[Any, Any]] = {"VAE": (vae(networks, hyperparameters=VAE(1e-3)), source)}
    for members in args.members:
        groups = Groups(source, SHARED, members)
        for title, averaging in (("ML-VAE", "ml-vae"), ("Group-VAE", "gvae")):
            method = group_vae(
                networks,
                averaging=averaging,
                members=members,
                content=args.content,
                hyperparameters=GroupVAE(1e-3),
            )
            cases[f"{title}, groups of {members}"] = method, groups
    parts = {"content": slice(0, args.content), "style": slice(args.content, None)}
    columns = [(part, kind) for part in parts for kind in ("shared", "own")]
    rows: list[dict[str, Any]] = []
    scores: dict[str, np.ndarray] = {}
    for name, (method, data) in cases.items():
        *_, (_, states, terms) = train_population(
            method,
            data,
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        codes = np.asarray(posteriors(method, states, images).mean)
        wanted = {"shared": SHARED, "own": OWN}
        scores[name] = np.array(
            [[told(code[:, parts[part]], factors, names, wanted[kind]) for part, kind in columns] for code in codes]
        )
        cells = {f"{kind} from {part}": shown(scores[name][:, i]) for i, (part, kind) in enumerate(columns)}
        rows.append({"model": name, **cells, "reconstruction": shown(terms["reconstruction"], 1)})
        print(rows[-1], flush=True)
    # Of the shared factors, how much better content tells them than style; of the others the reverse.
    gap = {name: (s[:, 0] - s[:, 2] + s[:, 3] - s[:, 1]) / 2 for name, s in scores.items()}
    figure, axis = plt.subplots(figsize=(8, 3.4))
    for i, (part, kind) in enumerate(columns):
        places = np.arange(len(cases)) + 0.2 * (i - 1.5)
        axis.bar(places, [s[:, i].mean() for s in scores.values()], 0.2, label=f"{kind} factors from {part}")
    axis.set_xticks(range(len(cases)), list(cases), rotation=15, fontsize=8)
    axis.set(ylabel="linear probe, 0 is chance")
    axis.legend(fontsize=7)
    figure.tight_layout()
    found = "how much better each part tells its own factors than the other part does, minus that of the VAE: "
    found += ", ".join(f"{name} {shown(gap[name] - gap['VAE'])}" for name in cases if name != "VAE")
    conclude("shared_content", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
