"""The configuration of a run: all settings of the command line that determine its numbers, stored in config.json."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, Literal, Self, TypeVar

import tyro

from jaxvae.choose import choose, near
from jaxvae.data import DataOptions, Single
from jaxvae.methods import METHODS, Entry, method_named
from jaxvae.networks.options import NetworkOptions
from jaxvae.runs.options import options_of
from jaxvae.runs.typed import typed
from jaxvae.runs.version_1 import RENAMED, from_version_1
from jaxvae.training.optimizers import Optimization

HP = TypeVar("HP")
Options = TypeVar("Options")
Batches = TypeVar("Batches", bound=Single)
Networks = TypeVar("Networks", bound=NetworkOptions)
VERSION = 2
"""Version of the layout of config.json."""
MOST_INTEGER = 2**31
"""Bound that integers of a configuration stay below, as compiled programs use 32 bits."""
MOST_FLOAT = 3.4e38
"""Largest hyperparameter, as hyperparameters are float32."""
ROLE = "role"
"""Metadata key that marks fields which do not tell one run from another."""


@dataclass(frozen=True)
class Training:
    """Length of the run, batch size, randomness and checkpoints."""

    steps: int = field(default=5000, metadata={ROLE: "length"})
    """Total number of training steps, including those before an interruption."""
    batch_size: int = 128
    """Number of examples per step, over all devices."""
    microbatch: int | None = field(default=None, metadata={ROLE: "bookkeeping"})
    """Number of examples that pass through the networks at a time, so that a large batch fits into memory. The losses
    are still those of the whole batch. By default, all of them."""
    seed: int = field(default=0, metadata={ROLE: "replicate"})
    """Random seed for initialization, batches and noise."""
    log_every: int = field(default=100, metadata={ROLE: "bookkeeping"})
    """Number of steps per row of metrics.jsonl."""
    checkpoint_every: int = field(default=1000, metadata={ROLE: "bookkeeping"})
    """Number of steps between checkpoints."""
    on_nan: Literal["stop", "skip"] = "stop"
    """What to do when a loss or parameter becomes non-finite: stop training, or skip that step. The batch is kept in
    the run's folder nonfinite/."""
    validate_every: int = field(default=500, metadata={ROLE: "bookkeeping"})
    """Number of steps between computations of the loss on the examples of --validation, of which at most 2,000 are
    read. The checkpoint "best" is that of the lowest validation loss; the scores and codes are of the last one, unless
    a command has --checkpoint best."""
    patience: int | None = field(default=None, metadata={ROLE: "limit"})
    """Number of validations without a new lowest loss after which training stops early. By default, it does not. The
    scores are of the step at which it stops, unless a command has --checkpoint best. With --resume and a larger number,
    a run that stopped early goes on."""
    max_minutes: float | None = field(default=None, metadata={ROLE: "limit"})
    """Number of minutes after which training stops at its next row of metrics. By default, it does not. With --resume,
    the run goes on for as many minutes again."""
    images_every: int | None = field(default=None, metadata={ROLE: "bookkeeping"})
    """Number of steps between pictures of reconstructions, latent traversals and samples of the prior, in the run's
    folder images/ and in the trackers, which get histograms of the codes as well. By default, there are none."""
    score_every: int | None = field(default=None, metadata={ROLE: "bookkeeping"})
    """Number of steps between scores of 2,000 examples: MIG and DCI, or without known factors the dependence of the
    codes. They are in metrics.jsonl, the report and the trackers. By default, only the end is scored."""


def names_with_role(*roles: str) -> tuple[str, ...]:
    """Returns the dotted names, as in config.json, of the settings with one of these roles: length, limit, replicate or
    bookkeeping.
    """
    return tuple(f"training.{each.name}" for each in dataclasses.fields(Training) if each.metadata.get(ROLE) in roles)


