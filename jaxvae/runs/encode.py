"""Codes of all examples of a data set, and examples of codes: a run used as a map in both directions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis import Clusters, find_clusters
from jaxvae.data import Source, Streamed, Table, one_picture, open_data, origin_of, picture_folder
from jaxvae.data.in_file import is_streamable
from jaxvae.data.pictures import PICTURES
from jaxvae.data.registry import SERIES, kind_of
from jaxvae.data.series import as_they_are, channels_of
from jaxvae.data.source import on_device
from jaxvae.data.tabular import Columns
from jaxvae.files import printable
from jaxvae.method import Batch, Nets, no_code
from jaxvae.networks.shapes import shape_in_words
from jaxvae.runs.codes import Codes
from jaxvae.runs.config import Config
from jaxvae.runs.load import ENCODED, Run
from jaxvae.runs.score import independent
from jaxvae.schema import Schema, schema_of

MOST = 2**31 - 1
"""Largest number of examples that have a number."""
PARTS = ("train", "validation", "test")
"""Words for the parts of a run's data, in the order of `jaxvae.data.splits.Parts`."""


def encode_all(
    run: Run,
    source: Source | None = None,
    *,
    limit: int | None = None,
    chunk: int = ENCODED,
    progress: Callable[[int], None] = lambda done: None,
) -> Codes:
    """Computes the codes of all examples of a data set, in the order of its file.

    If the run holds examples out, the data of the run are those of all parts, and the codes say which part each
    example is in.

    Every chunk that the encoder sees has the same number of examples, so that the code of an example does not depend on
    the others.

    Args:
      run: Run whose encoder is used.
      source: Data, such as `open_other` gives; by default, that of the run.
      limit: Number of examples, from the first one on; by default, all.
      chunk: Number of examples that are encoded at a time.
      progress: Function that is called with the number of examples that have been encoded.

    Returns:
      The codes. An example's id is its name if it has one, and otherwise its row in the file.

    Raises:
      ValueError: The method learns no code; the examples have another shape or range than those that the run was
        trained on, or lack what its encoder sees besides them; or there are more than 2^31 of them.
    """
    if run.method.encode is no_code:
        raise ValueError(f"{run.method.name} learns no code: there is nothing to encode with")
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    pieces = {"": run.source if source is None else source}
    if source is None and run.parts is not None and run.parts.held_out is not None:
        pieces = {name: part for name, part in zip(PARTS, run.parts, strict=True) if part is not None}
    found: list[tuple[Codes, np.ndarray]] = []
    for part in pieces.values():
        done = sum(len(rows) for _, rows in found)
        found.append(_encoded(run, part, source is None, limit, chunk, partial(_tell, progress, done)))
    codes = found[0][0]
    if len(found) > 1:
        order = np.argsort(np.concatenate([rows for _, rows in found]), kind="stable")[:limit]
        codes = _joined([codes for codes, _ in found], list(pieces), order)
    clusters = clusters_of(run)
    return codes if clusters is None else codes._replace(clusters=clusters.of_points(codes.means))


