"""A finished or interrupted run, loaded from its folder."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data.series import channels_of
from jaxvae.data.source import Source
from jaxvae.data.splits import HeldOut, Parts
from jaxvae.data.subsets import Subset
from jaxvae.method import Batch, Method, Nets, Posterior, no_image
from jaxvae.networks.shapes import shape_in_words, things_of
from jaxvae.runs.absent import absent_source, trained_schema
from jaxvae.runs.baseline import BaselineConfig, fit_baseline
from jaxvae.runs.build import CannotOpen, build_parts, build_without_data, moved, parts_kept_once
from jaxvae.runs.config import Config
from jaxvae.runs.folder import MODEL, is_pulled, known_as, read_config
from jaxvae.runs.typed import typed
from jaxvae.schema import schema_of
from jaxvae.streams import Stream
from jaxvae.training import TrainState, make_train_step
from jaxvae.training.checkpoints import best_step, newest_step, restore, saved_steps
from jaxvae.training.observers import on_one_device
from jaxvae.training.optimizers import evaluation_params
from jaxvae.training.run_folder import (
    CORES,
    TRAINED,
    RunFolderError,
    check_data,
    check_trained,
    read_history,
    read_history_until,
    read_trained,
)
from jaxvae.training.steps import described, described_data
from jaxvae.training.validation import is_out_of_patience
from jaxvae.training.writers import MACHINE_COLUMNS

ENCODED = 512
"""Number of examples that are encoded at a time."""


@dataclass(frozen=True)
class OwnConfig:
    """Arguments of `train` for a run in Python. The folder does not hold the method itself."""

    method: str
    hp: Mapping[str, Any]
    data: Mapping[str, Any]
    batch_size: int
    seed: int
    cores: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the content of trained.json without the description of the machine."""
        return {name: value for name, value in asdict(self).items() if name != CORES}


def evaluation_key(seed: int) -> jax.Array:
    """Returns the random key for the evaluation of a run with this seed."""
    return jax.random.fold_in(jax.random.key(seed), Stream.EVALUATION)


