"""Is maximal coding rate reduction more robust to label noise than cross-entropy? (Yu et al., 2020)

    python experiments/label_corruption.py          2 cores: about 11 minutes
    python experiments/label_corruption.py --full   more steps

Two thirds of scikit-learn's digits are training data, with a share of the labels redrawn from all ten classes,
differently for each seed. The last third, with true labels, is for testing. MCR^2 is compared with cross-entropy on
the same dense network, on plain features and on features of unit length. MCR^2 classifies by the nearest subspace,
fitted to the training features with the given labels; cross-entropy by its last layer, and by nearest subspace as
well. Cross-entropy converges until it fits all labels as given. Early stopping makes it robust too, and MCR^2 learns
wrong labels more slowly and has not converged at the end. Therefore the best accuracy during training, chosen on the
test digits for all methods alike, is reported next to the last one.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from common import RESULTS, conclude, shown

from jaxvae.analysis import class_spectra, fit_subspaces
from jaxvae.data import Table, classified, digits, from_arrays
from jaxvae.losses import unit_length
from jaxvae.method import Batch, Context, Method, Nets, Network, Objective, Posterior, Terms
from jaxvae.methods.mcr2 import MCR2, mcr2
from jaxvae.networks import from_linen
from jaxvae.networks.features import MLPFeatures
from jaxvae.training import train_population

CLAIM = (
    "Without wrong labels MCR^2 and cross-entropy tell images equally well; the more labels are wrong, the further "
    "cross-entropy falls behind. MCR^2's classes lie at right angles and use many directions, cross-entropy's few."
)
K = 10
RATES = {"rate_reduction": "R - R_c", "expansion": "R", "compression": "R_c"}


@dataclass
class Args:
    """Flags of the experiment."""

    corruption: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5)
    """shares of the labels that are drawn anew"""
    features: int = 40
    seeds: int = 5
    steps: int = 1000
    batch_size: int = 500
    learning_rate: float = 1e-3
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def cross_entropy(encoder: Network, features: int, learning_rate: float) -> Method:
    """A linear head on the features, trained with them."""

    def loss(net: Nets, batch: Batch, ctx: Context) -> tuple[jax.Array, Terms]:
        logits = net.head(net.encoder(batch["x"]))
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["class"]).mean(), {}

    def encode(net: Nets, batch: Batch) -> Posterior:
        code = net.encoder(batch["x"])
        return Posterior(code, jnp.full_like(code, -20.0))

    networks = {"encoder": encoder, "head": from_linen(nn.Dense(K), (features,))}
    objective = Objective(loss, ("encoder", "head"))
    return Method("cross-entropy", networks, MCR2(learning_rate), (objective,), encode, needs=("x", "class"))


def methods(args: Args) -> dict[str, Method]:
    """The three, all with layers of 256, 256 and the features."""
    sphere = from_linen(MLPFeatures(args.features, (256, 256)), (8, 8, 1))
    layers = [lambda x: x.reshape(len(x), -1), nn.Dense(256), nn.relu, nn.Dense(256), nn.relu, nn.Dense(args.features)]
    return {
        "MCR^2": mcr2({"encoder": sphere}, classes=K, hyperparameters=MCR2(args.learning_rate)),
        "cross-entropy": cross_entropy(from_linen(nn.Sequential(layers), (8, 8, 1)), args.features, args.learning_rate),
        "cross-entropy, unit length": cross_entropy(sphere, args.features, args.learning_rate),
    }


def measured(method: Method, params: Any, given: Batch, test: Batch, rank: int) -> tuple[dict[str, Any], np.ndarray]:
    """Accuracies, that of the method's own classifier first, directions per class, and the test features in order."""
    net = Nets(method.networks, jax.tree.map(lambda leaf: leaf[0], params))
    codes, of_test = (unit_length(method.encode(net, batch).mean) for batch in (given, test))
    label, truth = np.asarray(given["class"]), np.asarray(test["class"])
    subspaces = fit_subspaces(codes, label, rank)
    told, told_given = subspaces.predict(of_test), subspaces.predict(codes)
    result = {"test": 0.0, "given labels": 0.0, "nearest subspace": np.mean(told == truth)}
    if "head" in method.networks:
        told, told_given = (np.asarray(net.head(method.encode(net, b).mean).argmax(axis=1)) for b in (test, given))
    values = class_spectra(of_test, truth) ** 2
    result |= {"test": np.mean(told == truth), "given labels": np.mean(told_given == label)}
    result["directions"] = np.mean(values.sum(1) ** 2 / (values**2).sum(1))
    return result, np.asarray(of_test)[np.argsort(truth, kind="stable")]


def split() -> tuple[Table, Batch]:
    """A table of two thirds of the digits, and the others as a batch."""
    source, order = digits(), np.random.default_rng(0).permutation(1797)
    images, label = np.asarray(source.at(jnp.asarray(order))["x"]), np.asarray(source.factors)[order, 0]
    train = from_arrays(images[:1198], label[:1198, None], name="digits to train on", factor_names=("digit",))
    return train, {"x": jnp.asarray(images[1198:]), "class": jnp.asarray(label[1198:])}