def _tell(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _encoded(
    run: Run, source: Source, own: bool, limit: int | None, chunk: int, progress: Callable[[int], None]
) -> tuple[Codes, np.ndarray]:
    """Computes the codes of a source as `encode_all` does, without clusters, and returns the rows of its examples in
    their file, int [N].
    """
    source = independent(source)
    count = min(source.size, limit or source.size)
    if source.size > MOST:
        raise ValueError(f"{source.name} has {source.size:,} examples, and at most {MOST:,} can be encoded")
    channels = _repeats(source.event_shape, run.source.event_shape, source.name)
    origin = origin_of(source)
    order = np.arange(count) if origin.rows is None else np.argsort(origin.rows, kind="stable")[:count]
    at = jax.jit(lambda source, index: source.at(index))
    in_file = isinstance(source, Table) and isinstance(source.pixels, np.ndarray)  # perhaps larger than memory
    kept = on_device(Streamed(source) if in_file else source)  # type: ignore[arg-type]

    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, count, chunk):
        index = order[first : first + chunk]
        padded = np.concatenate([index, np.full(chunk - len(index), index[-1])])
        batch = dict(at(kept, jnp.asarray(padded, jnp.int32)))
        batch["x"] = jnp.repeat(batch["x"], channels, axis=-1) if channels > 1 else batch["x"]
        if not own:
            run.check_examples(np.asarray(batch["x"]))
        mean, logvar = run.encode_batch(batch)
        columns = {"mean": mean, "logvar": logvar, **({"factors": batch["factors"]} if source.factor_names else {})}
        parts.append({name: np.asarray(column)[: len(index)] for name, column in columns.items()})
        progress(min(first + chunk, count))

    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = order if origin.rows is None else origin.rows[order]
    ids = rows if origin.ids is None else np.array([printable(str(origin.ids[place])) for place in order])
    deviations = np.exp(0.5 * whole["logvar"])
    names, values = tuple(source.factor_names), origin.label_values
    return Codes(ids, whole["mean"], deviations, None, whole.get("factors"), names, values), rows


def _joined(found: list[Codes], parts: list[str], order: np.ndarray) -> Codes:
    """Joins the codes of parts of a data set, and takes these of all their examples."""
    fields = ("ids", "means", "standard_deviations", "factors")
    columns = {name: [getattr(codes, name) for codes in found] for name in fields}
    joined = {name: np.concatenate(each)[order] for name, each in columns.items() if each[0] is not None}
    words = np.repeat(parts, [len(codes.means) for codes in found])
    return found[0]._replace(part=words[order], **joined)


def _is_streamed(name: str) -> bool:
    """Whether the rows of such data may stay in their file."""
    kind = kind_of(name)
    return kind == "anndata" or (kind == "table" and is_streamable(Path(name.removeprefix("table:")).expanduser()))


def _none_to_learn_from(table: Table) -> None:
    """Stands for the rows to train on where the columns are known."""


def open_other(run: Run, name: str) -> Source:
    """Opens other data for a run, with the run's own options of the data. The rows of tables stay in their file if
    those of the run did, and if the file has a format that can be read in blocks.

    The channels of series are scaled as those of the run; if it does not scale its own, they are left as they are.

    Pictures are cropped and resized to the size of those that the run was trained on. Methods whose encoder sees a
    factor besides the example, such as ivae, get the factor of the same name.

    Args:
      run: Run that is to encode the data.
      name: Name of data as for `jaxvae.data.open_data`, or the path of a picture.

    Raises:
      ValueError: The data do not exist or cannot be read, or lack the factor that the encoder sees.
    """
    path = Path(name.removeprefix("pictures:")).expanduser()
    shape = run.source.event_shape
    side = shape[0] if len(shape) == 3 and shape[0] == shape[1] else None
    options: Any = run.config.source if isinstance(run.config, Config) else None
    size = getattr(options or run.config, "image_size", None)
    if path.suffix.lower() in PICTURES and not path.is_dir():
        if not path.is_file():
            raise ValueError(f"{path}: there is no such picture")
        return one_picture(path, image_size=side)
    if kind_of(name) == "pictures" and path.is_dir():
        return picture_folder(path, image_size=side, skip_bad=bool(options and options.skip_bad))
    texture = Path(options.texture) if options and options.texture else None
    source = open_data(
        name,
        image_size=size,
        skip_bad=bool(options and options.skip_bad),
        texture=texture,
        columns=options.of_table if options else Columns(),
        schema=_scale_of(run) if kind_of(name) == SERIES else schema_of(run.source),
        training_rows=_none_to_learn_from if options and options.stream and _is_streamed(name) else None,
    )
    if channels_of(run.source) is not None and channels_of(source) is None:
        raise ValueError(
            f"the run standardizes the channels of its series, and {name} is not scaled so: name other series as "
            "series:FILE"
        )
    if not isinstance(run.config, Config) or not _sees_more(run):
        return source
    wrapped = run.config.batches.wrap(source, run.config.method)
    sizes = [getattr(each, "aux_dim", None) for each in (run.source, wrapped)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"the auxiliary variable has {sizes[1]} values in {name} and {sizes[0]} in the data of the run: the "
            "encoder needs the same ones"
        )
    return wrapped


