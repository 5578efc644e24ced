"""Counts what devices send to each other in one training step, and checks the count in the compiled program.

    python -m benchmarks.scaling

Every device gathers the posteriors of the global batch (2 D floats per example) if the estimator needs them, sends
back their gradient, and takes part in averaging the gradients of all parameters. With n devices, batch size B, D
latents and W parameters, the collectives of a step of the beta-TCVAE give each device

    all-gather        2 B D floats           the posteriors of the global batch
    reduce-scatter    2 B D / n floats       (or an all-reduce of 2 B D) their gradients
    all-reduce        W floats               the gradients of the parameters

A ring of n devices sends (n - 1) / n of an array per all-gather or reduce-scatter, and twice that per all-reduce. A
ring that passes posteriors on instead of gathering them sends the same 2 B D (n - 1) / n, in n - 1 messages and
twice, since the backward pass goes around again; it saves memory only. The program is compiled for 2, 4 and 8 virtual
devices.
"""

import os
from dataclasses import dataclass
from functools import partial

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import tyro

from benchmarks.collectives import FLOAT, received
from benchmarks.record import record
from jaxvae.data import Sprites
from jaxvae.methods import beta_tc_vae, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import choose_devices, make_train_step
from jaxvae.training.steps import empty_accumulator, make_step


@dataclass
class Args:
    """Flags of the benchmark."""

    batch_per_device: int = 64
    latents: int = 10
    network: str = "mlp-small"


def sent(devices: int, batch: int, latents: int, weights: int) -> dict[str, float]:
    """Bytes per device and update on paper: of the gather form, of the ring form, and of the gradients in both."""
    share = (devices - 1) / devices
    posteriors = 2 * batch * latents * FLOAT
    return {
        "posteriors, gather": 2 * posteriors * share,
        "posteriors, ring": 2 * posteriors * share,
        "posteriors, memory of gather": posteriors,
        "posteriors, memory of ring": 2 * posteriors / devices,
        "gradients": 2 * weights * FLOAT * share,
    }


def main(args: Args) -> None:
    """Prints both and writes results/scaling.json."""
    source = Sprites(16)
    networks = autoencoder(args.network, source.event_shape, args.latents)
    rows = []
    for devices in (2, 4, 8):
        batch = args.batch_per_device * devices
        found = {}
        for build in (beta_vae, beta_tc_vae):
            method = build(networks)
            init, update = make_train_step(method, dataset_size=source.size)
            mesh = choose_devices(devices)
            state = mesh.create(partial(init, jax.random.key(0)))
            weights = sum(leaf.size for leaf in jax.tree.leaves(state.params))
            empty = mesh.place(empty_accumulator(method, update, batch, state, source))
            program = mesh.compile(make_step(method, update, batch, mesh.axis_name), state, empty, source)
            found[method.name] = received(program.as_text())
        extra = found["beta-tc-vae"] - found["beta-vae"]
        row = {
            "devices": devices,
            "batch": batch,
            "all-reduce of the beta-VAE, bytes": found["beta-vae"]["all-reduce"],
            "parameters, bytes": weights * FLOAT,
            "added by the estimator, bytes": dict(extra),
            "posteriors, bytes": 2 * batch * args.latents * FLOAT,
        }
        rows.append(row)
        print(row)
    paper = []
    for devices in (8, 256, 4096):
        paper.append({"devices": devices, **sent(devices, args.batch_per_device * devices, args.latents, weights)})
        print({name: round(value) for name, value in paper[-1].items()})
    record("scaling", vars(args), rows, {}, paper=paper)


if __name__ == "__main__":
    main(tyro.cli(Args))
