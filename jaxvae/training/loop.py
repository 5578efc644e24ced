"""The training loop for any `Method` and any `Source`."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jaxvae.data.source import Shard, Source, pytree_of, sharing_arrays
from jaxvae.data.streamed import is_streamed, read_ahead
from jaxvae.method import Method, Optimizer
from jaxvae.training.checkpoints import Checkpoints, restore, saved_steps
from jaxvae.training.devices import Devices, choose_devices, usable_cores
from jaxvae.training.engine import Active, TrainState, active_at, make_train_step
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.observers import SCORE, Observer, check_observers, observed
from jaxvae.training.optimizers import with_optimizer
from jaxvae.training.processes import any_of_all, is_primary_process
from jaxvae.training.replay import first_non_finite, save_for_replay
from jaxvae.training.run_folder import cut_history, note_trained, only_writer, read_history
from jaxvae.training.steps import (
    MetricAccumulator,
    OnNaN,
    Step,
    described,
    described_data,
    draw_batch,
    empty_accumulator,
    images_per_update,
    make_step,
)
from jaxvae.training.validation import (
    LOSS,
    Overfitting,
    StoppedEarly,
    best_row,
    check_limits,
    is_out_of_patience,
    make_validation,
    patience_in_words,
    rise_in_words,
    validation_rows,
)
from jaxvae.training.writers import RowWriter, Stopwatch, jsonl_writer, progress_writer, write_entry

Save: TypeAlias = Callable[[TrainState, float, float | None], None]
Advance: TypeAlias = Callable[[TrainState, MetricAccumulator, int], tuple[TrainState, MetricAccumulator]]


class NonFiniteLoss(RuntimeError):
    """A loss term during training, or a parameter at its end, is not a finite number."""


class NothingToTrain(UserWarning):
    """The run in the folder has already completed the requested steps."""


def never() -> bool:
    """Never asks training to stop."""
    return False


def train(
    method: Method,
    source: Source,
    *,
    steps: int,
    batch_size: int,
    seed: int = 0,
    folder: Path | str | None = None,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    writers: Sequence[RowWriter] = (),
    devices: Devices | None = None,
    microbatch: int | None = None,
    optimizer: Optimizer | None = None,
    on_nan: OnNaN = "stop",
    progress: bool = False,
    on_row: Callable[[int, TrainState, Mapping[str, float]], None] | None = None,
    stop: Callable[[], bool] = never,
    validation: Source | None = None,
    validate_every: int = 500,
    patience: int | None = None,
    max_minutes: float | None = None,
    observers: Sequence[Observer] = (),
) -> TrainState:
    """Trains a method until `steps` steps are completed.

    A run that has already completed its steps is returned unchanged, with a NothingToTrain warning. A run that stopped
    early is also returned unchanged, with a StoppedEarly warning, unless its patience is increased or removed.

    Args:
      method: Method to train, with its hyperparameters.
      source: Data. Batches are drawn on the device, inside the compiled step, and its images are moved there.
      steps: Total number of steps, including those before an interruption.
      batch_size: Number of examples per step, over all devices.
      seed: Random seed. Parameters, batches and noise depend on the seed and the step only.
      folder: Folder for trained.json, metrics.jsonl and checkpoints/. Training resumes from the newest checkpoint there
        and ends in the same bits as without an interruption. With None, nothing is kept.
      log_every: Number of steps per row of metrics; a row holds means over its interval.
      checkpoint_every: Number of steps between checkpoints; the last step has one as well.
      writers: Functions that are called with each row; a `Writer` takes pictures and histograms as well.
      devices: Devices to split each batch over; by default, the first device. Their number changes rounding only.
      microbatch: Number of images that pass through the networks at a time, see `in_microbatches`; by default, the
        whole batch.
      optimizer: Optimizer of all networks, as `Objective.optimizer`; by default, the method's own. See `with_optimizer`
        for schedules, clipping and averages.
      on_nan: What to do at a number that is not finite: "stop" raises; "skip" leaves the step out and counts it in the
        row as "skipped". In both cases the batch and its key are kept in `folder`/nonfinite, see `save_for_replay`.
      progress: Whether to show a progress bar, on stderr if that is a terminal, or in the notebook.
      on_row: Function that is called as `on_row(step, state, row)` after each row, for example to score or to plot. It
        must not change the state, whose arrays are donated to the next step: copy what is to be kept.
      stop: Function that is asked after each row; if it returns True, the state is saved and returned.
      validation: Examples that are held out, such as a part from `jaxvae.data.split`, wrapped as the method needs them.
        Rows at multiples of `validate_every` steps and at the last step also hold "validation_loss" and
        "validation_TERM", see `make_validation`. The checkpoint "best" is then that of the lowest validation loss, and
        is saved at that step. An Overfitting warning says at the end if this loss rises while the training loss falls.
      validate_every: Number of steps between validations.
      patience: Number of validations in a row without a new lowest loss after which the state is saved and returned,
        with a StoppedEarly warning. With None, all steps are done.
      max_minutes: Number of minutes of this call after which the state is saved and returned, at the next row, with a
        StoppedEarly warning. A resumed run has as many minutes again.
      observers: Functions that look at the state at multiples of their numbers of steps and at the last step, such as
        `jaxvae.runs.score_observer` and `jaxvae.report.image_observer`. Their scores are in the row of that step as
        "score_NAME"; their pictures and histograms go to the writers. Several processes need the same observers, which
        process 0 calls.

    Returns:
      The final state.

    Raises:
      ValueError: The batch is empty, or cannot be split over the devices in equal parts; a patience without validation
        examples; or a number below the least one that makes sense.
      NonFiniteLoss: A number is not finite; the message names the step and the terms, and the last good checkpoint
        stays. With "skip", no step of a row was possible.
      RunFolderError: The run in the folder has another method's name, hyperparameters, data, batch size or seed
        (changes to its code are not detected: use a new folder after editing a loss); another process trains it; no
        checkpoint there is intact; or the disk is full.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_limits(validation is not None, validate_every, patience, max_minutes)
    check_observers(observers)
    started = time.monotonic()
    folder = None if folder is None else Path(folder)
    trained, given_source = method, source
    devices = choose_devices() if devices is None else devices
    method = method if microbatch is None else in_microbatches(method, microbatch)
    method = method if optimizer is None else with_optimizer(method, optimizer)
    init, update = make_train_step(method, dataset_size=source.size)
    source = devices.place(pytree_of(source))
    validate = None
    if validation is not None:
        held_out = sharing_arrays(validation, given_source, source)
        sizes = {"batch_size": batch_size, "dataset_size": source.size}
        validate = make_validation(method, held_out, **sizes, devices=devices)
    images = images_per_update(method, batch_size)
    history: list[Mapping[str, Any]] = []  # rows with a validation

    def new_state() -> TrainState:
        return init(jax.random.key(seed))

    def stopped_early(step: int, *, resumed: bool = False) -> bool:
        """Whether the patience or the time is over; warns with StoppedEarly if so."""
        why = None
        if patience is not None and is_out_of_patience(history, validate_every, patience):
            why = patience_in_words(history, step, patience)
        elif max_minutes and not resumed and any_of_all(time.monotonic() - started >= 60 * max_minutes):
            why = f"training stopped at step {step} after {max_minutes:g} minutes: resume to go on"
        if why and is_primary_process():
            warnings.warn(why, StoppedEarly, stacklevel=4)
        return why is not None

    def run(state: TrainState, write: Sequence[RowWriter], save: Save | None) -> TrainState:
        first = int(state.step)
        if first >= steps or stopped_early(first, resumed=True):
            return state
        feed = read_ahead(source, state.key, first, steps, images, devices.batch_sharding())
        step = make_step(method, update, batch_size, devices.axis_name, skip=on_nan == "skip")
        empty = devices.place(empty_accumulator(method, update, batch_size, state, source))
        advance = compile_steps(method, step, feed, state, empty, devices, in_one_call=not is_streamed(source))
        stopwatch, writing = Stopwatch(), 0.0
        every = (log_every, checkpoint_every if save else None, validate_every if validate else None)
        for last, length in intervals(first, steps, *every, *(each.every for each in observers)):
            state, seen = advance(state, empty, length)
            seen = jax.device_get(seen)
            bad, terms = first_non_finite(seen)
            if terms and folder is not None and jax.process_count() == 1:
                save_for_replay(folder, method, source, batch_size, state.key, bad, terms)
            if terms and on_nan == "stop":
                raise NonFiniteLoss(f"not a finite number at step {bad}: {', '.join(terms)}")
            if seen.skipped == length:
                what = ", ".join(terms) or "the parameters after the update"
                raise NonFiniteLoss(f"not a finite number in any of {length} updates up to step {last}: {what}")
            row = _row(seen, length, on_nan)
            seconds = stopwatch.lap()
            validated = {}
            if validate and (last % validate_every == 0 or last == steps):
                validated = validate(state)
            found = observed(observers, state, last, steps)
            scores = {SCORE + name: float(value) for name, value in found.scores.items()}
            row |= {
                **validated,
                **scores,
                "seconds": seconds + stopwatch.lap() + writing,
                "steps_per_second": length / seconds,
            }
            if validated:
                history.append({"step": last, **row})
            for writer in write:
                write_entry(writer, last, row, found.images, found.histograms)
            writing = stopwatch.lap() if found.images else 0.0
            if on_row is not None:
                on_row(last, state, row)
            stopping = any_of_all(stop()) or (last < steps and stopped_early(last))
            is_best = bool(validated) and best_row(history) is history[-1]
            if save and (stopping or is_best or last == steps or last % checkpoint_every == 0):
                save(state, row["loss"], row.get(LOSS))
            if stopping:
                break
        if last == steps and (rise := rise_in_words(history)) and is_primary_process():
            warnings.warn(rise, Overfitting, stacklevel=3)
        return state

    with ExitStack() as stack:
        if progress and is_primary_process():
            start = max(saved_steps(folder / "checkpoints"), default=0) if folder else 0
            writers = [*writers, stack.enter_context(progress_writer(steps, start=start))]
        if folder is None:
            state = run(devices.create(new_state), writers, None)
            check_finite(state)
            return state
        folder.mkdir(parents=True, exist_ok=True)
        if is_primary_process():
            stack.enter_context(only_writer(folder))
            given = described(trained, described_data(given_source), batch_size, seed)
            note_trained(folder, given, usable_cores())
        checkpoints = stack.enter_context(Checkpoints(folder / "checkpoints"))
        if saved := saved_steps(folder / "checkpoints"):
            state = restore(folder / "checkpoints", saved[-1], devices.like(jax.eval_shape(new_state)))
            if saved[-1] >= steps:
                done = f"the run in {folder} has {saved[-1]} updates already, and {steps} were asked for"
                warnings.warn(f"{done}: nothing was trained", NothingToTrain, stacklevel=2)
        else:
            state = devices.create(new_state)

        def save(state: TrainState, loss: float, validation_loss: float | None) -> None:
            check_finite(state)
            checkpoints.save(state, loss, validation_loss)

        if validation is not None:
            history += [row for row in validation_rows(read_history(folder)) if row["step"] <= int(state.step)]
        if not is_primary_process():
            return run(state, writers, save)
        cut_history(folder, int(state.step))
        write = stack.enter_context(jsonl_writer(folder / "metrics.jsonl"))
        return run(state, (write, *writers), save)