def _scale_of(run: Run) -> Schema | None:
    """Returns the channels of the series of a run, with a mean of 0 and a scale of 1 if it does not scale series."""
    shape = run.source.event_shape
    return channels_of(run.source) or (as_they_are(shape[1]) if len(shape) == 2 else None)


def decode_all(run: Run, codes: np.ndarray, *, chunk: int = ENCODED) -> np.ndarray:
    """Computes the expected examples of codes [N, D], in their order: [N, *event_shape].

    Every chunk that the decoder sees has the same number of codes, so that an example does not depend on the others.

    Raises:
      ValueError: The method has no decoder for codes alone, or its codes have another number of latents.
    """
    decode, latents = run.decoder, latents_of(run)
    if decode is None or not latents:
        raise ValueError(f"the codes of {run.method.name} alone make no examples: there is nothing to decode with")
    if codes.shape[1] != latents:
        raise ValueError(f"the run has {latents} latents, and the codes have {codes.shape[1]}")
    parts = []
    for first in range(0, len(codes), chunk):
        part = codes[first : first + chunk]
        padded = np.concatenate([part, np.repeat(part[-1:], chunk - len(part), axis=0)])
        parts.append(decode(padded)[: len(part)])
    return np.concatenate(parts)


def latents_of(run: Run) -> int:
    """Returns the number of latents of a run."""
    if not run.method.networks:
        return run.encode_batch(independent(run.source).at(jnp.zeros(1, jnp.int32))).mean.shape[1]
    try:
        return _posterior_of_x(run).mean.shape[1]
    except KeyError:  # the encoder sees more than the example
        return int(run.config.flags()["latents"])  # type: ignore[union-attr]


def clusters_of(run: Run) -> Clusters | None:
    """Returns the clusters of the run's prior if it is a mixture with learned components, and None otherwise."""
    params = run.state.params.get("prior")
    if "prior" not in run.method.networks or not isinstance(params, dict) or set(params) != {"means", "logits"}:
        return None
    return find_clusters(*Nets(run.method.networks, run.state.params).prior())


def settings_of(run: Run, data: str) -> dict[str, Any]:
    """Returns what a file of codes says of the run that they come from, as JSON values."""
    return {
        "method": run.method.name,
        "data": data,
        "step": int(run.state.step),
        "seed": run.config.seed,
        "config": run.config.to_json(),
    }


def _posterior_of_x(run: Run) -> Any:
    """Returns the shapes of the posterior of a single example. Raises KeyError if the encoder has further inputs."""
    x = jax.ShapeDtypeStruct((1, *run.source.event_shape), jnp.float32)

    def encode(params: dict[str, Any], batch: Batch) -> Any:
        return run.method.encode(Nets(run.method.networks, params), batch)

    return jax.eval_shape(encode, run.state.params, {"x": x})


def _sees_more(run: Run) -> bool:
    try:
        _posterior_of_x(run)
    except KeyError:
        return True
    return False


def _repeats(shape: tuple[int, ...], trained: tuple[int, ...], name: str) -> int:
    """Returns the number of times that the channel of grey pictures is repeated for a run of colour pictures; 1 if the
    shapes agree.
    """
    if shape == trained:
        return 1
    if len(trained) == 3 and trained[-1] == 3 and shape == (*trained[:2], 1):
        return 3
    raise ValueError(
        f"{name} has {shape_in_words(shape)}, and the run was trained on {shape_in_words(trained)}: choose data of the "
        "same shape"
    )
