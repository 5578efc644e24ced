"""Measures a full training step of a beta-VAE (networks, loss, gradient, Adam) in jaxvae, plain Flax and PyTorch.

    python -m benchmarks.train_step --torch-python PATH/TO/python     # an environment with torch and numpy

The images have 64 x 64 pixels and one channel and stay the same; noise is new at each step. Every implementation has
its own process, and they take turns. PyTorch runs in eager mode, tuned (channels_last, fused Adam, an allocator that
keeps memory), and tuned with `torch.compile`. "as shipped" is jaxvae without `tune_allocator`. The lower limit is
the arithmetic of the layers at the speed of a large matrix product, or the bytes of the parameters and Adam's moments
at the speed of a sum, whichever takes longer. The last rows compare steps of beta-TCVAE and FactorVAE with those of
the plain VAE.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.turns import TUNED_MALLOC, Worker, serve, take_turns

TORCH = {"PyTorch": "eager", "PyTorch, tuned": "tuned", "PyTorch, compiled": "compiled"}
OURS = ("jaxvae", "jaxvae, 2 devices", "jaxvae, as shipped", "plain Flax")
METHODS = ("beta-vae", "beta-tc-vae", "factor-vae")


@dataclass
class Args:
    """Flags of the benchmark."""

    torch_python: str | None = None
    """Python with torch and numpy; without it PyTorch is skipped"""
    cases: tuple[str, ...] = ("conv:64", "conv:256", "burgess:64", "mlp:64", "mlp:256")
    """network:batch"""
    repeats: int = 9
    threads: int = 2
    """of PyTorch; JAX takes all cores"""


def images(batch: int) -> np.ndarray:
    """Black and white noise, [batch, 1, 64, 64]."""
    return np.random.default_rng(0).integers(0, 2, (batch, 1, 64, 64)).astype(np.float32)


def jax_training(peer: str, network: str, batch: int, method: str) -> Callable[[int], int]:
    """`run(n)` does n updates, dispatched like those of `jaxvae.training.train`, and tells how many there have been."""
    import jax
    import jax.numpy as jnp

    from jaxvae.data.source import Shard
    from jaxvae.methods import METHODS
    from jaxvae.networks import autoencoder, discriminator
    from jaxvae.training import choose_devices, make_train_step, tune_allocator

    if "as shipped" not in peer:
        tune_allocator()
    if "2 devices" in peer:
        jax.config.update("jax_num_cpu_devices", 2)
    if peer == "plain Flax":
        use_plain_flax()
    devices = choose_devices(2 if "2 devices" in peer else 1)
    networks = autoencoder(network, (64, 64, 1))
    if method == "factor-vae":
        networks["discriminator"] = discriminator(10)
    init, update = make_train_step(METHODS[method].build(networks), dataset_size=737_280)
    image = jnp.asarray(images(batch)).transpose(0, 2, 3, 1)
    data = devices.place({"x": image, "fresh_x": image[::-1]})

    def step(state: Any, seen: Any, data: Any) -> tuple[Any, Any]:
        if devices.axis_name is None:
            return update(state, data)
        first, rows = Shard(jax.lax.axis_index("data"), jax.lax.axis_size("data")).rows(batch)
        part = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, rows), data)
        return update(state, part, "data")

    state = devices.create(partial(init, jax.random.key(0)))
    compiled = devices.compile(step, state, {}, data)

    def run(steps: int) -> int:
        nonlocal state
        for _ in range(steps):
            state, _ = compiled(state, {}, data)
        jax.block_until_ready(state)
        return int(state.step)

    return run


def use_plain_flax() -> None:
    """Flax's own layers in our networks, all images at once."""
    import flax.linen as nn

    import jaxvae.networks.conv as conv

    settings = {"strides": (2, 2), "kernel_init": conv.GLOROT}
    conv.Conv = lambda features, kernel, dtype: nn.Conv(features, (kernel, kernel), dtype=dtype, **settings)
    conv.in_parts = lambda layers, x: layers(x)
    conv.ConvTranspose = lambda features, dtype: nn.ConvTranspose(features, (4, 4), dtype=dtype, **settings)


def measure(peer: str, network: str, batch: int, method: str, threads: int) -> None:
    """In a process of its own."""
    if peer in TORCH:
        from benchmarks.torch_vae import training

        serve(training(network, images(batch), TORCH[peer], threads))
    else:
        serve(jax_training(peer, network, batch, method))


def worker(args: Args, peer: str, network: str, batch: int, method: str = "beta-vae") -> Worker:
    """Starts it."""
    python = args.torch_python if peer in TORCH else sys.executable
    tuned = TUNED_MALLOC if TORCH.get(peer, "eager") != "eager" else {}
    return Worker([str(python), __file__, "--measure", peer, network, str(batch), method, str(args.threads)], tuned)


