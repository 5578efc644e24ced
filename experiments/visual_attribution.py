"""Do attribution maps show everything that a class changes? (Baumgartner et al., 2018; Bass et al., 2020)

    python experiments/visual_attribution.py          2 cores: about 20 minutes
    python experiments/visual_attribution.py --full   images of 112 pixels (ICAM: 128), published networks

Cases have a bright square in the middle and one in either of two places. VA-GAN and ICAM, which turn a case into a
control, are compared with the gradient of a classifier and with occlusion. Scores are on held-out images: correlation
with the planted squares, and with the second one over all pixels outside the middle.
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
from sklearn.linear_model import LogisticRegression

from jaxvae.analysis import normalised_cross_correlation
from jaxvae.data import case_control, squares
from jaxvae.losses import logistic_discriminator_loss
from jaxvae.method import Method, Nets, Objective
from jaxvae.methods import ICAM, VAGAN, icam, va_gan
from jaxvae.networks import attribution_networks, translation_networks
from jaxvae.training import train_population

CLAIM = (
    "What turns cases into controls shows the whole effect: VA-GAN's and ICAM's maps match the planted squares better "
    "than a classifier's, the second square included; ICAM's attribute tells the class and its content does not."
)
HIDDEN = 4


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 4000
    """of the VA-GAN, about a sixth of them of the map; ICAM has three quarters of that, the classifier a tenth"""
    images: int = 4000
    tests: int = 400
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def classifier(networks: dict[str, Any]) -> Method:
    """The VA-GAN's critic, as a classifier of controls (high) and cases."""

    def loss(net, batch, ctx):
        value = logistic_discriminator_loss(net.critic(2 * batch["control"] - 1), net.critic(2 * batch["x"] - 1))
        return value.mean(), {}

    networks = {"critic": networks["critic"]}
    return Method("classifier", networks, VAGAN(), (Objective(loss, ("critic",)),), needs=("x", "control"))


def evidence(net: Nets, x: jax.Array) -> dict[str, np.ndarray]:
    """What a classifier shows of cases: its slope, and how much more of a control an image is with pixels hidden."""
    slope = jax.grad(lambda x: -net.critic(2 * x - 1).sum())(x)
    effect = np.zeros(x.shape)
    for top in range(0, x.shape[1], HIDDEN):
        for left in range(0, x.shape[2], HIDDEN):
            block = np.s_[:, top : top + HIDDEN, left : left + HIDDEN]
            hidden = x.at[block].set(x.mean(axis=(1, 2, 3), keepdims=True))
            effect[block] = (net.critic(2 * hidden - 1) - net.critic(2 * x - 1))[:, None, None, None]
    return {"slope": np.asarray(slope), "hidden pixels": effect}


def told(net: Nets, x: jax.Array, case: np.ndarray) -> dict[str, float]:
    """Accuracy of a linear probe of the class on ICAM's attribute and content, for the second half of the images."""
    parts = {"attribute": net.attribute(2 * x - 1).mean, "content": net.content(2 * x - 1)}
    half, scores = len(x) // 2, {}
    for name, codes in parts.items():
        flat = np.asarray(codes).reshape(len(x), -1)
        flat = (flat - flat.mean(0)) / (flat.std(0) + 1e-6)
        probe = LogisticRegression(C=0.01, max_iter=300).fit(flat[:half], case[:half])
        scores[name] = float(probe.score(flat[half:], case[half:]))
    return scores


def main(args: Args) -> None:
    """Trains all of them, and scores and draws their maps."""
    side, size, rate, long = (112, "paper", 1e-4, 100) if args.full else (32, "small", 1e-3, 20)
    args.steps = 30_000 if args.full else args.steps
    results: dict[str, list[dict[str, float]]] = {}
    pictures: dict[str, np.ndarray] = {}
    settings = {"classifier": (32, args.steps // 10), "VA-GAN": (32, args.steps), "ICAM": (16, 3 * args.steps // 4)}
    for name, (batch_size, steps) in settings.items():
        pixels = 128 if args.full and name == "ICAM" else side
        source = case_control(squares(image_size=pixels, images=args.images), "effect")
        held_out = squares(image_size=pixels, images=2 * args.tests, seed=1)
        test = case_control(held_out, "effect").batch(jax.random.key(0), jnp.int32(0), args.tests)
        mask, second = (np.asarray(test[key], bool) for key in ("mask", "second_mask"))
        beside = ~(mask & ~second).any(axis=0)
        method = {
            "classifier": lambda shape: classifier(attribution_networks(shape, size)),
            "VA-GAN": lambda shape: va_gan(
                attribution_networks(shape, size), long_steps=long, hyperparameters=VAGAN(rate, rate, 0.004)
            ),
            "ICAM": lambda shape: icam(
                translation_networks(shape, size), random_branch="no", content_steps=1, hyperparameters=ICAM(rate, rate)
            ),
        }[name](source.event_shape)
        members = {"seeds": range(args.seeds), "steps": max(1, steps), "batch_size": batch_size}
        *_, (_, states, terms) = train_population(method, source, **members)
        print(name, {term: shown(values) for term, values in terms.items()}, flush=True)
        for seed in range(args.seeds):
            net = Nets(method.networks, jax.tree.map(lambda leaf, seed=seed: leaf[seed], states.params))
            if name == "classifier":
                maps = evidence(net, test["x"])
            else:
                maps = {name: -np.asarray(method.pictures(net, jax.random.key(1), test)["map"])}
            for title, values in maps.items():
                scores = {
                    "both squares": float(normalised_cross_correlation(values, mask).mean()),
                    "the second": float(normalised_cross_correlation(values[:, beside], second[:, beside]).mean()),
                }
                if name == "ICAM":
                    every = held_out.at(jnp.arange(held_out.size))
                    order = np.random.default_rng(0).permutation(held_out.size)
                    case = np.asarray(every["factors"])[order, 0]
                    scores |= told(net, every["x"][order], case)
                results.setdefault(title, []).append(scores)
                pictures.setdefault(title, values[:6])
        pictures.setdefault("x", np.asarray(test["x"][:6]))
        pictures.setdefault("planted", mask[:6].astype(float))
    columns = ("both squares", "the second", "attribute", "content")
    values = {
        name: {c: np.array([s[c] for s in scores if c in s]) for c in columns} for name, scores in results.items()
    }
    rows = [
        {"map": name} | {column: shown(v) if v.size else "" for column, v in scores.items()}
        for name, scores in values.items()
    ]
    order = ["x", "planted", *results]
    figure, axes = plt.subplots(len(order), 6, figsize=(6, len(order)))
    for name, line in zip(order, axes, strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", fontsize=8)
        plain = name in ("x", "planted")
        for axis, picture in zip(line, pictures[name], strict=True):
            top = np.abs(picture).max()
            axis.imshow(picture[..., 0], cmap="gray" if plain else "RdBu_r", vmin=0 if plain else -top, vmax=top)
            axis.set(xticks=[], yticks=[])
    best = max(("slope", "hidden pixels"), key=lambda name: values[name]["both squares"].mean())
    found = ", ".join(
        f"{name} minus {best}: {shown(values[name]['both squares'] - values[best]['both squares'])}, the second square "
        f"{shown(values[name]['the second'] - values[best]['the second'])}"
        for name in ("VA-GAN", "ICAM")
    )
    conclude("visual_attribution", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
