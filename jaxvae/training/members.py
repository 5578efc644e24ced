"""A population whose members are ordinary runs, each in a folder of its own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source
from jaxvae.files import read_json, write_json
from jaxvae.method import Method
from jaxvae.training.checkpoints import Checkpoints, restore, saved_steps
from jaxvae.training.devices import Devices, choose_devices, usable_cores
from jaxvae.training.engine import TrainState, make_train_step
from jaxvae.training.loop import NonFiniteLoss, check_finite, never
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.population import check_sweep, train_population
from jaxvae.training.run_folder import cut_history, note_trained, only_writer, read_history
from jaxvae.training.steps import OnNaN, described, described_data
from jaxvae.training.validation import LOSS, best_row, check_limits, make_validation, validation_rows
from jaxvae.training.writers import MACHINE_COLUMNS, Stopwatch, jsonl_writer

DIVERGED = "diverged.json"
"""Written into the folder of a member that met a number that is not finite: it does not go on."""


class Outcome(NamedTuple):
    """How a member ended."""

    step: int
    """Of its last row, or of the interval in which it diverged."""
    diverged: bool
    terms: dict[str, float]
    """Of its last row."""


def train_members(
    method: Method,
    source: Source,
    folders: Sequence[Path],
    *,
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
    sweep: Mapping[str, Sequence[float]] | None = None,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    devices: Devices | None = None,
    microbatch: int | None = None,
    on_nan: OnNaN = "stop",
    stop: Callable[[], bool] = never,
    progress: Callable[[int], None] = lambda step: None,
    on_resume: Callable[[Sequence[int]], None] = lambda steps: None,
    validation: Source | None = None,
    validate_every: int = 500,
) -> list[Outcome]:
    """Trains a population; the folders end up as `train` would leave them, up to rounding.

    Every member resumes from its own newest checkpoint: those that are behind are trained first, until they have caught
    up with the next one, and then all go on together. One that diverges is frozen and marked in its folder, and the
    others go on; its checkpoints before that stay.

    Args are those of `train_population`, and one folder per member. `progress` is called with every step that is
    written. `stop` is asked after each row: where it says so, all are saved. `on_resume` is called once before
    training where there are checkpoints, with the step that each member resumes from: 0 where it starts anew, and the
    one before which it diverged. `validation` and `validate_every` are those of `train`; members are validated one
    after another.

    Raises:
      ValueError: as `train_population`; not one folder per seed.
      RunFolderError: a folder of another run, as for `train`;
        another process trains one of the runs; a run with no checkpoint that verifies; a full disk.
    """
    if len(folders) != len(seeds):
        raise ValueError(f"one folder per member: {len(seeds)} seeds and {len(folders)} folders")
    check_sweep(method, sweep or {}, len(seeds))
    devices = choose_devices() if devices is None else devices
    check_limits(validation is not None, validate_every, None, None)
    one = choose_devices()
    validate = None
    if validation is not None:
        chunked = method if microbatch is None else in_microbatches(method, microbatch)
        sizes = {"batch_size": batch_size, "dataset_size": source.size}
        validate = make_validation(chunked, validation, **sizes, devices=one)
    outcomes: dict[int, Outcome] = {i: _diverged(folder) for i, folder in enumerate(folders) if _is_diverged(folder)}
    going = [i for i in range(len(folders)) if i not in outcomes]
    if not going:
        return [outcomes[i] for i in range(len(folders))]
    data = described_data(source)
    with ExitStack() as stack:
        for i in going:
            stack.enter_context(only_writer(folders[i]))
            own = method.hyperparameters._replace(**{name: values[i] for name, values in (sweep or {}).items()})
            given = described(method._replace(hyperparameters=own), data, batch_size, seeds[i])
            note_trained(folders[i], given, usable_cores())
        checkpoints = {i: stack.enter_context(Checkpoints(folders[i] / "checkpoints")) for i in going}
        states = {i: _newest(method, source, folders[i] / "checkpoints") for i in going}
        at = {i: 0 if (state := states[i]) is None else int(state.step) for i in going}
        for i in going:
            cut_history(folders[i], at[i])
        if any(at.values()):
            on_resume([at[i] if i in at else outcomes[i].step for i in range(len(folders))])
        outcomes |= {i: Outcome(at[i], False, _last_terms(folders[i])) for i in going}
        histories = {i: validation_rows(read_history(folders[i])) if validate else [] for i in going}
        writers = {i: stack.enter_context(jsonl_writer(folders[i] / "metrics.jsonl")) for i in going}
        stopwatch = Stopwatch()
        stopping = False
        while not stopping and (behind := [i for i in going if at[i] < steps and not outcomes[i].diverged]):
            first = before = min(at[i] for i in behind)
            group = [i for i in behind if at[i] == first]
            until = min([steps, *(at[i] for i in behind if at[i] > first)])
            shared = devices if len(group) % devices.mesh.shape["population"] == 0 else choose_devices()
            stacked = None
            if first:
                members = [states.pop(i) for i in group]
                stacked = shared.place(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), members=True)
            population = stacked
            for step, population, terms in train_population(
                method,
                source,
                seeds=[seeds[i] for i in group],
                sweep={name: [values[i] for i in group] for name, values in (sweep or {}).items()},
                steps=until,
                batch_size=batch_size,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                validate_every=validate_every if validate else None,
                states=stacked,
                devices=shared,
                microbatch=microbatch,
                on_nan=on_nan,
            ):
                seconds = stopwatch.lap() / len(group)  # each one's share, so that those of all add up
                stopping = stop()
                active = stopping or step == until or step % checkpoint_every == 0
                validating = step == steps or step % validate_every == 0
                for place, i in enumerate(group):
                    if outcomes[i].diverged:
                        continue
                    means = {name: float(values[place]) for name, values in terms.items()}
                    row = {"loss": means.pop("loss"), **means}
                    member = _member(population, place) if active or (validate and validating) else None
                    outcomes[i] = Outcome(step, not _finite(row, member), row)
                    if outcomes[i].diverged:
                        write_json(folders[i] / DIVERGED, {"step": step})
                        continue
                    if validate and validating and member is not None:
                        row |= validate(one.place(member))
                        histories[i].append({"step": step, **row})
                    writers[i](step, {**row, "seconds": seconds, "steps_per_second": (step - before) / seconds})
                    is_best = LOSS in row and best_row(histories[i]) is histories[i][-1]
                    if member is not None and (active or is_best):
                        checkpoints[i].save(member, row["loss"], row.get(LOSS))
                        if step == until < steps:
                            states[i] = member
                before = step
                progress(step)
                if stopping:
                    break
            at |= dict.fromkeys(group, until)
    return [outcomes[i] for i in range(len(folders))]


def _newest(method: Method, source: Source, folder: Path) -> TrainState | None:
    """A member at its newest checkpoint, or None where there is none."""
    saved = saved_steps(folder)
    if not saved:
        return None
    init, _ = make_train_step(method, dataset_size=source.size)
    return restore(folder, saved[-1], jax.eval_shape(init, jax.random.key(0)))


def _last_terms(folder: Path) -> dict[str, float]:
    last = read_history(folder)[-1:]
    return {name: value for row in last for name, value in row.items() if name not in ("step", *MACHINE_COLUMNS)}


def _member(states: TrainState, place: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[place], states)


def _finite(row: Mapping[str, float], member: TrainState | None) -> bool:
    try:
        if member is not None:
            check_finite(member)
    except NonFiniteLoss:
        return False
    return bool(np.isfinite(list(row.values())).all())


def _is_diverged(folder: Path) -> bool:
    return (folder / DIVERGED).exists()


def _diverged(folder: Path) -> Outcome:
    return Outcome(int(read_json(folder / DIVERGED)["step"]), True, {})