def check(method: Method, source: Source, *, batch_size: int, parts: int = 1) -> None:
    """Traces one step without running it, to check that a method, a source and a batch size are compatible.

    Args:
      method: Method to train.
      source: Data to draw the batch from.
      batch_size: Number of examples per step, over all devices.
      parts: Number of devices that a batch is split over.

    Raises:
      ValueError: They are incompatible, or the batch cannot be split evenly.
    """
    Shard(0, parts).rows(batch_size)
    init, update = make_train_step(method, dataset_size=source.size)
    state = jax.eval_shape(init, jax.random.key(0))
    jax.eval_shape(lambda state: update(state, draw_batch(method, source, batch_size, state)), state)


def intervals(first: int, steps: int, *every: int | None) -> Iterator[tuple[int, int]]:
    """Yields (end, length) of the intervals from `first` to `steps` between rows, checkpoints and validations.

    They end at multiples of absolute steps, so that a resumed run writes the same rows.
    """
    while first < steps:
        ends = [steps, *(_next_multiple(first, each) for each in every if each)]
        yield min(ends), min(ends) - first
        first = min(ends)


def compile_steps(
    method: Method,
    step: Step,
    feed: Iterator[Source],
    state: TrainState,
    empty: MetricAccumulator,
    devices: Devices,
    *,
    in_one_call: bool,
    members: bool = False,
) -> Advance:
    """Compiles a function `advance(state, interval, n)` that takes n steps, each with the next source of the feed.

    If `in_one_call` is True, all steps may run in one call of the device. All sources must then be the same.
    """
    source = next(feed)
    if devices.platform == "cpu" or not in_one_call:
        # XLA runs convolutions inside a CPU while loop ten times slower than outside; a dispatch costs 0.2 ms.
        # The same holds for conditionals, so each set of active objectives has a separate program.
        sources = itertools.chain([source], feed)

        def program(active: Active) -> Step:
            return devices.compile(partial(step, active=active), state, empty, source, members=members)

        start = active_at(method, int(jnp.max(state.step)))
        programs = {start: program(start)}

        def advance(state: TrainState, seen: MetricAccumulator, n: int) -> tuple[TrainState, MetricAccumulator]:
            first = int(jnp.max(state.step))
            for number, source in enumerate(itertools.islice(sources, n), first):
                active = active_at(method, number)
                if active not in programs:
                    programs[active] = program(active)
                state, seen = programs[active](state, seen, source)
            return state, seen

        return advance

    def loop(
        state: TrainState, seen: MetricAccumulator, source: Source, n: jax.Array
    ) -> tuple[TrainState, MetricAccumulator]:
        # n is traced, so that one compilation serves every length.
        return jax.lax.fori_loop(0, n, lambda _, carry: step(carry[0], carry[1], source), (state, seen))

    def number(n: int) -> jax.Array:
        return devices.place(jnp.int32(n))

    compiled: Callable[..., tuple[TrainState, MetricAccumulator]] = devices.compile(
        loop, state, empty, source, number(0), members=members
    )
    return lambda state, seen, n: compiled(state, seen, source, number(n))


def check_finite(state: TrainState) -> None:
    """Checks that all parameters are finite.

    Raises:
      NonFiniteLoss: A parameter is not a finite number.
    """
    if not _all_finite(state):
        raise NonFiniteLoss(f"not a finite number at step {int(state.step)}: the parameters after the update")


def _row(seen: MetricAccumulator, length: int, on_nan: OnNaN) -> dict[str, float]:
    means = {name: float(total) / (length - int(seen.skipped)) for name, total in seen.sums.items()}
    count = {"skipped": float(seen.skipped)} if on_nan == "skip" else {}
    return {"loss": means.pop("loss"), **means, **count}


@jax.jit
def _all_finite(state: TrainState) -> jax.Array:
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]
    return jnp.stack(leaves).all()


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every
