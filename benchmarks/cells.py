"""Compares DRVI with that of scvi-tools: the loss on the same parameters, and the speed of training.

    python -m benchmarks.cells --scvi-python PATH/TO/python     # an environment with scvi-tools 1.5 or newer

The cells are simulated (`jaxvae.data.cells`), with 2,000 genes and two batches; networks and batches have the defaults
of scvi-tools: 128 hidden units, 32 latents in 32 splits, 128 cells per step. First, the parameters of a new model of
scvi-tools are copied into ours, and both compute the loss of the same cells with the same noise. Then each trains in a
process of its own, and they take turns: jaxvae, which draws the batch within its step, and the module of scvi-tools,
with a batch that is in memory. `model.train` of scvi-tools, with its data loader and trainer, runs after them. The
lower limit is the arithmetic of the layers at the speed of a large matrix product.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.turns import TUNED_MALLOC, Worker, serve, take_turns

BATCH = 128
OURS, MODULE, TUNED, TRAIN = "jaxvae", "scvi-tools, module", "scvi-tools, module, tuned allocator", "scvi-tools, train"


@dataclass
class Args:
    """Flags of the benchmark."""

    scvi_python: str | None = None
    """Python with scvi-tools; without it, only jaxvae is measured"""
    cells: int = 2560
    genes: int = 2000
    repeats: int = 7
    threads: int = 2
    """of PyTorch; JAX takes all cores"""


def built(cells: int, genes: int, **flags: Any) -> tuple[Any, Any]:
    """Source and method of ours, for simulated cells."""
    from jaxvae.data import cells as simulated
    from jaxvae.runs.build import build_method, networks_of
    from jaxvae.runs.config import default_config

    table = simulated(cells=cells, genes=genes, programs=16)
    config = default_config("drvi").with_flags(data="cells", covariates=("batch",), batch_size=BATCH, **flags)
    source = config.batches.wrap(table, "drvi")
    return source, build_method(config, networks_of(config, source), source)


def converted(weights: dict[str, np.ndarray], means: np.ndarray) -> dict[str, Any]:
    """Parameters of ours from those of scvi-tools.

    Args:
      weights: State of a DRVIModule with one hidden layer, "split_map", shared weights and a dispersion per gene.
      means: Means of the genes [G]. Our encoder subtracts log(1 + mean) from its inputs, and log(mean + 0.001) is added
        to the outputs of our decoder; both are undone in the biases.
    """

    def dense(name: str) -> dict[str, np.ndarray]:
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    first, last = dense("z_encoder.encoder.fc_layers.Layer 0.0"), dense("decoder.px_scale_decoder")
    first["bias"] = first["bias"] + np.log1p(means) @ first["kernel"]
    last["bias"] = last["bias"] - np.log(means + 1e-3)
    mean, logvar = dense("z_encoder.mean_encoder"), dense("z_encoder.var_encoder")
    network = {"Dense_0": dense("decoder.px_decoder.fc_layers.Layer 0.0"), "Dense_1": last}
    decoder = {"network": network, "maps": weights["decoder.split_transform.weight"].swapaxes(1, 2)}
    return {
        "encoder": {"Dense_0": first, "mean": mean, "logvar": logvar},
        "decoder": {"decoder": decoder, "likelihood": weights["px_r"]},
    }


def our_loss(folder: Path, args: Args) -> dict[str, float]:
    """Terms of our loss after the warmup, with the parameters in the folder."""
    import jax
    import jax.numpy as jnp

    from jaxvae.method import Context, Nets

    source, method = built(args.cells, args.genes, dropout=0.0)
    means = np.array([column.mean for column in source.schema.used])
    params = jax.tree.map(jnp.float32, converted(dict(np.load(folder / "weights.npz")), means))
    shapes = jax.eval_shape(lambda: {name: net.init(jax.random.key(0)) for name, net in method.networks.items()})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    ctx = Context(jax.random.key(0), method.hyperparameters, jnp.int32(2**30), source.size)
    loss, terms = method.objectives[0].loss(Nets(method.networks, params), source.at(jnp.arange(BATCH)), ctx)
    return {"loss": float(loss), "reconstruction": float(terms["reconstruction"])}


def write_cells(folder: Path, args: Args) -> None:
    """Writes counts, batches, and the noise that our loss draws."""
    import jax
    import jax.numpy as jnp

    source, method = built(args.cells, args.genes)
    data = source.at(jnp.arange(source.size))
    latents = jax.eval_shape(method.networks["encoder"].init, jax.random.key(0))["mean"]["bias"].shape
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(0), row))(jnp.arange(BATCH))
    noise = jax.vmap(lambda key: jax.random.normal(key, latents))(keys)
    batch = np.asarray(data["factors"])[:, source.factor_names.index("batch")]
    np.savez(folder / "cells.npz", counts=np.asarray(data["x"]), batch=batch, noise=np.asarray(noise))


def our_training(args: Args) -> Callable[[int], None]:
    """`run(n)` does n steps, each with a batch of its own."""
    import jax

    from jaxvae.data.source import on_device
    from jaxvae.training import make_train_step, tune_allocator

    tune_allocator()
    source, method = built(args.cells, args.genes)
    source = on_device(source)
    init, update = make_train_step(method, dataset_size=source.size)

    def step(state: Any, source: Any) -> Any:
        return update(state, source.batch(jax.random.key(1), state.step, BATCH))[0]

    state = jax.jit(init)(jax.random.key(0))
    compiled = jax.jit(step, donate_argnums=0).lower(state, source).compile()

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state = compiled(state, source)
        jax.block_until_ready(state)

    return run


def floor_ms(args: Args) -> float:
    """Milliseconds that the arithmetic of a step takes at the speed of a large matrix product."""
    import jax
    import jax.numpy as jnp

    from benchmarks.train_step import best_seconds, multiply_adds

    source, method = built(args.cells, args.genes)
    batch = source.at(jnp.arange(BATCH))
    shapes = {name: jax.eval_shape(net.init, jax.random.key(0)) for name, net in method.networks.items()}
    code = jnp.zeros((BATCH, shapes["encoder"]["mean"]["bias"].shape[0]))
    inputs = {"encoder": (batch["x"],), "decoder": (code, batch["aux"])}
    forward = sum(
        multiply_adds(jax.make_jaxpr(net.apply)(shapes[name], *inputs[name]).jaxpr)
        for name, net in method.networks.items()
    )
    square = jnp.ones((2048, 2048))
    product = jax.jit(lambda a: a @ a).lower(square).compile()
    # The gradients by inputs and by weights are as much arithmetic again, each.
    return 3 * 2 * forward / (2 * 2048**3 / best_seconds(lambda: product(square))) * 1e3


def measure(peer: str, folder: Path, args: Args) -> None:
    """In a process of its own."""
    if peer == OURS:
        serve(our_training(args))
        return
    from benchmarks import scvi_drvi

    match peer:
        case "loss":
            scvi_drvi.answer(scvi_drvi.loss(folder))
        case "scvi-tools, train":
            scvi_drvi.answer(scvi_drvi.train_speed(folder, args.threads))
        case _:
            serve(scvi_drvi.training(folder, args.threads))


def main(args: Args) -> None:
    """Prints the losses and a row per peer, and writes results/cells.json."""
    from benchmarks.record import record

    least = floor_ms(args)
    rows: list[dict[str, Any]] = [{"peer": "floor", "wall_ms": round(least, 1)}]
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cells(folder, args)

        def command(peer: str) -> list[str]:
            python = sys.executable if peer == OURS else str(args.scvi_python)
            return [python, __file__, "--measure", peer, name, str(args.cells), str(args.genes), str(args.threads)]

        def answer(peer: str) -> dict[str, Any]:
            done = subprocess.run(command(peer), capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            return json.loads(done.stdout.splitlines()[-1])

        if args.scvi_python:
            theirs, ours = answer("loss"), our_loss(folder, args)
            more["loss"] = {
                term: {"scvi-tools": theirs[term], "jaxvae": ours[term], "relative": ours[term] / theirs[term] - 1}
                for term in ours
            }
            print(json.dumps(more["loss"], indent=1), flush=True)
        peers = {OURS: {}, **({MODULE: {}, TUNED: TUNED_MALLOC} if args.scvi_python else {})}
        found = take_turns({peer: Worker(command(peer), tuned) for peer, tuned in peers.items()}, args.repeats)
        rows += [
            {"peer": peer, **each, "cells_per_second": round(BATCH / each["wall_ms"] * 1e3)}
            for peer, each in found.items()
        ]
        if args.scvi_python:
            trained = answer(TRAIN)
            more["scvi-tools"] = trained["version"]
            rows.append({"peer": TRAIN, "cells_per_second": round(trained["cells_per_second"])})
    for row in rows:
        print(row, flush=True)
    speed = {row["peer"]: row["cells_per_second"] for row in rows[1:]}
    ratios = {f"DRVI, against {peer}": speed[OURS] / each for peer, each in speed.items() if peer != OURS}
    ratios["DRVI, against the floor"] = least / found[OURS]["wall_ms"]
    settings = {name: value for name, value in vars(args).items() if name != "scvi_python"}
    record("cells", settings, rows, ratios, **more)
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        cells, genes, threads = map(int, sys.argv[4:7])
        measure(sys.argv[2], Path(sys.argv[3]), Args(cells=cells, genes=genes, threads=threads))
    else:
        import tyro

        main(tyro.cli(Args))
