"""Series of the user in npy and npz files: real numbers [N, T, D], each of the D channels standardized.

A channel is standardized with one mean and one standard deviation, those of all T times of the examples to train on.
Both are kept with the run, so that other series are scaled as those that it was trained on. The channels are a `Schema`
of real columns, which says so; unlike those of a table, the examples are arrays [T, D].
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.data.contents import DAMAGED, check_kind, content_of, suffix_of, unreadable
from jaxvae.data.table import Table
from jaxvae.data.tabular import Columns, column_array, expanded, learned, present, table_of
from jaxvae.files import printable
from jaxvae.schema import Column, Schema, schema_of

FORMATS = (".npy", ".npz")


def series_file(path: Path, columns: Columns = Columns(), channels: Schema | None = None) -> Table:
    """Series [N, T, D] of real numbers in an npy file, or in an npz file with "x" and, if known, labels [N] by name.

    An npz file may have the names of the channels in "columns" [D]. The series are its array x, or its only array of
    three axes.

    Args:
      path: File, .npy or .npz; it may be packed as .gz.
      columns: Roles: `use` and `drop` choose channels; labels, the id, the group and the split are arrays [N] of an npz
        file.
      channels: Channels that a model was trained on, with their means and standard deviations, for new series. By
        default, they are those of the file.

    Raises:
      ValueError: The file cannot be read, holds something else, or its channels are other than these. The message says
        what to do.
    """
    x, names, more = _read(path)
    try:
        return _series(x, names, more, columns, channels, printable(path.name.partition(".")[0]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def channels_of(source: Any) -> Schema | None:
    """Returns the channels of series that were standardized, or None for other sources."""
    return getattr(source, "channel_schema", None)


def columns_of(source: Any) -> Schema | None:
    """Returns the columns of a table or the channels of series, or None if a source has neither."""
    return schema_of(source) or channels_of(source)


def as_they_are(channels: int) -> Schema:
    """Returns the channels of series that are not scaled."""
    return Schema(tuple(Column(f"channel{d}", "real") for d in range(channels)))


def channels_on(table: Table, rows: np.ndarray) -> Schema | None:
    """Returns the channels of series with the means and standard deviations of some examples [n], such as those to
    train on; None for other data.
    """
    if table.channel_schema is None:
        return None
    x = np.asarray(table.pixels)[rows]
    pairs = zip(table.channel_schema.columns, *_moments(x), strict=True)
    scaled = tuple(
        replace(column, mean=column.mean + column.scale * mean, scale=column.scale * scale)
        for column, mean, scale in pairs
    )
    return replace(table.channel_schema, columns=scaled)


def unscaled(channels: Schema, x: np.ndarray) -> np.ndarray:
    """Returns standardized series [N, T, D] on the scale of the file."""
    mean, scale = (np.array([getattr(each, name) for each in channels.columns]) for name in ("mean", "scale"))
    return (x * scale + mean).astype(np.float32)


def _series(
    x: np.ndarray,
    names: list[str] | None,
    more: Mapping[str, np.ndarray],
    columns: Columns,
    channels: Schema | None,
    name: str,
) -> Table:
    """Builds a source of series; see `series_file`."""
    count, _, width = x.shape
    if columns.kinds:
        raise ValueError("all channels of series are real: leave out --kind")
    if names is None:
        known = [column.name for column in channels.columns] if channels is not None else []
        names = known if len(known) == width else [f"channel{d}" for d in range(width)]
    if len(set(names)) < len(names):
        raise ValueError("two channels have the same name in the array columns: rename one")
    arrays = {each: np.arange(0) for each in names}  # only the names of channels are needed
    arrays |= {each: column_array(values) for each, values in more.items() if values.shape == (count,)}
    if both := [each for each in more if each in names]:
        raise ValueError(f"the array {both[0]!r} has the name of a channel: rename one")
    columns = expanded(columns if channels is None else present(columns, arrays), arrays)
    if wrong := [each for each in (*columns.labels, columns.id, columns.group, columns.split) if each in names]:
        raise ValueError(f"{wrong[0]!r} is a channel: labels, ids, groups and splits are arrays [{count}] of the file")
    chosen = learned(columns, names)
    if channels is not None:
        wanted = [column.name for column in channels.columns]
        if absent := [each for each in wanted if each not in chosen]:
            raise ValueError(f"the series lack the channel {absent[0]!r}; they have {', '.join(map(repr, chosen))}")
        if new := [each for each in chosen if each not in wanted]:
            raise ValueError(f"the series have the channel {new[0]!r}, which the model was not trained on: remove it")
        chosen = wanted
    if not chosen:
        raise ValueError("no channel is left to learn from")
    x = x if chosen == names else x[:, :, [names.index(each) for each in chosen]]
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        raise ValueError(
            f"{len(rows):,} of the {count:,} series hold values that are missing or infinite (the first is number "
            f"{rows[0]}): fill them in, or leave these series out"
        )
    if channels is None:
        pairs = zip(chosen, *_moments(x), strict=True)
        channels = Schema(tuple(Column(each, "real", mean, scale) for each, mean, scale in pairs))
    mean, scale = (np.array([getattr(each, kind) for each in channels.columns]) for kind in ("mean", "scale"))
    with np.errstate(over="ignore", invalid="ignore"):
        standardized = ((x - mean) / scale).astype(np.float32)
    if not (np.isfinite(standardized).all() and np.isfinite([mean, scale]).all()):
        raise ValueError("the series hold values too large for float32: rescale them")
    ids = None if columns.id is None else arrays[columns.id]
    table = table_of(standardized, channels, arrays, columns, ids=ids, name=name)
    return replace(table, schema=None, channel_schema=table.schema)


def _moments(x: np.ndarray) -> tuple[list[float], list[float]]:
    """Returns the mean of each channel of series [N, T, D] over examples and times, and its standard deviation, which
    is 1 for a constant channel.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=(0, 1), dtype=np.float64)
        scale = np.stack([(x[:, :, d] - mean[d]).std(dtype=np.float64) for d in range(x.shape[2])])
        constant = np.array([np.ptp(x[:, :, d]) == 0 for d in range(x.shape[2])])
    return mean.tolist(), np.where(constant | (scale == 0), 1.0, scale).tolist()


