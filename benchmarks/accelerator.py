"""Measures training on an accelerator: steps, populations and total correlation, a resumed run, and every method.

    python -m benchmarks.accelerator                  # under ten minutes on one GPU; with PyTorch where it is installed

- Steps of a beta-VAE on 64 x 64 images, by network, batch and precision: "float32" with all bits of the products,
  "TF32" with those that JAX takes by default on a GPU, "bfloat16" in the networks. PyTorch runs on the same card, eager
  and with `torch.compile`, with TF32 or in bfloat16 (autocast). `of_peak` is the arithmetic that XLA counts, per
  second, as a share of what the card's data sheet says; `of_bandwidth` the same for the bytes that XLA counts.
- Populations of a beta-TCVAE, together in one program, against one member: the speed of a member's step.
- Total correlation of a batch, value and gradient, against the formula as one would type it.
- A run that is stopped and resumed ends in the bits of one that is not; every method takes one step at its defaults.

Times are medians over repeats, each of at least `--seconds`. Results go to results/accelerator-NAME.json, NAME being
that of the card; on a CPU the benchmark runs as well, at sizes that are given by flags.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch shares the card

import importlib.util
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.record import record
from benchmarks.total_correlation import jaxvae_tc, naive_tc
from jaxvae.data import Sprites
from jaxvae.methods import METHODS, beta_tc_vae, beta_vae
from jaxvae.networks import autoencoder
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import make_train_step, train
from jaxvae.training.steps import draw_batch

PEAKS = {
    "H200": (989e12, 494e12, 67e12, 4.8e12),
    "H100": (989e12, 494e12, 67e12, 3.35e12),
    "A100": (312e12, 156e12, 19.5e12, 2.0e12),
    "L4": (121e12, 60e12, 30e12, 0.3e12),
}
"""Operations per second in bfloat16, TF32 and float32, and bytes per second, of the data sheets (dense products)."""
PRECISIONS = ("bfloat16", "TF32", "float32")


@dataclass
class Args:
    """Flags of the benchmark."""

    networks: tuple[str, ...] = ("conv", "burgess", "mlp")
    batches: tuple[int, ...] = (64, 256, 1024)
    precisions: tuple[str, ...] = PRECISIONS
    members: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    pairs: tuple[int, ...] = (4096, 16_384)
    """batches of the total correlation"""
    methods: tuple[str, ...] = tuple(METHODS)
    repeats: int = 5
    seconds: float = 0.3
    torch: bool = True
    """compare with PyTorch where it is installed and sees the card"""


def seconds_of(run: Callable[[int], Any], args: Args) -> float:
    """Returns the median seconds of a step; `run(n)` takes n steps and waits for them."""
    run(2)
    steps, passed = 1, 0.0
    while passed < args.seconds:
        start = time.perf_counter()
        run(steps)
        passed = time.perf_counter() - start
        steps = max(steps + 1, int(1.2 * steps * args.seconds / max(passed, 1e-6))) if passed < args.seconds else steps
    times = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps)
    return statistics.median(times)


def step_of(network: str, batch: int, precision: str) -> tuple[Callable[[int], Any], dict[str, float]]:
    """Returns a function that takes steps of a beta-VAE, and what XLA counts for one."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    method = beta_vae(autoencoder(network, (64, 64, 1), dtype=dtype))
    init, update = make_train_step(method, dataset_size=737_280)
    pixels = np.random.default_rng(0).integers(0, 2, (batch, 64, 64, 1)).astype(np.float32)
    data, state = {"x": jnp.asarray(pixels)}, init(jax.random.key(0))
    with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
        compiled = jax.jit(update, donate_argnums=0).lower(state, data).compile()

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, _ = compiled(state, data)
        jax.block_until_ready(state)

    return run, compiled.cost_analysis()


def steps(args: Args) -> list[dict[str, Any]]:
    """Rows of the steps, ours and PyTorch's."""
    rows = []
    peak = next((value for name, value in PEAKS.items() if name in jax.devices()[0].device_kind), None)
    for network in args.networks:
        for batch in args.batches:
            for precision in args.precisions:
                row: dict[str, Any] = {"what": "step", "network": network, "batch": batch, "precision": precision}
                run, cost = step_of(network, batch, precision)
                seconds = {"jaxvae": seconds_of(run, args)}
                if peak is not None:
                    row["of_peak"] = round(cost["flops"] / seconds["jaxvae"] / peak[PRECISIONS.index(precision)], 4)
                    row["of_bandwidth"] = round(cost["bytes accessed"] / seconds["jaxvae"] / peak[3], 4)
                for form in ("eager", "compiled") if _sees_torch(args) else ():
                    from benchmarks.torch_vae import training

                    images = np.random.default_rng(0).integers(0, 2, (batch, 1, 64, 64)).astype(np.float32)
                    theirs = training(network, images, form, threads=2, device="cuda", precision=precision)
                    seconds[f"PyTorch, {form}"] = seconds_of(theirs, args)
                row |= {f"images per second, {name}": round(batch / each) for name, each in seconds.items()}
                print(row, flush=True)
                rows.append(row)
    return rows


