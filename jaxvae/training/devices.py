"""Devices that share a step: its batch, or the members of a population, are split over them."""

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
    """A mesh of devices with the axes "population" and "data", over which a step is distributed.

    Results do not depend on the mesh, up to rounding.
    """

    mesh: Mesh
    backend: Backend = "shard_map"
    memory: int | None = None
    """Memory of each device in bytes that a step may allocate; by default, the free memory if the device reports it."""

    @property
    def axis_name(self) -> str | None:
        """Axis that the batch is split over: "data", or None if the batch is not split."""
        return "data" if self.mesh.shape["data"] > 1 else None

    @property
    def platform(self) -> str:
        """Platform of the devices, as "cpu" or "tpu", which need not be that of this process (a TPU's topology)."""
        return self.mesh.devices.flat[0].platform

    def sharding(self, members: bool) -> NamedSharding:
        """Returns the sharding of arrays: replicated on every device, or split by the first axis into members."""
        return NamedSharding(self.mesh, P("population") if members else P())

    def place(self, tree: T, *, members: bool = False) -> T:
        """Places the arrays of the tree on all devices: replicated, or split by their first axis into members."""
        return jax.device_put(tree, self.sharding(members))

    def create(self, make: Callable[[], T], *, members: bool = False) -> T:
        """Computes the result of `make` on the devices, with the sharding that `place` would give it."""
        return jax.jit(make, out_shardings=self.sharding(members))()

    def like(self, shapes: T, *, members: bool = False) -> T:
        """Adds the sharding of the arrays to the shapes of a tree (`jax.eval_shape`)."""
        sharding = self.sharding(members)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)

    def compile(self, step: Callable[..., T], *arguments: Any, members: bool = False) -> Callable[..., T]:
        """Compiles `step(state, seen, source, *numbers) -> (state, seen)` for arguments like these.

        The state is donated. State and seen are replicated, or split into members. If the source was read ahead, each
        device sees its shard of the batch.

        Raises:
          DoesNotFit: There is not enough memory.
        """
        source = arguments[2]
        if self.mesh.size == 1:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):  # tells the networks the platform
                return self._checked(jax.jit(step, donate_argnums=0).lower(*arguments).compile())
        if self.backend == "pmap":
            # pmap requires an argument with an axis of devices.
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
        """Returns the program if a device has the memory that it needs in addition to its arguments.

        Raises:
          DoesNotFit: There is not enough memory.
        """
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
        """Returns the sharding of batches that are read on the host, or None if the backend or device needs none."""
        return NamedSharding(self.mesh, P("data")) if self.axis_name and self.backend == "shard_map" else None


def choose_devices(data: int = 1, *, population: int = 1, backend: Backend = "shard_map") -> Devices:
    """Arranges the first available devices in a mesh.

    Args:
      data: Number of devices that share each batch.
      population: Number of groups of such devices; the groups share the members of a population.
      backend: "shard_map", or "pmap" for a batch split over the devices of one process.

    Raises:
      ValueError: There are fewer devices; several processes work together and not all devices are used; or the backend
        is unknown or does not support this arrangement.
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
    """Reshapes the rows of a batch that was read ahead for pmap, with a first axis of devices."""
    split = split_leaves(source, True, False)
    return jax.tree.map(lambda leaf, rows: leaf.reshape(parts, -1, *leaf.shape[1:]) if rows else leaf, source, split)


def usable_cores() -> int | None:
    """Returns the number of cores that this process may use if it trains on a CPU, or None on other devices.

    XLA splits a convolution over all of them, so its rounding depends on their number.
    """
    if jax.default_backend() != "cpu":
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