def main(args: Args) -> None:
    """Trains all of them, scores held-out digits, and draws accuracies, rates, singular values and angles."""
    if args.full:
        args.steps = 10_000
    (train, test), rank = split(), args.features // K
    ceiling = args.features / 2 * math.log(1 + 1 / 0.5) - args.features / (2 * K) * math.log(1 + K / 0.5)
    settings = {"steps": args.steps, "batch_size": args.batch_size, "log_every": max(1, args.steps // 20)}
    scores: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in methods(args)}
    rows: list[dict[str, Any]] = []
    pictures: dict[str, np.ndarray] = {}
    paths: dict[str, list[Any]] = {}
    for ratio in args.corruption:
        for name, method in methods(args).items():
            results, paths[name] = [], []
            for seed in range(args.seeds):
                source = classified(train, "digit", corruption=ratio, seed=10 + seed)
                given, path = source.at(jnp.arange(source.size)), []
                for step, states, terms in train_population(method, source, seeds=[seed], **settings):
                    result, codes = measured(method, states.params, given, test, rank)
                    path.append([step, result["test"], *(terms[rate][0] for rate in RATES if rate in terms)])
                result["best while training"] = max(accuracy for _, accuracy, *_ in path)
                results.append(result | ({"rate reduction": path[-1][2]} if name == "MCR^2" else {}))
                paths[name].append(path)
                if ratio == args.corruption[0]:
                    pictures[name] = codes
                    pictures.setdefault("rates", np.array(path))
            scores[name].append({column: np.array([result[column] for result in results]) for column in results[0]})
            cells = {column: shown(values, 3) for column, values in scores[name][-1].items()}
            rows.append({"corrupted": ratio, "model": name, **cells, "rate reduction": cells.get("rate reduction", "")})
            print(rows[-1], flush=True)
    figure = draw(args, scores, pictures, paths, np.asarray(test["class"]), ceiling)
    found = "test accuracy of MCR^2 (nearest subspace) minus that of heads, same seeds, as more labels are drawn anew: "
    for name in list(scores)[1:]:
        for column in ("test", "best while training"):
            pairs = zip(scores["MCR^2"], scores[name], strict=True)
            gaps = ", ".join(shown(one[column] - other[column], 3) for one, other in pairs)
            found += f"{name}, {'in the end' if column == 'test' else column} {gaps}; "
    found += f"directions per class, clean labels (participation ratio; dimensions per class: {rank}): "
    found += ", ".join(f"{name} {shown(several[0]['directions'])}" for name, several in scores.items())
    found += (
        f"; rate reduction, clean labels, {shown(scores['MCR^2'][0]['rate reduction'])} nats of at most {ceiling:.2f}"
    )
    conclude("label_corruption", CLAIM, rows, found, figure, args)


def draw(args: Args, scores: Any, pictures: Any, paths: Any, truth: np.ndarray, ceiling: float) -> Any:
    """Accuracy by corruption and in training; rates; singular values by class; cosines of features sorted by class."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5))
    for name, several in scores.items():
        ends = [result["test"] for result in several]
        line = axes[0, 0].errorbar(args.corruption, [v.mean() for v in ends], [v.std() for v in ends], label=name)
        best = [result["best while training"].mean() for result in several]
        axes[0, 0].plot(args.corruption, best, linestyle=":", color=line[0].get_color())
        step, accuracy = np.array([[row[:2] for row in path] for path in paths[name]]).mean(axis=0).T
        axes[0, 1].plot(step, accuracy, label=name)
    axes[0, 0].set(xlabel="labels drawn anew", ylabel="test accuracy in the end (dotted: best)")
    axes[0, 1].set(xlabel="updates", ylabel="test accuracy", title=f"{args.corruption[-1]:.0%} drawn anew")
    for column, rate in enumerate(RATES.values(), start=2):
        axes[0, 2].plot(pictures["rates"][:, 0], pictures["rates"][:, column], label=rate)
    axes[0, 2].axhline(ceiling, color="grey", linestyle="--", label="most that R - R_c can be")
    axes[0, 2].set(xlabel="updates of MCR^2, clean labels", ylabel="nats")
    for i, name in enumerate(("MCR^2", "cross-entropy")):
        spectra = class_spectra(pictures[name], np.sort(truth))
        axes[1, 0].plot(np.arange(1, 1 + spectra.shape[1]), spectra.T, color=f"C{i}", linewidth=0.8)
        axes[1, 0].plot([], color=f"C{i}", label=name)
        axes[1, 1 + i].imshow(np.abs(pictures[name] @ pictures[name].T), vmin=0, vmax=1, cmap="magma")
        axes[1, 1 + i].set(xticks=[], yticks=[], title=f"|cosine| of test digits, {name}")
    axes[1, 0].set(xlabel="direction", ylabel="singular value, a line per class", xlim=(0.5, 20))
    for axis in (*axes[0], axes[1, 0]):
        axis.legend(fontsize=7)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args))