@dataclass(frozen=True)
class Config(Generic[HP, Options, Batches, Networks]):
    """Configuration of a run. Two runs of one configuration on one machine give bit-identical results."""

    method: tyro.conf.Fixed[str]
    """Name of the method, as `jaxvae list` gives it."""
    hyperparameters: HP
    """Hyperparameters of the method."""
    options: Options
    """Choices that the method offers."""
    source: DataOptions
    """Data set and sampling."""
    batches: Batches
    """Content of a batch, if the method learns from more than single examples."""
    networks: Networks
    """Networks."""
    optimization: Optimization
    """Optimizer and learning-rate schedule."""
    training: Training
    """Length of the run, batch size, randomness and checkpoints."""

    @property
    def seed(self) -> int:
        """Random seed of the run."""
        return self.training.seed

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.source.data

    def flags(self) -> dict[str, Any]:
        """Returns the values of all settings by the names of their flags, with underscores."""
        return {name: getattr(getattr(self, section), name) for name, section in self._places().items()}

    def with_flags(self, **values: Any) -> Self:
        """Returns the configuration with other values of some flags, by their names with underscores.

        Other flags that have no effect with these values are reset to their defaults.

        Raises:
          ValueError: The method has no such flag; the message says which methods have it.
        """
        places, changes = self._places(), {}  # type: tuple[dict[str, str], dict[str, dict[str, Any]]]
        for name, value in values.items():
            if name not in places:
                raise ValueError(unknown_flag(name, self.method, places))
            changes.setdefault(places[name], {})[name] = value
        changed = replace(self, **{name: _replaced(getattr(self, name), new) for name, new in changes.items()})
        idle = [name for name in changed.idle() if name not in values]
        plain = default_flags(self.method)
        left_over = {name: plain[name] for name in idle if getattr(getattr(changed, places[name]), name) != plain[name]}
        return changed.with_flags(**left_over) if left_over else changed

    def settled(self) -> Self:
        """Returns the configuration with numbers for the hyperparameters whose defaults follow from the rest, and the
        content of files that its networks depend on.

        Raises:
          ValueError: A file cannot be read.
        """
        entry = method_named(self.method)
        settled = entry.settled(self.hyperparameters, self.options, self.training.steps)
        return replace(self, hyperparameters=settled, networks=self.networks.settled())

    def idle(self) -> dict[str, str]:
        """Returns the flags that have no effect with the other settings, and what each of them is for."""
        idle = self.source.idle(self.batches) | self.batches.idle(self.source.in_table)
        idle |= method_named(self.method).idle(self.options)
        idle |= self.networks.idle(self.source.has_columns)
        if getattr(self.options, "likelihood", "gaussian") not in ("gaussian", "laplace"):
            idle["scale"] = "--likelihood gaussian and laplace"
        if hasattr(self.options, "library") and not self.source.has_columns:
            idle["library"] = "tables of counts, such as anndata:PATH"
        if self.source.has_columns:
            idle["images_every"] = "images"
        return idle

    def to_json(self) -> dict[str, Any]:
        """Returns nested dicts and lists of JSON values, with the version of this layout."""
        sections = {name: asdict(getattr(self, name)) for name in _SECTIONS if name != "hyperparameters"}
        hyperparameters = self.hyperparameters._asdict()  # type: ignore[attr-defined]
        written = {"version": VERSION, "method": self.method, "hyperparameters": hyperparameters, **sections}
        return json.loads(json.dumps(written))

    @classmethod
    def from_json(cls, asked: Mapping[str, Any]) -> Self:
        """Returns the configuration with these JSON values, the inverse of `to_json`. It also reads those of version
        0.1.

        Raises:
          ValueError: The values are not those of a configuration; the message is one line.
        """
        try:
            values = dict(asked)
            entry = method_named(str(values["method"]))
            kinds = _kinds(entry)
            if "version" not in values:
                values = from_version_1(values, kinds)
            elif values["version"] != VERSION:
                raise ValueError(f"its version is {values['version']!r}, and this jaxvae reads {VERSION} and older")
            elif unknown := [name for name in values if name not in ("version", "method", *kinds)]:
                raise ValueError(f"unknown setting {unknown[0]!r}")
            given = {name: typed(kind, values[name]) for name, kind in kinds.items()}
            config = cls(method=str(values["method"]), **given)
            return config.with_flags() if "version" not in asked else config
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"config.json cannot be read: {error}") from error

    def _places(self) -> dict[str, str]:
        return {name: section for section in _SECTIONS for name in _names(getattr(self, section))}


_SECTIONS = ("hyperparameters", "options", "source", "batches", "networks", "optimization", "training")


def default_config(method: str, preset: str | None = None) -> Config[Any, Any, Any, Any]:
    """Returns the default configuration of a method, or one of its presets.

    Raises:
      ValueError: The method or the preset does not exist.
    """
    entry = method_named(method)
    hyperparameters, settings = entry.hyperparameters(), entry.defaults
    if preset is not None:
        hyperparameters, settings = choose(f"preset of {method}", preset, entry.presets)
    sections = {name: kind() for name, kind in _kinds(entry).items()}
    sections["hyperparameters"] = hyperparameters
    return Config(method=method, **sections).with_flags(**settings)


