"""Measures the total correlation of a batch, value and gradient, in jaxvae, plain JAX and PyTorch.

    python -m benchmarks.total_correlation --torch-python PATH/TO/python     # an environment with torch and numpy

Each measurement has its own process, and those of one size run one after another. Times are medians over repeats.
PyTorch runs as shipped, where most of its time is page faults, and with a tuned allocator. The lower limit is one
exponential per pair and latent, at the speed at which this machine computes them in cache.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.turns import TUNED_MALLOC

DATASET_SIZE = 737_280
WARMUP, LEAST, SECONDS = 2, 3, 4.0


def codes(batch: int, latents: int) -> tuple[Any, Any, Any]:
    """float32 numpy arrays z, mean, logvar [batch, latents]."""
    import numpy as np

    rng = np.random.default_rng(0)
    mean, logvar = rng.standard_normal((batch, latents)), rng.normal(-1, 0.5, (batch, latents))
    z = mean + np.exp(logvar / 2) * rng.standard_normal((batch, latents))
    return z.astype(np.float32), mean.astype(np.float32), logvar.astype(np.float32)


def jaxvae_tc(batch: int, latents: int) -> tuple[Callable[[], Any], int]:
    """The kernel of this package; a call, and the bytes of temporaries that XLA plans."""
    import jax

    from jaxvae.losses import kl_decomposition, minibatch_log_qz

    def total_correlation(z: Any, mean: Any, logvar: Any) -> Any:
        log_qz = minibatch_log_qz(z, mean, logvar, dataset_size=DATASET_SIZE)
        return kl_decomposition(z, mean, logvar, log_qz).total_correlation.mean()

    return _compiled(jax.value_and_grad(total_correlation, (0, 1, 2)), batch, latents)


def naive_tc(batch: int, latents: int) -> tuple[Callable[[], Any], int]:
    """The formula as one would type it, in JAX."""
    import jax

    def total_correlation(z: Any, mean: Any, logvar: Any) -> Any:
        deviation = (z[:, None] - mean[None]) * jax.numpy.exp(-logvar / 2)[None]
        log_density = -0.5 * (jax.numpy.log(2 * jax.numpy.pi) + logvar[None] + deviation**2)
        log_weights = jax.numpy.asarray(uniform_log_weights(batch))
        joint = jax.nn.logsumexp(log_density.sum(2) + log_weights, axis=1)
        return (joint - jax.nn.logsumexp(log_density + log_weights[:, :, None], axis=1).sum(1)).mean()

    return _compiled(jax.value_and_grad(total_correlation, (0, 1, 2)), batch, latents)


def torch_tc(batch: int, latents: int) -> tuple[Callable[[], Any], int]:
    """The same in PyTorch."""
    import torch

    arrays = [torch.tensor(array, requires_grad=True) for array in codes(batch, latents)]
    log_weights = torch.tensor(uniform_log_weights(batch))

    def call() -> Any:
        z, mean, logvar = arrays
        deviation = (z[:, None] - mean[None]) * torch.exp(-logvar / 2)[None]
        log_density = -0.5 * (1.8378770664093453 + logvar[None] + deviation**2)
        joint = torch.logsumexp(log_density.sum(2) + log_weights, 1)
        value = (joint - torch.logsumexp(log_density + log_weights[:, :, None], 1).sum(1)).mean()
        return value.detach().numpy(), [g.numpy() for g in torch.autograd.grad(value, arrays)]

    return call, 0


def uniform_log_weights(batch: int) -> Any:
    """float32 [batch, batch]"""
    import numpy as np

    weights = np.full((batch, batch), (DATASET_SIZE - 1) / (DATASET_SIZE * (batch - 1)))
    np.fill_diagonal(weights, 1 / DATASET_SIZE)
    return np.log(weights).astype(np.float32)


def _compiled(function: Any, batch: int, latents: int) -> tuple[Callable[[], Any], int]:
    import jax

    arrays = codes(batch, latents)
    compiled = jax.jit(function).lower(*arrays).compile()
    arrays = jax.device_put(arrays)
    return lambda: jax.block_until_ready(compiled(*arrays)), compiled.memory_analysis().temp_size_in_bytes


IMPLEMENTATIONS = {"jaxvae": jaxvae_tc, "naive JAX": naive_tc, "PyTorch": torch_tc, "PyTorch, tuned": torch_tc}


def measure(name: str, batch: int, latents: int) -> dict[str, Any]:
    """In this process: medians of wall and CPU milliseconds, peak memory in MiB, and the result as a check."""
    import numpy as np

    call, temporaries = IMPLEMENTATIONS[name](batch, latents)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(WARMUP):
        value, gradients = call()
    wall, cpu, start = [], [], time.perf_counter()
    while len(wall) < LEAST or time.perf_counter() - start < SECONDS:
        t, c = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - t)
        cpu.append(time.process_time() - c)
    return {
        "wall_ms": float(np.median(wall) * 1e3),
        "cpu_ms": float(np.median(cpu) * 1e3),
        "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "temporaries_mib": temporaries / 2**20,
        "value": float(value),
        "gradient_norm": float(np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in gradients))),
    }


def exponentials_per_second() -> float:
    """float32, in cache, on all cores together."""
    import jax

    def many(x: Any) -> Any:
        return jax.lax.fori_loop(0, 2000, lambda _, x: jax.numpy.exp(-x), x)

    x = jax.numpy.full((2**17,), 0.5)
    compiled = jax.jit(many).lower(x).compile()
    times = []
    for _ in range(5):
        t = time.process_time()
        jax.block_until_ready(compiled(x))
        times.append(time.process_time() - t)
    return 2000 * x.size / sorted(times)[2] * (os.cpu_count() or 1)


@dataclass
class Args:
    """Flags of the benchmark."""

    torch_python: str | None = None
    """Python with torch and numpy; without it PyTorch is left out"""
    batches: tuple[int, ...] = (64, 256, 1024, 4096, 16_384)
    latents: tuple[int, ...] = (10, 64)
    most_bytes: int = 8 * 2**30
    """sizes at which a peer would need more are left out: it holds about six arrays [B, B, D]"""


def main(args: Args) -> None:
    """Runs everything, prints a table and writes results/total_correlation.json."""
    from benchmarks.record import record

    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    rate = exponentials_per_second()
    print(f"{rate / 1e9:.2f} G exponentials / s on {os.cpu_count()} cores")
    print(
        f"{'D':>3} {'B':>6} {'':15} {'wall ms':>9} {'CPU ms':>9} {'MiB':>7} {'x wall':>7} {'x CPU':>6} {'floor ms':>9}"
    )
    for latents in args.latents:
        for batch in args.batches:
            ours: dict[str, Any] = {}
            for name in IMPLEMENTATIONS:
                if name.startswith("PyTorch") and args.torch_python is None:
                    continue
                if name != "jaxvae" and 6 * 4 * batch**2 * latents > args.most_bytes:
                    continue
                python = args.torch_python if name.startswith("PyTorch") else sys.executable
                environment = os.environ | (TUNED_MALLOC if name == "PyTorch, tuned" else {})
                command = [str(python), __file__, "--measure", name, str(batch), str(latents)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                row = {"name": name, "batch": batch, "latents": latents, **json.loads(done.stdout)}
                row["floor_ms"] = batch**2 * (latents + 1) / rate * 1e3
                ours = ours or row
                if row is not ours:
                    ratios[f"{latents} latents, batch of {batch}, against {name}"] = row["wall_ms"] / ours["wall_ms"]
                rows.append(row)
                print(
                    f"{latents:3} {batch:6} {name:15} {row['wall_ms']:9.1f} {row['cpu_ms']:9.1f} {row['peak_mib']:7.0f}"
                    f" {row['wall_ms'] / ours['wall_ms']:7.1f} {row['cpu_ms'] / ours['cpu_ms']:6.1f}"
                    f" {row['floor_ms']:9.2f}",
                    flush=True,
                )
                for check in ("value", "gradient_norm"):
                    assert abs(row[check] - ours[check]) < 1e-3 * abs(ours[check]) + 1e-4, (check, row, ours)
    record("total_correlation", vars(args), rows, ratios, exponentials_per_second=rate)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        import tyro

        main(tyro.cli(Args))
