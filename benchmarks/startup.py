"""Measures startup: imports, and the first step of `jaxvae train` with an empty and a warm compilation cache.

    python -m benchmarks.startup

Imports are medians over new processes that alternate. The first step is the time from starting the command to the end
of a training of one step, with imports, compilation and checkpoint. Compiled programs are kept in the user's cache.
Compilation is of the first training step of each method at its defaults, with tracing and without a cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import tyro

from benchmarks.record import record
from jaxvae.data.source import pytree_of
from jaxvae.methods import METHODS
from jaxvae.runs.build import build
from jaxvae.runs.config import default_config
from jaxvae.training import choose_devices, make_train_step
from jaxvae.training.engine import active_at
from jaxvae.training.steps import empty_accumulator, make_step

MODULES = ("jax", "jaxvae.losses", "jaxvae.metrics", "jaxvae.training", "jaxvae.cli")


@dataclass
class Args:
    """Flags of the benchmark."""

    networks: tuple[str, ...] = ("mlp-small", "conv", "burgess", "mlp")
    methods: tuple[str, ...] = ()
    """whose step is compiled; by default, all"""
    repeats: int = 9
    """of the imports"""


def import_seconds(module: str) -> float:
    """In a fresh process, the start of Python included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def first_step_seconds(network: str, cache: Path) -> float:
    """Until the command says that it has trained."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = str(cache)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxvae", "train", "--steps", "1", "--network", network]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--run", f"{folder}/run"], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("trained"):
                seconds = time.perf_counter() - start
                process.kill()
                process.wait()
                return seconds
    raise RuntimeError("the training ended without a word")


def compile_seconds(name: str) -> float:
    """Of the step that `jaxvae train METHOD` compiles first."""
    config = default_config(name)
    source, method = build(config)
    devices, size = choose_devices(), config.training.batch_size
    init, update = make_train_step(method, dataset_size=source.size)
    state = jax.eval_shape(init, jax.random.key(0))
    step = partial(make_step(method, update, size, devices.axis_name), active=active_at(method, 0))
    empty = jax.eval_shape(lambda: empty_accumulator(method, update, size, state, source))
    arguments = [devices.like(each) for each in (state, empty, jax.eval_shape(lambda: pytree_of(source)))]
    start = time.perf_counter()
    devices.compile(step, *arguments)
    return time.perf_counter() - start


def main(args: Args) -> None:
    """Prints rows and writes results/startup.json."""
    imports: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(args.repeats):
        for module in MODULES:
            imports[module].append(import_seconds(module))
    seconds = {module: statistics.median(values) for module, values in imports.items()}
    rows: list[dict[str, Any]] = [{"import": module, "seconds": round(value, 3)} for module, value in seconds.items()]
    print(*rows, sep="\n")
    ratios = {f"import jax against {module}": seconds["jax"] / seconds[module] for module in MODULES[1:]}
    for network in args.networks:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (round(first_step_seconds(network, Path(cache)), 2) for _ in range(2))
        rows.append({"first step with": network, "cold_seconds": cold, "warm_seconds": warm})
        print(rows[-1], flush=True)
        ratios[f"first step with {network}, warm against cold"] = cold / warm
    jax.config.update("jax_enable_compilation_cache", False)
    for method in args.methods or METHODS:
        rows.append({"compile": method, "seconds": round(compile_seconds(method), 2)})
        print(rows[-1], flush=True)
        jax.clear_caches()
    record("startup", vars(args), rows, ratios)


if __name__ == "__main__":
    main(tyro.cli(Args))
