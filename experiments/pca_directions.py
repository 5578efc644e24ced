"""Do the latents of a VAE follow principal directions because its posterior is diagonal? (Rolinek et al., 2019)

    python experiments/pca_directions.py          2 cores: about 5 minutes
    python experiments/pca_directions.py --full   more seeds, points and steps, for an accelerator

Two uniform factors, one twice as wide as the other, form a rectangle, which random networks bend, a different one per
seed. The controls, an autoencoder without noise and a VAE with full covariances, can rotate their codes at no cost.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, interval, shown
from scipy.spatial.transform import Rotation

from jaxvae.analysis import decode_jacobians, distance_to_orthogonality, knn_gap, polarised_gap
from jaxvae.data import from_arrays
from jaxvae.losses import kl_standard_normal
from jaxvae.method import Batch, Context, Method, Nets, Objective, Params, Posterior, Terms
from jaxvae.methods import BetaVAE, autoencoder_method, beta_vae, gaussian
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "A VAE and a beta-VAE, with diagonal posteriors, come closer to orthogonality and score higher than an autoencoder "
    "and a VAE with full covariances, at like reconstruction."
)
CONTROLS = {"autoencoder": 0.0, "full covariance": 1.0}
"""Weight of their noise and KL."""
LATENTS = 2
JACOBIANS = 500
"""Points at which a decoder's Jacobian is taken."""
RANDOM = 0.55
"""Mean distance to orthogonality of random rotations of 2 latents."""


@dataclass
class Args:
    """Flags of the experiment."""

    beta: float = 4.0
    """of the beta-VAE"""
    scale: float = 0.1
    """of the Gaussian likelihood; the rectangle's standard deviations are 1.15 and 0.58"""
    points: int = 10_000
    """a fifth of them only scores"""
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-3
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def render(factors: jax.Array, net: int | None) -> jax.Array:
    """[N, 2] in [-1, 1] -> [N, 3], a turned rectangle; or that through the net of this seed, [N, 8]."""
    turn = Rotation.from_rotvec(np.pi / 4 * np.array([1, -1, 1]) / 3**0.5).as_matrix()
    points = factors @ (turn[:, :2] * [2, 1]).T
    if net is None:
        return points
    rng = np.random.default_rng(net)
    return jnp.tanh(points @ rng.normal(0, 3**-0.5, (3, 16))) @ rng.normal(0, 16**-0.5, (16, 8))


