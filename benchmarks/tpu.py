"""Compiles the training step of every method for TPUs, without one, and bounds its speed by what the compiler counts.

    pip install libtpu
    python -m benchmarks.tpu                                       # every method on 1 and 8 chips, an hour on one core
    python -m benchmarks.tpu --methods vae beta-vae --presets study --chips 1 --members 1 8 64

A row is one compiled program: seconds to compile; floating-point operations, bytes that are read and written, and
bytes of temporary arrays, all per chip and step; bytes that the collectives give each chip, by kind; and the time of
the step by the roofline model, the larger of operations / peak and bytes / bandwidth, on a v5e (197 TFLOP/s in
bfloat16, 819 GB/s) and on a v5p (459 TFLOP/s, 2,765 GB/s). `images per second` is the bound per chip that follows. The
programs are compiled for v5e; TPUs multiply float32 matrices in bfloat16 unless told otherwise, so both precisions
have the same peak. With several chips, each has its own images, and gradients are averaged. Members are the models of
a population on one chip, whose counts are of all members together.

Rows are added to results/tpu.json, and those that are there are kept. Each program is compiled in a process of its
own, as one that takes longer than `--limit` seconds must be stopped.

Forms of a population: "vmap" is what `train_population` compiles for dense networks. For convolutions it compiles
"map", which takes the members one after another in a loop of the program; XLA counts its body once, whatever the number
of members, so that no bound follows. "unrolled" is that loop without the loop, whose operations and bytes are counted.
"products" is vmap with convolutions as matrix products over patches, as on CPUs.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from benchmarks.collectives import received
from benchmarks.record import earlier_rows, record
from jaxvae.methods import METHODS
from jaxvae.networks import layers
from jaxvae.runs.build import build
from jaxvae.runs.config import Config, default_config
from jaxvae.training import make_train_step
from jaxvae.training.devices import Devices
from jaxvae.training.steps import Step, empty_accumulator, images_per_update, make_step

TOPOLOGIES = {1: ("v5litepod-8", "v5e:2x4"), 8: ("v5litepod-8", "v5e:2x4"), 256: ("v5litepod-256", "v5e:16x16")}
"""Type of accelerator and topology for each number of chips; a single chip is one of eight."""
PEAKS = {"v5e": (197e12, 819e9), "v5p": (459e12, 2765e9)}
"""Floating-point operations in bfloat16 and bytes from memory per second of a chip."""
MEMORY = 16 * 2**30
"""Bytes of a v5e chip."""


@dataclass(frozen=True)
class Program:
    """One program to compile."""

    method: str
    preset: str = ""
    """empty: the defaults of the command line"""
    precision: str = "float32"
    chips: int = 1
    members: int = 1
    batch: int = 64
    """images per chip and member"""
    form: str = "vmap"
    """of a population or its convolutions: vmap, map, unrolled or products"""


@dataclass
class Args:
    """Flags of the benchmark."""

    methods: tuple[str, ...] = ()
    """by default, all"""
    presets: tuple[str, ...] = ("",)
    precisions: tuple[str, ...] = ("float32",)
    chips: tuple[int, ...] = (1, 8)
    members: tuple[int, ...] = (1,)
    """on one chip"""
    batches: tuple[int, ...] = (64,)
    forms: tuple[str, ...] = ("vmap",)
    limit: int = 900
    """seconds for one program"""
    one: str = ""
    """a single program as JSON, compiled in this process; its row is printed"""


def configured(program: Program) -> Config[Any, Any, Any, Any]:
    """Returns the settings of a run, with the network's precision."""
    config = default_config(program.method, program.preset or None)
    flags = {"batch_size": program.batch * program.chips}
    if hasattr(config.networks, "dtype"):
        flags["dtype"] = program.precision
    return config.with_flags(**flags)


def mesh_of(chips: int) -> Mesh:
    """Describes so many chips of a v5e."""
    kind, topology = TOPOLOGIES[chips]
    os.environ["TPU_ACCELERATOR_TYPE"] = kind
    devices = np.array(topologies.get_topology_desc(topology, "tpu").devices)[:chips]
    return Mesh(devices.reshape(1, chips), ("population", "data"), axis_types=(AxisType.Auto,) * 2)


