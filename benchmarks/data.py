"""Measures how fast each data set generates or reads batches, and which share of a training step that takes.

    python -m benchmarks.data

A compiled function draws batches of 64 images of 64 x 64 pixels, as inside a training step. It is compared with a
step of the study's convolutional VAE on the same images, without drawing them. Values are medians over repeats in one
process; the share is drawing / (drawing + step). Images in a file are read by Grain's threads, here at full speed
with nothing else running; during training they are read while a step is computed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.record import record
from jaxvae.data import Epochs, Rooms, Scene, Source, Sprites, Streamed, Table, from_arrays, open_data
from jaxvae.data.streamed import read_ahead
from jaxvae.methods import beta_vae
from jaxvae.networks import autoencoder
from jaxvae.training import make_train_step, tune_allocator


@dataclass
class Args:
    """Flags of the benchmark."""

    batch_size: int = 64
    repeats: int = 15
    images: int = 50_000
    """in the tables"""


def tables(count: int) -> dict[str, Any]:
    """Bits, bytes in colour, and the same in epochs."""
    rng = np.random.default_rng(0)
    sprites = np.concatenate(
        [np.asarray(Sprites(64).sample(jax.random.key(i), 1000)["x"]) for i in range(count // 1000)]
    ).astype(np.uint8)
    bits = from_arrays(sprites, name="bits")
    colour = from_arrays(rng.integers(0, 256, (count, 64, 64, 3), np.uint8), name="bytes")
    return {"bits in memory": bits, "bits, epochs": Epochs(bits), "bytes in memory": colour}


def median_seconds(call: Callable[[int], Any], repeats: int) -> float:
    """Of a call and the wait for its result, after one that compiles."""
    jax.block_until_ready(call(0))
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call(i))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def streamed_row(table: Table, args: Args) -> dict[str, Any]:
    """Images per second of a table that stays in its file."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "pixels.npy", table.pixels)
        mapped = replace(table, pixels=np.load(Path(folder) / "pixels.npy", mmap_mode="r"))
        feed = read_ahead(Streamed(mapped), jax.random.key(0), 0, 2000, args.batch_size)
        for _ in range(100):
            next(feed)
        start = time.perf_counter()
        for _ in range(1000):
            next(feed)
        drawing = (time.perf_counter() - start) / 1000
    return {
        "data": "bits in a file",
        "images_per_second": round(args.batch_size / drawing),
        "draw_ms": round(drawing * 1e3, 2),
    }


def main(args: Args) -> None:
    """Prints the table and writes results/data.json."""
    tune_allocator()
    looks = {name: open_data(name, image_size=64) for name in ("color-sprites", "noisy-sprites", "scream-sprites")}
    drawn: dict[str, Source] = {"sprites": Sprites(64), "scene": Scene(64), "rooms": Rooms(64), **looks}
    rows = []
    for name, source in {**drawn, **tables(args.images)}.items():
        source = jax.device_put(source)
        draw = jax.jit(lambda source, step: source.batch(jax.random.key(0), step, args.batch_size))
        drawing = median_seconds(lambda i, s=source, d=draw: d(s, jnp.int32(i)), args.repeats)
        method = beta_vae(autoencoder("conv", source.event_shape))
        init, update = make_train_step(method, dataset_size=source.size)
        state, batch, step = init(jax.random.key(0)), draw(source, jnp.int32(0)), jax.jit(update)
        training = median_seconds(lambda i, f=step, s=state, b=batch: f(s, b), args.repeats)
        rows.append(
            {
                "data": name,
                "images_per_second": round(args.batch_size / drawing),
                "draw_ms": round(drawing * 1e3, 2),
                "update_ms": round(training * 1e3, 1),
                "share": round(drawing / (drawing + training), 4),
            }
        )
        print(rows[-1], flush=True)
    rows.append(streamed_row(tables(args.images)["bits in memory"], args))
    print(rows[-1], flush=True)
    ratios = {f"{row['data']}, part of a step that is not drawing": 1 - row["share"] for row in rows if "share" in row}
    record("data", vars(args), rows, ratios)


if __name__ == "__main__":
    main(tyro.cli(Args))
