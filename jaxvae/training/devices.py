"""The devices that work on one update: its batch is split over them, and the members of a population are too."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxvae.data.source import Source
from jaxvae.data.streamed import split_leaves

Backend = Literal["shard_map", "pmap"]
T = TypeVar("T")


class DoesNotFit(ValueError):
    """A compiled step needs more memory than a device has left."""

    def __init__(self, needs: int, free: int):
        super().__init__(
            f"an update needs {needs / 1e6:,.0f} MB of each device's memory besides data and models, and "
            f"{free / 1e6:,.0f} are free: take smaller batches, more devices, or microbatches"
        )
        self.needs, self.free = needs, free


@dataclass(frozen=True)
class Devices:
    """A mesh of devices with the axes "population" and "data", and how a step is spread over it.

    Results do not depend on it, beyond rounding.
    """

    mesh: Mesh
    backend: Backend = "shard_map"
    memory: int | None = None
    """Bytes of each device that a step may take for itself; what is free if not given, where the device tells."""

    @property
    def axis_name(self) -> str | None:
        """What the batch is split over: "data", or None where it is not."""
        return "data" if self.mesh.shape["data"] > 1 else None

    def sharding(self, members: bool) -> NamedSharding:
        """Whole on every device, or split by the first axis into members."""
        return NamedSharding(self.mesh, P("population") if members else P())

    def place(self, tree: T, *, members: bool = False) -> T:
        """The arrays of the tree on all devices: whole on each, or split by their first axis into members."""
        return jax.device_put(tree, self.sharding(members))

    def create(self, make: Callable[[], T], *, members: bool = False) -> T:
        """What `make` returns, made on the devices, as `place` would put it there."""
        return jax.jit(make, out_shardings=self.sharding(members))()

    def like(self, shapes: T, *, members: bool = False) -> T:
        """The shapes of a tree (`jax.eval_shape`), with where its arrays belong."""
        sharding = self.sharding(members)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)

    def compile(self, step: Callable[..., T], *arguments: Any, members: bool = False) -> Callable[..., T]:
        """`step(state, seen, source, *numbers) -> (state, seen)`, compiled for arguments like these.

        The state is donated. State and seen are whole on every device, or split into members; of a source that was
        read ahead each device sees its part of the batch.

        Raises:
          DoesNotFit: not enough memory.
        """
        source = arguments[2]
        if self.mesh.size == 1:
            return self._checked(jax.jit(step, donate_argnums=0).lower(*arguments).compile())
        if self.backend == "pmap":
            # pmap insists on an argument with an axis of devices.
            ranks = jnp.arange(self.mesh.size)
            spread = jax.pmap(
                lambda rank, *arguments: step(*arguments),
                axis_name="data",
                in_axes=(0, None, None, split_leaves(source, 0, None), *[None] * (len(arguments) - 3)),
                out_axes=None,
                donate_argnums=1,
                devices=self.mesh.devices.flatten().tolist(),
            )
            return lambda state, seen, source, *numbers: spread(
                ranks, state, seen, _stacked(source, len(ranks)), *numbers
            )
        own = P("population") if members else P()
        mapped = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(own, own, split_leaves(source, P("data"), P()), *[P()] * (len(arguments) - 3)),
            out_specs=(own, own),
        )
        return self._checked(jax.jit(mapped, donate_argnums=0).lower(*arguments).compile())

    def _checked(self, compiled: jax.stages.Compiled) -> jax.stages.Compiled:
        """The same, where a device has the memory that it needs besides its arguments."""
        free, sizes = self._free(), compiled.memory_analysis()
        if free is not None and sizes is not None:
            needs = sizes.temp_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
            if needs > free:
                raise DoesNotFit(needs, free)
        return compiled

    def _free(self) -> int | None:
        if self.memory is not None:
            return self.memory
        stats = self.mesh.local_devices[0].memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if "bytes_limit" in stats else None

    def batch_sharding(self) -> NamedSharding | None:
        """Where the rows of a batch belong that is read on the host; None for the backend or device that needs none."""
        return NamedSharding(self.mesh, P("data")) if self.axis_name and self.backend == "shard_map" else None


def choose_devices(data: int = 1, *, population: int = 1, backend: Backend = "shard_map") -> Devices:
    """The first devices there are, as a mesh.

    Args:
      data: devices that share each batch.
      population: groups of such devices that share the members of a population.
      backend: "shard_map"; or "pmap", for a batch split over the devices of one process.

    Raises:
      ValueError: more devices than there are; not all of them, where several processes work together; an unknown
        backend, or one that can't do this.
    """
    there, count = jax.devices(), data * population
    if backend not in ("shard_map", "pmap"):
        raise ValueError(f"the backend must be shard_map or pmap, got {backend!r}")
    if min(data, population) < 1 or count > len(there):
        raise ValueError(f"{count} devices were asked for; there are {len(there)} ({there[0].platform})")
    if jax.process_count() > 1 and count != len(there):
        raise ValueError(f"{jax.process_count()} processes work together: use all of their {len(there)} devices")
    if backend == "pmap" and (population > 1 or jax.process_count() > 1):
        raise ValueError("pmap splits batches over the devices of one process; use shard_map")
    axes = ("population", "data")
    mesh = jax.make_mesh((population, data), axes, axis_types=(AxisType.Auto,) * 2, devices=there[:count])
    return Devices(mesh, backend)


def _stacked(source: Source, parts: int) -> Source:
    """The rows of a batch that was read ahead as pmap takes them, a first axis of devices."""
    split = split_leaves(source, True, False)
    return jax.tree.map(lambda leaf, rows: leaf.reshape(parts, -1, *leaf.shape[1:]) if rows else leaf, source, split)


def usable_cores() -> int | None:
    """Number of cores that this process may use, where it trains on a CPU; None on other devices.

    XLA splits a convolution over all of them, so that its rounding depends on their number.
    """
    if jax.default_backend() != "cpu":
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
