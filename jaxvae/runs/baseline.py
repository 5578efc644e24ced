"""Baselines as runs: an estimator fitted to images and wrapped as a method, which scores and reports use like any
other.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxvae.baselines import (
    NMF,
    PCA,
    CanonicalPolyadic,
    CooperativeVQ,
    FastICA,
    IndependentSubspaces,
    Infomax,
    Multilinear,
    MultipleCauseVQ,
    RecursiveICA,
    SelfOrganizingMap,
    TopographicICA,
    VectorQuantizer,
)
from jaxvae.choose import choose
from jaxvae.data import Source, open_data
from jaxvae.data.registry import TABULAR, kind_of
from jaxvae.data.tabular import Columns
from jaxvae.method import Batch, Method, Nets, Posterior, no_image
from jaxvae.methods.autoencoding import point
from jaxvae.runs.build import CannotOpen
from jaxvae.runs.config import MOST_INTEGER
from jaxvae.runs.typed import typed
from jaxvae.training import TrainState, make_train_step

FEW_ROUNDS = 10
"""Number of rounds of least squares for a new example, which is small because runs encode thousands of examples."""
FEW_STARTS = {"n_codewords": 4, "n_init": 2, "max_iter": 50}
SHUFFLED = 1000
"""Number of codes from which codes of the "prior" are composed."""


class Baseline(NamedTuple):
    """Specification of an estimator."""

    kind: type
    settings: Callable[[int, tuple[int, ...]], dict[str, Any]]
    """Function (latents, numbers of values of the factors) -> arguments of the estimator."""
    by_factors: bool = False
    """Whether the estimator learns from factors, in which case the data must contain all combinations of them."""


BASELINES = {
    "pca": Baseline(PCA, lambda d, sizes: {"n_components": d}),
    "fast-ica": Baseline(FastICA, lambda d, sizes: {"n_components": d, "whiten": "unit-variance", "max_iter": 1000}),
    "infomax": Baseline(Infomax, lambda d, sizes: {"n_components": d}),
    "independent-subspaces": Baseline(IndependentSubspaces, lambda d, sizes: {"n_components": d}),
    "topographic-ica": Baseline(TopographicICA, lambda d, sizes: {"grid": _near_square(d)}),
    "recursive-ica": Baseline(RecursiveICA, lambda d, sizes: {"layers": (d, d)}),
    "nmf": Baseline(NMF, lambda d, sizes: {"n_components": d, "init": "nndsvda", "max_iter": 1000}),
    "vector-quantizer": Baseline(VectorQuantizer, lambda d, sizes: {"n_codewords": d * d}),
    "cooperative-vq": Baseline(CooperativeVQ, lambda d, sizes: {"n_factors": d, **FEW_STARTS}),
    "multiple-cause-vq": Baseline(MultipleCauseVQ, lambda d, sizes: {"n_factors": d, **FEW_STARTS}),
    "self-organizing-map": Baseline(SelfOrganizingMap, lambda d, sizes: {"grid": (d, d)}),
    "multilinear": Baseline(
        Multilinear, lambda d, sizes: {"ranks": _ranks(d, sizes), "max_iter": FEW_ROUNDS}, by_factors=True
    ),
    "canonical-polyadic": Baseline(
        CanonicalPolyadic, lambda d, sizes: {"rank": d, "max_iter": FEW_ROUNDS}, by_factors=True
    ),
}
"""Specifications of the baselines by their names on the command line."""


@dataclass(frozen=True)
class BaselineConfig:
    """All settings that determine the numbers of a fit."""

    baseline: tyro.conf.Fixed[str]
    """Name of the baseline, as `jaxvae list` gives it."""
    data: str = "scene"
    """Name of the data set, as `jaxvae list` gives it."""
    image_size: int | None = None
    """Height and width of the images in pixels. By default, the size of the data."""
    label_columns: tuple[str, ...] = ()
    """Columns of a table that are labels: they are not learned from, but scored and drawn as factors."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out."""
    latents: int = 10
    """Number of latents; quantizers and self-organizing maps derive their own sizes from it."""
    examples: int = 5000
    """Number of random images to fit to; all images, if there are not more."""
    options: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Further settings of the estimator, such as max_iter=50 or fun=cube."""
    seed: int = 0
    """Random seed."""

    def to_json(self) -> dict[str, Any]:
        """Converts the configuration to JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Creates a configuration from JSON values; the inverse of `to_json`.

        Raises:
          ValueError: The fields are those of another version.
        """
        try:
            choose("baseline", str(values["baseline"]), BASELINES)
            return typed(cls, values)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"config.json cannot be read: {error}") from error


class Fit(NamedTuple):
    """A fitted baseline."""

    source: Source
    method: Method
    state: TrainState
    """Training state without parameters, as the method's functions contain the fitted estimator."""
    seconds: float
    warnings: tuple[str, ...]
    """Warnings raised during the fit."""


