"""Content of the batches of a method, for methods that learn from more than single images: dataclasses whose fields are
data options.

A method names one of these classes in its entry. `wrap` turns a source of single images into a source of such batches,
and `told` returns arguments for the method's builder that follow from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxvae.data.classes import Augmented, Classified, augmented, classified
from jaxvae.data.constraints import Constraint, Constraints
from jaxvae.data.effects import case_control
from jaxvae.data.labels import Conditioned, Quality, few_labels
from jaxvae.data.origin import origin_of
from jaxvae.data.pairs import Groups, Pairs
from jaxvae.data.shuffle import Epochs
from jaxvae.data.source import GroundTruth, Source, Wrapper
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Subset, all_factors
from jaxvae.data.table import BLOCK, MISSING, Table
from jaxvae.files import printable
from jaxvae.schema import schema_of


@dataclass(frozen=True)
class Single:
    """Single images."""

    in_epochs: ClassVar[bool] = True
    """Whether batches may be drawn without replacement."""
    streamed: ClassVar[bool] = True
    """Whether images may be read from a file during training."""

    def wrap(self, source: Source, method: str) -> Source:
        """Wraps a source of single images as a source of the method's batches.

        Args:
          source: Data to learn from.
          method: Name of the method, for messages.

        Raises:
          ValueError: The source lacks something that the method needs. The message is one line.
        """
        return source

    def wrap_held_out(self, source: Source, method: str) -> Source:
        """Wraps held-out examples as `wrap` does, in epochs if training may use epochs, so that each occurs once."""
        return self.wrap(Epochs(source) if self.in_epochs else source, method)

    def told(self, source: Source, batch_size: int) -> Mapping[str, Any]:
        """Returns keyword arguments for the method's builder that follow from the wrapped source and the batch size."""
        return {}

    def idle(self, in_table: bool) -> dict[str, str]:
        """Returns the fields that have no effect with such data, and what each of them is for.

        Args:
          in_table: Whether the examples are in memory or in files; otherwise, images are drawn on demand.
        """
        return {}


@dataclass(frozen=True)
class InPairs(Single):
    """Pairs of images that share some of their factors."""

    shared: int | None = None
    """Number of factors that the two images of a pair have in common. By default, all but one."""

    in_epochs: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of pairs that are drawn by their factors."""
        known = _by_factors(source, method, "pairs")
        return Pairs(known, len(known.factor_names) - 1 if self.shared is None else self.shared)


@dataclass(frozen=True)
class InGroups(Single):
    """Groups of images that share some of their factors."""

    common: tuple[str, ...] = ()
    """Names of the factors that all images of a group share. By default, the first factor."""
    members: int = 2
    """Number of images in a group."""

    in_epochs: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of groups that are drawn by their factors."""
        known = _by_factors(source, method, "groups")
        return Groups(known, self.common or known.factor_names[:1], self.members)

    def told(self, source: Source, batch_size: int) -> Mapping[str, Any]:
        """Returns the number of images in a group."""
        return {"members": self.members}


@dataclass(frozen=True)
class InConstraints(Single):
    """Images with a known relation in one factor."""

    constraint: Constraint = "groups"
    """Relation that is known: groups (two images share the value), distances (one of two images is nearer to a third),
    ranks (which of two images has the larger value) or analogies (two pairs of images with the same change)."""
    constrained_factor: str | None = None
    """Name of the factor that the relation is about. By default, the first factor."""

    in_epochs: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of constraints that are drawn by their factors."""
        known = _by_factors(source, method, "constraints")
        factor = _factor(known, self.constrained_factor, method, "learns from constraints on a factor")
        values = _values_left(known, factor)
        if values is not None and len(values) < 2:
            raise ValueError(
                f"all examples to train on have the value {values[0]} of {factor!r}, and {method} learns from its "
                "differences: choose another --constrained-factor, or hold out other examples"
            )
        return Constraints(known, factor, self.constraint)

    def wrap_held_out(self, source: Source, method: str) -> Source:
        """Wraps held-out examples in the same way. They may have a single value of the factor."""
        known = _by_factors(source, method, "constraints")
        return Constraints(known, self.constrained_factor or known.factor_names[0], self.constraint)

    def told(self, source: Source, batch_size: int) -> Mapping[str, Any]:
        """Returns the kind of the constraint."""
        return {"constraint": self.constraint}

    def idle(self, in_table: bool) -> dict[str, str]:
        """Returns the options of other constraints."""
        needed = {"distances": "distances", "analogy": "analogies"}
        return {flag: f"--constraint {kind}" for flag, kind in needed.items() if kind != self.constraint}


@dataclass(frozen=True)
class FewLabels(Single):
    """Single images, and a few labelled ones beside them."""

    labels: int = 100
    """Number of examples that have labels."""
    label_quality: Quality = "perfect"
    """Quality of the labels: perfect, binned (five values at most), noisy (a tenth are drawn at random), permuted
    (values in another order), or partial (two factors only)."""

    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of batches with labelled images in addition to the others."""
        _refuse_missing(source, source.factor_names, method)
        return few_labels(source, self.labels, quality=self.label_quality)

    def wrap_held_out(self, source: Source, method: str) -> Source:
        """Wraps held-out examples in the same way. All of them are labelled if there are fewer than `labels`."""
        return few_labels(Epochs(source), min(self.labels, source.size), quality=self.label_quality)


