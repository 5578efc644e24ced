"""Do relations of one factor, without its values, tie a latent to it? (Ridgeway, 2016)

    python experiments/known_relations.py          2 cores: about 3 minutes
    python experiments/known_relations.py --factor scale   of another factor, into results of its own
    python experiments/known_relations.py --full   conv networks and more steps, for an accelerator

Constrained autoencoders know a relation in a factor of sprites, the horizontal position or another: shared values,
distances, ranks or analogies. The same method with a weight of 0 knows nothing. The first latent is compared with every
factor.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown
from scipy import stats

from jaxvae.data import Constraints
from jaxvae.methods import ConstrainedAutoencoder, constrained_autoencoder
from jaxvae.networks import analogy_weights, autoencoder
from jaxvae.training import train_population

CLAIM = "A relation of one factor ties the first latent to it and to no other, and without the relation nothing does."
FORMS = {
    "groups": {},
    "distances": {},
    "distances stress": {"distances": "stress"},
    "ranks": {},
    "analogies swap": {},
    "analogies additive": {"analogy": "additive"},
    "analogies multiplicative": {"analogy": "multiplicative"},
}


@dataclass
class Args:
    """Flags of the experiment."""

    factor: str = "x"
    """that the relation is of"""
    weight: float = 10.0
    """of the constraint; 0 is added"""
    seeds: int = 3
    steps: int = 500
    batch_size: int = 64
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def main(args: Args) -> None:
    """Trains all of them, and correlates the first latent with the factors."""
    if args.full:
        args.steps, args.latents = 50_000, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images, factors, names = all_images(source), np.asarray(source.factors), source.factor_names
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    networks |= {"analogy": analogy_weights(args.latents)}
    cases = {"no relation": ("groups", {}, 0.0)}
    cases |= {form: (form.split()[0], options, args.weight) for form, options in FORMS.items()}
    rows, own = [], {}
    figure, axis = plt.subplots(figsize=(9, 3.8))
    for form, (constraint, options, weight) in cases.items():
        method = constrained_autoencoder(
            networks,
            constraint=constraint,
            hyperparameters=ConstrainedAutoencoder(constraint_weight=weight),
            **options,
        )
        settings = {"seeds": range(args.seeds), "steps": args.steps, "batch_size": args.batch_size}
        wrapped = Constraints(source, args.factor, constraint)
        *_, (_, states, terms) = train_population(method, wrapped, **settings, log_every=max(1, args.steps // 10))
        first = np.asarray(posteriors(method, states, images).mean)[:, :, 0]
        found = {
            name: np.array([abs(stats.spearmanr(code, factors[:, k]).statistic) for code in first])
            for k, name in enumerate(names)
        }
        own[form] = found[args.factor]
        cells = {f"|rank correlation| with {name}": shown(values) for name, values in found.items()}
        rows.append({f"relation of {args.factor}": form, **cells, "reconstruction": shown(terms["reconstruction"], 1)})
        axis.plot([len(rows)] * args.seeds, found[args.factor], "o", alpha=0.7)
        print(rows[-1], flush=True)
    axis.set(ylabel=f"|rank correlation| of the first latent with {args.factor}", xticks=range(1, 1 + len(rows)))
    axis.set_xticklabels(list(cases), rotation=30, ha="right", fontsize=8)
    figure.tight_layout()
    found = f"|rank correlation| with {args.factor} minus that without the relation, same seeds: " + ", ".join(
        f"{form} {shown(own[form] - own['no relation'])}" for form in FORMS
    )
    name = "known_relations" if args.factor == "x" else f"known_relations_{args.factor}"
    conclude(name, CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