def compiled(program: Program) -> dict[str, Any]:
    """Compiles a program and returns its row. The process must not have computed anything with JAX yet."""
    # libtpu leaves a lock behind where a process is stopped; nothing is shared between these.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)
    config = configured(program)
    source, method = build(config)
    size = program.batch * program.chips
    devices = Devices(mesh_of(program.chips), memory=MEMORY)
    init, update = make_train_step(method, dataset_size=max(source.size, size))
    state = jax.eval_shape(init, jax.random.key(0))
    step = make_step(method, update, size, devices.axis_name)
    empty = jax.eval_shape(lambda: empty_accumulator(method, update, size, state, source))
    if program.form == "products":
        layers._platform, layers.IMAGES = (lambda: "cpu"), size
    if program.members > 1:
        forms = {"map": mapped, "unrolled": unrolled}
        step = forms[program.form](step) if program.form in forms else jax.vmap(step, in_axes=(0, 0, None))
        state, empty = (
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((program.members, *leaf.shape), leaf.dtype), each)
            for each in (state, empty)
        )
    source = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jax.dtypes.result_type(leaf)), source)
    arguments = [devices.like(each) for each in (state, empty, source)]
    start = time.perf_counter()
    result = devices.compile(step, *arguments)
    seconds = time.perf_counter() - start
    cost, sizes = result.cost_analysis(), result.memory_analysis()
    images = program.members * images_per_update(method, size) // program.chips
    row = {
        **asdict(program),
        "network": getattr(config.networks, "network", ""),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)) // program.members,
        "compile_seconds": round(seconds, 1),
        "flops": cost["flops"],
        "bytes": cost["bytes accessed"],
        "temporary_bytes": sizes.temp_size_in_bytes,
        "collectives": dict(received(result.as_text())),
        "bytes_per_image": round(cost["bytes accessed"] / images),
    }
    for chip, (flops, bandwidth) in () if program.form == "map" else PEAKS.items():
        times = {"arithmetic": cost["flops"] / flops, "memory": cost["bytes accessed"] / bandwidth}
        bound = max(times, key=times.__getitem__)
        row[chip] = {
            "milliseconds": round(1e3 * times[bound], 4),
            "bound_by": bound,
            "images_per_second": round(images / times[bound]),
        }
    return row


def mapped(step: Step) -> Step:
    """Makes a step of all members of one, which are taken one after another."""
    return lambda states, seen, source: jax.lax.map(lambda member: step(*member, source), (states, seen))


def unrolled(step: Step) -> Step:
    """Makes a step of all members of one, as many copies of it as there are members."""

    def stepping(states: Any, seen: Any, source: Any) -> Any:
        pick = [jax.tree.map(lambda leaf, m=m: leaf[m], (states, seen)) for m in range(len(states.step))]
        return jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *[step(*member, source) for member in pick])

    return stepping


def in_own_process(program: Program, limit: int) -> dict[str, Any]:
    """Returns the row of a program, or one that says why it has none."""
    command = [sys.executable, "-m", "benchmarks.tpu", "--one", json.dumps(asdict(program))]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, cwd=Path(__file__).parents[1], check=False
        )
    except subprocess.TimeoutExpired:
        return {**asdict(program), "failed": f"not compiled after {limit} seconds"}
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.strip()] or ["no message"]
        return {**asdict(program), "failed": lines[-1][:300]}
    row: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return row


def main(args: Args) -> None:
    """Prints a row per program and adds them to results/tpu.json."""
    if args.one:
        print(json.dumps(compiled(Program(**json.loads(args.one)))))
        return
    programs = [
        Program(method, preset, precision, chips, members, batch, form)
        for form in args.forms
        for preset in args.presets
        for precision in args.precisions
        for batch in args.batches
        for chips in args.chips
        for members in args.members
        for method in args.methods or METHODS
        if chips == 1 or members == 1
    ]
    rows = earlier_rows("tpu")
    done = {key_of(row) for row in rows if "failed" not in row}
    for program in programs:
        if key_of(asdict(program)) in done:
            continue
        row = in_own_process(program, args.limit)
        rows = [each for each in rows if key_of(each) != key_of(row)] + [row]
        print(row, flush=True)
        record("tpu", {"topologies": TOPOLOGIES, "peaks": PEAKS}, rows, {})


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Returns what tells programs apart."""
    return tuple(row.get(name, field.default) for name, field in Program.__dataclass_fields__.items())


if __name__ == "__main__":
    main(tyro.cli(Args))
