"""Compares DRVI, and a VAE, with DRVI and SCVI of scvi-tools and DRVI of drvi-py, on the same simulated cells.

    python -m benchmarks.cells --scvi-python PATH/TO/python     # with torch, scvi-tools 1.5 or newer, and drvi-py

The peers have an environment of their own, of Python 3.12 or newer:

    python3.13 -m venv PEERS && PEERS/bin/pip install torch==2.13.0 scvi-tools drvi-py

Networks and batches have the defaults of DRVI of scvi-tools: 128 hidden units, 32 latents in 32 splits, 128 cells per
step. Our VAE is DRVI with one split and no map of the code, and SCVI has its networks and its likelihood. There are
three parts:

- speed, of cells with 2,000 genes and two batches (`jaxvae.data.cells`). First, the parameters of new models of
  scvi-tools are copied into ours, and both compute the loss of the same cells with the same noise. Then each trains in
  a process of its own, and they take turns: jaxvae, which draws the batch within its step, and the modules of
  scvi-tools, with a batch that is in memory. `model.train` of scvi-tools, with its data loader and trainer, runs after
  them. The floor is the arithmetic of the layers at the speed of a large matrix product, which takes turns with the
  others. On a busy machine, threads of PyTorch that wait for each other take CPU time as well: compare that of one
  thread.
- curves: time per epoch, and to the same loss of validation cells (`benchmarks.cells_curves`), on the same genes.
- scores of several seeds on fewer genes, the loss of cells that were held out, and the effects of latents on genes
  (`benchmarks.cells_scores`).
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

from benchmarks import cells_curves, cells_scores
from benchmarks.cells_scores import BATCH, KINDS, Start, converted
from benchmarks.turns import TUNED_MALLOC, Worker, serve, take_turns

FLOOR, SQUARE = "floor", 2048
OURS, VAE = "jaxvae", "jaxvae, VAE"
MODULE, TUNED, TRAIN = "scvi-tools, module", "scvi-tools, module, tuned allocator", "scvi-tools, train"
ONE, SCVI, SCVI_ONE = (
    "scvi-tools, module, one thread",
    "scvi-tools, SCVI, module",
    "scvi-tools, SCVI, module, one thread",
)
OF_VAE = (VAE, SCVI, SCVI_ONE)
SAME = {"drvi": "drvi", "vae": "scvi"}
"""Kind of the peers' models with the networks of each of ours."""


@dataclass
class Args:
    """Flags of the benchmark."""

    scvi_python: str | None = None
    """Python with scvi-tools and drvi-py; without it, only jaxvae is measured."""
    cells: int = 2560
    genes: int = 2000
    repeats: int = 7
    threads: int = 2
    """Number of threads of PyTorch; JAX takes all cores."""
    runs: int = 3
    """Number of runs of each peer of the curves."""
    curve_epochs: int = 40
    """Number of epochs of these runs; a tenth as many cells are for validation."""
    seeds: int = 5
    """Number of models of each library whose scores are compared."""
    score_cells: int = 1000
    """Number of cells of the comparison of scores; a quarter as many are held out."""
    score_genes: int = 300
    score_epochs: int = 60
    starts: tuple[Start, ...] = ("own", "theirs", "same")
    """Starts of our models whose scores are compared: our own initialization, the parameters that scvi-tools starts
    from (theirs), or these and the inputs of its encoder (same)."""
    only: Literal["speed", "curves", "scores"] | None = None
    """Part that is measured; the recorded results of the others are kept. By default, all are measured."""


def built(args: Args, kind: str = "drvi", **flags: Any) -> tuple[Any, Any]:
    """Source and method of ours, for simulated cells."""
    from jaxvae.data import cells as simulated
    from jaxvae.runs.build import build_method, networks_of
    from jaxvae.runs.config import default_config

    table = simulated(cells=args.cells, genes=args.genes, programs=16)
    config = default_config("drvi").with_flags(data="cells", covariates=("batch",), batch_size=BATCH)
    config = config.with_flags(**KINDS[kind], **flags)
    source = config.batches.wrap(table, "drvi")
    return source, build_method(config, networks_of(config, source), source)


def our_loss(folder: Path, args: Args, kind: str) -> dict[str, float]:
    """Terms of our loss after the warmup, with the parameters in the folder."""
    import jax
    import jax.numpy as jnp

    from jaxvae.method import END, Context, Nets

    source, method = built(args, kind, dropout=0.0)
    means = np.array([column.mean for column in source.schema.used])
    params = jax.tree.map(jnp.float32, converted(np.load(folder / f"weights-{SAME[kind]}.npz"), means))
    shapes = jax.eval_shape(lambda: {name: net.init(jax.random.key(0)) for name, net in method.networks.items()})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    ctx = Context(jax.random.key(0), method.hyperparameters, jnp.int32(END), source.size)
    loss, terms = method.objectives[0].loss(Nets(method.networks, params), source.at(jnp.arange(BATCH)), ctx)
    return {"loss": float(loss), "reconstruction": float(terms["reconstruction"])}


