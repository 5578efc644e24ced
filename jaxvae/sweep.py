"""Many runs asked for in one command: several seeds, and several values of hyperparameters."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jaxvae.config import Config


class Member(NamedTuple):
    """One of the runs."""

    name: str
    """Of its folder: what sets it apart."""
    config: Config[Any, Any]


def take_sweep(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[float]]]:
    """Values after `--hp.NAME` that are several, between commas: the arguments with the first of each, and the lists.

    ValueError for a value that is no number.
    """
    plain, sweep = list(arguments), {}
    for place, (flag, value) in enumerate(itertools.pairwise(arguments)):
        if flag.startswith("--hp.") and "," in value:
            name = flag.removeprefix("--hp.").replace("-", "_")
            try:
                sweep[name] = [float(each) for each in value.split(",")]
            except ValueError:
                raise ValueError(f"{flag} takes numbers between commas, got {value!r}") from None
            plain[place + 1] = value.split(",")[0]
    return plain, sweep


def parse_seeds(text: str) -> list[int]:
    """ "0:8" is 0 to 7; "0,3,5" is those. ValueError for anything else."""
    try:
        first, colon, last = text.partition(":")
        seeds = list(range(int(first or 0), int(last))) if colon else [int(seed) for seed in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds takes first:last (0:8 is 0 to 7), or different numbers (0,3,5), got {text!r}")
    return seeds


def members_of(config: Config[Any, Any], seeds: Sequence[int], sweep: dict[str, list[float]]) -> list[Member]:
    """Every combination of a seed and a value of each swept hyperparameter. ValueError for a value given twice."""
    for name, values in sweep.items():
        if len(set(values)) < len(values):
            raise ValueError(f"--hp.{name} names a value twice: {', '.join(map(str, values))}")
    members = []
    for combination, seed in itertools.product(itertools.product(*sweep.values()), seeds):
        chosen = dict(zip(sweep, combination, strict=True))
        parts = [f"{name.replace('_', '-')}-{value:g}" for name, value in chosen.items()]
        hp = config.hp._replace(**chosen)
        members.append(Member("-".join([*parts, f"seed-{seed}"]), replace(config, seed=seed, hp=hp)))
    return members