class Run(NamedTuple):
    """A run: its configuration, data, method, trained state and history."""

    folder: Path
    config: Config[Any, Any, Any, Any] | BaselineConfig | OwnConfig
    source: Source
    method: Method
    state: TrainState
    """Training state with the parameters to evaluate, which are running averages if the optimizer keeps them."""
    history: list[dict[str, Any]]
    """Rows of metrics.jsonl."""
    held_out: HeldOut | None = None
    """Examples that the run was not trained on and is scored on; None if it was trained on all."""
    parts: Parts | None = None
    """All parts of the data, of which `source` is the training part; None if they are not known."""

    @property
    def evaluation_key(self) -> jax.Array:
        """Random key for evaluation. It depends on the seed, so every run draws its own examples."""
        return evaluation_key(self.config.seed)

    @property
    def things(self) -> str:
        """What the examples are called in the plural: images or rows."""
        return things_of(self.source.event_shape)

    @property
    def data_in_words(self) -> str:
        """Describes the data by name, number of examples and their shape."""
        return f"{self.source.name}, {self.source.size:,} {shape_in_words(self.source.event_shape)}"

    @property
    def about_data(self) -> str:
        """Describes the data by its class's docstring, ignoring subsets; a table is described by its columns."""
        schema = schema_of(self.source)
        if schema is not None:
            kinds = Counter(column.kind for column in schema.columns)
            missing = sum(column.has_missing for column in schema.used)
            text = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            return f"A table of {self.source.size:,} rows. Columns: {text}; {missing} have missing values."
        if (channels := channels_of(self.source)) is not None:
            named = [f"{each.name} (mean {each.mean:.4g}, scale {each.scale:.4g})" for each in channels.columns]
            more = f" and {len(named) - 8} more" if len(named) > 8 else ""
            return f"{self.source.size:,} series of standardized channels: {', '.join(named[:8])}{more}."
        source = self.source
        while isinstance(source, Subset):
            source = source.source
        return " ".join((type(source).__doc__ or "").split())

    def __repr__(self) -> str:
        """Describes the run in at most ten lines: method, data, networks, step and folder."""
        last = self.history[-1] if self.history else {}
        terms = "  ".join(
            f"{name} {value:.4g}" for name, value in last.items() if name not in (*MACHINE_COLUMNS, "step")
        )
        sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(params)) for name, params in self.state.params.items()}
        lines = {
            "method": self.method.name,
            "data": self.data_in_words
            + ("" if self.held_out is None else f", and {self.held_out.source.size:,} for {self.held_out.name}"),
            "factors": ", ".join(self.source.factor_names) or "unknown",
            "networks": ", ".join(f"{name} ({size:,} parameters)" for name, size in sizes.items()) or "none",
            "seed": str(self.config.seed),
            "step": f"{int(self.state.step):,}",
            "last row": terms or "none",
            "folder": str(self.folder),
        }
        return "\n".join(["Run", *(f"  {name:8}  {text}" for name, text in lines.items())])

    def encode(self, examples: np.ndarray) -> Posterior:
        """Computes the posteriors of examples, in their order.

        Args:
          examples: One example or more, of the shape that the run was trained on: [N, *event_shape]. Pictures are in
            [0, 1], unless the likelihood is for other values. Rows of a table are as its schema encodes them, with
            NaN for missing values, and series of a file are standardized as `source.channel_schema` says.

        Returns:
          Means and log-variances, [N, D] each.

        Raises:
          ValueError: The examples have another shape or range, or the encoder sees more than the example.
        """
        examples = np.asarray(examples, np.float32)
        self.check_examples(examples)
        starts = range(0, len(examples), ENCODED)
        parts = [self.encode_batch({"x": jnp.asarray(examples[at : at + ENCODED])}) for at in starts]
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)

    def encode_batch(self, batch: Batch) -> Posterior:
        """Computes the posteriors of a batch as the run's source gives it, [B, D]. The examples are not checked.

        Raises:
          ValueError: The encoder sees more than is in the batch.
        """
        encode, _ = _compiled(_Identity(self.method))
        try:
            return encode(self.state.params, batch)
        except KeyError as error:
            raise ValueError(f"the encoder of {self.method.name} sees {error} besides the example") from error

    def check_examples(self, examples: np.ndarray) -> None:
        """Raises ValueError for examples of another shape or range than those that the run was trained on."""
        pictures = len(self.source.event_shape) == 3
        what = "images" if pictures else "examples"
        if not len(examples) or examples.shape[1:] != self.source.event_shape:
            wanted = ", ".join(map(str, self.source.event_shape))
            raise ValueError(f"{what} must have the shape [N, {wanted}], got {list(examples.shape)}")
        bounded = ("auto", "bernoulli", "continuous-bernoulli")
        in_range = getattr(getattr(self.config, "options", None), "likelihood", "bernoulli") in bounded
        if pictures and in_range and not (examples.min() >= 0 and examples.max() <= 1):
            raise ValueError(
                f"images must be in [0, 1], got {examples.min():g} to {examples.max():g}: divide bytes by 255"
            )
        may_miss = schema_of(self.source) is not None
        if np.isinf(examples).any() or (np.isnan(examples).any() and not may_miss):
            raise ValueError(f"{what} must be finite numbers")

    @property
    def decoder(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Function from codes [B, D] to expected examples [B, *event_shape]; None if a code alone does not determine
        an example.
        """
        method, params = self.method, self.state.params
        if method.decode is no_image:
            return None

        _, decode = _compiled(_Identity(method))
        return lambda codes: np.asarray(decode(params, jnp.asarray(codes, jnp.float32)))


@dataclass(frozen=True, eq=False)
class _Identity:
    """A key that compares methods by identity, because their networks are in a dictionary, which has no hash."""

    method: Method

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.method is other.method

    def __hash__(self) -> int:
        return id(self.method)


@lru_cache(maxsize=16)
def _compiled(key: _Identity) -> tuple[Callable[..., Posterior], Callable[..., jax.Array]]:
    """Returns compiled functions (params, batch) -> posteriors and (params, codes) -> examples.

    Parameters are arguments, so that checkpoints of one method share the compiled programs.
    """
    method = key.method

    def encode(params: dict[str, Any], batch: Batch) -> Posterior:
        return method.encode(Nets(method.networks, params), batch)

    def decode(params: dict[str, Any], codes: jax.Array) -> jax.Array:
        return method.decode(Nets(method.networks, params), codes)

    return (jax.jit(encode), jax.jit(decode)) if method.networks else (encode, decode)


def load_run(
    folder: Path | str, checkpoint: str | int = "latest", *, data: str | None = None, needs_data: bool = True
) -> Run:
    """Loads a run from its folder. A baseline is fitted again, because its folder holds only its configuration.

    Encoding and decoding need no data. The data of a pulled run is opened only if `data` says where it is. If the data
    is not or cannot be opened, the run has an `Absent` source, which raises ValueError when examples are requested.
    Warns with OtherData if the data differs from the data that the run was trained on.

    Args:
      folder: Folder of the run.
      checkpoint: "latest", "best" (lowest validation loss, or lowest training loss without validation) or a step.
      data: Current place of the run's data, as for `open_data`. By default, the place it was trained from.
      needs_data: Whether to open the data.

    Returns:
      The run at that checkpoint.

    Raises:
      RunFolderError: The folder holds no run, the run has no checkpoint yet, or the requested checkpoint does not exist
        or is damaged. "latest" and "best" skip damaged checkpoints, with a DamagedCheckpoint warning.
      ValueError: `data` does not exist or cannot be read.
    """
    folder = Path(folder)
    config = config_of(folder)
    if isinstance(config, BaselineConfig):
        if checkpoint != "latest":
            raise RunFolderError(f"the run in {folder} is of a baseline, which has no checkpoints: leave them out")
        try:
            fit = fit_baseline(config if data is None else replace(config, data=data))
        except CannotOpen as error:
            raise ValueError(moved(config.data, error) if data is None else str(error)) from error
        check_data(folder, described_data(fit.source))
        return Run(folder, config, fit.source, fit.method, fit.state, read_history(folder))
    if data is not None:
        config = config.with_flags(data=data)
    parts, pulled = None, is_pulled(folder)
    if needs_data and (data is not None or not pulled):
        try:
            parts, method = build_parts(config, trained_schema(folder))
        except CannotOpen as error:
            if data is not None or (absent := absent_source(folder, moved(config.data, error))) is None:
                raise ValueError(moved(config.data, error)) from error
            source, method = build_without_data(config, absent)
        else:
            check_data(folder, described_data(parts.training))
            parts = parts_kept_once(parts)
            source = parts.training
    else:
        reason = "pulled without its data: say where they are with --data" if pulled else "loaded without its data"
        absent = absent_source(folder, f"the run in {folder} was {reason}")
        if absent is None:
            raise RunFolderError(f"the run in {folder} does not say enough about its data: load it with the data")
        source, method = build_without_data(config, absent)
    run = _restored(folder, config, source, method, checkpoint)
    return run if parts is None else run._replace(held_out=parts.held_out, parts=parts)


def load_own_run(
    folder: Path | str,
    method: Method,
    source: Source,
    checkpoint: str | int = "latest",
    *,
    held_out: HeldOut | None = None,
) -> Run:
    """Loads a run of `jaxvae.training.train(method, source, folder=folder, ...)`, to score and report it.

    Args:
      folder: Folder of the run.
      method: Method that was trained. It must be built again, because the folder holds no code.
      source: Data that it was trained on.
      checkpoint: Checkpoint to load, as in `load_run`.
      held_out: Examples to score the run on, such as `jaxvae.data.split(...).held_out`. By default, those of `source`.

    Returns:
      The run at that checkpoint.

    Raises:
      RunFolderError: The run cannot be loaded, as in `load_run`, or its method has another name or other
        hyperparameters.
    """
    folder = Path(folder)
    config = own_config_of(folder)
    check_trained(folder, described(method, described_data(source), config.batch_size, config.seed))
    return _restored(folder, config, source, method, checkpoint)._replace(held_out=held_out)


def stopped_early(folder: Path) -> bool:
    """Whether the run in a folder ended because its validation loss no longer improved."""
    config = config_of(folder)
    if not isinstance(config, Config) or config.training.patience is None:
        return False
    training = config.training
    return is_out_of_patience(read_history(folder), training.validate_every, training.patience)


def trained_run(
    folder: Path,
    config: Config[Any, Any, Any, Any],
    parts: Parts,
    method: Method,
    state: TrainState,
) -> Run:
    """Returns a run whose training has just ended in `state`, as `load_run` would load it from its folder."""
    history = read_history(folder)
    return Run(folder, config, parts.training, method, on_one_device(state), history, parts.held_out, parts)


def _restored(
    folder: Path, config: Config[Any, Any, Any, Any] | OwnConfig, source: Source, method: Method, checkpoint: str | int
) -> Run:
    init, _ = make_train_step(method, dataset_size=source.size)
    if is_pulled(folder):
        from jaxvae.runs.export import read_state

        state = read_state(folder / MODEL, jax.eval_shape(init, jax.random.key(config.seed)))
        if str(checkpoint) not in ("latest", "best", str(state.step)):
            raise RunFolderError(f"no checkpoint {checkpoint!r} in {folder}: it was pulled at step {state.step}")
        return Run(folder, config, source, method, state, [])
    saved = folder / "checkpoints"
    step: int | None
    match checkpoint:
        case "latest":
            step = newest_step(saved)
        case "best":
            step = best_step(saved)
        case _:
            step = int(checkpoint) if str(checkpoint).isdecimal() else None
    steps = saved_steps(saved)
    if not steps or (step is None and checkpoint == "latest"):
        command = "`train`" if isinstance(config, OwnConfig) else f"`jaxvae train --run {folder} --resume`"
        raise RunFolderError(f"the run in {folder} has no checkpoint yet: continue with {command}")
    if step not in steps:
        raise RunFolderError(
            f"no checkpoint {checkpoint!r} in {folder}: there are latest, best, {', '.join(map(str, steps))}"
        )
    state = restore(saved, step, jax.eval_shape(init, jax.random.key(config.seed)))
    state = state._replace(params=evaluation_params(state))
    return Run(folder, config, source, method, state, read_history_until(folder, step))


def config_of(folder: Path) -> Config[Any, Any, Any, Any] | BaselineConfig:
    """Returns the configuration of the run in a folder.

    Raises:
      RunFolderError: There is no configuration, or it cannot be read.
    """
    if "baseline" in read_config(folder):
        return known_as(BaselineConfig, folder)
    return known_as(Config, folder)


def own_config_of(folder: Path) -> OwnConfig:
    """Returns the arguments of `train` for a run in Python.

    Raises:
      RunFolderError: There is no such run in the folder, or its trained.json cannot be read.
    """
    try:
        return typed(OwnConfig, read_trained(folder))
    except RunFolderError:
        raise
    except ValueError as error:
        raise RunFolderError(f"can't read {folder / TRAINED}: {error}") from error
