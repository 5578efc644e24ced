"""What does a Wasserstein autoencoder give up, and what not? (Tolstikhin et al., 2018)

    python experiments/wae_information.py          2 cores: about 4 minutes
    python experiments/wae_information.py --full   64 x 64 sprites and convolutional networks, for an accelerator

VAE, WAE-MMD and WAE-GAN are trained with the same likelihood and networks. The WAEs have Gaussian encoders, so that
their posteriors have a density and the mutual information between code and image can be computed; its upper limit is
log N.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.analysis import exact_kl_terms
from jaxvae.losses import inverse_multiquadric, mmd_unbiased, reparameterize
from jaxvae.methods import VAE, WAEGAN, WAEMMD, gaussian, vae, wae_gan, wae_mmd
from jaxvae.networks import autoencoder, discriminator
from jaxvae.training import train_population

CLAIM = (
    "A Wasserstein autoencoder matches the aggregate code to the prior without charging for information: posteriors "
    "shrink towards points, mutual information comes near log N, and images are reconstructed better than by a VAE."
)


@dataclass
class Args:
    """Flags of the experiment."""

    scale: float = 0.3
    """of the Gaussian likelihood"""
    share: float = 3.0
    """weight of the WAEs' distances, per 0.05 |x - G|^2 of cost: the paper's 10 on MNIST, whose images are 3.5 times as
    far from their mean as these"""
    seeds: int = 5
    steps: int = 2500
    batch_size: int = 128
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def measured(key: jax.Array, mean: jax.Array, logvar: jax.Array) -> tuple[jax.Array, ...]:
    """Of one member: distance of the aggregate to the prior, mutual information, and posterior deviation."""
    z = reparameterize(key, mean, logvar)
    prior = jax.random.normal(jax.random.fold_in(key, 1), z.shape)
    distance = mmd_unbiased(z, prior, kernel=inverse_multiquadric(z.shape[-1]))
    return distance, exact_kl_terms(key, mean, logvar).mutual_information, jnp.exp(0.5 * logvar).mean()


def main(args: Args) -> None:
    """Trains the four, and draws reconstruction and information against the distance to the prior."""
    if args.full:
        args.steps, args.latents = 100_000, 12
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images = all_images(source)
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    networks["discriminator"] = discriminator(args.latents, 1, (512,) * 4 if args.full else (256,) * 3)
    # lambda belongs to a cost of 0.05 |x - G|^2; here a unit of squared error costs 1 / (2 scale^2).
    weight = args.share / 0.05 / (2 * args.scale**2)
    shared = {"likelihood": gaussian(args.scale)}
    wae = {**shared, "encoder": "gaussian"}
    mmd_hp = WAEMMD(prior_weight=weight)
    gan_hp = WAEGAN(learning_rate=1e-3, prior_weight=weight, discriminator_learning_rate=1e-3)
    methods = {
        "VAE": vae(networks, hyperparameters=VAE(1e-3), **shared),
        "WAE-MMD, imq": wae_mmd(networks, kernel="imq", hyperparameters=mmd_hp, **wae),
        "WAE-MMD, rbf": wae_mmd(networks, kernel="rbf", hyperparameters=mmd_hp, **wae),
        "WAE-GAN": wae_gan(networks, hyperparameters=gan_hp, **wae),
    }
    constant = float(np.prod(source.event_shape)) * np.log(args.scale * np.sqrt(2 * np.pi))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharex=True)
    rows, means = [], {}
    for name, method in methods.items():
        *_, (_, states, terms) = train_population(
            method,
            source,
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        distance, information, deviation = jax.vmap(measured, (None, 0, 0))(
            jax.random.key(0), *posteriors(method, states, images)
        )
        error = (terms["reconstruction"] - constant) * 2 * args.scale**2
        means[name] = {"error": error.mean(), "information": float(information.mean()), "distance": distance.mean()}
        rows.append(
            {
                "method": name,
                "squared error": shown(error),
                "mmd to prior": shown(distance, 4),
                "mutual information": shown(information),
                "posterior deviation": shown(deviation),
            }
        )
        axes[0].plot(distance, error, "o", label=name)
        axes[1].plot(distance, information, "o")
        print(rows[-1], flush=True)
    ceiling = np.log(source.size)
    axes[1].axhline(ceiling, color="k", lw=0.8)
    axes[0].set(xlabel="mmd of codes to the prior", ylabel="squared error per image", yscale="log")
    axes[1].set(xlabel="mmd of codes to the prior", ylabel="mutual information, nats", title="line: log N")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    found = f"log N is {ceiling:.2f} nats; " + "; ".join(
        f"{name}: information {m['information']:.2f}, squared error {m['error']:.2f}, mmd {m['distance']:.4f}"
        for name, m in means.items()
    )
    conclude("wae_information", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