@dataclass(frozen=True)
class WithAuxiliary(Single):
    """Images with an observed auxiliary variable, on which the prior depends."""

    aux: str | None = None
    """Name of the factor that is the auxiliary variable. By default, the first factor."""

    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of images with a factor as the auxiliary variable."""
        return Conditioned(source, (_factor(source, self.aux, method, "depends on a factor"),))


@dataclass(frozen=True)
class WithCovariates(Single):
    """Examples with observed covariates, which the decoder sees beside the code."""

    covariates: tuple[str, ...] = ()
    """Names of labels that the decoder sees beside the code, such as the batch of an experiment, so that the code need
    not tell them. By default, none."""

    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source with the labels as "aux", or the source itself if there are none."""
        refuse_empty_rows(source, method)
        if not self.covariates:
            return source
        return Conditioned(source, tuple(_factor(source, name, method, "has covariates") for name in self.covariates))


@dataclass(frozen=True)
class CasesAndControls(Single):
    """Images with an effect (cases) and images without it (controls)."""

    case_factor: str | None = None
    """Name of the factor that is 1 in cases and 0 in controls. By default, the first factor."""

    in_epochs: ClassVar[bool] = False
    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of batches with equal numbers of cases and controls."""
        return case_control(source, _factor(source, self.case_factor, method, "learns from cases and controls"))


@dataclass(frozen=True)
class InClasses(Single):
    """Images with a class."""

    class_factor: str | None = None
    """Name of the factor whose values are the classes. By default, the first factor."""
    label_noise: float = 0.0
    """Share of the examples whose class is drawn at random, for data in memory."""
    copies: int | None = None
    """Number of randomly altered copies of an image that make a class of their own, instead of a factor's values. They
    are shifted by up to an eighth of the sides, so that beside --hold-out of a place they show places held out."""

    streamed: ClassVar[bool] = False

    def wrap(self, source: Source, method: str) -> Source:
        """Returns a source of images with classes."""
        if self.copies is not None:
            if self.class_factor is not None or self.label_noise:
                raise ValueError("--copies makes classes without labels: leave out --class-factor and --label-noise")
            return augmented(source, self.copies)
        if not source.factor_names:
            images = len(source.event_shape) == 3
            advice = "add --copies 2 to learn from altered copies" if images else "name a column with --label-columns"
            raise ValueError(f"the factors of {source.name} are not known: {advice}")
        factor = _factor(source, self.class_factor, method, "learns from classes")
        return classified(source, factor, corruption=self.label_noise)

    def told(self, source: Source, batch_size: int) -> Mapping[str, Any]:
        """Returns the number of classes in a batch, if it is known."""
        if isinstance(source, Classified):
            return {"classes": source.classes}
        return {"classes": batch_size // source.copies} if isinstance(source, Augmented) else {}

    def idle(self, in_table: bool) -> dict[str, str]:
        """Returns `label_noise` unless the examples are in a table, because only a table can store wrong classes."""
        return {} if in_table else {"label_noise": "data in memory or in files"}


def _factor(source: Source, name: str | None, method: str, why: str) -> str:
    if not source.factor_names:
        raise ValueError(f"{method} {why}, and the factors of {source.name} are not known: choose other data")
    if name is not None and name not in source.factor_names:
        raise ValueError(f"{source.name} has no factor {name!r}; there are {', '.join(source.factor_names)}")
    chosen = name or source.factor_names[0]
    _refuse_missing(source, (chosen,), method)
    return chosen


def _values_left(source: Source, factor: str) -> np.ndarray | None:
    """Returns the values that a factor has in a part of the data; None for all of the data, which has every value."""
    if not isinstance(source, Subset):
        return None
    return np.unique(all_factors(source)[:, source.factor_names.index(factor)])


def _refuse_missing(source: Source, names: tuple[str, ...], method: str) -> None:
    """Raises ValueError for labels of a table that are missing in some rows, which would be learned as a class."""
    for name, texts in zip(source.factor_names, origin_of(source).label_values, strict=False):
        if name in names and MISSING in texts:
            raise ValueError(
                f"{method} learns from the label {name!r}, which is missing in some rows: fill it in, or leave them "
                "out of the file"
            )


def refuse_empty_rows(source: Source, method: str) -> None:
    """Raises ValueError for a table with several columns of counts and a row whose observed counts are all 0.

    Args:
      source: Table, also wrapped or streamed; other sources pass.
      method: Name of the method that learns how the counts of a row are shared out, for the message.
    """
    table: Source = source
    while isinstance(table, Wrapper):
        table = table.source
    if isinstance(table, Streamed):
        table = table.table
    schema = schema_of(source)
    if schema is None or not isinstance(table, Table):
        return
    counts = [start for column, start in zip(schema.used, schema.starts, strict=True) if column.kind == "count"]
    if len(counts) < 2:  # a single one is not shared out
        return
    x = np.asarray(table.pixels)
    filled = [(x[first : first + BLOCK, counts] > 0).any(axis=1) for first in range(0, len(x), BLOCK)]
    empty = np.flatnonzero(~np.concatenate(filled))
    if len(empty):
        rows = [f"row {row}" if table.ids is None else table.ids[row] for row in empty[:5].tolist()]
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        raise ValueError(
            f"{method} learns how the counts of a row are shared out, and {len(empty):,} rows have no counts at all: "
            f"{', '.join(map(printable, rows))}{more}: remove them"
        )


def _by_factors(source: Source, method: str, what: str) -> GroundTruth:
    if not isinstance(source, GroundTruth) or not source.factor_names:
        raise ValueError(
            f"{method} draws {what} of images by their factors, and those of {source.name} are not known: "
            "choose other data"
        )
    return source
