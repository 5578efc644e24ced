"""Where the examples of a run come from, as options of the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxvae.choose import with_installed
from jaxvae.data.batches import Single
from jaxvae.data.correlations import correlated_pairs
from jaxvae.data.origin import origin_of
from jaxvae.data.registry import COLUMNED, FILES, SERIES, TABLES, TABULAR, VARIANTS, kind_of, open_data
from jaxvae.data.series import channels_on, columns_of
from jaxvae.data.shuffle import Epochs
from jaxvae.data.source import Source
from jaxvae.data.splits import Parts, recombinations, split, split_as_told
from jaxvae.data.streamed import Streamed
from jaxvae.data.subsets import Subset
from jaxvae.data.table import Table
from jaxvae.data.tabular import Columns, rescaled, schema_on
from jaxvae.schema import Schema

TABLE_FLAGS = ("columns", "drop", "label_columns", "id_column", "group_column", "split_column", "kind")


@dataclass(frozen=True)
class DataOptions:
    """Data set and sampling."""

    data: str = "scene"
    """Name of the data set, as `jaxvae list` gives it. A prefix color-, noisy- or scream- adds colour, noise or a
    background to black-and-white images."""
    image_size: int | None = None
    """Height and width of the images in pixels; most networks need a multiple of 16. By default, the size of the
    data."""
    sampling: Literal["replacement", "epochs"] = "replacement"
    """Sampling of the batches: with replacement, or in epochs that visit every image once in random order."""
    correlation: str | None = None
    """Correlated factors of the images to train on, PAIRS:SIGMA, such as scale~shape:0.1 or shapes3d-double-1:0.1; see
    `jaxvae.data.correlations`. Scores are of images without correlations."""
    stream: bool = False
    """Reads examples from the disk during training, for data larger than memory: images in npy files and tfds, and
    tables in npy, Parquet, h5ad and zarr files, whose encoded rows are kept in a scratch file."""
    skip_bad: bool = False
    """Leaves out picture files that cannot be read."""
    texture: str | None = None
    """Path of the background picture of scream- variants. By default, a generated picture."""
    columns: tuple[str, ...] = ()
    """Columns of the table to learn from; a name that ends in * stands for all that begin with it. By default, all
    that are not named otherwise. In AnnData, these are names of variables."""
    drop: tuple[str, ...] = ()
    """Columns of the table to leave out."""
    label_columns: tuple[str, ...] = ()
    """Columns of the table, or of obs in AnnData, that are labels: they are not learned from, but scored and drawn as
    factors."""
    id_column: str | None = None
    """Column of the table, or of obs in AnnData, that names the rows. By default, AnnData has obs_names."""
    group_column: str | None = None
    """Column of the table, or of obs in AnnData, of groups of rows, which a split keeps together."""
    split_column: str | None = None
    """Column of the table, or of obs in AnnData, of the words train, validation and test, which say which rows are
    held out. It takes the place of --validation and --test."""
    kind: tuple[str, ...] = ()
    """Kinds of columns, NAME=KIND each, where their values do not tell: real, count, binary, categorical, constant or
    identifier. A name that ends in * stands for all that begin with it."""

    validation: float = 0.0
    """Share of the examples that are held out for validation, such as 0.1: no gradient step sees them."""
    test: float = 0.0
    """Share of the examples that are held out for testing. Scores are computed on them; otherwise, on the validation
    examples or on all."""
    hold_out: str | None = None
    """Combinations of factors that are held out for testing, to measure generalization to new combinations: a set of
    Montero et al. (2021), such as dsprites-range or shapes3d-element, or FACTOR=VALUES and FACTOR>SHARE between commas
    and in quotes, such as "shape=2,x=16:32" or "shape=2,x>0.5"; see `jaxvae.data.splits`."""
    split_seed: int = 0
    """Random seed of the split. It does not follow --seed, so that runs with several seeds have the same split."""

    def open(self, schema: Schema | None = None) -> Source:
        """Opens the examples to train on, as `open_parts` does."""
        return self.open_parts(schema).training

    def open_parts(self, schema: Schema | None = None) -> Parts:
        """Opens the data set and splits it.

        Args:
          schema: Columns that a model was trained on, for a table, or channels, for series; by default, they are found
            by their values, with means and standard deviations of the training rows.

        Raises:
          ValueError: The data does not exist or cannot be read. The message is one line.
        """
        return self.parts(self._opened, schema)

    def parts(self, opened: Callable[[Schema | None], Source], schema: Schema | None = None) -> Parts:
        """Splits data as the options say.

        Args:
          opened: Function that opens the data; for a table, with the columns that it is given.
          schema: As for `open_parts`.

        Raises:
          ValueError: The data cannot be split so. The message is one line.
        """
        source = opened(schema)
        if schema is not None and not self.is_tabular and isinstance(source, Table) and source.schema is not None:
            source = rescaled(source, schema)  # generated, such as cells, with the means of all rows
        if self.correlation is not None:
            if self.validation or self.test or self.sampling == "epochs":
                raise ValueError(
                    "--correlation draws images of the whole grid at random: leave out --validation, --test and "
                    "--sampling epochs"
                )
            source = correlated_pairs(source, self.correlation)
        if self.hold_out is not None:
            if self.validation or self.test or self.correlation is not None:
                raise ValueError(
                    "--hold-out chooses the test examples: leave out --validation, --test and --correlation"
                )
            if columns_of(source) is not None:  # whose means and scales would be of the held-out rows as well
                raise ValueError("--hold-out is for images with known factors: leave it out")
            parts = recombinations(source, self.hold_out)
            return parts._replace(training=Epochs(parts.training)) if self.sampling == "epochs" else parts
        parts = self._split(source)
        if schema is None and isinstance(source, Table) and isinstance(parts.training, Subset):
            rows = np.asarray(parts.training.index)
            on_training_rows = schema_on(source, rows) or channels_on(source, rows)
            if on_training_rows is not None:
                return self.parts(opened, on_training_rows)
        return parts._replace(training=Epochs(parts.training)) if self.sampling == "epochs" else parts

    def _opened(self, schema: Schema | None) -> Source:
        source = open_data(
            self.data,
            image_size=self.image_size,
            skip_bad=self.skip_bad,
            texture=None if self.texture is None else Path(self.texture),
            columns=self.of_table,
            schema=schema,
            training_rows=self._training_rows if self.stream else None,
        )
        if self.stream:
            if not isinstance(source, Table):
                raise ValueError(f"--stream is for data in files; {source.name} is drawn on the device: leave it out")
            source = Streamed(source)
        return source

    def _split(self, source: Source) -> Parts:
        origin = origin_of(source)
        if self.split_column is None:
            return split(source, self.validation, self.test, seed=self.split_seed, groups=origin.groups)
        if origin.parts is None:
            raise ValueError(f"{source.name} has no column {self.split_column!r}, which --split-column names")
        return split_as_told(source, origin.parts, groups=origin.groups)

    def _training_rows(self, table: Table) -> np.ndarray | None:
        """Returns the rows to train on, or None for all of them."""
        training = self._split(table).training
        return np.asarray(training.index) if isinstance(training, Subset) else None

    @property
    def of_table(self) -> Columns:
        """Roles and kinds of the columns of a table."""
        return Columns(
            use=self.columns,
            drop=self.drop,
            labels=self.label_columns,
            id=self.id_column,
            group=self.group_column,
            split=self.split_column,
            kinds=self.kind,
        )

    @property
    def is_validated(self) -> bool:
        """Whether some examples may be held out for validation."""
        return bool(self.validation) or self.split_column is not None

    @property
    def in_table(self) -> bool:
        """Whether the examples are in memory or in files, instead of images that are drawn on demand."""
        return self.data in TABLES or bool(kind_of(self.data))

    @property
    def is_tabular(self) -> bool:
        """Whether the data is a table in a file, including AnnData."""
        return kind_of(self.data) in TABULAR

    @property
    def has_columns(self) -> bool:
        """Whether the examples are rows of a table whose columns have kinds, in a file or generated."""
        return self.is_tabular or self.data in COLUMNED

    def idle(self, batches: type[Single] | Single) -> dict[str, str]:
        """Returns the fields that have no effect with this data and these batches, and what each of them is for."""
        look, dash, _ = self.data.partition("-")
        variant = look if dash and look in VARIANTS else ""
        is_series, tables = kind_of(self.data) == SERIES, "tables, such as table:PATH and anndata:PATH"
        unlike_images = self.is_tabular or self.stream or is_series
        reasons = {
            "sampling": "" if batches.in_epochs else "methods that do not draw their images by factors",
            "stream": self._not_streamed(batches, variant),
            "correlation": "images with known factors" if unlike_images else "",
            "hold_out": "images with known factors" if unlike_images or self.has_columns else "",
            "skip_bad": "" if self._is_of_pictures else "data from pictures:PATH",
            "image_size": "images" if self.is_tabular or is_series else "data of this package" if self._is_own else "",
            **dict.fromkeys(TABLE_FLAGS, "" if self.is_tabular or is_series else tables),
            "kind": "" if self.is_tabular else tables,
            "texture": "" if variant == "scream" else "scream- variants of the data",
        }
        return {name: reason for name, reason in reasons.items() if reason}

    @property
    def _is_of_pictures(self) -> bool:
        return self.data.partition(":")[0].endswith("pictures") or kind_of(self.data) == "pictures"

    @property
    def _is_own(self) -> bool:
        look, dash, plain = self.data.partition("-")
        name = plain if dash and look in VARIANTS else self.data
        kind, colon, _ = name.partition(":")
        return kind not in FILES and (bool(colon) or kind in with_installed("data", {}))

    def _not_streamed(self, batches: type[Single] | Single, variant: str) -> str:
        if not batches.streamed:
            return "methods that learn from single images without labels"
        if kind_of(self.data) == SERIES:
            return "images and tables in files"
        return "" if self.in_table and not variant else "images in files, such as arrays:PATH and tfds:NAME"
