"""Compares the defaults of `jaxvae train` with alternatives, with several seeds each.

    python -m benchmarks.default_run           # trains models that the results lack, then prints the table
    python -m benchmarks.default_run --jobs 0  # prints the table only

Each row of results/default_run.jsonl is one model: what differs from the defaults, its seed, the MIG of the posterior
means of 10,000 examples, or of all if there are fewer (mean and per factor), the CPU time of its training, and all
settings.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro

RESULTS = Path(__file__).parent / "results" / "default_run.jsonl"
AIM = 0.25

VARIATIONS: dict[str, tuple[dict[str, Any], int]] = {
    "defaults": ({}, 10),
    "beta 1 (VAE)": ({"hp": {"beta": 1.0}}, 3),
    "beta 2": ({"hp": {"beta": 2.0}}, 3),
    "beta 4": ({"hp": {"beta": 4.0}}, 3),
    "beta 10": ({"hp": {"beta": 10.0}}, 3),
    "beta-VAE, beta 4": ({"method": "beta-vae", "hp": {"beta": 4.0, "learning_rate": 1e-3}}, 3),
    "rate 3e-4": ({"hp": {"learning_rate": 3e-4}}, 3),
    "rate 3e-3": ({"hp": {"learning_rate": 3e-3}}, 3),
    "batch 64": ({"batch_size": 64}, 3),
    "batch 256": ({"batch_size": 256}, 3),
    "steps 2,000": ({"steps": 2000}, 3),
    "sprites, 32 x 32": ({"data": "sprites", "image_size": 32}, 3),
}
"""Name -> (changes of the default Config, number of seeds)."""


@dataclass
class Args:
    """Flags of the sweep."""

    jobs: int = 2
    """runs at a time, each a process; 0 prints the table of what is there"""


def run(name: str, seed: int) -> dict[str, Any]:
    """Trains and scores one model."""
    import jax

    from jaxvae.analysis import encode_samples
    from jaxvae.cli.train import DEFAULT_METHOD
    from jaxvae.metrics import mig
    from jaxvae.runs.build import build
    from jaxvae.runs.config import default_config
    from jaxvae.training import train

    changes = dict(VARIATIONS[name][0])
    config = default_config(changes.pop("method", DEFAULT_METHOD))
    config = config.with_flags(**changes.pop("hp", {}), seed=seed, **changes)
    source, method = build(config)
    start = time.process_time()
    state = train(method, source, steps=config.training.steps, batch_size=config.training.batch_size, seed=seed)
    seconds = time.process_time() - start
    codes = encode_samples(method, state.params, source, jax.random.key(seed + 1), 10_000)
    score = mig(codes.mean, codes.factors)
    return {
        "name": name,
        "seed": seed,
        "mig": round(score.score, 4),
        "per_factor": dict(zip(source.factor_names, np.round(score.per_factor, 3).tolist(), strict=True)),
        "cpu_seconds": round(seconds, 1),
        "config": config.to_json(),
    }


def read() -> list[dict[str, Any]]:
    """The rows there are."""
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line per variation: mean and range of the MIG, seeds that reach the aim, mean CPU time."""
    yield f"{'':20} {'MIG mean':>9} {'least':>6} {'most':>6} {f'>= {AIM}':>8} {'CPU s':>6}"
    for name in VARIATIONS:
        if mine := [row for row in rows if row["name"] == name]:
            scores = np.array([row["mig"] for row in mine])
            seconds = np.mean([row["cpu_seconds"] for row in mine])
            reached = f"{(scores >= AIM).sum()} of {len(scores)}"
            yield f"{name:20} {scores.mean():9.2f} {scores.min():6.2f} {scores.max():6.2f} {reached:>8} {seconds:6.0f}"


def main(args: Args) -> None:
    """Runs what is missing, then prints the table."""
    done = {(row["name"], row["seed"]) for row in read()}
    missing = [(n, s) for n, (_, seeds) in VARIATIONS.items() for s in range(seeds) if (n, s) not in done]
    if args.jobs:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(run, *what) for what in missing]):
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(future.result()) + "\n")
    print(*table(read()), sep="\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
