"""Does an ALAE invert its own generator, and is W a better code than Z? (Pidhorskyi et al., 2020)

    python experiments/latent_reciprocity.py          2 cores: about 10 minutes
    python experiments/latent_reciprocity.py --full   longer training

On handwritten digits, ALAE is compared with the same networks that learn z instead of w, and with an autoencoder and
a VAE of similar size. Measured on held-out digits: the error of a code after decoder and encoder over its variance,
accuracy of nearest neighbours, whether a classifier sees the same digit in a reconstruction, squared errors, and the
energy distance between samples and digits.
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
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from jaxvae.data import digits, from_arrays
from jaxvae.losses import standard_normal
from jaxvae.method import Method, Nets
from jaxvae.methods import BetaVAE, alae, beta_vae, gaussian
from jaxvae.methods.autoencoding import point
from jaxvae.networks import autoencoder, latent_adversarial_networks
from jaxvae.training import train_population

CLAIM = (
    "An ALAE's encoder inverts its generator in the latent space: the error falls by more than ten times, and "
    "reconstructions keep the class though no pixels are compared; regressing w is at least as good as regressing z."
)
LATENTS = 16


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 4000
    batch_size: int = 128
    scale: float = 0.1
    """of the Gaussian likelihood of autoencoder and VAE; pixels are from 0 to 1"""
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def in_z(networks: dict[str, Any]) -> Method:
    """The ALAE whose encoder learns z: the discriminator sees E(x), and F(E(x)) is decoded."""
    method = alae(networks)

    def reciprocity(net, batch, ctx):
        z = standard_normal(LATENTS).sample(ctx.key, len(batch["x"]), ctx.axis_name)
        made = net.decoder(jax.lax.stop_gradient(net.mapping(z)))
        return ((z - net.encoder(made)) ** 2).mean(), {}

    critic, generator, old, average = method.objectives
    return method._replace(
        objectives=(critic, generator, old._replace(loss=reciprocity), average),
        decode=lambda net, z: (net.average_decoder(net.average_mapping(z)) + 1) / 2,
        sample_prior=lambda net, key, batch: standard_normal(LATENTS).sample(key, len(batch["x"])),
    )


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|, over rows."""
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def measured(method: Method, net: Nets, train: Any, test: Any, judge: SVC) -> dict[str, float]:
    """All that is compared, of one model; arrays are (images, labels)."""
    encode = jax.jit(lambda images: method.encode(net, {"x": images}).mean)
    decode = jax.jit(lambda codes: jnp.clip(method.decode(net, codes), 0, 1))
    codes, known = np.asarray(encode(test[0])), np.asarray(encode(train[0]))
    again = np.asarray(decode(codes))
    if method.sample_prior is None:
        z = standard_normal(codes.shape[1]).sample(jax.random.key(0), len(codes))
    else:
        z = method.sample_prior(net, jax.random.key(0), {"x": test[0]})
    made = decode(z)
    back, flat = np.asarray(encode(made)), test[0].reshape(len(test[0]), -1)
    samples = np.asarray(made).reshape(len(flat), -1)
    return {
        "reciprocity error": float(((back - z) ** 2).mean() / np.asarray(z).var(axis=0).mean()),
        "1-NN": float(KNeighborsClassifier(1).fit(known, train[1]).score(codes, test[1])),
        "class kept": float((judge.predict(again.reshape(len(flat), -1)) == judge.predict(flat)).mean()),
        "squared error": float(((again - test[0]) ** 2).sum(axis=(1, 2, 3)).mean()),
        "energy distance": energy_distance(samples, flat),
    }


def main(args: Args) -> None:
    """Trains all of them, and compares them on digits that were held out."""
    if args.full:
        args.steps = 50_000
    source = digits()
    images, labels = np.asarray(source.at(jnp.arange(source.size))["x"]), np.asarray(source.factors)[:, 0]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = ((images[part], labels[part]) for part in np.split(order, [1300]))
    judge = SVC().fit(train[0].reshape(len(train[0]), -1), train[1])
    adversarial = latent_adversarial_networks(source.event_shape, LATENTS)
    plain = autoencoder("mlp-small", source.event_shape, LATENTS)
    likelihood = gaussian(args.scale)
    free = beta_vae(plain, likelihood=likelihood, hyperparameters=BetaVAE(learning_rate=1e-3, beta=0.0))
    cases = {
        "ALAE": alae(adversarial),
        "ALAE, z regressed": in_z(adversarial),
        "autoencoder": free._replace(encode=lambda net, batch: point(net.encoder(batch["x"]).mean)),
        "VAE": beta_vae(plain, likelihood=likelihood, hyperparameters=BetaVAE(learning_rate=1e-3, beta=1.0)),
    }
    rows: list[dict[str, Any]] = []
    values: dict[str, dict[str, np.ndarray]] = {}
    curves, pictures = {}, {"data": test[0][:12]}
    for name, method in cases.items():
        errors = []
        states = None
        for _, states, terms in train_population(  # noqa: B007
            method,
            from_arrays(train[0]),
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=max(1, args.steps // 40),
        ):
            errors.append([terms.get("encoder_decoder_loss", terms["loss"]), terms.get("w_variance", terms["loss"])])
        last, results = states, []
        for seed in range(args.seeds):
            net = Nets(method.networks, jax.tree.map(lambda leaf, seed=seed: leaf[seed], last.params))
            results.append(measured(method, net, train, test, judge))
            if name not in pictures:
                codes = method.encode(net, {"x": test[0][:12]}).mean
                pictures[name] = np.asarray(method.decode(net, codes))
        values[name] = {column: np.array([result[column] for result in results]) for column in results[0]}
        rows.append({"model": name} | {column: shown(v, 3) for column, v in values[name].items()})
        curves[name] = np.array(errors)
        print(rows[-1], flush=True)
    reciprocity = curves["ALAE"][:, 0] / curves["ALAE"][:, 1]
    fall = reciprocity[0] / reciprocity[-1]
    figure, (above, *lines) = plt.subplots(
        1 + len(pictures), 1, figsize=(7, 8), height_ratios=[4, *[1] * len(pictures)]
    )
    above.semilogy(np.linspace(0, args.steps, len(reciprocity) + 1)[1:], reciprocity)
    above.set(xlabel="update", ylabel="reciprocity error of the ALAE")
    for axis, (name, row) in zip(lines, pictures.items(), strict=True):
        axis.imshow(np.concatenate(list(np.clip(row[..., 0], 0, 1)), axis=1), cmap="gray")
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", fontsize=8)
    figure.tight_layout()
    gap = values["ALAE"]["class kept"] - values["ALAE, z regressed"]["class kept"]
    found = (
        f"the error over the codes' variance falls {shown(fall, 0)} times in training; w minus z regressed, class "
        f"kept: {shown(gap, 3)}; ALAE minus VAE, energy distance: "
        f"{shown(values['ALAE']['energy distance'] - values['VAE']['energy distance'], 3)}"
    )
    conclude("latent_reciprocity", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
