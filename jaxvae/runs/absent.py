"""A source that stands for the data of a run when that is unavailable. It has shapes and names, but no examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax

from jaxvae.data.series import columns_of
from jaxvae.data.source import UNSHARDED, Shard
from jaxvae.schema import Schema
from jaxvae.training.run_folder import TRAINED, read_trained


class NoExamples(ValueError):
    """Examples were requested from data that is unavailable."""


@jax.tree_util.register_static
@dataclass(frozen=True)
class Absent:
    """A `GroundTruth` that knows the shapes and the factors of its examples, and raises NoExamples for any of them."""

    name: str
    event_shape: tuple[int, ...]
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    size: int
    schema: Schema | None
    """Columns of a table, or None."""
    reason: str
    """Reason why the data is unavailable, and what to do."""
    channel_schema: Schema | None = None
    """Channels of series that were standardized, or None."""

    def at(self, index: jax.Array) -> dict[str, jax.Array]:
        """Raises NoExamples."""
        self._refuse()

    def sample(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> dict[str, jax.Array]:
        """Raises NoExamples."""
        self._refuse()

    def batch(self, key: jax.Array, step: jax.Array, n: int, part: Shard = UNSHARDED) -> dict[str, jax.Array]:
        """Raises NoExamples."""
        self._refuse()

    def sample_factors(self, key: jax.Array, n: int, first: int | jax.Array = 0) -> jax.Array:
        """Raises NoExamples."""
        self._refuse()

    def render(self, factors: jax.Array) -> jax.Array:
        """Raises NoExamples."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NoExamples(self.reason)


def trained_schema(folder: Path) -> Schema | None:
    """Returns the columns of the table, or the channels of the series, that the run in the folder was trained on; None
    for other data.
    """
    known = absent_source(folder, "")
    return None if known is None else columns_of(known)


def _schema(noted: Mapping[str, Any], name: str) -> Schema | None:
    return Schema.from_json(noted[name], noted.get("labels")) if name in noted else None


def absent_source(folder: Path, reason: str) -> Absent | None:
    """Returns a source without examples for the data of a run, from the description in its folder.

    Args:
      folder: Folder of the run.
      reason: Reason why the data is unavailable, for messages.

    Returns:
      The source, or None if the folder does not describe the data.
    """
    return source_of(read_trained(folder).get("data") if (folder / TRAINED).exists() else None, reason)


def source_of(noted: Any, reason: str) -> Absent | None:
    """Returns a source without examples for data that `jaxvae.training.steps.described_data` describes, or None if that
    is no such description.
    """
    try:
        return Absent(
            name=str(noted["name"]),
            event_shape=tuple(map(int, noted["shape"])),
            factor_names=tuple(noted["factors"]),
            factor_sizes=tuple(map(int, noted["factors"].values())),
            size=int(noted["images"]),
            schema=_schema(noted, "columns"),
            reason=reason,
            channel_schema=_schema(noted, "channels"),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
