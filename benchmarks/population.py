"""Compares a population with the same number of single runs: milliseconds per model and step, in one process.

    python -m benchmarks.population
    python -m benchmarks.population --network conv --resolution 64 --batch-size 64 --members 1 2 8

"single" is the compiled step of one model. "in turn" applies that step to one member after another, as
`train_population` does on a CPU. "together" is its vmap, which accelerators use. Values are medians over repeats that
alternate between the three.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import tyro

from benchmarks.record import earlier_rows, record
from jaxvae.data import Sprites
from jaxvae.methods import beta_tc_vae
from jaxvae.networks import autoencoder
from jaxvae.training import TrainState, make_train_step, tune_allocator
from jaxvae.training.steps import draw_batch

S = TypeVar("S")


@dataclass
class Args:
    """Flags of the benchmark."""

    network: str = "mlp-small"
    resolution: int = 32
    batch_size: int = 128
    members: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    repeats: int = 5
    updates: int = 64
    """of each repeat, all members together"""


def main(args: Args) -> None:
    """Prints a row per population and adds them to results/population.json."""
    tune_allocator()
    source = Sprites(args.resolution)
    method = beta_tc_vae(autoencoder(args.network, source.event_shape))
    init, update = make_train_step(method, dataset_size=source.size)

    def step(state: TrainState) -> TrainState:
        return update(state, draw_batch(method, source, args.batch_size, state))[0]

    single = jax.jit(step, donate_argnums=0)
    rows = []
    for members in args.members:
        keys = jax.random.split(jax.random.key(0), members)
        one = init(keys[0])
        parts = [init(key) for key in keys]
        stacked = jax.jit(jax.vmap(init))(keys)
        together = jax.jit(jax.vmap(step), donate_argnums=0).lower(stacked).compile()
        ways = {
            "single": (lambda states: [single(states[0])], [one], args.updates),
            "in turn": (lambda states: [single(state) for state in states], parts, max(1, args.updates // members)),
            "together": (together, stacked, max(1, args.updates // members)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        states = {name: start for name, (_, start, _) in ways.items()}
        for _ in range(args.repeats + 1):
            for name, (advance, _, updates) in ways.items():
                states[name], passed = timed(advance, states[name], updates)
                models = 1 if name == "single" else members
                seconds[name].append(passed / (updates * models))
        per_update = {name: statistics.median(values[1:]) for name, values in seconds.items()}
        row = {
            "network": args.network,
            "resolution": args.resolution,
            "batch_size": args.batch_size,
            "members": members,
            **{f"{name}, ms": round(1e3 * value, 3) for name, value in per_update.items()},
            "in turn, speed against single": round(per_update["single"] / per_update["in turn"], 2),
            "together, speed against single": round(per_update["single"] / per_update["together"], 2),
        }
        rows.append(row)
        print(row, flush=True)
    names = ("network", "resolution", "batch_size")
    settings = [getattr(args, name) for name in names]
    kept = [row for row in earlier_rows("population") if [row[name] for name in names] != settings]
    rows = kept + rows
    ratios = {
        f"{row['network']} of {row['members']}, {way}": row[f"{way}, speed against single"]
        for row in rows
        for way in ("in turn", "together")
    }
    record("population", {"repeats": args.repeats, "updates": args.updates}, rows, ratios)


def timed(advance: Callable[[S], S], states: S, updates: int) -> tuple[S, float]:
    """The states after so many updates of all, and the seconds that took."""
    start = time.perf_counter()
    for _ in range(updates):
        states = advance(states)
    jax.block_until_ready(states)
    return states, time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Args))
