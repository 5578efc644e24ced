"""Several runs in one command: several seeds, and several values of hyperparameters."""

import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxvae.choose import choose
from jaxvae.runs.config import Config

MOST = 10_000
"""Largest number of runs of one command. A larger number is probably a typing error and would not fit into memory."""
SEEDS = 2**32
"""Bound that seeds stay below."""


class Member(NamedTuple):
    """One of several runs."""

    name: str
    """Name of the run's folder, which consists of the settings in which it differs from the others."""
    config: Config[Any, Any, Any, Any]


def parse_sweep(words: Sequence[str], config: Config[Any, Any, Any, Any]) -> dict[str, list[float]]:
    """Parses values of hyperparameters, by name, from words such as "beta=1,4".

    Raises:
      ValueError: A word has another form, a name is not a hyperparameter, or a value is not a number or occurs twice.
    """
    sweep: dict[str, list[float]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        name = name.replace("-", "_")
        if not equals:
            raise ValueError(f"--sweep takes NAME=VALUE,VALUE, such as --sweep beta=1,4; got {word!r}")
        known = dict.fromkeys(config.hyperparameters._fields)
        choose(f"hyperparameter of {config.method}", name, known)
        try:
            sweep[name] = [float(each) for each in values.split(",")]
        except ValueError:
            raise ValueError(f"--sweep {name} takes numbers between commas, got {values!r}") from None
        if len(set(sweep[name])) < len(sweep[name]):
            raise ValueError(f"--sweep {name} names a value twice: {values}")
    return sweep


def parse_seeds(text: str) -> list[int]:
    """Parses seeds: "0:8" stands for 0 to 7, and "0,3,5" for these three.

    Raises:
      ValueError: The text has another form, or stands for too many seeds.
    """
    seeds: Sequence[int] = []
    first, colon, last = text.partition(":")
    with contextlib.suppress(ValueError):
        seeds = range(int(first or 0), int(last)) if colon else [int(seed) for seed in text.split(",")]
    # A range of more than 2**63 has no length.
    if seeds and (seeds[-1] - seeds[0] if colon else len(seeds)) >= MOST + (not colon):
        raise ValueError(f"--seeds takes at most {MOST:,} seeds in one command, got {text[:60]!r}")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds takes first:last (0:8 is 0 to 7), or different numbers (0,3,5), got {text[:60]!r}")
    if max(seeds) >= SEEDS:
        raise ValueError(f"--seeds must be below 2**32, got {max(seeds)}")
    return list(seeds)


def members_of(config: Config[Any, Any, Any, Any], seeds: Sequence[int], sweep: dict[str, list[float]]) -> list[Member]:
    """Returns all combinations of a seed and a value of each swept hyperparameter.

    Raises:
      ValueError: There are more than `MOST`, or two values are too near to tell apart.
    """
    count = math.prod(map(len, sweep.values())) * len(seeds)
    if count > MOST:
        raise ValueError(f"--sweep and --seeds ask for {count:,} runs; one command trains at most {MOST:,}")
    members = []
    for combination, seed in itertools.product(itertools.product(*sweep.values()), seeds):
        chosen = dict(zip(sweep, combination, strict=True))
        parts = [f"{name.replace('_', '-')}-{value:g}" for name, value in chosen.items()]
        members.append(Member("-".join([*parts, f"seed-{seed}"]), config.with_flags(seed=seed, **chosen)))
    if len({member.name for member in members}) < len(members):
        raise ValueError("--sweep has values that are alike in six digits, by which folders are named: leave some out")
    return members