def floor_ms(network: str, batch: int) -> dict[str, float]:
    """Milliseconds that the arithmetic and the memory traffic of an update take at this machine's best."""
    import jax
    import jax.numpy as jnp

    from jaxvae.networks import autoencoder

    networks = autoencoder(network, (64, 64, 1))
    inputs = {"encoder": jnp.zeros((batch, 64, 64, 1)), "decoder": jnp.zeros((batch, 10))}
    forward, weights = 0.0, 0
    for name, net in networks.items():
        params = jax.eval_shape(net.init, jax.random.key(0))
        weights += sum(leaf.size for leaf in jax.tree.leaves(params))
        forward += multiply_adds(jax.make_jaxpr(net.apply)(params, inputs[name]).jaxpr)
    square = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a).lower(square).compile()
    arrays = [jnp.ones(2**24) for _ in range(2)]
    add = jax.jit(lambda a, b: a + b, donate_argnums=0).lower(*arrays).compile()

    def add_in_place() -> jax.Array:
        arrays[0] = add(*arrays)
        return arrays[0]

    peak = 2 * 2048**3 / best_seconds(lambda: product(square))
    bandwidth = 3 * 4 * 2**24 / best_seconds(add_in_place)
    # The gradients by inputs and by weights are as much arithmetic again, each; Adam reads 4 arrays and writes 3.
    return {"arithmetic": 3 * 2 * forward / peak * 1e3, "memory": 7 * 4 * weights / bandwidth * 1e3}


def multiply_adds(jaxpr: Any) -> float:
    """Of the matrix products and convolutions in it."""
    total = 0.0
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", None)
            total += multiply_adds(inner) if inner is not None else 0
        outputs = np.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += outputs * np.prod([equation.invars[0].aval.shape[axis] for axis in contracted])
        if equation.primitive.name == "conv_general_dilated":
            total += outputs * np.prod(equation.invars[1].aval.shape[:-1])
    return float(total)


def best_seconds(call: Callable[[], Any]) -> float:
    """The shortest of some."""
    import time

    import jax

    times = []
    for _ in range(10):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def main(args: Args) -> None:
    """Prints a row per peer and writes results/train_step.json."""
    from benchmarks.record import record

    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    peers = [*OURS, *(TORCH if args.torch_python else ())]
    if args.torch_python is None:
        print("skipped, as --torch-python is not given:", ", ".join(TORCH))

    def show(case: str, batch: int, peer: str, found: dict[str, float], first: dict[str, float]) -> None:
        row = {"case": case, "peer": peer, "images_per_second": round(batch / found["wall_ms"] * 1e3), **found}
        rows.append(row)
        print({**row, "time against the first": round(found["wall_ms"] / first["wall_ms"], 2)}, flush=True)

    for case in args.cases:
        network, batch = case.split(":")[0], int(case.split(":")[1])
        least = floor_ms(network, batch)
        print(case, "floor, ms:", {name: round(value, 1) for name, value in least.items()})
        workers = {
            peer: worker(args, peer, network, batch) for peer in peers if network != "mlp" or peer != "plain Flax"
        }
        found = take_turns(workers, args.repeats)
        ours = min(found["jaxvae"]["wall_ms"], found["jaxvae, 2 devices"]["wall_ms"])
        for peer, values in found.items():
            show(case, batch, peer, values, found["jaxvae"])
            if not peer.startswith("jaxvae,"):
                ratios[f"{case}, against {peer}" if peer != "jaxvae" else f"{case}, against the floor"] = (
                    values["wall_ms"] if peer != "jaxvae" else max(least.values())
                ) / found["jaxvae"]["wall_ms"]
        if args.torch_python:
            best = min(found[peer]["wall_ms"] for peer in TORCH)
            ratios[f"{case}, against the best of PyTorch"] = best / found["jaxvae"]["wall_ms"]
            ratios[f"{case}, the faster of 1 and 2 devices against the best of PyTorch"] = best / ours
        rows.append({"case": case, "peer": "floor", **{f"{name}_ms": round(ms, 2) for name, ms in least.items()}})
    case, batch = "conv:64", 64
    workers = {method: worker(args, "jaxvae", "conv", batch, method) for method in METHODS}
    if args.torch_python:
        workers["PyTorch, beta-vae"] = worker(args, "PyTorch", "conv", batch)
    found = take_turns(workers, args.repeats)
    for name, values in found.items():
        show(f"{case}, methods", batch, name, values, found["beta-vae"])
        if name != "beta-vae":
            ratios[f"{case}, beta-vae against {name}"] = values["wall_ms"] / found["beta-vae"]["wall_ms"]
    record("train_step", vars(args), rows, ratios)
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:4], int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
    else:
        import tyro

        main(tyro.cli(Args))
