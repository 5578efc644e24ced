"""How a split batch should see all posteriors: gathered on every device, or passed round in a ring.

    python -m benchmarks.gather_or_ring --devices 2 --batch 4096

Value and gradient of the mean log q(z), joint and marginals, over virtual CPU devices: both forms stream their pairs
with the same kernel, so what differs is how the posteriors travel. A gather holds 2 B D numbers per device; a ring
holds 2 B D / n and merges n partial sums. Measured equal (within a few per cent of CPU time); the gather is simpler.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tyro


@dataclass
class Args:
    """Flags of the benchmark."""

    devices: int = 2
    batch: int = 4096
    latents: int = 10
    repeats: int = 7


def main(args: Args) -> None:
    """Prints medians of wall and CPU milliseconds, and the temporaries per device."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.devices}"
    import jax
    import numpy as np
    from jax.sharding import AxisType
    from jax.sharding import PartitionSpec as P

    from benchmarks.total_correlation import codes
    from jaxvae.losses import LogQz, exact_log_qz, minibatch_log_qz

    def gather(z: jax.Array, mean: jax.Array, logvar: jax.Array) -> LogQz:
        return minibatch_log_qz(z, mean, logvar, dataset_size=args.batch, weighting="batch", axis_name="data")

    def ring(z: jax.Array, mean: jax.Array, logvar: jax.Array) -> LogQz:
        total = exact_log_qz(z, mean, logvar)
        onward = [(i, (i + 1) % args.devices) for i in range(args.devices)]
        for _ in range(args.devices - 1):
            mean, logvar = jax.lax.ppermute((mean, logvar), "data", onward)
            total = LogQz(*jax.tree.map(jax.numpy.logaddexp, total, exact_log_qz(z, mean, logvar)))
        return LogQz(*(part - np.log(args.devices) for part in total))

    def loss(estimate: Callable[..., LogQz], *posteriors: jax.Array) -> jax.Array:
        log_qz = estimate(*posteriors)
        return jax.lax.pmean((log_qz.joint + log_qz.marginals.sum(axis=1)).mean(), "data")

    mesh = jax.make_mesh((args.devices,), ("data",), axis_types=(AxisType.Auto,))
    inputs = codes(args.batch, args.latents)
    results = {}
    for name, estimate in (("gather", gather), ("ring", ring)):
        step = jax.value_and_grad(partial(loss, estimate), (0, 1, 2))
        sharded = jax.shard_map(step, mesh=mesh, in_specs=P("data"), out_specs=(P(), P("data")))
        compiled = jax.jit(sharded).lower(*inputs).compile()
        placed = jax.device_put(inputs, jax.NamedSharding(mesh, P("data")))
        results[name] = jax.block_until_ready(compiled(*placed))
        wall, cpu = [], []
        for _ in range(args.repeats):
            t, c = time.perf_counter(), time.process_time()
            jax.block_until_ready(compiled(*placed))
            wall.append(time.perf_counter() - t)
            cpu.append(time.process_time() - c)
        temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
        milliseconds = f"wall {np.median(wall) * 1e3:8.1f} ms   CPU {np.median(cpu) * 1e3:8.1f} ms"
        print(f"{name:7} {milliseconds}   {temporaries:.1f} MiB")
    for a, b in zip(*map(jax.tree.leaves, results.values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


if __name__ == "__main__":
    main(tyro.cli(Args))
