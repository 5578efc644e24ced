"""A population whose members are ordinary runs in separate folders."""

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
"""Name of the file that marks the folder of a member whose loss or parameters became non-finite. Such a member is not
trained any further."""


class Outcome(NamedTuple):
    """The outcome of training one member."""

    step: int
    """Step of the last row, or the end of the logging interval in which the member diverged."""
    diverged: bool
    """Whether a loss term or a parameter became non-finite."""
    terms: dict[str, float]
    """Loss terms of the last row, by name."""


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
    """Trains a population. The folders end up as `train` would leave them, up to rounding.

    Every member resumes from its own newest checkpoint. Members at the earliest step are trained first, until they have
    caught up with the next ones. A member that diverges is frozen and marked in its folder, and training of the others
    continues. Its earlier checkpoints stay.

    Args:
      method: Method to train, with the hyperparameters that all members share.
      source: Data to draw the batches from; every member draws its own batches.
      folders: Folders of the runs, one per member.
      seeds: Random seeds, one per member.
      steps: Total number of steps, including those of the checkpoints.
      batch_size: Number of examples per step and member.
      sweep: Values of the hyperparameters that differ, by name, with one value per member.
      log_every: Number of steps per row of metrics.jsonl.
      checkpoint_every: Number of steps between checkpoints.
      devices: Devices to use, as in `train_population`.
      microbatch: Number of examples that the networks process at a time, as in `train`.
      on_nan: What to do at a non-finite number, as in `train_population`.
      stop: Called after every row; when it returns True, all members are saved and training ends.
      progress: Called with the step of every row that has been written.
      on_resume: Called once before training if there are checkpoints, with the step that each member resumes from: 0
        for a new member, and the end of the interval in which it diverged for a diverged one.
      validation: Validation set, as in `train`. Members are validated one after another.
      validate_every: Number of steps between validations.

    Returns:
      One outcome per member, in their order.

    Raises:
      ValueError: The number of folders differs from the number of seeds, or an argument is invalid as described for
        `train_population`.
      RunFolderError: A folder holds another run, another process is training one of the runs, a run has no intact
        checkpoint, or the disk is full.
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
                seconds = stopwatch.lap() / len(group)  # an equal share per member, so that shares sum to the total
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
    """Returns the state of a member at its newest checkpoint, or None without a checkpoint."""
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
