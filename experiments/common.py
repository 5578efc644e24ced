"""Shared by the experiments: small data sets that can be summed over, confidence intervals, tables and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from scipy import stats

from jaxvae.data import Rooms, Sprites, Table, from_arrays
from jaxvae.method import Method, Nets, Posterior
from jaxvae.training import TrainState, tune_allocator

matplotlib.use("Agg")
tune_allocator()
RESULTS = Path(__file__).parent / "results"


def known_sprites(resolution: int = 16, positions: int = 12, scales: int = 4) -> Table:
    """Upright squares, ellipses and hearts: 3 x `scales` x `positions`^2 images (1,728), factors as in their names."""
    sizes = (3, scales, positions, positions)
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, 4)
    shape, scale, x, y = grid.T
    scale = np.rint(scale * 5 / max(1, scales - 1))
    x, y = (np.rint(place * 31 / (positions - 1)) for place in (x, y))
    rows = np.stack([shape, scale, np.zeros_like(shape), x, y], axis=1)
    images = jax.jit(Sprites(resolution).render)(jnp.asarray(rows, jnp.int32))
    return from_arrays(np.asarray(images), grid, name="upright sprites", factor_names=("shape", "scale", "x", "y"))


def known_rooms(resolution: int = 16) -> Table:
    """Rooms of 4 floor, 4 wall and 4 object hues, 4 scales, 4 shapes and 5 orientations: 5,120 images in colour."""
    sizes = (4, 4, 4, 4, 4, 5)
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    spread = np.rint(grid * (np.array(Rooms.factor_sizes) - 1) / (np.array(sizes) - 1))
    spread[:, :3] = np.rint(grid[:, :3] * 2.5)  # hues are a circle
    render = jax.jit(Rooms(resolution).render)
    images = [render(jnp.asarray(part, jnp.int32)) for part in np.array_split(spread, 10)]
    return from_arrays(np.concatenate(images), grid, name="small rooms", factor_names=Rooms.factor_names)


def all_images(source: Table) -> jax.Array:
    """[N, H, W, C]"""
    return source.at(jnp.arange(source.size))["x"]


def posteriors(method: Method, states: TrainState, images: jax.Array) -> Posterior:
    """Of all images under every member of a population: mean and logvar [members, N, D]."""
    return jax.jit(jax.vmap(lambda params: method.encode(Nets(method.networks, params), {"x": images})))(states.params)


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean over seeds, and half the width of its 95 % interval by Student's t."""
    values = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(half)


def shown(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """mean ± half width."""
    mean, half = interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints a table with a line of names; nothing for a table without rows."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def conclude(
    name: str,
    claim: str,
    rows: Sequence[Mapping[str, Any]],
    found: str,
    figure: Any,
    settings: Any,
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Prints claim, table and finding, and writes NAME.json and NAME.png into the folder `settings.results`.

    Further tables are printed after the first one, and are under their names in the file.
    """
    print(f"\nClaim: {claim}")
    print_rows(rows)
    for further in (tables or {}).values():
        print()
        print_rows(further)
    print(f"Found: {found}")
    shown_settings = {flag: value for flag, value in vars(settings).items() if flag not in ("results", "runs")}
    record = {"claim": claim, "found": found, "settings": shown_settings, "rows": list(rows), **(tables or {})}
    settings.results.mkdir(parents=True, exist_ok=True)
    (settings.results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    figure.savefig(settings.results / f"{name}.png", dpi=110, bbox_inches="tight")
