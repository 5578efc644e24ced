"""Several seeds, and several hyperparameters, of one method trained together by `vmap`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.source import Source, on_device
from jaxvae.method import Hyperparameters, Method, Terms
from jaxvae.training.engine import TrainState, compile_method
from jaxvae.training.loop import NonFiniteLoss, draw_batch


def train_population(
    method: Method,
    source: Source,
    *,
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
    log_every: int | None = None,
    sweep: Mapping[str, Sequence[float]] | None = None,
) -> Iterator[tuple[int, TrainState, dict[str, np.ndarray]]]:
    """Trains every member as `train` would alone, up to rounding, in one compiled step for all.

    `*_, (step, states, terms) = train_population(...)` keeps the end of it; a for loop looks in between.

    Args:
      method: what to train, with the hyperparameters that all members share.
      source: where the batches come from; every member draws its own.
      seeds: one per member.
      steps: number of updates.
      batch_size: examples per update and member.
      log_every: updates between two results; all of them if not given.
      sweep: hyperparameters that differ, by name, one value per member.

    Yields:
      The number of updates done, the members' states (stacked on a new first axis of every leaf), and the mean of every
      loss term since the last result, each [members].

    Raises:
      ValueError: no seeds, no steps, or a sweep over what is no hyperparameter or with another number of values.
      NonFiniteLoss: a member's loss is not a finite number.
    """
    log_every = steps if log_every is None else log_every
    if not seeds or steps < 1 or log_every < 1:
        raise ValueError(f"a population needs seeds and steps, got {len(seeds)} and {steps}, every {log_every}")
    init, update = compile_method(method, dataset_size=source.size)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    states = jax.jit(jax.vmap(init))(keys, _stack(method, sweep or {}, len(seeds)))

    source = on_device(source)

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def step(state: TrainState, source: Source) -> tuple[TrainState, Terms]:
        return update(state, draw_batch(method, source, batch_size, state))

    for first in range(0, steps, log_every):
        last = min(first + log_every, steps)
        sums: Terms = {}
        for _ in range(first, last):
            states, terms = step(states, source)
            sums = {name: sums[name] + value for name, value in terms.items()} if sums else terms
        means = {name: np.asarray(total) / (last - first) for name, total in sums.items()}
        if bad := sorted(name for name, mean in means.items() if not np.isfinite(mean).all()):
            raise NonFiniteLoss(f"not a finite number in steps {first} to {last - 1}: {', '.join(bad)}")
        yield last, states, means


def _stack(method: Method, sweep: Mapping[str, Sequence[float]], members: int) -> Hyperparameters:
    """The method's hyperparameters, one value per member of each."""
    shared = method.hyperparameters._asdict()
    for name, values in sweep.items():
        if name not in shared:
            raise ValueError(f"{method.name} has no hyperparameter {name!r}; there are {', '.join(shared)}")
        if len(values) != members:
            raise ValueError(f"the sweep of {name!r} needs one value per seed: {members}, got {len(values)}")
    columns = {name: jnp.asarray(sweep.get(name, [value] * members), jnp.float32) for name, value in shared.items()}
    return type(method.hyperparameters)(**columns)