def models(shape: tuple[int, ...], args: Args) -> dict[str, Method]:
    """The controls, methods of our own with posteriors N(mean, L L^T), and the methods in question."""
    likelihood, hp = gaussian(args.scale), BetaVAE(args.learning_rate, 1.0)
    networks = autoencoder("mlp-small", shape, LATENTS)
    # The controls' encoder has a third mean, which is L_10; its log variances are those of L's diagonal.
    wide = networks | {"encoder": autoencoder("mlp-small", shape, LATENTS + 1)["encoder"]}

    def triangle(net: Nets, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean, logvar = net.encoder(batch["x"])
        return mean[:, :LATENTS], logvar[:, :LATENTS], mean[:, LATENTS]

    def loss(net: Nets, batch: Batch, ctx: Context, noise: float) -> tuple[jax.Array, Terms]:
        mean, logvar, below = triangle(net, batch)
        normal = jax.random.normal(ctx.key, mean.shape)
        spread = (jnp.exp(logvar / 2) * normal).at[:, 1].add(below * normal[:, 0])
        error = likelihood.nll(net.decoder(mean + noise * spread), batch["x"]).mean()
        kl = (kl_standard_normal(mean, logvar) + 0.5 * below**2).mean()
        return error + noise * kl, {"reconstruction": error, "kl": kl}

    def encode(net: Nets, batch: Batch) -> Posterior:
        mean, logvar, below = triangle(net, batch)
        return Posterior(mean, jnp.log(jnp.exp(logvar).at[:, 1].add(below**2)))

    methods = {}
    for name, noise in CONTROLS.items():
        objective = Objective(partial(loss, noise=noise), ("encoder", "decoder"))
        methods[name] = autoencoder_method(name, wide, likelihood, hp, objective)._replace(encode=encode)
    for name, beta in (("VAE", 1.0), (f"beta-VAE, beta {args.beta:g}", args.beta)):
        methods[name] = beta_vae(networks, likelihood=likelihood, hyperparameters=hp._replace(beta=beta))
    return methods


def distance(decode: Callable[[jax.Array], jax.Array], codes: jax.Array) -> float:
    """To orthogonality, of the codes' axes."""
    return distance_to_orthogonality(decode_jacobians(decode, codes)).distance


def measures(
    method: Method, params: Params, images: jax.Array, factors: np.ndarray
) -> tuple[float, float, float, float]:
    """Distance to orthogonality, score, % of the variance that means do not reconstruct, and Delta_KL of a member."""
    net = Nets(method.networks, params)
    mean, logvar = method.encode(net, {"x": images})
    unexplained = ((method.decode(net, mean) - images) ** 2).sum() / ((images - images.mean(axis=0)) ** 2).sum()
    far = distance(lambda z: method.decode(net, z), mean[:JACOBIANS])
    return far, knn_gap(mean, factors), 100 * float(unexplained), polarised_gap(mean, logvar)


def main(args: Args) -> None:
    """Trains and measures all models, and draws a point per model."""
    if args.full:
        args.points, args.seeds, args.steps = 50_000, 20, 20_000
    training = args.points * 4 // 5
    factors = np.random.default_rng(0).uniform(-1, 1, (args.points, 2)).astype(np.float32)
    held, seeds = factors[training:], list(range(args.seeds))
    own: dict[str, list[float]] = {"rectangle": [], "bent": []}
    looks: dict[tuple[str, str], dict[int, list]] = defaultdict(lambda: defaultdict(list))
    for data, net, members in [("rectangle", None, seeds), *(("bent", seed, [seed]) for seed in seeds)]:
        images = render(factors, net)
        # All of the rectangle's variance, so that the likelihood's scale is as fine to each.
        images *= (5 / 3 / images.var(axis=0).sum()) ** 0.5
        source = from_arrays(np.asarray(images[:training]), name=data, real=True)
        own[data].append(distance(partial(render, net=net), factors[:JACOBIANS]))
        for name, method in models(source.event_shape, args).items():
            every = max(1, args.steps // 10) if (data, name) == ("bent", "VAE") else args.steps
            for step, states, _ in train_population(
                method, source, seeds=members, steps=args.steps, batch_size=args.batch_size, log_every=every
            ):
                looks[data, name][step] += [
                    measures(method, jax.tree.map(lambda leaf, i=i: leaf[i], states.params), images[training:], held)
                    for i in range(len(members))
                ]
            print(data, net, name, np.mean(looks[data, name][args.steps][-len(members) :], axis=0), flush=True)

    rows, found = [], []
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8))
    for axis, data in zip(axes, own, strict=False):
        ends = {name: np.array(look[args.steps]).T for (of, name), look in looks.items() if of == data}
        for name, (far, score, unexplained, gap) in ends.items():
            row = {"data": data, "model": name, "distance": shown(far), "score": shown(score)}
            row["% not reconstructed"] = shown(unexplained)
            rows.append(row | {"Delta_KL": "" if name in CONTROLS else shown(gap, 3)})
            axis.plot(far, score, "o", label=name, alpha=0.7)
        axis.axvline(RANDOM, color="0.7", ls=":", label="random rotations")
        axis.set(xlabel="distance to orthogonality", ylabel="score", title=data, xlim=(0, 1.1), ylim=(-0.05, 1.05))
        # Of the same seed, and the same net.
        less = {(d, c): ends[d][:2] - ends[c][:2] for d in ends if d not in CONTROLS for c in CONTROLS}
        clear = [
            sum(sign * interval(pair[i])[0] > interval(pair[i])[1] for pair in less.values())
            for i, sign in enumerate((-1, 1))
        ]
        far, score = np.concatenate([end[:2] for end in ends.values()], axis=1)
        gains = " and ".join(
            f"{shown(less['VAE', control][0])} / {shown(less['VAE', control][1])} minus {control}"
            for control in CONTROLS
        )
        found.append(
            f"{data}: distance / score of the VAE, same seeds, {gains}; distance clearly lower in {clear[0]}, score "
            f"clearly higher in {clear[1]} of {len(less)} pairs of a method and a control; correlation of the two over "
            f"all {len(far)} models {np.corrcoef(far, score)[0, 1]:.2f}; distance of the factors themselves "
            f"{np.mean(own[data]):.2f}, of random rotations {RANDOM}"
        )
    axes[0].legend(fontsize=8)
    course = looks["bent", "VAE"]
    for i, color, label in ((0, "C2", "distance to orthogonality"), (3, "0.3", "Delta_KL")):
        axes[2].plot(list(course), [[look[i] for look in seen] for seen in course.values()], color=color, lw=0.8)
        axes[2].plot([], [], color=color, label=label)
    axes[2].set(xlabel="update", title="VAE, bent, a line per seed", yscale="log")
    axes[2].legend(fontsize=8)
    figure.tight_layout()
    conclude("pca_directions", CLAIM, rows, ". ".join(found), figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
