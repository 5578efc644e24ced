"""Can a clip be separated into what moves and what stays? (Resnick et al., 2020)

    python experiments/moving_layers.py          2 cores: about 40 minutes
    python experiments/moving_layers.py --full   longer training, wider networks

The data are sprites that cross a still background, without labels. Scores are on held-out clips whose layers and
motion are known: the next frame rendered from this one and the motion between them; the background alone, behind the
sprite and elsewhere; the foreground as a mask of the sprite; the motion; and the sprite on the background of another
clip.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, conclude, shown

from jaxvae.data import moving_sprites
from jaxvae.losses import affine_warp
from jaxvae.method import Nets, Network
from jaxvae.methods import EquivariantRendering, equivariant_rendering
from jaxvae.networks import layered_networks
from jaxvae.training import train_population

CLAIM = (
    "Equivariance alone takes clips apart: the next frame is rendered better than by copying this one and without a "
    "motion, motions correlate with the true ones by more than 0.9, and sprites can be put before other backgrounds; "
    "without its foreground and background terms or the third frame the layers are worse."
)
STILL = Network(lambda key: {}, lambda params, first, second: jnp.tile(jnp.eye(2, 3), (len(first), 1, 1)))
"""No motion: what is left is an autoencoder of frames."""
DEFAULTS = EquivariantRendering()
VARIANTS = {
    "as defined": {},
    "no motion": {},
    "no foreground term": {"hyperparameters": DEFAULTS._replace(foreground_weight=0.0)},
    "no background term": {"hyperparameters": DEFAULTS._replace(background_weight=0.0)},
    "no third frame": {"third_frame": "no"},
}


@dataclass
class Args:
    """Flags of the experiment."""

    seeds: int = 3
    steps: int = 1200
    batch_size: int = 16
    tests: int = 256
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def psnr(image: jax.Array, truth: jax.Array, where: jax.Array | float = 1.0) -> float:
    """Decibels, over the pixels with weight `where` [B, H, W, 1]."""
    weight = jnp.broadcast_to(where, image.shape)
    return float(-10 * jnp.log10((weight * (image - truth) ** 2).sum() / weight.sum()))


def centres(mask: jax.Array) -> jax.Array:
    """Of masks [B, H, W, 1], in pixels: [B, 2], column first."""
    place = jnp.stack(jnp.meshgrid(jnp.arange(mask.shape[2]), jnp.arange(mask.shape[1])), axis=-1)
    return (mask * place).sum((1, 2)) / mask.sum((1, 2))


def layers(net: Nets, clips: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
    """Pictures of the first frame taken apart, and the motion to the second: [B, 2], in pixels."""
    first, second = clips["video"][:, 0], clips["video"][:, 1]
    front, back, theta = net.foreground(first), net.background(first), net.motion(first, second)
    energy = jnp.abs(front).sum(-1, keepdims=True)
    drawn = {
        "next frame": net.renderer(affine_warp(front, theta), back),
        "background": net.renderer(jnp.zeros_like(front), back),
        "on another": net.renderer(front, jnp.roll(back, 1, axis=0)),
        "foreground": jax.image.resize(energy, (*first.shape[:3], 1), "nearest"),
    }
    # The warp says where a pixel comes from: what it shows moves the other way.
    return drawn, -theta[:, :, 2] * (front.shape[1] - 1) / 2 * first.shape[1] / front.shape[1]


def score(drawn: dict[str, jax.Array], motion: jax.Array, clips: dict[str, jax.Array]) -> dict[str, float]:
    """What the columns of the table say."""
    mask, behind, other = clips["mask"][:, 0], clips["background"], jnp.roll(clips["background"], 1, axis=0)
    energy = drawn["foreground"]
    found = energy > 0.5 * energy.max(axis=(1, 2), keepdims=True)
    true = mask > 0.5
    shift = np.asarray(centres(clips["mask"][:, 1]) - centres(mask))
    moves = np.std(np.asarray(motion)) > 0
    return {
        "next frame": psnr(drawn["next frame"], clips["video"][:, 1]),
        "background under it": psnr(drawn["background"], behind, mask),
        "and elsewhere": psnr(drawn["background"], behind, 1 - mask),
        "overlap": float(((found & true).sum((1, 2)) / (found | true).sum((1, 2))).mean()),
        "motion": float(np.corrcoef(np.ravel(motion), shift.ravel())[0, 1]) if moves else 0.0,
        "on another": psnr(drawn["on another"], mask * clips["video"][:, 0] + (1 - mask) * other),
    }


def main(args: Args) -> None:
    """Trains all variants and scores their layers."""
    source = moving_sprites(32)
    steps, size = (20_000, "paper") if args.full else (args.steps, "small")
    clips = source.sample(jax.random.key(99), args.tests)
    first, second, other = clips["video"][:, 0], clips["video"][:, 1], jnp.roll(clips["background"], 1, axis=0)
    mask = clips["mask"][:, 0]
    copied = {
        "next frame": psnr(first, second),
        "background under it": psnr(first, clips["background"], mask),
        "and elsewhere": "",
        "on another": psnr(first, mask * first + (1 - mask) * other),
    }
    values: dict[str, list[dict[str, float]]] = {}
    pictures: dict[str, jax.Array] = {"frame": first[:6], "next frame": second[:6]}
    for name, options in VARIANTS.items():
        networks = layered_networks(source.event_shape, size=size)
        if name == "no motion":
            networks["motion"] = STILL
        method = equivariant_rendering(networks, **options)
        *_, (_, states, _) = train_population(
            method, source, seeds=range(args.seeds), steps=steps, batch_size=args.batch_size
        )
        for seed in range(args.seeds):
            net = Nets(method.networks, jax.tree.map(lambda leaf, seed=seed: leaf[seed], states.params))
            drawn, motion = layers(net, clips)
            values.setdefault(name, []).append(score(drawn, motion, clips))
            if name == "as defined" and seed == 0:
                pictures |= {f"rendered {title}": picture[:6] for title, picture in drawn.items()}
        print(name, {column: shown([v[column] for v in values[name]]) for column in values[name][0]}, flush=True)
    columns = list(values["as defined"][0])
    number = {name: {c: np.array([v[c] for v in scores]) for c in columns} for name, scores in values.items()}
    rows = [{"variant": "the frame copied"} | {c: f"{v:.2f}" if (v := copied.get(c)) else "" for c in columns}]
    rows += [{"variant": name} | {c: shown(v) for c, v in scores.items()} for name, scores in number.items()]
    figure, axes = plt.subplots(len(pictures), 6, figsize=(6, len(pictures)))
    for (name, images), line in zip(pictures.items(), axes, strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", fontsize=8)
        for axis, picture in zip(line, images, strict=True):
            axis.imshow(picture / picture.max() if picture.shape[-1] == 1 else picture, cmap="gray")
            axis.set(xticks=[], yticks=[])
    whole = number["as defined"]
    found = f"motion {shown(whole['motion'])}; next frame minus no motion: "
    found += f"{shown(whole['next frame'] - number['no motion']['next frame'])} dB; as defined minus "
    found += "; ".join(
        f"{name}: motion {shown(whole['motion'] - number[name]['motion'])}, background under the sprite "
        f"{shown(whole['background under it'] - number[name]['background under it'])} dB"
        for name in list(VARIANTS)[2:]
    )
    conclude("moving_layers", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
