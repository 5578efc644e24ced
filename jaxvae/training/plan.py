"""Resources of a training step, computed before it runs."""

import time
from typing import NamedTuple

import jax

from jaxvae.data.source import Source, pytree_of
from jaxvae.data.streamed import read_ahead
from jaxvae.method import Method
from jaxvae.training.devices import Devices, choose_devices
from jaxvae.training.engine import TrainState, make_train_step
from jaxvae.training.microbatch import in_microbatches
from jaxvae.training.steps import empty_accumulator, images_per_update, make_step


class Plan(NamedTuple):
    """Resources of a training step."""

    parameters: int
    """Number of parameters of all networks together."""
    bytes: int | None
    """Memory per device in bytes: data, parameters, optimizer state, and the intermediate values of a step. None if the
    backend does not report it."""
    seconds: float
    """Compilation time of the step in seconds."""


def plan(
    method: Method,
    source: Source,
    *,
    batch_size: int,
    devices: Devices | None = None,
    microbatch: int | None = None,
) -> Plan:
    """Compiles one step without running it.

    Args:
      method: Method to train.
      source: Data to draw the batches from.
      batch_size: Number of examples per step, over all devices.
      devices: Devices that share each batch; by default, the first one.
      microbatch: Number of examples that the networks process at a time; see `jaxvae.training.train`.

    Raises:
      ValueError: The batch cannot be split evenly over the devices.
      DoesNotFit: There is not enough memory.
    """
    devices = choose_devices() if devices is None else devices
    method = method if microbatch is None else in_microbatches(method, microbatch)
    init, update = make_train_step(method, dataset_size=source.size)
    source = devices.place(pytree_of(source))

    def new_state() -> TrainState:
        return init(jax.random.key(0))

    state = devices.create(new_state)
    images = images_per_update(method, batch_size)
    first = next(read_ahead(source, state.key, 0, 1, images, devices.batch_sharding()))
    step = make_step(method, update, batch_size, devices.axis_name)
    empty = devices.place(empty_accumulator(method, update, batch_size, state, source))
    start = time.perf_counter()
    compiled = devices.compile(step, state, empty, first)
    seconds = time.perf_counter() - start
    sizes = compiled.memory_analysis() if isinstance(compiled, jax.stages.Compiled) else None
    needed = None
    if sizes is not None:
        needed = sizes.argument_size_in_bytes + sizes.temp_size_in_bytes
        needed += sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return Plan(sum(leaf.size for leaf in jax.tree.leaves(state.params)), needed, seconds)
