"""Populations: several seeds, or several values of hyperparameters, of one method trained together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source, pytree_of
from jaxvae.method import Hyperparameters, Method
from jaxvae.training.devices import Devices, DoesNotFit, choose_devices
from jaxvae.training.engine import Active, TrainState, make_train_step
from jaxvae.training.loop import compile_steps, intervals
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.steps import NEVER, MetricAccumulator, OnNaN, Step, empty_accumulator, make_step


def train_population(
    method: Method,
    source: Source,
    *,
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
    log_every: int | None = None,
    checkpoint_every: int | None = None,
    validate_every: int | None = None,
    sweep: Mapping[str, Sequence[float]] | None = None,
    states: TrainState | None = None,
    devices: Devices | None = None,
    microbatch: int | None = None,
    on_nan: OnNaN = "stop",
) -> Iterator[tuple[int, TrainState, dict[str, np.ndarray]]]:
    """Trains every member as `train` would train it alone, up to rounding, with one compilation for all.

    `*_, (step, states, terms) = train_population(...)` keeps only the final result; a for loop also sees the
    intermediate ones. If a member's loss becomes non-finite, the member keeps its state from before that step, its
    terms are NaN, and training of the others continues.

    Accelerators train all members in one call, or in waves of as many members as fit into memory. All waves reach the
    next result before it is yielded. In a call, the members are vmapped; on TPUs they take turns in a loop if a network
    has convolutions, which cost more operations and bytes when they are vmapped (benchmarks/README.md). A single CPU
    trains one member after another, which is never slower per model than a single run: there, convolutions of several
    members together are slow (0.23x the speed for 8 members), and the speed of matrix products varies.

    Args:
      method: Method to train, with the hyperparameters that all members share.
      source: Data to draw the batches from; every member draws its own batches.
      seeds: Random seeds, one per member.
      steps: Total number of steps, including those that `states` has completed.
      batch_size: Number of examples per step and member.
      log_every: Number of steps between two results; by default, all steps.
      checkpoint_every: Number of steps between further results.
      validate_every: Number of steps between further results.
      sweep: Values of the hyperparameters that differ, by name, with one value per member.
      states: States to resume from, as yielded, all of them at the same step; by default, new states.
      devices: Devices to use; the axis "population" shares the members, and "data" the batch of each member. By
        default, one device.
      microbatch: Number of examples that the networks process at a time, as in `train`.
      on_nan: What to do at a non-finite number: "skip" skips that step of the member, and "stop" freezes the member.

    Yields:
      The number of completed steps; the members' states, stacked on a new first axis of every leaf; and the mean of
      every loss term since the last result, each [members]. The states are donated to the next step, so copy those that
      you keep.

    Raises:
      ValueError: There are no seeds or no steps; the sweep names an unknown hyperparameter or has another number of
        values; members or batches cannot be split evenly over the devices; or one member does not fit into memory.
    """
    devices = choose_devices() if devices is None else devices
    log_every = steps if log_every is None else log_every
    if not seeds or steps < 1 or log_every < 1:
        raise ValueError(f"a population needs seeds and steps, got {len(seeds)} and {steps}, every {log_every}")
    if len(seeds) % devices.mesh.shape["population"]:
        raise ValueError(f"{len(seeds)} members can't be split over {devices.mesh.shape['population']} devices")
    method = method if microbatch is None else in_microbatches(method, microbatch)
    init, update = make_train_step(method, dataset_size=source.size)
    hyperparameters = _stacked_hyperparameters(method, sweep or {}, len(seeds))
    source = devices.place(pytree_of(source))
    if states is None:
        keys = np.asarray(seeds, np.uint32)
        states = devices.create(
            lambda: jax.vmap(lambda seed, hp: init(jax.random.key(seed), hp))(keys, hyperparameters), members=True
        )
    first = int(states.step.max())
    step = make_step(method, update, batch_size, devices.axis_name, skip=on_nan == "skip")
    if on_nan == "stop":
        step = _frozen_at_non_finite(step)
    one = jax.eval_shape(lambda states: jax.tree.map(lambda leaf: leaf[0], states), states)
    empty = empty_accumulator(method, update, batch_size, one, source)
    advance = _compile(method, step, source, states, empty, devices)
    for last, length in intervals(first, steps, log_every, checkpoint_every, validate_every):
        states, seen = advance(states, length)
        yield last, states, _means(seen, length, on_nan)


Advance = Callable[[TrainState, int], tuple[TrainState, MetricAccumulator]]


def _compile(
    method: Method, step: Step, source: Source, states: TrainState, empty: MetricAccumulator, devices: Devices
) -> Advance:
    """Compiles the step for all members in one call, or for waves as large as fit into memory, one after another."""
    members, least = len(states.step), devices.mesh.shape["population"]
    size = 1 if devices.platform == "cpu" and devices.mesh.size == 1 else members
    while True:
        try:
            return _in_waves(size, method, step, source, states, empty, devices)
        except DoesNotFit as error:
            if size == least:
                raise
            fitting = min(size - least, int(size * error.free / error.needs))
            size = max(least, fitting // least * least)


def _in_waves(
    size: int,
    method: Method,
    step: Step,
    source: Source,
    states: TrainState,
    empty: MetricAccumulator,
    devices: Devices,
) -> Advance:
    """Compiles one program for waves of `size` members. The last member is repeated to fill up the last wave."""
    members = len(states.step)
    rows = np.minimum(np.arange(-(-members // size) * size), members - 1).reshape(-1, size)

    @partial(jax.jit, out_shardings=devices.sharding(members=True))
    def split(states: TrainState) -> list[TrainState]:
        return [jax.tree.map(lambda leaf, wave=wave: leaf[wave], states) for wave in rows]

    @partial(jax.jit, out_shardings=devices.sharding(members=True))
    def join(waves: list[tuple[TrainState, MetricAccumulator]]) -> tuple[TrainState, MetricAccumulator]:
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:members], *waves)

    if size == devices.mesh.size == 1:
        stepping = _alone(step)
    else:
        stepping = _in_turn(step) if _has_convolutions(states) and devices.platform == "tpu" else _together(step)
    nothing = devices.place(jax.tree.map(lambda leaf: jnp.stack([leaf] * size), empty), members=True)
    # All waves are in memory during compilation, as at run time, so that the free memory is measured correctly.
    waves = [states] if len(rows) == 1 else split(states)
    one = compile_steps(method, stepping, _forever(source), waves[0], nothing, devices, in_one_call=True, members=True)
    if len(rows) == 1:
        return lambda states, length: one(states, nothing, length)
    return lambda states, length: join([one(wave, nothing, length) for wave in split(states)])


def _alone(step: Step) -> Step:
    """Wraps the step for a population of one, without `vmap`, which slows convolutions down on a CPU."""

    def stepping(
        state: TrainState, seen: MetricAccumulator, source: Source, active: Active = None
    ) -> tuple[TrainState, MetricAccumulator]:
        member, interval = jax.tree.map(lambda leaf: leaf[0], (state, seen))
        return jax.tree.map(lambda leaf: leaf[None], step(member, interval, source, active))

    return stepping


def _together(step: Step) -> Step:
    def stepping(
        states: TrainState, seen: MetricAccumulator, source: Source, active: Active = None
    ) -> tuple[TrainState, MetricAccumulator]:
        return jax.vmap(lambda state, interval: step(state, interval, source, active))(states, seen)

    return stepping


def _in_turn(step: Step) -> Step:
    """Takes the members one after another in a loop of the program."""

    def stepping(
        states: TrainState, seen: MetricAccumulator, source: Source, active: Active = None
    ) -> tuple[TrainState, MetricAccumulator]:
        return jax.lax.map(lambda member: step(*member, source, active), (states, seen))

    return stepping


def _has_convolutions(states: TrainState) -> bool:
    """Whether a network has a kernel [h, w, C, F]. With the members' axis, it has five."""
    return any(leaf.ndim == 5 for leaf in jax.tree.leaves(states.params))