def write_cells(folder: Path, args: Args) -> None:
    """Writes counts, batches, and the noise that our loss draws."""
    import jax
    import jax.numpy as jnp

    source, method = built(args)
    data = source.at(jnp.arange(source.size))
    latents = jax.eval_shape(method.networks["encoder"].init, jax.random.key(0))["mean"]["bias"].shape
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(0), row))(jnp.arange(BATCH))
    noise = jax.vmap(lambda key: jax.random.normal(key, latents))(keys)
    batch = np.asarray(data["factors"])[:, source.factor_names.index("batch")]
    np.savez(folder / "cells.npz", counts=np.asarray(data["x"]), batch=batch, noise=np.asarray(noise))


def our_training(args: Args, kind: str) -> Callable[[int], None]:
    """`run(n)` does n steps, each with a batch of its own."""
    import jax

    from jaxvae.data.source import on_device
    from jaxvae.training import make_train_step, tune_allocator

    tune_allocator()
    source, method = built(args, kind)
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
    """Arithmetic of a step of DRVI, in products of large matrices."""
    import jax
    import jax.numpy as jnp

    from benchmarks.train_step import multiply_adds

    source, method = built(args)
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
    """In a process of its own; a peer is a name of those above, or a word and its arguments."""
    if peer in (OURS, VAE, FLOOR):
        serve(square_products() if peer == FLOOR else our_training(args, "vae" if peer == VAE else "drvi"))
        return
    match peer.split():
        case ["jaxvae,", kind, seed]:
            print(json.dumps(cells_curves.our_curve(folder, kind, int(seed), args.curve_epochs)))
            return
    from benchmarks import scvi_drvi

    match peer.split():
        case ["versions"]:
            scvi_drvi.answer(scvi_drvi.versions())
        case ["loss", kind]:
            scvi_drvi.answer(scvi_drvi.loss(folder, kind))
        case ["steps"]:
            scvi_drvi.answer(scvi_drvi.same_steps(folder))
        case ["scores", kind]:
            # One thread: on a busy machine, threads spend most of their time waiting for each other.
            scvi_drvi.answer(scvi_drvi.scores(folder, args.seeds, args.score_epochs, 1, kind))
        case [("scvi-tools," | "drvi-py,") as package, kind, seed] if seed.isdigit():
            kind = "drvi-py" if package == "drvi-py," else kind
            scvi_drvi.answer(scvi_drvi.curve(folder, args.threads, kind, int(seed), args.curve_epochs))
        case _ if peer == TRAIN:
            scvi_drvi.answer(scvi_drvi.train_speed(folder, args.threads))
        case _:
            threads = 1 if peer in (ONE, SCVI_ONE) else args.threads
            serve(scvi_drvi.training(folder, threads, "scvi" if peer in OF_VAE else "drvi"))


class Peers:
    """Runs peers in processes of their own, on the cells of a folder."""

    def __init__(self, args: Args, folder: Path):
        self.args, self.folder = args, folder

    def command(self, peer: str) -> list[str]:
        """Command line of a peer."""
        python = sys.executable if peer.startswith("jaxvae") or peer == FLOOR else str(self.args.scvi_python)
        return [python, __file__, "--measure", peer, str(self.folder), json.dumps(vars(self.args))]

    def answer(self, peer: str) -> dict[str, Any]:
        """What a peer prints as its last line."""
        done = subprocess.run(self.command(peer), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{peer}:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])


def speed(peers: Peers) -> dict[str, Any]:
    """Losses on the same parameters, and the time of a step."""
    args, more = peers.args, {"load before": os.getloadavg()}
    write_cells(peers.folder, args)
    if args.scvi_python:
        more["loss"] = {}
        for kind, same in SAME.items():
            theirs, ours = peers.answer(f"loss {same}"), our_loss(peers.folder, args, kind)
            for term in ours:
                gap = {"scvi-tools": theirs[term], "jaxvae": ours[term], "relative": ours[term] / theirs[term] - 1}
                more["loss"][term if kind == "drvi" else f"{term}, VAE"] = gap
        print(json.dumps(more["loss"], indent=1), flush=True)
    tuning = {OURS: {}, FLOOR: {}}
    if args.scvi_python:
        tuning |= {MODULE: {}, TUNED: TUNED_MALLOC, ONE: {}, VAE: {}, SCVI: {}, SCVI_ONE: {}}
    workers = {peer: Worker(peers.command(peer), tuned) for peer, tuned in tuning.items()}
    found = take_turns(workers, args.repeats)
    scale = products_per_step(args)
    found[FLOOR] = {key: round(ms * scale, 3) for key, ms in found[FLOOR].items()}
    rows: list[dict[str, Any]] = [
        {"peer": peer, **each, "cells_per_second": round(BATCH / each["wall_ms"] * 1e3)} for peer, each in found.items()
    ]
    if args.scvi_python:
        rows.append({"peer": TRAIN, "cells_per_second": round(peers.answer(TRAIN)["cells_per_second"])})
    return {"ratios": ratios_of(rows), "rows": rows, "load after": os.getloadavg(), **more}


