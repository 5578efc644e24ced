"""Does a group-sparse decoder find which latent drives which group? (Ainsworth et al., 2018)

    python experiments/group_sparsity.py          2 cores: about 10 minutes
    python experiments/group_sparsity.py --full   number of steps of the authors

Bars: images with one bright row, where the rows are the groups. Synthetic groups: four latents that each drive two of
six groups of channels through networks of their own, with few examples; held-out bounds are compared with those of a
VAE.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, shown
from scipy.optimize import linear_sum_assignment

from jaxvae.data import Table, bars, from_arrays
from jaxvae.losses import group_norms
from jaxvae.method import Method, Nets
from jaxvae.methods import OIVAE, VAE, gaussian, oi_vae, vae
from jaxvae.networks import autoencoder, grouped_decoder
from jaxvae.training import TrainState, train_population

CLAIM = (
    "The group lasso makes each latent drive few groups: on bars one row each, where without it rows mix; and from few "
    "examples the sparse decoder generalises better than a VAE's."
)
GROUPS, CHANNELS, LATENTS, NOISE = 6, 5, 4, 0.1
PLACES = np.arange(GROUPS * CHANNELS).reshape(GROUPS, CHANNELS).tolist()


@dataclass
class Args:
    """Flags of the experiment."""

    lams: tuple[float, ...] = (0.0, 0.1, 1.0, 3.0)
    examples: tuple[int, ...] = (300, 3000)
    """of the synthetic groups, which get half of the steps"""
    seeds: int = 5
    steps: int = 6000
    batch_size: int = 128
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def driven_groups(examples: int) -> tuple[Table, np.ndarray, np.ndarray]:
    """Training data, 2,000 test vectors, and which latent drives which group: bool [groups, latents]."""
    rng = np.random.default_rng(0)
    mask = np.zeros((GROUPS, LATENTS), bool)
    for latent in range(LATENTS):
        mask[[latent, (latent + 2) % GROUPS], latent] = True
    z = rng.standard_normal((examples + 2000, LATENTS))
    x = [
        np.tanh(z * row @ rng.standard_normal((LATENTS, 8)) * 1.5) @ rng.standard_normal((8, CHANNELS)) for row in mask
    ]
    values = np.concatenate(x, axis=1)
    values = values / values.std(0) + NOISE * rng.standard_normal(values.shape)
    vectors = values.astype(np.float32)
    return from_arrays(vectors[2000:], real=True), vectors[:2000], mask


def matched(strength: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The columns of [groups, latents] in the order that fits the truth best."""
    rows, columns = linear_sum_assignment(truth.T.astype(float) @ strength, maximize=True)
    return strength[:, columns[np.argsort(rows)]]


def f1(strength: np.ndarray, truth: np.ndarray) -> float:
    """Of the support."""
    found = matched(strength, truth) > 1e-6
    return float(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))


def trained(method: Method, source: Table, args: Args, steps: int) -> TrainState:
    """One member per seed."""
    *_, (_, states, _) = train_population(
        method, source, seeds=range(args.seeds), steps=steps, batch_size=args.batch_size
    )
    return states


def bounds(method: Method, states: TrainState, test: np.ndarray) -> np.ndarray:
    """Evidence lower bound of held-out vectors, nats, of every member."""

    def bound(params: Any) -> jax.Array:
        net = Nets(method.networks, params)
        mean, logvar = method.encode(net, {"x": test})
        noise = jax.random.normal(jax.random.key(0), (20, *mean.shape))
        nll = jax.lax.map(
            lambda e: gaussian(NOISE).nll(method.decode(net, mean + jnp.exp(logvar / 2) * e), test).mean(), noise
        )
        return -nll.mean() - 0.5 * (mean**2 + jnp.expm1(logvar) - logvar).sum(-1).mean()

    return np.asarray(jax.jit(jax.vmap(bound))(states.params))


def main(args: Args) -> None:
    """Trains all of them; draws the strengths on bars and the held-out bounds."""
    if args.full:
        args.steps = 20_000
    rows: list[dict[str, Any]] = []
    figure, axes = plt.subplots(1, len(args.lams) + 1, figsize=(3 * len(args.lams) + 3, 3))
    one_row: dict[float, np.ndarray] = {}
    for axis, lam in zip(axes, args.lams, strict=False):
        source = bars()
        networks = autoencoder("mlp-small", source.event_shape, 8) | grouped_decoder(source.event_shape, 8)
        hp = OIVAE(loadings_learning_rate=5e-4, lam=lam)
        states = trained(oi_vae(networks, noise="learned", hyperparameters=hp), source, args, args.steps)
        strength = np.asarray(jax.vmap(group_norms)(states.params["loadings"]["weights"]))
        share = np.array([s[linear_sum_assignment(s, maximize=True)].sum() / max(s.sum(), 1e-9) for s in strength])
        one_row[lam] = share
        zeros = (strength == 0).mean((1, 2))
        rows.append({"data": "bars", "model": f"lam {lam:g}", "on one row": shown(share), "zeros": shown(zeros)})
        rows[-1] |= {"F1": "", "held-out bound": ""}
        print(rows[-1], flush=True)
        axis.imshow(matched(strength[0], np.eye(8, dtype=bool)), cmap="Greys")
        axis.set(title=f"lam {lam:g}", xlabel="latent", ylabel="row")
    best_gain = []
    weights = sorted({args.lams[0], *args.lams[2:]})
    for examples in args.examples:
        source, test, mask = driven_groups(examples)
        encoder = autoencoder("mlp-small", source.event_shape, LATENTS)
        grouped = encoder | grouped_decoder(source.event_shape, LATENTS, PLACES, width=LATENTS, hidden=(16,))
        held_out = {}
        for lam in (*weights, None):
            hp = OIVAE(loadings_learning_rate=5e-4, lam=lam or 0.0)
            method = oi_vae(grouped, likelihood=gaussian(NOISE), hyperparameters=hp)
            if lam is None:
                method = vae(encoder, likelihood=gaussian(NOISE), hyperparameters=VAE(1e-3))
            states = trained(method, source, args, args.steps // 2)
            held_out[lam] = bounds(method, states, test)
            scores, zeros = "", ""
            if lam is not None:
                strength = np.asarray(jax.vmap(group_norms)(states.params["loadings"]["weights"]))
                scores = shown([f1(s, mask) for s in strength])
                zeros = shown((strength == 0).mean((1, 2)))
            name = "VAE" if lam is None else f"lam {lam:g}"
            rows.append({"data": f"{examples} vectors", "model": name, "on one row": "", "zeros": zeros})
            rows[-1] |= {"F1": scores, "held-out bound": shown(held_out[lam], 1)}
            print(rows[-1], flush=True)
        best = max(weights, key=lambda lam: held_out[lam].mean())
        best_gain.append(f"{examples}: {shown(held_out[best] - held_out[None], 1)} (lam {best:g})")
        axes[-1].plot([f"{lam:g}" for lam in weights], [held_out[lam].mean() for lam in weights], "o-", label=examples)
        axes[-1].axhline(held_out[None].mean(), color=axes[-1].lines[-1].get_color(), ls=":")
    axes[-1].set(xlabel="lam (dotted: VAE)", title="held-out bound, nats")
    axes[-1].legend(title="examples", fontsize=7)
    figure.tight_layout()
    found = "share of a latent's strength that is on one row: " + ", ".join(
        f"lam {lam:g} {shown(share)}" for lam, share in one_row.items()
    )
    found += "; held-out bound of the best lam minus the VAE's, by examples: " + ", ".join(best_gain)
    conclude("group_sparsity", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