def check_config(config: Config[Any, Any, Any, Any]) -> None:
    """Checks the settings of a configuration.

    Raises:
      ValueError: A setting is out of range, or a flag that was given has no effect; the message is one line.
    """
    training = config.training
    least_of = dict.fromkeys(("steps", "batch_size", "log_every", "checkpoint_every", "validate_every", "patience"), 1)
    least_of |= dict.fromkeys(("images_every", "score_every"), 1)
    for name, least in {**least_of, "seed": 0}.items():
        if getattr(training, name) is not None and getattr(training, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(training, name)}")
    for name, value in config.flags().items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) >= MOST_INTEGER and name != "seed":
                raise ValueError(f"--{name.replace('_', '-')} must be below 2**31, got {str(number)[:40]}")
    if training.microbatch is not None and training.microbatch < 1:
        raise ValueError(f"--microbatch must be at least 1, got {training.microbatch}")
    if training.max_minutes is not None and not 0 < training.max_minutes < math.inf:
        raise ValueError(f"--max-minutes must be a positive number, got {training.max_minutes}")
    if not 0 <= config.source.split_seed < 2**31:
        raise ValueError(f"--split-seed must be at least 0 and below 2**31, got {config.source.split_seed}")
    if config.source.split_column is not None and (config.source.validation or config.source.test):
        raise ValueError("--split-column says which rows are held out: leave out --validation and --test")
    if config.source.hold_out is not None:
        plain = {"patience": None, "validate_every": Training.validate_every, "split_seed": 0}
        if useless := [name for name, usual in plain.items() if config.flags()[name] != usual]:
            raise ValueError(
                f"--{useless[0].replace('_', '-')} goes with --validation and --test, and --hold-out takes their "
                "place: leave out one of the two"
            )
    if not config.source.is_validated and training.patience is not None:
        raise ValueError("--patience counts validations without improvement: add --validation 0.1, or leave it out")
    if not config.source.is_validated and training.validate_every != Training.validate_every:
        raise ValueError("--validate-every is for runs with validation examples: add --validation 0.1, or leave it out")
    if not config.source.validation and not config.source.test and config.source.split_seed:
        raise ValueError("--split-seed is for --validation and --test: add one of them, or leave it out")
    if training.seed >= 2**32:
        raise ValueError(f"--seed must be below 2**32, got {training.seed}")
    settled = method_named(config.method).settled(config.hyperparameters, config.options, config.training.steps)
    for name, value in settled._asdict().items():
        words = name.replace("_", " ")
        if not abs(value) <= MOST_FLOAT:
            raise ValueError(f"the hyperparameter {words} must be a finite number, got {value}")
        if name == "warmup" and value < 0:
            raise ValueError(f"the warmup is a number of steps and must be at least 0, got {value}")
        if name.endswith("learning_rate") and value <= 0:
            raise ValueError(f"the {words} must be positive, got {value}")
    flags, plain = config.flags(), default_flags(config.method)
    for name, purpose in config.idle().items():
        if flags[name] != plain[name]:
            raise ValueError(f"--{name.replace('_', '-')} is for {purpose}: leave it out")


def default_flags(method: str) -> dict[str, Any]:
    """Returns the default of every flag of a method by its name, from the classes of the settings. Defaults that the
    method itself sets are not included.
    """
    kinds = _kinds(method_named(method))
    return {name: getattr(made, name) for made in (kind() for kind in kinds.values()) for name in _names(made)}


def methods_with(flag: str) -> list[str]:
    """Returns the methods that have a flag, given its name with underscores."""
    return [name for name in METHODS if flag in default_flags(name)]


def unknown_flag(name: str, method: str, known: Mapping[str, Any]) -> str:
    """Returns the error message for a flag that a method does not have."""
    flag = f"--{name.replace('_', '-')}"
    if new := RENAMED.get(name):
        return f"{flag} is now --{new.replace('_', '-')}"
    if others := methods_with(name):
        return f"{method} has no flag {flag}; it is for {', '.join(others)}"
    nearest = near(name, known)
    hint = f": did you mean --{nearest.replace('_', '-')}?" if nearest else ""
    return f"unknown flag {flag}{hint or f'; `jaxvae train {method} --help` lists the flags'}"


def _kinds(entry: Entry) -> dict[str, Any]:
    """Returns the classes of the sections of a method's configuration."""
    return {
        "hyperparameters": entry.hyperparameters,
        "options": options_of(entry),
        "source": DataOptions,
        "batches": entry.batches,
        "networks": entry.networks,
        "optimization": Optimization,
        "training": Training,
    }


def _names(section: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(section):
        return tuple(each.name for each in dataclasses.fields(section))
    return section._fields


def _replaced(section: Any, changes: Mapping[str, Any]) -> Any:
    return section._replace(**changes) if hasattr(section, "_fields") else replace(section, **changes)
