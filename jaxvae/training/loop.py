"""The one training loop: any `Method`, any `Source`."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxvae.data.source import Source, on_device
from jaxvae.data.streamed import is_streamed, read_ahead
from jaxvae.method import Batch, Method, Terms
from jaxvae.training.checkpoints import Checkpoints
from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.run_folder import cut_history
from jaxvae.training.writers import Stopwatch, Writer, jsonl_writer

DrawAndUpdate: TypeAlias = Callable[[TrainState, Source], tuple[TrainState, Terms]]
NEVER = 2**31 - 1


class NonFiniteLoss(RuntimeError):
    """Training met a loss term, or ended in a parameter, that is not a finite number."""


class Interval(NamedTuple):
    """What has been seen since the last row was written."""

    sums: Terms
    """Per term, over the steps of the interval."""
    first_bad: dict[str, jax.Array]
    """Per term, the first step (0-based) at which it was not finite, or NEVER."""


def train(
    method: Method,
    source: Source,
    *,
    steps: int,
    batch_size: int,
    seed: int = 0,
    folder: Path | None = None,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    writers: Sequence[Writer] = (),
) -> TrainState:
    """Trains until `steps` updates are done.

    Args:
      method: what to train, with its hyperparameters.
      source: where the batches come from, drawn on the device inside the compiled step; its images are moved there.
      steps: total number of updates, those of an interrupted run included.
      batch_size: examples per update.
      seed: of everything random: parameters, batches and noise depend on (seed, step) alone.
      folder: for metrics.jsonl and checkpoints/. Training goes on from the newest checkpoint there and ends in the
        same bits as if it had never stopped. None keeps nothing.
      log_every: updates per row of metrics; a row holds means over its interval.
      checkpoint_every: updates per checkpoint; there is one more at the end.
      writers: called with each row.

    Returns:
      The final state.

    Raises:
      NonFiniteLoss: names the step and the terms; the last good checkpoint stays.
    """
    init, update = compile_method(method, dataset_size=source.size)
    source, images = on_device(source), images_per_update(method, batch_size)

    def draw_and_update(state: TrainState, source: Source) -> tuple[TrainState, Terms]:
        return update(state, draw_batch(method, source, batch_size, state))

    new_state = partial(init, jax.random.key(seed))
    if folder is None:
        state = _run(new_state(), source, draw_and_update, steps, images, log_every, writers)
        _check_finite(state)
        return state
    folder.mkdir(parents=True, exist_ok=True)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        if saved := checkpoints.steps():
            state = checkpoints.restore(saved[-1], jax.eval_shape(new_state))
        else:
            state = new_state()
        cut_history(folder, int(state.step))

        def save(state: TrainState, loss: float) -> None:
            _check_finite(state)
            checkpoints.save(state, loss)

        with jsonl_writer(folder / "metrics.jsonl") as write:
            every = (checkpoint_every, save)
            return _run(state, source, draw_and_update, steps, images, log_every, (write, *writers), every)


def check(method: Method, source: Source, *, batch_size: int) -> None:
    """Traces one update without running it: ValueError for a method, source and batch size that don't go together."""
    init, update = compile_method(method, dataset_size=source.size)
    state = jax.eval_shape(init, jax.random.key(0))
    jax.eval_shape(lambda state: update(state, draw_batch(method, source, batch_size, state)), state)


def images_per_update(method: Method, batch_size: int) -> int:
    """How many images an update draws."""
    return 2 * batch_size if "fresh_image" in method.needs else batch_size


def draw_batch(method: Method, source: Source, batch_size: int, state: TrainState) -> Batch:
    """The batch of the coming step, with what the method needs: "fresh_image" is of a second batch, drawn with it."""
    both = source.batch(state.key, state.step, images_per_update(method, batch_size))
    if "fresh_image" not in method.needs:
        return both
    return {**{name: value[:batch_size] for name, value in both.items()}, "fresh_image": both["image"][batch_size:]}


