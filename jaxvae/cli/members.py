"""The part of `jaxvae train` that trains a population, of --seeds and --sweep."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxvae.cli.terminal import say as print
from jaxvae.data import Source
from jaxvae.method import Method
from jaxvae.runs.sweep import Member
from jaxvae.training import train_members
from jaxvae.training.writers import progress_writer


def train_population_of(
    members: list[Member],
    sweep: dict[str, list[float]],
    method: Method,
    source: Source,
    folder: Path,
    settings: dict[str, Any],
    asked: Callable[[], bool],
) -> None:
    """Trains the members of a population until `asked` returns True, and prints a line for each of them."""
    columns = {name: [getattr(member.config.hyperparameters, name) for member in members] for name in sweep}
    folders = [folder / member.name for member in members]
    start = time.perf_counter()
    with progress_writer(settings["steps"]) as bar:
        outcomes = train_members(
            method,
            source,
            folders,
            seeds=[member.config.seed for member in members],
            sweep=columns,
            progress=lambda step: bar(step, {}),
            stop=asked,
            on_resume=lambda steps: print(_resumed([member.name for member in members], steps)),
            **settings,
        )
    if asked():
        step = max(outcome.step for outcome in outcomes)
        print(f"stopped by SIGTERM, {len(members)} models saved at step {step}; the same command and --resume go on")
        return
    print(f"trained {len(members)} models in {time.perf_counter() - start:.0f} s")
    width = max(len(member.name) for member in members)
    for member, outcome in zip(members, outcomes, strict=True):
        terms = "  ".join(f"{name} {value:.4g}" for name, value in outcome.terms.items())
        print(f"{member.name:{width}}  " + (f"diverged before step {outcome.step}" if outcome.diverged else terms))
    print(f"each is a run of its own: `jaxvae report {folders[0]}` scores one, `jaxvae compare {folder}` compares all")


def _resumed(names: Sequence[str], steps: Sequence[int]) -> str:
    """Describes in one line the steps that the members of a population resume from."""
    if len(set(steps)) == 1:
        return f"resumed: the newest checkpoints are of step {steps[0]}"
    each = []
    for step in sorted(set(steps), reverse=True):
        there = [name for name, at in zip(names, steps, strict=True) if at == step]
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        each.append(f"{', '.join(there[:3])}{more} from step {step}")
    return f"resumed: {'; '.join(each)}. Those behind catch up first"