def ratios_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Speeds of ours against the others, by the wall and by CPU time."""
    ratios: dict[str, float] = {}
    for name, mine, others in (
        ("DRVI", OURS, [row for row in rows if row["peer"] not in (OURS, *OF_VAE)]),
        ("VAE", VAE, [row for row in rows if row["peer"] in (SCVI, SCVI_ONE)]),
    ):
        for other in others:
            ours = next(row for row in rows if row["peer"] == mine)
            ratios[f"{name}, against {other['peer']}"] = ours["cells_per_second"] / other["cells_per_second"]
            if "cpu_ms" in other:
                ratios[f"{name}, CPU time, against {other['peer']}"] = other["cpu_ms"] / ours["cpu_ms"]
    return ratios


def curves(peers: Peers) -> dict[str, Any]:
    """Time per epoch and to the same validation loss."""
    args = peers.args
    cells_scores.write_cells(peers.folder, args.cells, args.cells // 10, args.genes)
    before, runs = os.getloadavg(), dict[str, list[Any]]()
    names = dict.fromkeys(peer for pair in cells_curves.PAIRS.values() for peer in pair)
    if not args.scvi_python:
        names = {peer: None for peer in names if peer.startswith("jaxvae")}
    for seed in range(args.runs):
        for peer in names:
            runs.setdefault(peer, []).append(peers.answer(f"{peer} {seed}"))
            print(peer, seed, {name: values[-1] for name, values in runs[peer][-1].items()}, flush=True)
    rows, ratios, targets = cells_curves.compared(runs)
    load = {"load before curves": before, "load after curves": os.getloadavg()}
    return {"ratios": ratios, "curves": rows, "losses that both reach": targets, **load}


def scores(peers: Peers) -> dict[str, Any]:
    """Effects of latents with the same parameters, the same steps, and scores of several seeds."""
    args, folder = peers.args, peers.folder
    cells_scores.write_cells(folder, args.score_cells, args.score_cells // 4, args.score_genes)
    cells_scores.write_steps(folder, args.score_cells)
    steps = cells_scores.same_steps(folder, peers.answer("steps")["losses"])
    print(json.dumps(steps, indent=1), flush=True)
    found = {}
    for name, kind in {"scvi-tools": "drvi", "drvi-py": "drvi-py"}.items():
        found[name] = cells_scores.their_scores(folder, kind, peers.answer(f"scores {kind}"))
    effects = cells_scores.effects(folder)
    print(json.dumps(effects, indent=1), flush=True)
    updates = args.score_epochs * -(-args.score_cells // BATCH)
    for start, ours in cells_scores.our_scores(folder, args.seeds, updates, args.starts).items():
        found["jaxvae" if start == "own" else f"jaxvae, start: {start}"] = ours
    compared = cells_scores.compared(found)
    print(json.dumps(compared, indent=1), flush=True)
    return {
        "effects, largest relative difference": effects,
        f"{cells_scores.STEPS} equal steps, largest relative difference": steps,
        "scores": compared,
    }


def main(args: Args) -> None:
    """Prints what is measured, and writes results/cells.json."""
    from benchmarks.record import path, record

    found = json.loads(path("cells").read_text("utf-8")) if path("cells").exists() else {}
    settings = {name: value for name, value in vars(args).items() if name not in ("scvi_python", "only")}
    of = {
        "scores": [name for name in settings if name.startswith(("score", "seeds", "starts"))],
        "curves": ["cells", "genes", "threads", "runs", "curve_epochs"],
        "speed": ["cells", "genes", "threads", "repeats"],
    }
    measured = {"speed": speed, "curves": curves, "scores": scores}
    kept, ratios = found.get("settings", {}), found.get("ratios", {})
    with tempfile.TemporaryDirectory() as name:
        peers, versions = Peers(args, Path(name)), {}
        if args.scvi_python:
            versions = peers.answer("versions")
        for part, measure_part in measured.items():
            if args.only not in (None, part) or (part == "scores" and not (args.scvi_python and args.seeds)):
                continue
            if part == "curves" and not args.runs:
                continue
            kept |= {each: settings[each] for each in of[part]}
            new = measure_part(peers)
            own = new.pop("ratios", {})
            if part != "scores":  # which has no ratios; those of the other part are kept
                of_speed = part == "speed"
                ratios = {each: value for each, value in ratios.items() if (", against " in each) != of_speed} | own
            found |= {**new, f"versions, {part}": versions}
            for ratio, value in ratios.items():
                print(f"{value:6.2f}  {ratio}", flush=True)
            more = {key: value for key, value in found.items() if key not in ("machine", "settings", "rows", "ratios")}
            record("cells", kept, found.get("rows", []), ratios, **more)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), Args(**json.loads(sys.argv[4])))
    else:
        import tyro

        main(tyro.cli(Args))