def fit_baseline(config: BaselineConfig) -> Fit:
    """Fits the baseline to random examples of the data. On the same machine, the same config gives the same fit.

    Raises:
      CannotOpen: The data does not exist, or cannot be read.
      ValueError: Settings or data are invalid. The message is one line.
    """
    for name, least in (("latents", 1), ("examples", 2), ("seed", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(config, name)}")
    for name in ("latents", "examples", "image_size"):
        if (getattr(config, name) or 0) >= MOST_INTEGER:
            raise ValueError(f"--{name.replace('_', '-')} must be below 2**31, got {getattr(config, name)}")
    for name in ("label_columns", "drop"):
        if getattr(config, name) and kind_of(config.data) not in TABULAR:
            raise ValueError(f"--{name.replace('_', '-')} is for tables, such as table:PATH: leave it out")
    if config.seed >= 2**32:
        raise ValueError(f"--seed must be below 2**32, got {config.seed}")
    try:
        columns = Columns(labels=config.label_columns, drop=config.drop)
        source = open_data(config.data, image_size=config.image_size, columns=columns)
    except ValueError as error:
        raise CannotOpen(str(error)) from error
    entry, estimator = choose("baseline", config.baseline, BASELINES), build_estimator(config, source.factor_sizes)
    if entry.by_factors and not source.factor_names:
        raise ValueError(f"{config.baseline} learns from factors; those of {config.data} are not known")
    batch = _examples(source, config)
    rows = _rows(batch["x"])
    if missing := int(np.isnan(rows).any(axis=1).sum()):
        raise ValueError(
            f"{config.baseline} takes no missing values, and {missing:,} of {len(rows):,} rows have some: fill them, "
            "--drop their columns, or train a method, such as vae, which takes them"
        )
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(rows, np.asarray(batch["factors"]) if entry.by_factors else None)
        except (TypeError, ImportError) as error:
            raise ValueError(f"{config.baseline} can't be fitted: {error}") from error
    seconds = time.perf_counter() - start
    some = np.random.default_rng(config.seed).permutation(rows)[:SHUFFLED]
    method = fitted_method(config.baseline, estimator, source.event_shape, estimator.transform(some))
    init, _ = make_train_step(method, dataset_size=source.size)
    heard = tuple(sorted({str(warning.message).splitlines()[0] for warning in caught}))
    return Fit(source, method, init(jax.random.key(config.seed)), seconds, heard)


def build_estimator(config: BaselineConfig, factor_sizes: tuple[int, ...]) -> Any:
    """Creates the unfitted estimator of a config.

    Raises:
      ValueError: The estimator does not have one of the options.
    """
    entry = choose("baseline", config.baseline, BASELINES)
    settings = entry.settings(config.latents, factor_sizes)
    names = entry.kind().get_params()
    if "random_state" in names:
        settings["random_state"] = config.seed
    for option in config.options:
        name, equals, value = option.partition("=")
        if not equals:
            raise ValueError(f"--options are NAME=VALUE, got {option!r}")
        choose(f"option of {config.baseline}", name, names)
        settings[name] = _value(value)
    return entry.kind(**settings)


def fitted_method(name: str, estimator: Any, event_shape: tuple[int, ...], codes: np.ndarray) -> Method:
    """Wraps a fitted estimator as a method without networks and objectives.

    Args:
      name: Name of the method.
      estimator: Fitted estimator with `transform`, and with `inverse_transform` if codes can be decoded.
      event_shape: Shape of an example.
      codes: Codes of examples [N, D]. The "prior" draws each latent from a random row, so that its images show what the
        data would be if latents were independent.
    """

    def encode(net: Nets, batch: Batch) -> Posterior:
        return point(jnp.asarray(estimator.transform(_rows(batch["x"])), jnp.float32))

    def decode(net: Nets, code: jax.Array) -> jax.Array:
        images = estimator.inverse_transform(np.asarray(code, np.float64))
        return jnp.asarray(images.reshape(-1, *event_shape), jnp.float32)

    def sample_prior(net: Nets, key: jax.Array, batch: Batch) -> jax.Array:
        rows = jax.random.randint(key, (len(batch["x"]), codes.shape[1]), 0, len(codes))
        return jnp.asarray(codes[np.asarray(rows), np.arange(codes.shape[1])], jnp.float32)

    return Method(
        name=name,
        networks={},
        hyperparameters=(),
        objectives=(),
        encode=encode,
        decode=decode if hasattr(estimator, "inverse_transform") else no_image,
        sample_prior=sample_prior,
    )


def _examples(source: Source, config: BaselineConfig) -> Batch:
    if source.size <= config.examples:
        return source.at(jnp.arange(source.size, dtype=jnp.int32))
    return source.sample(jax.random.key(config.seed), config.examples)


def _rows(images: jax.Array) -> np.ndarray:
    return np.asarray(images, np.float64).reshape(len(images), -1)


def _value(text: str) -> Any:
    """Parses a JSON value (numbers, true, null, and lists as tuples), or returns the text itself."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _ranks(latents: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Distributes the latents evenly over the factors, with at least 2 per factor and at most its number of values."""
    return tuple(min(max(2, latents // len(sizes)), size) for size in sizes)


def _near_square(n: int) -> tuple[int, int]:
    """Returns the sides, each at least 3, of a grid with about n positions."""
    side = max(3, round(n**0.5))
    return side, max(3, round(n / side))
