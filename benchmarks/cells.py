"""Compares DRVI with that of scvi-tools: the loss on the same parameters, and the speed of training.

    python -m benchmarks.cells --scvi-python PATH/TO/python     # an environment with scvi-tools 1.5 or newer

The cells are simulated (`jaxvae.data.cells`), with 2,000 genes and two batches; networks and batches have the defaults
of scvi-tools: 128 hidden units, 32 latents in 32 splits, 128 cells per step. First, the parameters of a new model of
scvi-tools are copied into ours, and both compute the loss of the same cells with the same noise. Then each trains in a
process of its own, and they take turns: jaxvae, which draws the batch within its step, and the module of scvi-tools,
with a batch that is in memory. `model.train` of scvi-tools, with its data loader and trainer, runs after them. The
floor is the arithmetic of the layers at the speed of a large matrix product, which takes turns with the others. On a
busy machine, threads of PyTorch that wait for each other take CPU time as well: compare that of one thread.

Then, both train on fewer genes with several seeds (`--seeds 0` leaves this out), and their scores, the loss of cells
that were held out, and the effects of latents on genes are compared (`benchmarks.cells_scores`).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import cells_scores
from benchmarks.cells_scores import BATCH, converted
from benchmarks.turns import TUNED_MALLOC, Worker, serve, take_turns

FLOOR, SQUARE = "floor", 2048
ONE = "scvi-tools, module, one thread"
OURS, MODULE, TUNED, TRAIN = "jaxvae", "scvi-tools, module", "scvi-tools, module, tuned allocator", "scvi-tools, train"


@dataclass
class Args:
    """Flags of the benchmark."""

    scvi_python: str | None = None
    """Python with scvi-tools; without it, only jaxvae is measured."""
    cells: int = 2560
    genes: int = 2000
    repeats: int = 7
    threads: int = 2
    """Number of threads of PyTorch; JAX takes all cores."""
    seeds: int = 5
    """Number of models of each library whose scores are compared."""
    score_cells: int = 1000
    """Number of cells of the comparison of scores; a quarter as many are held out."""
    score_genes: int = 300
    score_epochs: int = 60
    only: Literal["speed", "scores"] | None = None
    """Part that is measured; the recorded results of the other one are kept. By default, both are measured."""


def built(cells: int, genes: int, **flags: Any) -> tuple[Any, Any]:
    """Source and method of ours, for simulated cells."""
    from jaxvae.data import cells as simulated
    from jaxvae.runs.build import build_method, networks_of
    from jaxvae.runs.config import default_config

    table = simulated(cells=cells, genes=genes, programs=16)
    config = default_config("drvi").with_flags(data="cells", covariates=("batch",), batch_size=BATCH, **flags)
    source = config.batches.wrap(table, "drvi")
    return source, build_method(config, networks_of(config, source), source)


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


def square_products() -> Callable[[int], None]:
    """`run(n)` computes n products of large matrices."""
    import jax
    import jax.numpy as jnp

    square = jnp.ones((SQUARE, SQUARE))
    product = jax.jit(lambda a: a @ a).lower(square).compile()

    def run(times: int) -> None:
        for _ in range(times):
            jax.block_until_ready(product(square))

    return run


def products_per_step(args: Args) -> float:
    """Arithmetic of a step, in products of large matrices."""
    import jax
    import jax.numpy as jnp

    from benchmarks.train_step import multiply_adds

    source, method = built(args.cells, args.genes)
    batch = source.at(jnp.arange(BATCH))
    shapes = {name: jax.eval_shape(net.init, jax.random.key(0)) for name, net in method.networks.items()}
    code = jnp.zeros((BATCH, shapes["encoder"]["mean"]["bias"].shape[0]))
    inputs = {"encoder": (batch["x"],), "decoder": (code, batch["aux"])}
    forward = sum(
        multiply_adds(jax.make_jaxpr(net.apply)(shapes[name], *inputs[name]).jaxpr)
        for name, net in method.networks.items()
    )
    return 3 * forward / SQUARE**3  # the gradients by inputs and by weights are as much arithmetic again, each


def measure(peer: str, folder: Path, args: Args) -> None:
    """In a process of its own."""
    if peer in (OURS, FLOOR):
        serve(our_training(args) if peer == OURS else square_products())
        return
    from benchmarks import scvi_drvi

    match peer:
        case "loss":
            scvi_drvi.answer(scvi_drvi.loss(folder))
        case "scores":
            # One thread: on a busy machine, threads spend most of their time waiting for each other.
            scvi_drvi.answer(scvi_drvi.scores(folder, args.seeds, args.score_epochs, threads=1))
        case "scvi-tools, train":
            scvi_drvi.answer(scvi_drvi.train_speed(folder, args.threads))
        case _:
            serve(scvi_drvi.training(folder, 1 if peer == ONE else args.threads))


class Peers:
    """Runs peers in processes of their own, on the cells of a folder."""

    def __init__(self, args: Args, folder: Path):
        self.args, self.folder = args, folder

    def command(self, peer: str) -> list[str]:
        """Command line of a peer."""
        args = self.args
        python = sys.executable if peer in (OURS, FLOOR) else str(args.scvi_python)
        sizes = (args.cells, args.genes, args.threads, args.seeds, args.score_epochs)
        return [python, __file__, "--measure", peer, str(self.folder), *map(str, sizes)]

    def answer(self, peer: str) -> dict[str, Any]:
        """What a peer prints as its last line."""
        done = subprocess.run(self.command(peer), capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


def speed(peers: Peers) -> dict[str, Any]:
    """Losses on the same parameters, and the time of a step."""
    args, more = peers.args, {"load before": os.getloadavg()}
    write_cells(peers.folder, args)
    if args.scvi_python:
        theirs, ours = peers.answer("loss"), our_loss(peers.folder, args)
        more["loss"] = {
            term: {"scvi-tools": theirs[term], "jaxvae": ours[term], "relative": ours[term] / theirs[term] - 1}
            for term in ours
        }
        print(json.dumps(more["loss"], indent=1), flush=True)
    tuning = {OURS: {}, FLOOR: {}, **({MODULE: {}, TUNED: TUNED_MALLOC, ONE: {}} if args.scvi_python else {})}
    workers = {peer: Worker(peers.command(peer), tuned) for peer, tuned in tuning.items()}
    found = take_turns(workers, args.repeats)
    scale = products_per_step(args)
    found[FLOOR] = {key: round(ms * scale, 3) for key, ms in found[FLOOR].items()}
    rows: list[dict[str, Any]] = [
        {"peer": peer, **each, "cells_per_second": round(BATCH / each["wall_ms"] * 1e3)} for peer, each in found.items()
    ]
    if args.scvi_python:
        trained = peers.answer(TRAIN)
        more["scvi-tools"], more["torch"] = trained["version"], trained["torch"]
        rows.append({"peer": TRAIN, "cells_per_second": round(trained["cells_per_second"])})
    for row in rows:
        print(row, flush=True)
    mine, others = rows[0], rows[1:]
    ratios = {f"DRVI, against {row['peer']}": mine["cells_per_second"] / row["cells_per_second"] for row in others}
    of_cpu = {row["peer"]: row["cpu_ms"] / mine["cpu_ms"] for row in others if "cpu_ms" in row}
    ratios |= {f"DRVI, CPU time, against {peer}": ratio for peer, ratio in of_cpu.items()}
    for name, ratio in ratios.items():
        print(f"{ratio:6.2f}  {name}", flush=True)
    return {"ratios": ratios, "rows": rows, "load after": os.getloadavg(), **more}


def scores(peers: Peers) -> dict[str, Any]:
    """Effects of latents with the same parameters, and scores of several seeds."""
    args, folder = peers.args, peers.folder
    cells_scores.write_cells(folder, args.score_cells, args.score_cells // 4, args.score_genes)
    theirs = cells_scores.their_scores(folder, peers.answer("scores")[cells_scores.HELD_OUT])
    effects = cells_scores.effects(folder)
    print(json.dumps(effects, indent=1), flush=True)
    steps = args.score_epochs * -(-args.score_cells // BATCH)
    found = cells_scores.compared(theirs, cells_scores.our_scores(folder, args.seeds, steps))
    print(json.dumps(found, indent=1), flush=True)
    return {"effects, largest relative difference": effects, "scores": found}


def main(args: Args) -> None:
    """Prints the losses, a row per peer and the scores, and writes results/cells.json."""
    from benchmarks.record import path, record

    found = json.loads(path("cells").read_text("utf-8")) if path("cells").exists() else {}
    settings = {name: value for name, value in vars(args).items() if name not in ("scvi_python", "only")}
    of_scores = {name: value for name, value in settings.items() if name.startswith(("score", "seeds"))}
    of_speed = {name: value for name, value in settings.items() if name not in of_scores}
    kept = found.get("settings", {})
    with tempfile.TemporaryDirectory() as name:
        peers = Peers(args, Path(name))
        for part, mine in (("speed", of_speed), ("scores", of_scores)):
            if args.only not in (None, part) or (part == "scores" and not (args.scvi_python and args.seeds)):
                continue
            kept |= mine
            found |= speed(peers) if part == "speed" else scores(peers)
            more = {key: value for key, value in found.items() if key not in ("machine", "settings", "rows", "ratios")}
            record("cells", kept, found["rows"], found["ratios"], **more)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        sizes = dict(zip(("cells", "genes", "threads", "seeds", "score_epochs"), map(int, sys.argv[4:]), strict=True))
        measure(sys.argv[2], Path(sys.argv[3]), Args(**sizes))
    else:
        import tyro

        main(tyro.cli(Args))
