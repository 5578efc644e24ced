"""Does each of Tripod's three parts help? (Hsu et al., 2024)

    python experiments/tripod_parts.py          2 cores: about 5 minutes
    python experiments/tripod_parts.py --full   steps of the paper, for an accelerator

Tripod is trained whole, and without the grid, the penalty on the information, the penalty on the mixing, and both.
InfoMEC takes the values of the grid as categories, and estimates information by neighbours without the grid. MIG cuts
the codes of all forms into 20 bins of equal width. `jaxvae evaluate` takes the values of the grid as categories instead
(`jaxvae.metrics.registry.OF_QUANTISED`), which is the same here, as no two of 12 equidistant values share a bin. Images
are in [0, 1], and not in [-1, 1] as in the paper.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import tyro
from common import RESULTS, conclude, known_sprites, shown
from quantised_codes import scored

from jaxvae.methods import Tripod, tripod
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = "The grid, the penalty on the information of the latents and that on the mixing of the decoder each help."
PARTS = {
    "whole": {},
    "no grid": {"code": "continuous"},
    "no information": {"penalties": "mixing"},
    "no mixing": {"penalties": "information"},
    "grid alone": {"penalties": "none"},
}


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 500
    batch_size: int = 64
    latents: int = 6
    learning_rate: float = 1e-3
    """the paper's is 2e-4, for 500 times as many steps"""
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains all forms, scores them and draws a point per model."""
    if args.full:
        args.steps, args.learning_rate = 250_000, 2e-4
    source = known_sprites(64 if args.full else 16)
    networks = autoencoder("gelu", source.event_shape, args.latents)
    rows, scores = [], {}
    figure, axis = plt.subplots(figsize=(7, 3.8))
    for name, options in PARTS.items():
        method = tripod(networks, hyperparameters=Tripod(args.learning_rate), **options)
        settings = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
        *_, (_, states, terms) = train_population(method, source, **settings, log_every=max(1, args.steps // 10))
        scores[name] = scored(method, states, source, {"InfoE": 2 / 3})
        cells = {score: shown(values, 4 if score == "squared error" else 2) for score, values in scores[name].items()}
        penalties = {term: shown(terms[term]) if term in terms else "" for term in ("multi_information", "mixing")}
        rows.append({"form": name, **cells, **penalties})
        axis.plot([len(rows)] * args.seeds, scores[name]["InfoM"], "o", alpha=0.7)
        print(rows[-1], flush=True)
    axis.set(ylabel="InfoM", xticks=range(1, 1 + len(rows)), xticklabels=list(PARTS))
    figure.tight_layout()
    found = "InfoM of the whole minus that of the form, same seeds: " + ", ".join(
        f"{name} {shown(scores['whole']['InfoM'] - scores[name]['InfoM'])}" for name in PARTS if name != "whole"
    )
    conclude("tripod_parts", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