def _read(path: Path) -> tuple[np.ndarray, list[str] | None, dict[str, np.ndarray]]:
    """Reads series, the names of their channels, and further arrays by name."""
    kind = suffix_of(path)
    if kind not in FORMATS:
        raise ValueError(f"{path}: series come from {' and '.join(FORMATS)} files, not from {kind!r}")
    content = content_of(path)
    check_kind(path, content, kind[1:])
    try:
        loaded = np.load(content, allow_pickle=False)
        arrays = {"x": loaded} if kind == ".npy" else {name: loaded[name] for name in loaded.files}
    except (*DAMAGED, ValueError) as error:
        raise unreadable(path, error) from error
    found = ["x"] if "x" in arrays else [name for name, array in arrays.items() if array.ndim == 3]
    if len(found) != 1:
        what = f"has several arrays of three axes, {', '.join(found)}" if found else "has no array [N, T, D]"
        raise ValueError(f"{path}: it {what}: name the series to learn from x")
    x = arrays.pop(found[0])
    if x.ndim != 3 or 0 in x.shape or x.dtype.kind not in "iuf":
        one = ", or add an axis for one channel, as x[..., None] does" if x.ndim == 2 else ""
        other = {2: f": a table [N, D] is table:{path}", 4: f": images are arrays:{path}"}.get(x.ndim, "")
        raise ValueError(
            f"{path}: series are an array [N, T, D] of numbers that is not empty, got {x.dtype} of shape "
            f"{list(x.shape)}{other}{one}"
        )
    names = arrays.pop("columns", None)
    if names is not None and names.shape != x.shape[2:]:
        raise ValueError(f"{path}: columns must name the {x.shape[2]} channels, got shape {list(names.shape)}")
    return x, None if names is None else [printable(str(each)) for each in names], arrays
