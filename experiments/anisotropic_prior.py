"""Which priors fix the axes of a code, and does that help to disentangle? (Mathieu et al., 2019)

    python experiments/anisotropic_prior.py          2 cores: about 5 minutes
    python experiments/anisotropic_prior.py --full   networks and steps of the paper, on sprites, for an accelerator

Part one rotates the two strongest latents of a trained model together with their posteriors, which then have full
covariances, and computes the KL to each prior. Part two trains with each prior and scores how well latents and
factors align.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from common import RESULTS, all_images, conclude, known_sprites, posteriors, shown

from jaxvae.losses import (
    Prior,
    anisotropic_normal,
    gaussian_log_density,
    kl_standard_normal_per_latent,
    softmax_variances,
    standard_normal,
    student_t,
)
from jaxvae.methods import DecompositionVAE, decomposition_vae
from jaxvae.metrics import mig
from jaxvae.networks import autoencoder
from jaxvae.training import train_population

CLAIM = (
    "An isotropic Gaussian prior leaves a code free to rotate; an anisotropic or a Student-t prior does not, and with "
    "it latents align better with factors."
)


@dataclass
class Args:
    """Flags of the experiment."""

    beta: float = 4.0
    degrees_of_freedom: float = 3.0
    seeds: int = 5
    steps: int = 3000
    batch_size: int = 128
    latents: int = 6
    full: bool = False
    results: Path = RESULTS
    """folder for the table and the figure"""


def rotated_kl(angle: jax.Array, z: jax.Array, log_posterior: jax.Array, prior: Prior) -> jax.Array:
    """KL to the prior, sampled, of posteriors turned by `angle` in the plane of the first two latents.

    A rotation leaves the posterior's density at its sample as it was, so it is the prior's alone that may change.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.concatenate([cos * z[:, :1] - sin * z[:, 1:2], sin * z[:, :1] + cos * z[:, 1:2], z[:, 2:]], axis=1)
    return (log_posterior - prior.log_density(turned)).mean()


def main(args: Args) -> None:
    """Trains with each prior, rotates the codes of the first, and draws both parts."""
    if args.full:
        args.steps, args.latents = 230_400, 10
    source = known_sprites(64 if args.full else 16, positions=32 if args.full else 12)
    images, factors = all_images(source), np.asarray(source.factors)
    pixels = np.asarray(images).reshape(source.size, -1)
    spectrum = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)[: args.latents] ** 2
    variances = softmax_variances(jnp.log(jnp.asarray(spectrum)))
    priors = {
        "normal": standard_normal,
        "anisotropic": lambda latents: anisotropic_normal(variances),
        "student-t": lambda latents: student_t(latents, df=args.degrees_of_freedom),
    }
    networks = autoencoder("conv" if args.full else "mlp-small", source.event_shape, args.latents)
    hyperparameters = DecompositionVAE(learning_rate=5e-4 if args.full else 1e-3, alpha=0.0, beta=args.beta)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8))
    rows, scores, codes = [], {}, {}
    for name, prior in priors.items():
        method = decomposition_vae(networks, prior=prior, hyperparameters=hyperparameters)
        *_, (_, states, terms) = train_population(
            method,
            source,
            seeds=range(args.seeds),
            steps=args.steps,
            batch_size=args.batch_size,
            log_every=args.steps // 10,
        )
        codes[name] = posteriors(method, states, images)
        scores[name] = np.array([mig(mean, factors).score for mean in np.asarray(codes[name].mean)])
        rows.append({"prior": name, "MIG": shown(scores[name], 3), "KL": shown(terms["kl"])})
        rows[-1]["reconstruction"] = shown(terms["reconstruction"])
        axes[1].plot(terms["reconstruction"], scores[name], "o", label=name)
        print(f"{name} trained", flush=True)

    angles = jnp.linspace(0.0, jnp.pi / 2, 25)
    mean, logvar = codes["normal"].mean[0], codes["normal"].logvar[0]
    strongest = jnp.argsort(-kl_standard_normal_per_latent(mean, logvar).mean(axis=0))
    mean, logvar = mean[:, strongest], logvar[:, strongest]
    noise = jax.random.normal(jax.random.key(0), (200, *mean.shape))
    z = (mean[None] + jnp.exp(0.5 * logvar)[None] * noise).reshape(-1, args.latents)
    log_posterior = gaussian_log_density(z, *(jnp.tile(a, (200, 1)) for a in (mean, logvar))).sum(axis=-1)
    swing = {}
    for name, prior in priors.items():
        kl = jax.lax.map(lambda angle, p=prior(args.latents): rotated_kl(angle, z, log_posterior, p), angles)
        swing[name] = float(kl.max() - kl.min())
        axes[0].plot(np.degrees(angles), kl - kl[0], label=f"{name}: {swing[name]:.3f}")
    for row in rows:
        row["KL changes by, when turned"] = f"{swing[row['prior']]:.4f}"
    axes[0].set(xlabel="rotation, degrees", ylabel="KL minus KL at 0, nats", title="same codes, turned")
    axes[1].set(xlabel="reconstruction, nats", ylabel="MIG", title="trained with each prior")
    axes[0].legend(fontsize=8)
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    found = (
        "turning the code changes its KL by "
        + ", ".join(f"{change:.4f} nats ({name})" for name, change in swing.items())
        + "; MIG minus that of the normal prior, same seeds: "
        + ", ".join(f"{name} {shown(scores[name] - scores['normal'], 3)}" for name in list(priors)[1:])
    )
    conclude("anisotropic_prior", CLAIM, rows, found, figure, args)


if __name__ == "__main__":
    main(tyro.cli(Args))