def _run(
    state: TrainState,
    source: Source,
    draw_and_update: DrawAndUpdate,
    steps: int,
    images: int,
    log_every: int,
    writers: Sequence[Writer],
    checkpoint: tuple[int, Callable[[TrainState, float], None]] | None = None,
) -> TrainState:
    step = int(state.step)
    if step >= steps:
        return state
    feed = read_ahead(source, state.key, step, steps, images)
    advance, interval = _compile(draw_and_update, feed, state, in_one_call=not is_streamed(source))
    stopwatch = Stopwatch()
    while step < steps:
        # Intervals end at multiples of absolute steps, so that a resumed run writes the same rows.
        ends = [steps, _next_multiple(step, log_every)]
        if checkpoint:
            ends.append(_next_multiple(step, checkpoint[0]))
        length, step = min(ends) - step, min(ends)
        state, seen = advance(state, interval, length)
        row = _row(seen, length)
        seconds = stopwatch.lap()
        for write in writers:
            write(step, {**row, "seconds": seconds, "steps_per_second": length / seconds})
        if checkpoint and (step == steps or step % checkpoint[0] == 0):
            checkpoint[1](state, row["loss"])
    return state


def _compile(
    draw_and_update: DrawAndUpdate, feed: Iterator[Source], state: TrainState, in_one_call: bool
) -> tuple[Callable[[TrainState, Interval, int], tuple[TrainState, Interval]], Interval]:
    """`advance(state, interval, n)`: n updates, each on its source of the feed; and the empty interval to start from.

    Only where all sources are the same can many updates be one call of the device.
    """
    source = next(feed)

    def step(state: TrainState, seen: Interval, source: Source) -> tuple[TrainState, Interval]:
        new_state, terms = draw_and_update(state, source)
        bad = {
            name: jnp.where(jnp.isfinite(value), seen.first_bad[name], jnp.minimum(seen.first_bad[name], state.step))
            for name, value in terms.items()
        }
        return new_state, Interval({name: seen.sums[name] + value for name, value in terms.items()}, bad)

    names = jax.eval_shape(draw_and_update, state, source)[1]
    empty = Interval({name: jnp.float32(0) for name in names}, {name: jnp.int32(NEVER) for name in names})

    if jax.default_backend() == "cpu" or not in_one_call:
        # XLA runs convolutions inside a CPU while loop ten times slower than outside; a dispatch costs 0.2 ms.
        one = jax.jit(step, donate_argnums=0).lower(state, empty, source).compile()
        sources = itertools.chain([source], feed)

        def advance(state: TrainState, seen: Interval, n: int) -> tuple[TrainState, Interval]:
            for source in itertools.islice(sources, n):
                state, seen = one(state, seen, source)
            return state, seen

        return advance, empty

    def loop(state: TrainState, seen: Interval, source: Source, n: jax.Array) -> tuple[TrainState, Interval]:
        # n is traced: one compilation serves every length.
        return jax.lax.fori_loop(0, n, lambda _, carry: step(carry[0], carry[1], source), (state, seen))

    compiled = jax.jit(loop, donate_argnums=0).lower(state, empty, source, jnp.int32(0)).compile()
    return lambda state, seen, n: compiled(state, seen, source, jnp.int32(n)), empty


def _row(seen: Interval, length: int) -> dict[str, float]:
    sums, first_bad = jax.device_get(seen)
    step = min(int(bad) for bad in first_bad.values())
    if step != NEVER:
        terms = [name for name, bad in first_bad.items() if bad == step]
        raise NonFiniteLoss(f"not a finite number at step {step}: {', '.join(sorted(terms))}")
    means = {name: float(total) / length for name, total in sums.items()}
    return {"loss": means.pop("loss"), **means}


@jax.jit
def _all_finite(state: TrainState) -> jax.Array:
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]
    return jnp.stack(leaves).all()


def _check_finite(state: TrainState) -> None:
    if not _all_finite(state):
        raise NonFiniteLoss(f"not a finite number at step {int(state.step)}: the parameters after the update")


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every
