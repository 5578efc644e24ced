"""The grid of the large-scale study (Locatello et al., 2019), in which every model has a number.

    number = ((data * methods + method) * strengths + strength) * seeds + seed

The order is that of the study's own list: data sets are outermost, seeds innermost, and among the methods, FactorVAE is
second and AnnealedVAE last. `full` is the published grid of 7 x 36 x 50 = 12,600 models with the published numbers.
`small` and `tiny` are smaller grids for two cores, with strengths for smaller images.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxvae.runs.config import Config, default_config

RAMP = 1 / 3
"""Share of the steps over which AnnealedVAE's capacity grows; 100,000 of 300,000 in the study."""


class Sweep(NamedTuple):
    """A method and the strengths of its regulariser."""

    method: str
    hyperparameter: str
    values: tuple[float, ...]
    also: Mapping[str, float] = {}
    """Further hyperparameters, as multiples of the strength."""


class Grid(NamedTuple):
    """All models of a study."""

    data: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    """Sweeps of the methods, all with the same number of values."""
    seeds: int
    settings: Mapping[str, Any]
    """Flags and hyperparameters of `jaxvae train` that override the preset "study", for all methods that have them."""

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
"""Methods, in the order of the study's public configuration, and their strengths."""

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
"""Grids by the name of the preset. Published files are named by their paths relative to the working folder."""


def model_of(grid: Grid, number: int) -> Model:
    """Returns the model with a number.

    Raises:
      ValueError: The number is not in the grid.
    """
    if not 0 <= number < grid.size:
        raise ValueError(f"model numbers of this study are 0 to {grid.size - 1}, got {number}")
    _, methods, strengths, seeds = grid.shape
    rest, seed = divmod(number, seeds)
    rest, strength = divmod(rest, strengths)
    data, method = divmod(rest, methods)
    sweep = grid.sweeps[method]
    return Model(number, grid.data[data], sweep.method, sweep.hyperparameter, sweep.values[strength], seed)


def number_of(grid: Grid, data: str, method: str, strength: float, seed: int) -> int:
    """Returns the number of a model, the inverse of `model_of`.

    Raises:
      ValueError: The model is not in the grid.
    """
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
    """Returns the configuration with which `jaxvae train` trains the model with a number.

    Raises:
      ValueError: The number is not in the grid.
    """
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
    """Returns the numbers of the models of a shard. They are consecutive, and shards differ in size by at most 1.

    Args:
      grid: Grid of models.
      shard: Index of the shard, 0 to of - 1.
      of: Number of shards.

    Raises:
      ValueError: There is no such shard.
    """
    if not 0 <= shard < of <= grid.size:
        raise ValueError(f"shards are 0/n to n-1/n with n at most {grid.size}, got {shard}/{of}")
    return range(grid.size * shard // of, grid.size * (shard + 1) // of)
