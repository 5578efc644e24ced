"""One step of training, from drawing the batch to accumulating the terms."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.fingerprint import fingerprint
from jaxvae.data.series import channels_of
from jaxvae.data.source import UNSHARDED, Shard, Source
from jaxvae.method import Batch, Method, Terms
from jaxvae.schema import schema_of
from jaxvae.training.engine import Active, TrainState, Update

NEVER = 2**31 - 1
OnNaN: TypeAlias = Literal["stop", "skip"]
"""Action at a step that has a non-finite number."""


class MetricAccumulator(NamedTuple):
    """Accumulated metrics since the last row was written."""

    sums: Terms
    """Sum of each term over the steps of the interval."""
    first_bad: dict[str, jax.Array]
    """First step (0-based) at which each term was not finite, or NEVER."""
    skipped: jax.Array
    """Number of steps that were skipped."""


Step: TypeAlias = Callable[..., tuple[TrainState, MetricAccumulator]]
"""Function (state, interval, source, active=None) -> (state, interval)."""


def images_per_update(method: Method, batch_size: int) -> int:
    """Returns the number of images that a step draws."""
    return 2 * batch_size if "fresh_x" in method.needs else batch_size


def described(method: Method, data: Mapping[str, Any], batch_size: int, seed: int) -> dict[str, Any]:
    """Describes what determines the numbers of a run, as JSON values.

    Changes to the code of losses and networks are not detected. `data` is from `described_data`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(method.hyperparameters)
    return {
        "method": method.name,
        "hp": {
            jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf).tolist() for path, leaf in leaves
        },
        "data": dict(data),
        "batch_size": int(batch_size),
        "seed": int(seed),
    }


def described_data(source: Source) -> dict[str, Any]:
    """Describes the data by name, number and shape of images, factors and `fingerprint`, as JSON values."""
    content, schema, channels = fingerprint(source), schema_of(source), channels_of(source)
    return {
        "name": source.name,
        "images": int(source.size),
        "shape": list(map(int, source.event_shape)),
        "factors": {name: int(size) for name, size in zip(source.factor_names, source.factor_sizes, strict=True)},
        **({} if content is None else {"fingerprint": content}),
        **({} if schema is None else {"columns": schema.to_json(), "labels": dict(schema.labels)}),
        **({} if channels is None else {"channels": channels.to_json(), "labels": dict(channels.labels)}),
    }


def draw_batch(method: Method, source: Source, batch_size: int, state: TrainState, part: Shard = UNSHARDED) -> Batch:
    """Draws the batch of the coming step, or a shard of it, with the keys that the method needs."""
    return batch_of_step(method, source, batch_size, state.key, state.step, part)


def batch_of_step(
    method: Method, source: Source, batch_size: int, key: jax.Array, step: jax.Array, part: Shard = UNSHARDED
) -> Batch:
    """Draws the batch of any step of a run with that key, or a shard of it.

    "fresh_x" is a second batch: twice as many rows are drawn, and every other row goes to it.
    """
    both = source.batch(key, step, images_per_update(method, batch_size), part)
    if "fresh_x" not in method.needs:
        return both
    return {**{name: value[0::2] for name, value in both.items()}, "fresh_x": both["x"][1::2]}


def make_step(method: Method, update: Update, batch_size: int, axis_name: str | None, *, skip: bool = False) -> Step:
    """Returns a function that draws a batch, takes a step, and adds the terms to the interval.

    With `axis_name`, the device draws its own shard of the batch. With `skip`, a step with a non-finite term or
    parameter is skipped: the state stays the same except for the step number, and the terms are not added.
    """

    def step(
        state: TrainState, seen: MetricAccumulator, source: Source, active: Active = None
    ) -> tuple[TrainState, MetricAccumulator]:
        part = UNSHARDED if axis_name is None else Shard(jax.lax.axis_index(axis_name), jax.lax.axis_size(axis_name))
        new_state, terms = update(state, draw_batch(method, source, batch_size, state, part), axis_name, active)
        bad = {
            name: jnp.where(jnp.isfinite(value), seen.first_bad[name], jnp.minimum(seen.first_bad[name], state.step))
            for name, value in terms.items()
        }
        if not skip:
            return new_state, MetricAccumulator(
                {name: seen.sums[name] + value for name, value in terms.items()}, bad, seen.skipped
            )
        leaves = [*terms.values(), *jax.tree.leaves(new_state.params)]
        good = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
        kept = state._replace(step=new_state.step)
        sums = {name: seen.sums[name] + jnp.where(good, value, 0.0) for name, value in terms.items()}
        new_state = jax.tree.map(lambda new, old: jnp.where(good, new, old), new_state, kept)
        return new_state, MetricAccumulator(sums, bad, seen.skipped + jnp.where(good, 0, 1))

    return step


def empty_accumulator(
    method: Method, update: Update, batch_size: int, state: TrainState, source: Source
) -> MetricAccumulator:
    """Returns an accumulator without any steps, for every term that the update reports."""
    no_gradient = (False,) * len(method.objectives)

    def terms_of(state: TrainState, source: Source) -> Terms:
        return update(state, draw_batch(method, source, batch_size, state), None, no_gradient)[1]

    terms = jax.eval_shape(terms_of, state, source)
    return MetricAccumulator(
        {name: jnp.float32(0) for name in terms}, {name: jnp.int32(NEVER) for name in terms}, jnp.int32(0)
    )