def _sees_torch(args: Args) -> bool:
    if not args.torch or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def populations(args: Args, network: str) -> list[dict[str, Any]]:
    """Rows of the populations: milliseconds of a member's step, all members in one program."""
    source = Sprites(64)
    method = beta_tc_vae(autoencoder(network, source.event_shape))
    init, update = make_train_step(method, dataset_size=source.size)
    rows = []
    for members in args.members:
        states = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(0), members))
        step = jax.vmap(lambda state: update(state, draw_batch(method, source, 64, state))[0])
        compiled = jax.jit(step, donate_argnums=0).lower(states).compile()

        def run(steps: int, compiled: Any = compiled) -> None:
            nonlocal states
            for _ in range(steps):
                states = compiled(states)
            jax.block_until_ready(states)

        seconds = seconds_of(run, args) / members
        rows.append({"what": "population", "network": network, "members": members, "ms": round(1e3 * seconds, 4)})
        print(rows[-1], flush=True)
    return rows


def total_correlations(args: Args) -> list[dict[str, Any]]:
    """Rows of the total correlation, value and gradient."""
    rows = []
    for batch in args.pairs:
        row: dict[str, Any] = {"what": "total correlation", "batch": batch}
        for name, form in (("jaxvae", jaxvae_tc), ("naive JAX", naive_tc)):
            call, temporaries = form(batch, 10)

            def run(steps: int, call: Callable[[], Any] = call) -> None:
                for _ in range(steps):
                    call()

            row |= {f"ms, {name}": round(1e3 * seconds_of(run, args), 3), f"MiB, {name}": temporaries >> 20}
        print(row, flush=True)
        rows.append(row)
    return rows


def resumed() -> dict[str, Any]:
    """Whether a run in two parts ends in the bits of a run in one."""
    source = Sprites(64)
    method = beta_vae(autoencoder("conv", source.event_shape))
    run = partial(train, method, source, batch_size=64)
    with tempfile.TemporaryDirectory() as folder:
        whole = run(steps=6, folder=Path(folder) / "whole")
        run(steps=3, folder=Path(folder) / "parts")
        parts = run(steps=6, folder=Path(folder) / "parts")
    same = all(
        bool((np.asarray(a) == np.asarray(b)).all())
        for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True)
    )
    return {"what": "resumed", "same_bits": same}


def one_step(name: str) -> dict[str, Any]:
    """Whether a method's first step is finite, with the seconds of its compilation."""
    config = default_config(name)
    source, method = build(config)
    init, update = make_train_step(method, dataset_size=source.size)
    state = init(jax.random.key(0))

    def step(state: Any) -> Any:
        return update(state, draw_batch(method, source, config.training.batch_size, state))

    start = time.perf_counter()
    compiled = jax.jit(step).lower(state).compile()
    seconds = time.perf_counter() - start
    _, terms = compiled(state)
    finite = all(bool(np.isfinite(value)) for value in terms.values())
    return {"what": "method", "method": name, "finite": finite, "compile_seconds": round(seconds, 1)}


def main(args: Args) -> None:
    """Prints the rows and writes the results."""
    rows = [*steps(args), *total_correlations(args)]
    for network in args.networks:
        rows += populations(args, network)
    for row in (resumed(), *map(one_step, args.methods)):
        print(row, flush=True)
        rows.append(row)
    ratios = {}
    for row in rows:
        if row["what"] == "step":
            ours, *theirs = [value for name, value in row.items() if name.startswith("images per second")]
            if theirs:
                ratios[f"{row['network']}:{row['batch']}, {row['precision']}, against PyTorch"] = ours / max(theirs)
    card = re.sub(r"\W+", "-", jax.devices()[0].device_kind).strip("-").lower()
    record(f"accelerator-{card}", vars(args), rows, ratios)


if __name__ == "__main__":
    main(tyro.cli(Args))