def _forever(source: Source) -> Iterator[Source]:
    while True:
        yield source


def _frozen_at_non_finite(step: Step) -> Step:
    """Wraps the step so that the state is frozen once a term is not finite.

    The same term is then non-finite at every further step, as batch and noise depend on the step of the state.
    """

    def guarded(
        state: TrainState, seen: MetricAccumulator, source: Source, active: Active = None
    ) -> tuple[TrainState, MetricAccumulator]:
        new_state, new_seen = step(state, seen, source, active)
        bad = jnp.stack(list(new_seen.first_bad.values())).min() < NEVER
        return jax.tree.map(lambda old, new: jnp.where(bad, old, new), state, new_state), new_seen

    return guarded


def _means(seen: MetricAccumulator, length: int, on_nan: OnNaN) -> dict[str, np.ndarray]:
    """Computes the mean of each term [members]. It is NaN for members that are frozen or had no finite step."""
    sums, first_bad, skipped = jax.device_get(seen)
    if on_nan == "skip":
        done = np.where(skipped < length, length - skipped, np.nan)
        return {name: total / done for name, total in sums.items()} | {"skipped": skipped.astype(np.float64)}
    frozen = np.min(list(first_bad.values()), axis=0) < NEVER
    return {name: np.where(frozen, np.nan, total / length) for name, total in sums.items()}


def check_sweep(method: Method, sweep: Mapping[str, Sequence[float]], members: int) -> None:
    """Checks a sweep.

    Raises:
      ValueError: A name is not a hyperparameter, or the number of values differs from the number of members.
    """
    known = method.hyperparameters._fields
    for name, values in sweep.items():
        if name not in known:
            raise ValueError(f"{method.name} has no hyperparameter {name!r}; there are {', '.join(known)}")
        if len(values) != members:
            raise ValueError(f"the sweep of {name!r} needs one value per seed: {members}, got {len(values)}")


def _stacked_hyperparameters(method: Method, sweep: Mapping[str, Sequence[float]], members: int) -> Hyperparameters:
    """Returns the method's hyperparameters, each with one value per member."""
    check_sweep(method, sweep, members)
    shared = method.hyperparameters._asdict()
    columns = {name: jnp.asarray(sweep.get(name, [value] * members), jnp.float32) for name, value in shared.items()}
    return type(method.hyperparameters)(**columns)
