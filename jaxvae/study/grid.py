"""The grid of the large-scale study (Locatello et al., 2019): data x method x strength x seed, a number for each model.

    number = ((data * methods + method) * strengths + strength) * seeds + seed

as in the study's own list: data sets outermost, seeds innermost, and methods in the order of that list, in which
FactorVAE is second and AnnealedVAE last. `full` is the published grid, 7 x 36 x 50 = 12,600 models, with the published
numbers; `small` and `tiny` are cut down to two cores, with strengths that suit smaller images.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxvae.runs.config import Config, default_config

RAMP = 1 / 3
"""Share of the updates over which AnnealedVAE's capacity grows: 100,000 of 300,000 in the study."""


class Sweep(NamedTuple):
    """A method and the strengths of its regulariser."""

    method: str
    hyperparameter: str
    values: tuple[float, ...]
    also: Mapping[str, float] = {}
    """Hyperparameters that are a multiple of it."""


class Grid(NamedTuple):
    """All models of a study."""

    data: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    """With as many values each."""
    seeds: int
    settings: Mapping[str, Any]
    """Flags and hyperparameters of `jaxvae train`, the same for all models whose method has them, over its preset
    "study"."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of data sets, methods, strengths and seeds."""
        return (len(self.data), len(self.sweeps), len(self.sweeps[0].values), self.seeds)

    @property
    def size(self) -> int:
        """Number of models."""
        data, methods, strengths, seeds = self.shape
        return data * methods * strengths * seeds


class Model(NamedTuple):
    """One point of a grid."""

    number: int
    data: str
    method: str
    hyperparameter: str
    strength: float
    seed: int


STUDY = (
    Sweep("beta-vae", "beta", (1.0, 2.0, 4.0, 6.0, 8.0, 16.0)),
    Sweep("factor-vae", "gamma", (10.0, 20.0, 30.0, 40.0, 50.0, 100.0)),
    Sweep("dip-vae-i", "lambda_od", (1.0, 2.0, 5.0, 10.0, 20.0, 50.0), {"lambda_d": 10.0}),
    Sweep("dip-vae-ii", "lambda_od", (1.0, 2.0, 5.0, 10.0, 20.0, 50.0), {"lambda_d": 1.0}),
    Sweep("beta-tc-vae", "beta", (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)),
    Sweep("annealed-vae", "c_end", (5.0, 10.0, 25.0, 50.0, 75.0, 100.0)),
)
"""Methods in the order of the study's public configuration, and all its strengths."""

SMALL = (
    Sweep("beta-vae", "beta", (1.0, 4.0, 8.0)),
    Sweep("factor-vae", "gamma", (5.0, 20.0, 50.0)),
    Sweep("dip-vae-i", "lambda_od", (1.0, 5.0, 20.0), {"lambda_d": 10.0}),
    Sweep("dip-vae-ii", "lambda_od", (1.0, 5.0, 20.0), {"lambda_d": 1.0}),
    Sweep("beta-tc-vae", "beta", (1.0, 4.0, 10.0)),
    Sweep("annealed-vae", "c_end", (2.0, 5.0, 10.0)),
)

GRIDS = {
    "tiny": Grid(
        ("sprites",),
        tuple(sweep._replace(values=sweep.values[::2]) for sweep in SMALL),
        2,
        {
            "image_size": 16,
            "network": "mlp-small",
            "latents": 6,
            "steps": 500,
            "discriminator": (256, 256, 256),
            "learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-3,
        },
    ),
    "small": Grid(
        ("sprites", "noisy-sprites"),
        SMALL,
        5,
        {
            "image_size": 16,
            "network": "mlp-small",
            "latents": 6,
            "steps": 5000,
            "discriminator": (256, 256, 256),
            "learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-3,
        },
    ),
    "full": Grid(
        (
            "sprites",
            "color-sprites",
            "noisy-sprites",
            "scream-sprites",
            "smallnorb:smallnorb",
            "cars3d:cars3d",
            "shapes3d:3dshapes.h5",
        ),
        STUDY,
        50,
        {},
    ),
}
"""By the name of the preset. Published files are named by where they lie, relative to the working folder."""


def model_of(grid: Grid, number: int) -> Model:
    """The model of a number. ValueError for one that is not in the grid."""
    if not 0 <= number < grid.size:
        raise ValueError(f"model numbers of this study are 0 to {grid.size - 1}, got {number}")
    _, methods, strengths, seeds = grid.shape
    rest, seed = divmod(number, seeds)
    rest, strength = divmod(rest, strengths)
    data, method = divmod(rest, methods)
    sweep = grid.sweeps[method]
    return Model(number, grid.data[data], sweep.method, sweep.hyperparameter, sweep.values[strength], seed)


def number_of(grid: Grid, data: str, method: str, strength: float, seed: int) -> int:
    """The inverse. ValueError for what is not in the grid."""
    names = [sweep.method for sweep in grid.sweeps]
    for kind, value, known in (("data", data, grid.data), ("method", method, names)):
        if value not in known:
            raise ValueError(f"no {kind} {value!r} in this study; there are {', '.join(known)}")
    sweep = grid.sweeps[names.index(method)]
    if strength not in sweep.values or not 0 <= seed < grid.seeds:
        raise ValueError(
            f"{method} has {sweep.hyperparameter} {', '.join(map(str, sweep.values))} and seeds 0 to {grid.seeds - 1} "
            f"in this study, got {strength} and {seed}"
        )
    _, methods, strengths, seeds = grid.shape
    place = grid.data.index(data) * methods + names.index(method)
    return (place * strengths + sweep.values.index(strength)) * seeds + seed


def config_of(grid: Grid, number: int) -> Config[Any, Any, Any, Any]:
    """All settings of the model of a number: what `jaxvae train` would be told."""
    model = model_of(grid, number)
    sweep = next(sweep for sweep in grid.sweeps if sweep.method == model.method)
    config = default_config(model.method, "study")
    known = config.flags()
    flags: dict[str, Any] = {name: value for name, value in grid.settings.items() if name in known}
    flags |= {name: times * model.strength for name, times in sweep.also.items()}
    flags |= {model.hyperparameter: model.strength, "data": model.data, "seed": model.seed}
    steps = flags.get("steps", known["steps"])
    if model.method == "annealed-vae":
        flags["warmup"] = RAMP * steps
    every = max(1, steps // 50)
    return config.with_flags(**flags, log_every=every, checkpoint_every=5 * every)


def numbers_of_shard(grid: Grid, shard: int, of: int) -> range:
    """Models of a shard, 0 <= shard < of: as many in each as can be, one after another. ValueError for other shards."""
    if not 0 <= shard < of <= grid.size:
        raise ValueError(f"shards are 0/n to n-1/n with n at most {grid.size}, got {shard}/{of}")
    return range(grid.size * shard // of, grid.size * (shard + 1) // of)
